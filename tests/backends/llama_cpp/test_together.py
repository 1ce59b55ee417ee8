"""Several requests at once: each gets its own valid answer, and what fails in one does not touch the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.llama_cpp import LlamaCpp
from agentfleet.backends.llama_cpp import together as module
from agentfleet.backends.llama_cpp.together import AT_ONCE, Together
from agentfleet.errors import BackendError, CallTimeout
from agentfleet.schema import Output

pytestmark = pytest.mark.real_model


class Name(BaseModel):
    name: Annotated[str, Field(max_length=16)]
    number: Annotated[int, Field(ge=0, le=9)]


@pytest.fixture
def widest(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many answers each evaluation was for."""
    seen: list[int] = []
    real = Together.step

    def step(self: Together) -> None:
        seen.append(len(self.lines))
        real(self)

    monkeypatch.setattr(module.Together, "step", step)
    yield seen


def at_once(engine: LlamaCpp, requests: list[Request]) -> list[Completion | BaseException]:
    async def main() -> list[Completion | BaseException]:
        return await asyncio.gather(*map(engine.complete, requests), return_exceptions=True)

    engine.load()
    return asyncio.run(main())


def test_more_than_fit_are_all_answered(
    engine: LlamaCpp, request_for: Callable[..., Request], widest: list[int]
) -> None:
    requests = [request_for(f"Mail {i}: {i} pans, please.", Name, max_tokens=60) for i in range(AT_ONCE + 4)]
    for done in at_once(engine, requests):
        assert isinstance(done, Completion)
        Name.model_validate_json(done.text)
    assert 2 <= max(widest) <= AT_ONCE


def test_one_that_fails_does_not_touch_the_others(
    engine: LlamaCpp, request_for: Callable[..., Request], widest: list[int]
) -> None:
    good = [request_for(f"Mail {i}", Name, max_tokens=60) for i in range(4)]
    bad = replace(good[0], output=Output("json", dict, {"enum": []}))
    late = request_for("word " * 700, Name, timeout=0.001, max_tokens=60)
    found: list[Any] = at_once(engine, [good[0], good[1], bad, late, good[2], good[3]])
    assert isinstance(found[2], BackendError)
    assert isinstance(found[3], CallTimeout)
    for done in (found[0], found[1], found[4], found[5]):
        Name.model_validate_json(done.text)
    assert max(widest) >= 2


def test_decisions_and_texts_wait_their_turn_among_them(engine: LlamaCpp, request_for: Callable[..., Request]) -> None:
    requests = [
        request_for("Mail 1", Name, max_tokens=60),
        request_for("Mail 2", str, max_tokens=5),
        request_for("Mail 3", bool, closed=True),
        request_for("Mail 4", Name, max_tokens=60),
        request_for("Mail 5", Name, max_tokens=60),
    ]
    found: list[Any] = at_once(engine, requests)
    for index in (0, 3, 4):
        Name.model_validate_json(found[index].text)
    assert found[1].usage.output_tokens <= 5
    assert found[2].distribution is not None


def test_large_prompts_are_not_begun_before_there_is_room(
    engine: LlamaCpp, request_for: Callable[..., Request], widest: list[int]
) -> None:
    requests = [request_for(f"{i} " + "word " * 500, Name, max_tokens=400) for i in range(4)]
    for done in at_once(engine, requests):
        assert isinstance(done, Completion)
        Name.model_validate_json(done.text)
    assert max(widest) <= 2


def test_after_them_a_single_call_answers_as_before(engine: LlamaCpp, request_for: Callable[..., Request]) -> None:
    request = request_for("Two pans, please.", Name, max_tokens=60)
    before: Any = at_once(engine, [request])[0]
    at_once(engine, [request_for(f"Mail {i}", Name, max_tokens=60) for i in range(3)])
    after: Any = at_once(engine, [request])[0]
    assert after.text == before.text
