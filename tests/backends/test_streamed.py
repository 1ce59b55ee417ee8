"""Answers that are watched while a server streams them: the same result, and no stream that broke off is an answer."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel
from servers.protocol import ProtocolServer, Reply, cut, drip, error, good, refusal, truncated

from agentfleet.backends import streamed
from agentfleet.backends.anthropic import Anthropic
from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.instructed import Instructed
from agentfleet.backends.openai import OpenAI
from agentfleet.errors import BackendError, Refused, Unavailable
from agentfleet.prompt import Block, Prompt
from agentfleet.schema import Invalid, output_of

pytestmark = pytest.mark.server

GOOD = '{"order_id":"AB-1","amount":2.5}'


class Order(BaseModel):
    order_id: str
    amount: float


class Alone(BaseModel):
    answer: str


Open = Callable[[ProtocolServer], Instructed]

PROTOCOLS: dict[str, Open] = {
    "chat": lambda server: OpenAI("m", "big", "", server.base_url, "native", 5.0),
    "responses": lambda server: OpenAI("m", "big", "", server.base_url, "responses", 5.0),
    "messages": lambda server: Anthropic("m", "big", "k", server.origin, "native", 5.0),
    "messages tools": lambda server: Anthropic("m", "big", "k", server.origin, "tools", 5.0),
}


@pytest.fixture(params=PROTOCOLS)
def opened(request: pytest.FixtureRequest) -> Open:
    return PROTOCOLS[request.param]


@pytest.fixture(autouse=True)
def every_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "PACE", 0.0)


def wanted(watch: Callable[[Any], None] | None, annotation: Any = Order) -> Request:
    prompt = Prompt("Read the order.", (Block("email", "AB-1 for 2.50"),))
    return Request(prompt, output_of(annotation, where="test"), skill="order", timeout=5.0, listen=watch)


def ends(opened: Open, requests: list[Request], *replies: Reply) -> tuple[list[Any], ProtocolServer]:
    async def main(server: ProtocolServer) -> list[Any]:
        model = opened(server)
        found: list[Any] = []
        for request in requests:
            try:
                found.append(await model.complete(request))
            except BackendError as failure:
                found.append(failure)
        await model.close()
        return found

    with ProtocolServer(*replies) as server:
        return asyncio.run(main(server)), server


def test_a_watched_answer_grows_and_ends_as_an_unwatched_one(opened: Open) -> None:
    seen: list[Any] = []
    (watched, plain), server = ends(opened, [wanted(seen.append), wanted(None)], good(GOOD))
    assert (watched.text, watched.finish, watched.usage) == (plain.text, plain.finish, plain.usage)
    assert seen[0] == {} and seen[-1] == json.loads(GOOD) and {"order_id": "AB"} in seen
    assert all(before != after for before, after in itertools.pairwise(seen)), "nothing is told twice"
    assert [bool(one.body.get("stream")) for one in server.seen] == [True, False]
    for one in server.seen:
        one.body.pop("stream", None), one.body.pop("stream_options", None)
    first, second = (dict(one.body) for one in server.seen)
    assert first.pop("tool_choice", {}).get("name") == second.pop("tool_choice", {}).get("name")
    assert first == second, "watching changes nothing else on the wire"


def test_text_and_wrapped_lists_grow_too(opened: Open) -> None:
    texts: list[Any] = []
    numbers: list[Any] = []
    requests = [wanted(texts.append, str), wanted(numbers.append, list[int])]
    (text, listed), _ = ends(opened, requests, good("plain words"), good("[1,2,3]"))
    assert text.text == "plain words" and texts == ["plain", "plain word", "plain words"]
    assert json.loads(listed.text) == [1, 2, 3] and numbers[-1] == [1, 2, 3] and len(numbers) > 1


def test_a_field_named_like_the_wrapper_is_nothing_special(opened: Open) -> None:
    seen: list[Any] = []
    found, _ = ends(opened, [wanted(seen.append, Alone), wanted(None, Alone)], good('{"answer":"x"}'))
    output = output_of(Alone, where="test")
    assert [output.parse(one.text) for one in found] == [Alone(answer="x")] * 2 and seen[-1] == {"answer": "x"}


def test_cut_and_declined_answers_keep_their_finish(opened: Open) -> None:
    found, _ = ends(opened, [wanted(lambda _: None)] * 2, truncated('{"ord'), refusal("No."))
    assert [(one.finish, one.text) for one in found] == [("length", '{"ord'), ("refusal", "No.")]


def test_what_no_json_parser_can_see_any_more_is_still_seen(opened: Open) -> None:
    twice = '{"order_id":"AB-1","amount":1,"amount":2}'
    (found,), _ = ends(opened, [wanted(lambda _: None)], good(twice))
    with pytest.raises(Invalid, match="twice"):
        wanted(None).output.parse(found.text)


def test_a_stream_that_breaks_anywhere_is_no_answer(opened: Open) -> None:
    places = [*range(0, 250, 11), *range(-300, 0, 7)]
    found, server = ends(opened, [wanted(lambda _: None)] * len(places), *(cut(GOOD, place) for place in places))
    assert [type(one) for one in found] == [Unavailable] * len(places)
    assert all(one.retryable for one in found) and len(server.seen) == len(places)


def test_a_stream_that_ends_politely_but_too_early_is_no_answer_either(opened: Open) -> None:
    """As a proxy ends it whose own server is gone: the HTTP is whole, the answer is not."""
    whole: list[str] = []

    async def record(server: ProtocolServer) -> None:
        import httpx2

        (path,) = [one.path for one in server.seen]
        (body,) = [one.body for one in server.seen]
        async with httpx2.AsyncClient() as client:
            whole.append((await client.post(server.origin + path, json=body)).text)

    async def main(server: ProtocolServer) -> None:
        model = opened(server)
        await model.complete(wanted(lambda _: None))
        await model.close()
        await record(server)

    with ProtocolServer(good(GOOD)) as server:
        asyncio.run(main(server))
    stop = {"content-type": "text/event-stream"}
    places = range(0, len(whole[0]), 61)
    replies = [Reply(body=whole[0][:place], headers=stop) for place in places]
    found, _ = ends(opened, [wanted(lambda _: None)] * len(replies), *replies)
    taken = [one.text for one in found if isinstance(one, Completion)]
    assert all(json.loads(text) == json.loads(GOOD) for text in taken), "the end was seen"
    assert len(taken) < len(replies) / 4
    assert all(isinstance(one, Unavailable) for one in found if not isinstance(one, Completion))


@pytest.mark.parametrize(("code", "kind"), [("overloaded_error", Unavailable), ("content_filter", Refused)])
def test_an_error_before_the_stream_is_the_same_as_ever(code: str, kind: type, opened: Open) -> None:
    (found,), _ = ends(opened, [wanted(lambda _: None)], error(529 if kind is Unavailable else 400, code=code))
    assert type(found) is kind


def test_an_error_in_the_middle_is_an_outage(opened: Open) -> None:
    body = 'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}\n\n'
    reply = Reply(body=body, headers={"content-type": "text/event-stream"})
    (found,), _ = ends(opened, [wanted(lambda _: None)], reply)
    assert isinstance(found, Unavailable) and found.retryable, found


def test_a_body_that_is_no_stream_is_no_answer(opened: Open) -> None:
    replies = [
        Reply(body="<html>", headers={"content-type": "text/html"}),
        Reply(body="{}"),
        Reply(body="data: nonsense\n\n", headers={"content-type": "text/event-stream"}),
        Reply(body="data: [1]\n\ndata: null\n\n", headers={"content-type": "text/event-stream"}),
    ]
    found, _ = ends(opened, [wanted(lambda _: None)] * len(replies), *replies)
    assert [isinstance(one, BackendError) for one in found] == [True] * len(replies)


def test_cancelling_a_stream_closes_it(opened: Open) -> None:
    async def main(server: ProtocolServer) -> None:
        begun = asyncio.Event()
        model = opened(server)
        call = asyncio.create_task(model.complete(wanted(lambda _: begun.set())))
        await asyncio.wait_for(begun.wait(), 30)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(server.left.wait, 10)
        await model.close()

    with ProtocolServer(drip(GOOD * 20, 0.001)) as server:
        asyncio.run(main(server))
