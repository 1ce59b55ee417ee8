"""Recorded completions: by request, in order, from a file; and what happens when there is none."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.backends.replay import Replay, record, request_key
from agentfleet.errors import BackendError, FleetError, Unavailable
from agentfleet.prompt import Block, Prompt
from agentfleet.schema import output_of

DONE = Completion("7", "m", usage=Usage(3, 1), distribution={"7": 1.0})


def request(text: str = "seven", key: str = "") -> Request:
    return Request(
        Prompt("Read the number.", (Block("text", text),)), output_of(int, where="test"), idempotency_key=key
    )


def test_a_sequence_is_given_in_order_and_ends() -> None:
    model = Replay([DONE, Unavailable("away", 2.0)])
    assert asyncio.run(model.complete(request())) is DONE
    with pytest.raises(Unavailable):
        asyncio.run(model.complete(request()))
    with pytest.raises(BackendError, match="used up at call 3"):
        asyncio.run(model.complete(request()))
    assert len(model.requests) == 3


def test_a_request_is_known_by_what_the_answer_depends_on() -> None:
    assert request_key(request()) == request_key(request(key="another"))
    assert request_key(request()) != request_key(request("eight"))
    model = Replay({request_key(request()): DONE})
    assert asyncio.run(model.complete(request(key="x"))) is DONE
    with pytest.raises(BackendError, match="nothing recorded"):
        asyncio.run(model.complete(request("eight")))


def test_a_recording_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text(record(request(), DONE) + "\n\n", encoding="utf-8")
    assert asyncio.run(Replay.load(path).complete(request())) == DONE
    path.write_text('{"key": "x"}\n', encoding="utf-8")
    with pytest.raises(FleetError, match="line 1"):
        Replay.load(path)
