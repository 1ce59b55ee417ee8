"""A fleet's `decisions` model that is our own endpoint: the same types and shares as the model in this process gives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from serve.endpoint import Endpoint

from agentfleet import Session, ask, classify
from agentfleet.backends.backend import Request
from agentfleet.backends.decisions import Decisions
from agentfleet.backends.llama_cpp import LlamaCpp, embedded_path
from agentfleet.fleet.model import Fleet, Model
from agentfleet.ledger.open import open_ledger
from agentfleet.prompt import Block, Prompt
from agentfleet.schema import output_of

pytestmark = [pytest.mark.real_model, pytest.mark.server]


class Sorted(BaseModel):
    urgent: bool
    team: Literal["billing", "travel"] | None
    stars: Literal[1, 2, 3]


@classify(tier="small")
def sort_mail(mail: str) -> Sorted:
    """Sort the mail."""
    return ask(mail)


@classify(tier="small")
def team(state: str) -> Literal["billing", "travel"]:
    """Who answers it?"""
    return ask(state)


@pytest.fixture
def session(endpoint: Endpoint, tmp_path: Path) -> Iterator[Session]:
    entry = Model(name="judge", backend="decisions", model="smollm2", base_url=endpoint.url, tier="small")
    found = Session(Fleet([entry]), open_ledger(":memory:", tmp_path), root=tmp_path)
    yield found
    found.close()


def test_many_fields_are_decided_in_one_call(session: Session, endpoint: Endpoint) -> None:
    before = endpoint.load()["answered"]
    run = session.run(sort_mail, {"mail": "I was charged twice!"})
    assert isinstance(run.value, Sorted)
    ((_, attempt),) = run.attempts
    assert attempt.outcome.value == "valid"
    assert attempt.distribution is not None and sum(attempt.distribution.values()) == pytest.approx(1)
    assert endpoint.load()["answered"] == before + 1


def test_one_question_has_the_shares_of_the_model_in_this_process(session: Session) -> None:
    text = "My train to Rome was late."
    run = session.run(team, {"state": text})
    ((_, attempt),) = run.attempts
    local = LlamaCpp(embedded_path(), "local", threads=1)
    output = output_of(Literal["billing", "travel"], where="test", closed=True)
    prompt = Prompt("Who answers it?", (Block("state", text),), (("billing", ""), ("travel", "")))
    try:
        here = asyncio.run(local.complete(Request(prompt, output)))
    finally:
        local.shut()
    assert attempt.distribution == pytest.approx(here.distribution, abs=1e-3)


def test_a_state_that_is_too_long_is_an_error_that_says_how_much(endpoint: Endpoint) -> None:
    async def asked() -> Any:
        backend = Decisions("smollm2", "judge", "", endpoint.url)
        output = output_of(bool, where="test", closed=True)
        try:
            return await backend.complete(Request(Prompt("Late?", (Block("state", "word " * 6000),)), output))
        finally:
            await backend.close()

    with pytest.raises(Exception, match=r"answered 413: .* are \d+ more than the 4096 of smollm2"):
        asyncio.run(asked())
