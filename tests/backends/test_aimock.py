"""The hosted backends against aimock, a server of OpenAI's and Anthropic's protocols that we did not write."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from servers.aimock import Aimock, NotHere, failed, said

from agentfleet import Fleet, Model, ask, extract, graph
from agentfleet.backends import streamed
from agentfleet.backends.anthropic import Anthropic
from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.backends.instructed import Instructed
from agentfleet.backends.openai import OpenAI
from agentfleet.backends.strict import ANSWER
from agentfleet.errors import Unavailable
from agentfleet.ledger.open import open_ledger
from agentfleet.prompt import Block, Prompt
from agentfleet.routing import retry
from agentfleet.runtime.events import Writing
from agentfleet.runtime.session import Session
from agentfleet.schema import output_of

pytestmark = pytest.mark.server

CANARY = "sk-canary-5501b7"
GOOD = '{"order_id":"AB-1","amount":2.5}'
BAD = '{"order_id":"AB-1","amount":"many"}'


class Order(BaseModel):
    order_id: str
    amount: float


@extract(tier="large")
def order(text: str) -> Order:
    """What was ordered?"""
    return ask(text)


@graph
def desk(text: str) -> float:
    return order(text).amount


@dataclass(frozen=True)
class Way:
    """One protocol and the strategy by which the answer is held to its schema."""

    backend: Literal["openai", "anthropic"]
    strategy: Literal["native", "tools", "responses"]
    path: str

    def url(self, server: Aimock) -> str:
        return server.origin if self.backend == "anthropic" else server.base_url

    def said(self, text: str, **more: Any) -> dict[str, Any]:
        return said(text, tool=ANSWER if self.strategy == "tools" else "", **more)

    @property
    def kind(self) -> type[Instructed]:
        return Anthropic if self.backend == "anthropic" else OpenAI

    def open(self, server: Aimock, model: str) -> Instructed:
        return self.kind(model, "big", CANARY, self.url(server), self.strategy, 30.0)


WAYS = {
    "chat": Way("openai", "native", "/v1/chat/completions"),
    "chat tools": Way("openai", "tools", "/v1/chat/completions"),
    "responses": Way("openai", "responses", "/v1/responses"),
    "messages": Way("anthropic", "native", "/v1/messages"),
    "messages tools": Way("anthropic", "tools", "/v1/messages"),
}
GROWING = [name for name, way in WAYS.items() if way.strategy in way.kind.grows]


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    try:
        with Aimock(tmp_path_factory.mktemp("aimock")) as server:
            yield server
    except NotHere as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST", 0.001)
    monkeypatch.setattr(streamed, "PACE", 0.0)
    monkeypatch.setenv("A_KEY", CANARY)


growing = pytest.mark.parametrize("way", [WAYS[name] for name in GROWING], ids=GROWING)

Opened = Callable[[Way, str], Session]


@pytest.fixture
def opened(aimock: Aimock, tmp_path: Path) -> Iterator[Opened]:
    made: list[Session] = []

    def open_session(way: Way, model: str) -> Session:
        given: dict[str, Any] = {"backend": way.backend, "strategy": way.strategy, "base_url": way.url(aimock)}
        one = Model(name="a", model=model, tier="large", key="env:A_KEY", timeout=30.0, sees="internal", **given)
        made.append(Session(Fleet([one]), open_ledger(":memory:", tmp_path), tmp_path))
        return made[-1]

    yield open_session
    for session in made:
        session.close()


def answer(way: Way, server: Aimock, model: str, watch: Callable[[Any], None] | None = None) -> Completion:
    prompt = Prompt("Read the order.", (Block("email", "AB-1 for 2.50"),))
    request = Request(prompt, output_of(Order, where="test"), skill="order", timeout=30.0, listen=watch)

    async def main() -> Completion:
        backend = way.open(server, model)
        try:
            return await backend.complete(request)
        finally:
            await backend.close()

    return asyncio.run(main())


def outcomes(run: Any) -> list[str]:
    return [attempt.outcome.value for _, attempt in run.attempts]


def test_a_good_answer_comes_with_its_usage(way: Way, aimock: Aimock) -> None:
    model = aimock.script(way.said(GOOD))
    done = answer(way, aimock, model)
    assert json.loads(done.text) == json.loads(GOOD)
    assert (done.finish, done.usage) == ("stop", Usage(input_tokens=11, output_tokens=7))
    (sent,) = aimock.seen(model)
    assert (sent["path"], sent["response"]["status"]) == (way.path, 200)


def test_the_strict_schema_reaches_the_server(aimock: Aimock) -> None:
    model = aimock.script(said(GOOD))
    answer(WAYS["chat"], aimock, model)
    (sent,) = aimock.seen(model)
    form = sent["body"]["response_format"]
    assert form["type"] == "json_schema" and form["json_schema"]["strict"] is True
    assert form["json_schema"]["schema"]["required"] == ["order_id", "amount"]


def test_an_answer_that_was_cut_off_says_so(way: Way, aimock: Aimock) -> None:
    done = answer(way, aimock, aimock.script(way.said(GOOD, finish="length")))
    assert done.finish == "length"


@pytest.mark.parametrize("status", [429, 500, 529])
def test_an_error_status_is_unavailable_after_one_request(status: int, way: Way, aimock: Aimock) -> None:
    model = aimock.script(failed(status, f"bad key {CANARY}", retry_after=2), way.said(GOOD))
    with pytest.raises(Unavailable, match=str(status)) as caught:
        answer(way, aimock, model)
    assert caught.value.retry_after == (2.0 if status == 429 else None)
    assert CANARY not in str(caught.value) and len(aimock.seen(model)) == 1


@pytest.mark.parametrize("fault", ["dropRate", "malformedRate", "disconnectRate", "rateLimitRate"])
def test_injected_chaos_is_an_outage_and_no_answer(fault: str, way: Way, aimock: Aimock) -> None:
    model = aimock.script({**way.said(GOOD), "chaos": {fault: 1}})
    with pytest.raises(Unavailable) as caught:
        answer(way, aimock, model)
    # What is no JSON is no server of that protocol, and would be none the next time.
    assert caught.value.retryable == (fault != "malformedRate")


@growing
def test_a_watched_answer_grows_and_ends_as_an_unwatched_one(way: Way, aimock: Aimock) -> None:
    model = aimock.script(way.said(GOOD), way.said(GOOD))
    grown: list[Any] = []
    watched, plain = answer(way, aimock, model, grown.append), answer(way, aimock, model)
    assert json.loads(watched.text) == json.loads(plain.text) == json.loads(GOOD)
    assert (watched.finish, watched.usage) == (plain.finish, plain.usage)
    assert [bool(sent["body"].get("stream")) for sent in aimock.seen(model)] == [True, False]
    assert len(grown) > 2 and grown[-1] == json.loads(GOOD)
    assert all(before != after for before, after in itertools.pairwise(grown))


@growing
@pytest.mark.parametrize("pieces", [1, 6])
def test_a_stream_that_breaks_off_is_no_answer(pieces: int, way: Way, aimock: Aimock) -> None:
    model = aimock.script({**way.said(GOOD), "truncateAfterChunks": pieces})
    with pytest.raises(Unavailable) as caught:
        answer(way, aimock, model, lambda _: None)
    assert caught.value.retryable


def test_a_run_asks_again_after_an_answer_that_breaks_the_schema(way: Way, aimock: Aimock, opened: Opened) -> None:
    model = aimock.script(way.said(BAD), way.said(GOOD))
    run = opened(way, model).run(desk, {"text": "AB-1 for 2.50"})
    assert (run.status, run.value, outcomes(run)) == ("done", 2.5, ["invalid", "valid"])
    first, second = aimock.seen(model)
    problem = run.attempts[0][1].problem
    assert problem and problem not in words(first) and problem in words(second)
    assert [attempt.usage.input_tokens for _, attempt in run.attempts] == [11, 11]


def words(sent: dict[str, Any]) -> str:
    """All that the messages of a request say."""
    return json.dumps(sent["body"]["messages"], ensure_ascii=False).replace('\\"', '"')


def test_a_run_sends_a_request_again_that_met_an_error(way: Way, aimock: Aimock, opened: Opened) -> None:
    model = aimock.script(failed(500), failed(429, retry_after=0), way.said(GOOD))
    run = opened(way, model).run(desk, {"text": "AB-1 for 2.50"})
    assert (run.value, outcomes(run)) == (2.5, ["valid"])
    sent = aimock.seen(model)
    assert [one["response"]["status"] for one in sent] == [500, 429, 200]
    assert len({one["headers"]["idempotency-key"] for one in sent}) == 1


@growing
def test_a_run_that_is_watched_tells_how_the_answer_grows(way: Way, aimock: Aimock, opened: Opened) -> None:
    async def main(session: Session) -> list[Any]:
        return [event async for event in session.stream(desk, {"text": "AB-1 for 2.50"})]

    model = aimock.script(way.said(GOOD))
    events = asyncio.run(main(opened(way, model)))
    grown = [event.value for event in events if isinstance(event, Writing)]
    assert events[-1].run.value == 2.5 and outcomes(events[-1].run) == ["valid"]
    assert len(grown) > 2 and grown[-1] == json.loads(GOOD)
