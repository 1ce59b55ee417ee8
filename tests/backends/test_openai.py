"""The openai backend against a real loopback server: what stands on the wire, what comes back, what goes wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from servers.protocol import (
    ProtocolServer,
    Reply,
    error,
    good,
    hang,
    malformed,
    page,
    redirect,
    refusal,
    slow,
    truncated,
)

from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.backends.instructed import require
from agentfleet.backends.openai import OpenAI
from agentfleet.errors import BackendError, CallTimeout, FleetError, MissingExtra, MissingKey, Refused, Unavailable
from agentfleet.prompt import Block, Note, Prompt
from agentfleet.schema import output_of

pytestmark = pytest.mark.server

CANARY = "sk-canary-7f3a9b1c5d"


class Order(BaseModel):
    order_id: Annotated[str, Field(max_length=12, pattern=r"^AB-\d+$")]
    amount: Annotated[float, Field(ge=0)]
    note: str | None = None


GOOD = '{"order_id":"AB-1","amount":2.5,"note":null}'


def request(annotation: Any = Order, **kwargs: Any) -> Request:
    output = output_of(annotation, where="test", closed=annotation not in (Order, str, list[int]))
    return Request(Prompt("Read the order.", (Block("email", "AB-1 for 2.50"),)), output, skill="order", **kwargs)


def backend(server: ProtocolServer, **kwargs: Any) -> OpenAI:
    given: dict[str, Any] = {"key": CANARY, "strategy": None, "timeout": 5.0, **kwargs}
    return OpenAI("m-1", "big", base_url=server.base_url, **given)


def ask(model: OpenAI, *requests: Request) -> list[Completion]:
    async def all_of_them() -> list[Completion]:
        try:
            return [await model.complete(one) for one in requests]
        finally:
            await model.close()

    return asyncio.run(all_of_them())


def failure(reply: Reply, **kwargs: Any) -> BackendError:
    with ProtocolServer(reply) as server, pytest.raises(BackendError) as caught:
        ask(backend(server, **kwargs), request())
    return caught.value


def test_native_strategy_sends_a_strict_schema() -> None:
    with ProtocolServer(good(GOOD)) as server:
        (done,) = ask(backend(server), request(idempotency_key="run-1/order"))
    sent = server.seen[0]
    form = sent.body["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["strict"] is True
    schema = form["json_schema"]["schema"]
    assert schema["required"] == ["order_id", "amount", "note"]
    assert schema["additionalProperties"] is False
    assert sent.headers["idempotency-key"] == "run-1/order"
    assert sent.headers["authorization"] == f"Bearer {CANARY}"
    assert sent.body["messages"][0]["role"] == "system"
    assert sent.body["temperature"] == 0.0
    assert json.loads(done.text) == json.loads(GOOD)
    assert (done.model, done.finish) == ("big", "stop")
    assert done.usage == Usage(input_tokens=11, output_tokens=7, cached_tokens=3, reasoning_tokens=2)
    assert done.seconds > 0


def test_the_provider_itself_gets_no_length_bounds() -> None:
    with ProtocolServer(good(GOOD)) as server:
        model = backend(server)
        ask(model, request())
        model.hosted = True
        ask(model, request())
    kept, bare = (seen.schema["properties"]["order_id"] for seen in server.seen if seen.schema)
    assert kept["maxLength"] == 12
    assert "maxLength" not in bare
    assert bare["pattern"] == r"^AB-\d+$"
    assert [seen.body.get("max_tokens") for seen in server.seen] == [512, None]
    assert server.seen[1].body["max_completion_tokens"] == 512


@pytest.mark.parametrize("strategy", ["native", "tools", "json", "plain"])
def test_every_strategy_gives_the_bare_json(strategy: str) -> None:
    with ProtocolServer(good('"refund"')) as server:
        (done,) = ask(backend(server, strategy=strategy), request(Literal["refund", "other"]))
    body = server.seen[0].body
    assert done.text in ('"refund"', "refund")
    assert ("response_format" in body) == (strategy in ("native", "json"))
    assert ("tools" in body) == (strategy == "tools")
    if strategy == "tools":
        assert body["tools"][0]["function"]["strict"] is True
        assert body["tool_choice"]["function"]["name"] == body["tools"][0]["function"]["name"]
    shown = body["messages"][0]["content"]
    assert ("JSON Schema" in shown) == (strategy in ("json", "plain"))
    assert "genius" not in json.dumps(body)


def test_a_code_fence_is_taken_off_where_nothing_constrains() -> None:
    with ProtocolServer(good(f"Here it is:\n```json\n{GOOD}\n```\n")) as server:
        (done,) = ask(backend(server, strategy="plain"), request())
    assert done.text == GOOD


def test_a_list_is_wrapped_for_the_wire_and_unwrapped() -> None:
    with ProtocolServer(good("[1,2]")) as server:
        (done,) = ask(backend(server), request(list[int]))
    schema = server.seen[0].schema
    assert schema is not None
    assert schema["type"] == "object"
    assert schema["properties"]["answer"]["type"] == "array"
    assert done.text == "[1,2]"


def test_text_goes_without_a_schema() -> None:
    with ProtocolServer(good(" plain words ")) as server:
        (done,) = ask(backend(server), request(str))
    assert "response_format" not in server.seen[0].body
    assert "tools" not in server.seen[0].body
    assert done.text == " plain words "


def test_an_answer_that_breaks_the_schema_comes_back_raw_and_is_not_retried() -> None:
    broken = '{"order_id":"AB-1","amount":"many"}'
    with ProtocolServer(good(broken), good(GOOD)) as server:
        first, second = ask(backend(server), request(), request())
    assert first.text == broken
    assert first.usage.input_tokens == 11
    assert second.text == GOOD
    assert len(server.seen) == 2


def test_truncation_and_refusal_keep_text_and_usage() -> None:
    with ProtocolServer(truncated('{"order_id":"AB'), refusal("No.")) as server:
        cut, declined = ask(backend(server), request(), request())
    assert (cut.finish, cut.text, cut.usage.output_tokens) == ("length", '{"order_id":"AB', 7)
    assert (declined.finish, declined.text, declined.usage.output_tokens) == ("refusal", "No.", 7)


@pytest.mark.parametrize("usage", [None, {}, "many", [1], {"input": "x", "output": -3, "cached": 9, "reasoning": None}])
def test_usage_that_is_absent_or_wrong_counts_as_nothing(usage: Any) -> None:
    reply = good(GOOD, usage=usage if usage != {} else None)
    with ProtocolServer(reply) as server:
        (done,) = ask(backend(server), request())
    assert done.usage == Usage()
    assert done.text == GOOD


def test_a_busy_server_says_how_long_to_wait() -> None:
    told = failure(error(429, "slow down", retry_after="2"))
    assert isinstance(told, Unavailable)
    assert told.retry_after == 2.0
    untold = failure(error(429))
    assert isinstance(untold, Unavailable)
    assert untold.retry_after is None
    assert "slow down" in str(told)
    assert "big" in str(told)


@pytest.mark.parametrize("status", [500, 503, 529])
def test_a_server_error_is_unavailable_after_one_request(status: int) -> None:
    with ProtocolServer(error(status), good(GOOD)) as server, pytest.raises(Unavailable):
        ask(backend(server), request())
    assert len(server.seen) == 1


@pytest.mark.parametrize("reply", [malformed(), page(), Reply(body="[]"), Reply(body='{"choices": []}')])
def test_what_is_no_completion_is_unavailable(reply: Reply) -> None:
    assert isinstance(failure(reply), Unavailable)


def test_policy_errors_are_refusals_and_other_client_errors_say_what_to_do() -> None:
    assert isinstance(failure(error(400, "no", code="content_filter")), Refused)
    unknown = failure(error(404, "no such model"))
    assert type(unknown) is BackendError
    assert "base_url" in str(unknown)
    assert "variable" in str(failure(error(401, "bad key")))


def test_a_hanging_server_times_out_and_the_connection_is_closed() -> None:
    with ProtocolServer(hang()) as server:
        with pytest.raises(CallTimeout):
            ask(backend(server), request(timeout=0.2))
        assert server.left.wait(5)
    assert server.gone == 1


def test_cancelling_closes_the_connection() -> None:
    async def cancelled(model: OpenAI, server: ProtocolServer) -> None:
        task = asyncio.create_task(model.complete(request()))
        await asyncio.to_thread(server.arrived.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.left.wait, 5)
        await model.close()

    with ProtocolServer(hang()) as server:
        asyncio.run(cancelled(backend(server, timeout=30.0), server))


def test_a_slow_answer_is_waited_for() -> None:
    with ProtocolServer(slow(0.05, GOOD)) as server:
        (done,) = ask(backend(server), request())
    assert done.text == GOOD


def test_nobody_listening_is_unavailable() -> None:
    with ProtocolServer(good(GOOD)) as server:
        model = backend(server)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        ask(model, request())


def test_a_redirect_is_not_followed_with_the_key() -> None:
    with ProtocolServer(good(GOOD)) as other:
        wrong = failure(redirect(f"{other.base_url}/chat/completions"))
    assert "redirect" in str(wrong)
    assert other.seen == []


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_the_key_is_in_no_error_log_or_repr(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = failure(error(status, f"Incorrect API key provided: {CANARY}."))
    shown = "".join(traceback.format_exception(wrong))
    assert "[key]" in str(wrong)
    assert wrong.__cause__ is None
    assert wrong.__context__ is None
    assert CANARY not in shown
    assert CANARY not in caplog.text
    assert not [line for line in caplog.records if line.levelno >= logging.ERROR]
    with ProtocolServer(good(GOOD)) as server:
        assert CANARY not in repr(backend(server))


def test_a_loopback_server_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"x-mine: {CANARY}")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with ProtocolServer(good(GOOD)) as server:
        ask(backend(server, key=""), request())
    assert server.seen[0].headers["authorization"] == "Bearer none"
    assert CANARY not in json.dumps(dict(server.seen[0].headers))


def test_mistakes_in_the_fleet_file_are_named_without_the_secret() -> None:
    with pytest.raises(FleetError, match="credentials") as caught:
        OpenAI("m", "big", CANARY, f"http://user:{CANARY}@127.0.0.1/v1", None, 5.0)
    assert CANARY not in str(caught.value)
    with pytest.raises(FleetError, match="http"):
        OpenAI("m", "big", CANARY, "ftp://127.0.0.1", None, 5.0)
    with pytest.raises(FleetError, match="strategy"):
        OpenAI("m", "big", CANARY, None, "guess", 5.0)
    with pytest.raises(MissingKey, match="big"):
        OpenAI("m", "big", "", None, None, 5.0)
    with pytest.raises(FleetError, match="characters") as odd:
        OpenAI("m", "big", f"{CANARY}\n", None, None, 5.0)
    assert CANARY not in str(odd.value)


def test_a_missing_sdk_names_the_extra() -> None:
    with pytest.raises(MissingExtra, match=r"agentfleet\[frontier\]"):
        require("no_such_sdk")


def test_what_a_picky_endpoint_gets() -> None:
    azure = OpenAI("o3-mini", "big", CANARY, "https://x.openai.azure.com/openai/v1", None, 5.0)
    assert azure.picky
    assert not azure.hosted
    assert OpenAI("m", "big", CANARY, None, None, 5.0).hosted
    assert not OpenAI("m", "big", CANARY, "https://api.openai.com.example.org/v1", None, 5.0).picky


def test_parameters_of_the_rung_are_sent() -> None:
    with ProtocolServer(good(GOOD)) as server:
        params = {"seed": 7, "top_k": 3, "temperature": None, "max_tokens": 9}
        ask(backend(server), request(params=params))
        with pytest.raises(FleetError, match="stream"):
            ask(backend(server), request(params={"stream": True}))
    body = server.seen[0].body
    assert (body["seed"], body["top_k"], body["max_tokens"]) == (7, 3, 9)
    assert "temperature" not in body


def test_text_that_cannot_be_encoded_and_empty_turns_are_sent() -> None:
    notes = (Note("re-ask", "", "it is empty"),)
    odd = Request(Prompt("Read.", (Block("email", "a\ud800b"),), notes=notes), output_of(Order, where="test"))
    with ProtocolServer(good(GOOD)) as server:
        ask(backend(server), odd)
    texts = [message["content"] for message in server.seen[0].body["messages"]]
    assert "a\ufffdb" in texts[1]
    assert texts[2] == "(empty)"


def test_each_event_loop_gets_its_own_client() -> None:
    with ProtocolServer(good(GOOD)) as server:
        model = backend(server)
        first = asyncio.run(model.complete(request()))
        second = asyncio.run(model.complete(request()))
    assert first.text == second.text == GOOD


# -- the Responses API ---------------------------------------------------------------------------------------------------


def test_responses_send_a_strict_schema_and_store_nothing() -> None:
    with ProtocolServer(good(GOOD)) as server:
        (done,) = ask(backend(server, strategy="responses"), request(idempotency_key="run-1/order", max_tokens=99))
    (sent,) = server.seen
    form = sent.body["text"]["format"]
    assert (sent.path, form["type"], form["strict"]) == ("/v1/responses", "json_schema", True)
    assert form["schema"]["required"] == ["order_id", "amount", "note"]
    assert (sent.body["store"], sent.body["max_output_tokens"], sent.body["temperature"]) == (False, 99, 0.0)
    assert [turn["role"] for turn in sent.body["input"]] == ["system", "user"]
    assert sent.headers["idempotency-key"] == "run-1/order"
    assert done.text == GOOD
    assert done.usage == Usage(input_tokens=11, output_tokens=7, cached_tokens=3, reasoning_tokens=2)


def test_responses_for_text_and_for_closed_answers() -> None:
    with ProtocolServer(good("plain words"), good('"refund"')) as server:
        text, closed = ask(backend(server, strategy="responses"), request(str), request(Literal["refund", "other"]))
    assert "text" not in server.seen[0].body and text.text == "plain words"
    assert closed.text in ('"refund"', "refund")


def test_responses_take_the_rungs_parameters() -> None:
    with ProtocolServer(good(GOOD)) as server:
        params = {"reasoning": {"effort": "low"}, "store": True, "temperature": None, "text": {"verbosity": "low"}}
        ask(backend(server, strategy="responses"), request(params=params))
    body = server.seen[0].body
    assert (body["reasoning"], body["store"], body["text"]["verbosity"]) == ({"effort": "low"}, True, "low")
    assert body["text"]["format"]["strict"] is True and "temperature" not in body


def test_responses_that_were_cut_declined_or_failed() -> None:
    failed = Reply(body='{"id": "r", "object": "response", "status": "failed", "output": [], "error": {"code": "x"}}')
    filtered = Reply(
        body='{"id": "r", "object": "response", "status": "incomplete", "output": [], '
        '"incomplete_details": {"reason": "content_filter"}}'
    )
    with ProtocolServer(truncated('{"ord'), refusal("No."), filtered, failed) as server:
        model = backend(server, strategy="responses")
        cut, declined, stopped = ask(model, request(), request(), request())
        with pytest.raises(Unavailable, match="not a completion"):
            ask(model, request())
    assert (cut.finish, cut.text) == ("length", '{"ord')
    assert (declined.finish, declined.text) == ("refusal", "No.")
    assert stopped.finish == "refusal"


@pytest.mark.parametrize("strategy", ["native", "tools", "responses"])
def test_what_is_meant_for_backends_of_this_process_is_not_sent(strategy: str) -> None:
    with ProtocolServer(good(GOOD)) as server:
        ask(backend(server, strategy=strategy), request(params={"path": "sub/order", "field_shares": True}))
    assert not {"path", "field_shares"} & server.seen[0].body.keys()


@pytest.mark.parametrize("strategy", ["native", "tools", "json", "plain", "responses"])
def test_what_a_backend_keeps_of_an_output_is_neither_changed_nor_mixed_up(strategy: str) -> None:
    order, numbers = request(), request(list[int])
    with ProtocolServer(good(GOOD)) as server:
        ask(backend(server, strategy=strategy), order, numbers, order, numbers)
    first, second, third, fourth = (json.dumps(seen.body, sort_keys=True) for seen in server.seen)
    assert (first, second) == (third, fourth) and first != second
