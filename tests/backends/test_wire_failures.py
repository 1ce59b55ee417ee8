"""Every way in which a server can be bad, for each protocol: the right outcome, no crash, no key anywhere."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel
from servers.protocol import (
    ProtocolServer,
    Reply,
    cut,
    drip,
    error,
    good,
    hang,
    huge,
    malformed,
    page,
    refusal,
    truncated,
    twice,
)

from agentfleet.backends.anthropic import Anthropic
from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.backends.instructed import Instructed
from agentfleet.backends.openai import OpenAI
from agentfleet.errors import BackendError, CallTimeout, Unavailable
from agentfleet.prompt import Block, Prompt
from agentfleet.routing.ladder import Answer, Call, Judge, May, Rung, Stuck, Task, climb
from agentfleet.routing.outcome import Attempt
from agentfleet.schema import output_of

pytestmark = pytest.mark.server

CANARY = "sk-canary-55d0c1"
GOOD = '{"order_id":"AB-1","amount":2.5}'
MOST = 100_000


class Order(BaseModel):
    order_id: str
    amount: float


Open = Callable[[ProtocolServer], Instructed]

PROTOCOLS: dict[str, Open] = {
    "chat": lambda server: OpenAI("m", "big", CANARY, server.base_url, "native", 5.0, MOST),
    "chat tools": lambda server: OpenAI("m", "big", CANARY, server.base_url, "tools", 5.0, MOST),
    "responses": lambda server: OpenAI("m", "big", CANARY, server.base_url, "responses", 5.0, MOST),
    "messages": lambda server: Anthropic("m", "big", CANARY, server.origin, "native", 5.0, MOST),
    "messages tools": lambda server: Anthropic("m", "big", CANARY, server.origin, "tools", 5.0, MOST),
}


@pytest.fixture(params=PROTOCOLS)
def opened(request: pytest.FixtureRequest) -> Open:
    return PROTOCOLS[request.param]


def wanted(timeout: float = 5.0) -> Request:
    prompt = Prompt("Read the order.", (Block("email", "AB-1 for 2.50"),))
    return Request(prompt, output_of(Order, where="test"), skill="order", timeout=timeout)


async def asked(model: Instructed, request: Request) -> Completion | BackendError:
    try:
        return await model.complete(request)
    except BackendError as failure:
        return failure


def replies_to(opened: Open, *replies: Reply, server: ProtocolServer | None = None) -> list[Completion | BackendError]:
    """What one client gets for each of the replies."""

    async def main(server: ProtocolServer) -> list[Completion | BackendError]:
        model = opened(server)
        try:
            return [await asked(model, wanted()) for _ in replies]
        finally:
            await model.close()

    with server or ProtocolServer(*replies) as running:
        return asyncio.run(main(running))


def attempt_of(found: Completion | BackendError) -> Attempt:
    """What the ladder makes of it on its only rung."""
    request = wanted()
    steps = climb(Task(request.prompt, request.output, (Rung("large", "big", 1),)))
    send: Any = None
    while True:
        try:
            step = steps.send(send)
        except StopIteration as stop:
            end: Answer | Stuck = stop.value
            (attempt,) = end.attempts
            return attempt
        send = {May: "", Call: found, Judge: ""}.get(type(step))


BAD = {
    "good": (good(GOOD), "valid", None),
    "schema-violating": (good('{"order_id":"AB-1","amount":"many"}'), "invalid", None),
    "not JSON inside": (good("It is AB-1, I think."), "invalid", None),
    "NaN inside": (good('{"order_id":"AB-1","amount":NaN}'), "invalid", None),
    "infinite inside": (good('{"order_id":"AB-1","amount":1e999}'), "invalid", None),
    "truncated": (truncated('{"order_id":"AB'), "truncated", None),
    "refusal": (refusal(), "refused", None),
    "empty": (good(""), "invalid", None),
    "policy": (error(400, "no", code="content_filter"), "refused", None),
    "429 with": (error(429, retry_after="2"), "unavailable", True),
    "429 without": (error(429), "unavailable", True),
    "429 spent": (error(429, code="insufficient_quota"), "unavailable", False),
    "500": (error(500), "unavailable", True),
    "501": (error(501), "unavailable", False),
    "503 told not to": (Reply("x", status=503, headers={"x-should-retry": "false"}), "unavailable", False),
    "529": (error(529), "unavailable", True),
    "400": (error(400), "unavailable", False),
    "malformed": (malformed(), "unavailable", False),
    "page": (page(), "unavailable", False),
    "no object": (Reply(body="[]"), "unavailable", False),
    "null": (Reply(body="null"), "unavailable", False),
    "NaN outside": (Reply(body='{"id": NaN}'), "unavailable", False),
    "nested": (Reply(body="[" * 100_000), "unavailable", False),
    "keys twice outside": (twice(GOOD), "unavailable", False),
    "compressed": (Reply(body="x", headers={"content-encoding": "gzip"}), "unavailable", False),
    "nothing": (Reply(body=""), "unavailable", False),
    "cut at once": (cut(GOOD, 0), "unavailable", True),
    "cut late": (cut(GOOD, 200), "unavailable", True),
    "too long, told": (huge(50_000_000), "unavailable", False),
    "too long, untold": (huge(50_000_000, told=False), "unavailable", False),
    "too long an error": (Reply(body="x" * 2 * MOST, status=500), "unavailable", False),
}


def test_each_has_its_outcome_and_the_key_is_nowhere(
    opened: Open, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """One client and one server for all of them, so that none leaves the connection in a state that spoils the next."""
    caplog.set_level(logging.DEBUG)
    replies, shown = [reply for reply, _, _ in BAD.values()], ""
    server = ProtocolServer(*replies)
    ends = replies_to(opened, *replies, server=server)
    for (case, (_, outcome, again)), found in zip(BAD.items(), ends, strict=True):
        attempt = attempt_of(found)
        assert attempt.outcome.value == outcome, (case, found)
        assert again is None or bool(getattr(found, "retryable", False)) is again, (case, found)
        trace = "".join(traceback.format_exception(found)) if isinstance(found, BackendError) else ""
        shown += json.dumps(attempt.to_json()) + repr(found) + trace
    assert len(server.seen) == len(BAD), "neither SDK nor instructor asks again"
    keys = [seen.headers.get("authorization", seen.headers.get("x-api-key", "")) for seen in server.seen]
    assert all(key.endswith(CANARY) for key in keys)
    assert CANARY not in shown + caplog.text + "".join(capfd.readouterr())


def test_a_body_of_fifty_megabytes_is_not_read(opened: Open) -> None:
    reply = huge(50_000_000, told=False)
    server = ProtocolServer(reply)
    (found,) = replies_to(opened, reply, server=server)
    assert "longer than 100000 bytes" in str(found)
    assert server.sent < 25_000_000, "what lies in the sockets' buffers is all that was sent"


def test_an_answer_just_within_the_bound_is_read(opened: Open) -> None:
    (found,) = replies_to(opened, huge(MOST))
    assert isinstance(found, Completion)


def test_retry_after_comes_through_in_seconds_and_as_a_date(opened: Open) -> None:
    dates = ("Fri, 31 Dec 2100 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:59 GMT")
    seconds, later, past, *nonsense = replies_to(
        opened, *(error(429, retry_after=text) for text in ("2.5", *dates, "soon", "-3", "nan", ""))
    )
    assert isinstance(seconds, Unavailable) and (seconds.retry_after, seconds.status) == (2.5, 429)
    assert isinstance(later, Unavailable) and later.retry_after is not None and later.retry_after > 1e9
    assert isinstance(past, Unavailable) and past.retry_after == 0.0
    assert [one.retry_after for one in nonsense if isinstance(one, Unavailable)] == [None] * 4


@pytest.mark.parametrize("reply", [hang(), drip(GOOD, 0.01)], ids=["hang", "drip"])
def test_what_takes_too_long_ends_and_the_server_sees_it(reply: Reply, opened: Open) -> None:
    async def main(server: ProtocolServer) -> None:
        model = opened(server)
        found = await asked(model, wanted(0.3))
        assert isinstance(found, CallTimeout) and attempt_of(found).outcome.value == "timeout"
        assert await asyncio.to_thread(server.left.wait, 10), "the connection was closed"
        await model.close()

    with ProtocolServer(reply) as server:
        asyncio.run(main(server))


@pytest.mark.parametrize("reply", [hang(), drip(GOOD, 0.01)], ids=["hang", "drip"])
def test_cancelling_closes_the_connection_and_the_next_call_works(reply: Reply, opened: Open) -> None:
    async def main(server: ProtocolServer) -> None:
        model = opened(server)
        call = asyncio.create_task(model.complete(wanted()))
        assert await asyncio.to_thread(server.arrived.wait, 10)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(server.left.wait, 10)
        assert isinstance(await asked(model, wanted()), Completion)
        await model.close()

    with ProtocolServer(reply, good(GOOD)) as server:
        asyncio.run(main(server))


def test_usage_that_cannot_be_is_no_usage(opened: Open) -> None:
    wrong = {"input": float("1e99"), "output": -1, "cached": 0, "reasoning": 0}
    ends = replies_to(opened, *(good(GOOD, usage=usage) for usage in (None, "many", [1], wrong)))
    assert [one.usage for one in ends if isinstance(one, Completion)] == [Usage()] * 4


def test_wherever_a_stream_is_cut_nothing_is_taken_for_an_answer(opened: Open) -> None:
    """Every seventh of the first bytes, and each of the last forty."""
    places = [*range(0, 250, 7), *range(-40, 0)]
    ends = replies_to(opened, *(cut(GOOD, place) for place in places))
    assert [type(one) for one in ends] == [Unavailable] * len(places)
