"""The anthropic backend against a real loopback server: what stands on the wire, what comes back, what goes wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from servers.protocol import ProtocolServer, Reply, error, good, hang, malformed, page, refusal, truncated

from agentfleet.backends.anthropic import Anthropic
from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.errors import BackendError, CallTimeout, Unavailable
from agentfleet.prompt import Block, Note, Prompt
from agentfleet.schema import output_of

pytestmark = pytest.mark.server

CANARY = "sk-ant-canary-7f3a9b1c5d"
GOOD = '{"order_id":"AB-1","amount":2.5}'


class Order(BaseModel):
    order_id: str
    amount: float


def request(annotation: Any = Order, **kwargs: Any) -> Request:
    output = output_of(annotation, where="test", closed=annotation not in (Order, str))
    notes = (Note("re-ask", "[]", "not an object"),)
    return Request(Prompt("Read the order.", (Block("email", "AB-1"),), notes=notes), output, skill="order", **kwargs)


def ask(server: ProtocolServer, *requests: Request, strategy: str | None = None, key: str = CANARY) -> list[Completion]:
    async def all_of_them() -> list[Completion]:
        model = Anthropic("claude-x", "big", key, server.origin, strategy, 5.0)
        try:
            return [await model.complete(one) for one in requests]
        finally:
            await model.close()

    return asyncio.run(all_of_them())


def failure(reply: Reply) -> BackendError:
    with ProtocolServer(reply) as server, pytest.raises(BackendError) as caught:
        ask(server, request())
    return caught.value


def test_a_strict_tool_is_forced_by_default() -> None:
    with ProtocolServer(good(GOOD)) as server:
        (done,) = ask(server, request(idempotency_key="run-1/order"))
    sent = server.seen[0]
    (tool,) = sent.body["tools"]
    assert tool["strict"] is True
    assert tool["input_schema"]["required"] == ["order_id", "amount"]
    assert tool["input_schema"]["additionalProperties"] is False
    assert sent.body["tool_choice"]["name"] == tool["name"]
    assert sent.body["system"].startswith("Read the order.")
    assert [message["role"] for message in sent.body["messages"]] == ["user", "assistant", "user"]
    assert "temperature" not in sent.body
    assert CANARY in sent.headers.get("authorization", "") + sent.headers.get("x-api-key", "")
    assert sent.headers["idempotency-key"] == "run-1/order"
    assert json.loads(done.text) == json.loads(GOOD)


def test_native_strategy_sends_output_config_and_no_schema_in_the_prompt() -> None:
    with ProtocolServer(good('"refund"')) as server:
        (done,) = ask(server, request(Literal["refund", "other"]), strategy="native")
    body = server.seen[0].body
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert body["output_config"]["format"]["schema"]["required"] == ["answer"]
    assert "tools" not in body
    assert "schema" not in body["system"]
    assert done.text in ('"refund"', "refund")


@pytest.mark.parametrize("strategy", ["json", "plain"])
def test_without_a_constraint_the_prompt_shows_the_schema(strategy: str) -> None:
    with ProtocolServer(good(f"```json\n{GOOD}\n```")) as server:
        (done,) = ask(server, request(), strategy=strategy)
    assert "JSON Schema" in server.seen[0].body["system"]
    assert "genius" not in server.seen[0].body["system"]
    assert done.text == GOOD


def test_text_goes_without_a_schema() -> None:
    with ProtocolServer(good("plain words")) as server:
        (done,) = ask(server, request(str))
    assert "tools" not in server.seen[0].body
    assert server.seen[0].body["system"].startswith("Read the order.")
    assert done.text == "plain words"


def test_cached_input_is_added_to_the_input() -> None:
    with ProtocolServer(good(GOOD)) as server:
        (done,) = ask(server, request())
    assert done.usage == Usage(input_tokens=14, output_tokens=7, cached_tokens=3, reasoning_tokens=2)


@pytest.mark.parametrize("usage", [None, "many", {"input": "x", "output": -1, "cached": None, "reasoning": 4}])
def test_usage_that_is_absent_or_wrong_counts_as_nothing(usage: Any) -> None:
    with ProtocolServer(good(GOOD, usage=usage)) as server:
        (done,) = ask(server, request())
    assert done.usage == Usage()


@pytest.mark.parametrize("strategy", ["tools", "native"])
def test_broken_truncated_and_refused_answers_keep_their_text(strategy: str) -> None:
    with ProtocolServer(good('{"order_id":1}'), truncated('{"ord'), refusal("No.")) as server:
        broken, cut, declined = ask(server, request(), request(), request(), strategy=strategy)
    assert json.loads(broken.text) == {"order_id": 1}
    assert broken.usage.output_tokens == 7
    assert (cut.finish, cut.text) == ("length", '{"ord')
    assert (declined.finish, declined.text) == ("refusal", "No.")
    assert len(server.seen) == 3


@pytest.mark.parametrize("status", [429, 500, 529])
def test_busy_and_broken_servers_are_unavailable_after_one_request(status: int) -> None:
    with ProtocolServer(error(status, retry_after="1.5"), good(GOOD)) as server, pytest.raises(Unavailable) as caught:
        ask(server, request())
    assert caught.value.retry_after == 1.5
    assert len(server.seen) == 1


@pytest.mark.parametrize("reply", [malformed(), page(), Reply(body="[]")])
def test_what_is_no_completion_is_unavailable(reply: Reply) -> None:
    assert isinstance(failure(reply), Unavailable)


def test_a_hanging_server_times_out() -> None:
    with ProtocolServer(hang()) as server:
        with pytest.raises(CallTimeout):
            ask(server, request(timeout=0.2))
        assert server.left.wait(5)


@pytest.mark.parametrize("status", [401, 529])
def test_the_key_is_in_no_error_or_log(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = failure(error(status, f"invalid x-api-key {CANARY}"))
    assert "[key]" in str(wrong)
    assert wrong.__context__ is None
    assert CANARY not in "".join(traceback.format_exception(wrong))
    assert CANARY not in caplog.text


def test_the_environment_lends_no_credentials_to_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", f"x-mine: {CANARY}")
    with ProtocolServer(good(GOOD)) as server:
        ask(server, request(), key="")
    assert CANARY not in json.dumps(dict(server.seen[0].headers))


def test_a_base_url_may_end_in_v1_and_temperature_is_sent_when_named() -> None:
    async def once(server: ProtocolServer) -> Completion:
        model = Anthropic("claude-x", "big", CANARY, server.base_url, None, 5.0)
        return await model.complete(request(params={"temperature": 0.5}))

    with ProtocolServer(good(GOOD)) as server:
        asyncio.run(once(server))
    assert server.seen[0].path == "/v1/messages"
    assert server.seen[0].body["temperature"] == 0.5
