"""Starts of prompts that were put away and brought back change no token, and stay within their memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import BaseModel, Field

from agentfleet.backends.backend import Request
from agentfleet.backends.llama_cpp import LlamaCpp, embedded_path
from agentfleet.backends.llama_cpp.answer import Answerer
from agentfleet.backends.llama_cpp.cache import CHUNK, LEAST, Cache, Cancelled, Prefixes
from agentfleet.prompt import Message

pytestmark = pytest.mark.real_model
ABOUT = ("Read the mail to our shop with great care, and say what it is about. " * 3, "Sum up what stands here. " * 8)
MAILS = ("The kettle of order AB-1234567 leaks.", "Where are my two pans?")


class Name(BaseModel):
    name: Annotated[str, Field(max_length=20)]
    number: Annotated[int, Field(ge=0, le=9)]


def on(engine: LlamaCpp, work: Callable[[Answerer], Any]) -> Any:
    return engine.call([Message("user", "hi")], 1, lambda model, prompt, cancelled: work(model))


def never() -> bool:
    return False


def test_the_least_recently_used_goes_first() -> None:
    kept = Prefixes(250)
    for number in (1, 2):
        kept.put((number, 9), np.zeros(100, np.uint8))
    kept.take((1, 9))
    kept.put((3, 9), np.zeros(100, np.uint8))
    assert ((1, 9) in kept, (2, 9) in kept, (3, 9) in kept) == (True, False, True)
    assert kept.used == 200
    kept.put((4, 9), np.zeros(251, np.uint8))
    assert ((4, 9) in kept, len(kept)) == (False, 2)
    assert kept.longest([3, 9, 9]) == (3, 9)
    assert kept.longest([7]) == ()
    kept.drop((3, 9))
    assert (kept.used, len(kept)) == (100, 1)


def test_a_skill_that_comes_back_pays_only_for_what_is_new(
    engine: LlamaCpp, request_for: Callable[..., Request]
) -> None:
    """Two skills in turns: each finds its own start, and every answer is that of an engine that keeps nothing."""
    import asyncio

    plain = LlamaCpp(embedded_path(), "plain", context=2048, threads=1, prefixes=0)
    requests = [request_for(mail, Name, instruction=about) for mail in MAILS for about in ABOUT]
    for number, request in enumerate(requests):
        on(plain, lambda model: model.cache.reset())
        cold = asyncio.run(plain.complete(request))
        warm = asyncio.run(engine.complete(request))
        assert warm.text == cold.text
        assert cold.usage.cached_tokens == 0
        if number >= len(ABOUT):
            assert warm.usage.cached_tokens > 0.6 * warm.usage.input_tokens
    plain.shut()


def test_what_was_brought_back_gives_the_same_logits(engine: LlamaCpp) -> None:
    first = engine.prompt_tokens([Message("user", ABOUT[0] + MAILS[0])])
    other = engine.prompt_tokens([Message("user", ABOUT[1])])
    pinned = 30

    def work(model: Answerer) -> tuple[Any, Any, int]:
        cache = Cache(model.context, budget=2**26)
        cache.reset()
        cache.keep(first, pinned)
        cold = cache.feed(first, never).copy()
        cache.keep(other, 5)
        cache.feed(other, never)
        kept = cache.keep(first, pinned)
        warm = cache.feed(first[kept:], never).copy()
        model.cache.reset()
        return cold, warm, kept

    cold, warm, kept = on(engine, work)
    assert kept == pinned
    assert np.array_equal(cold, warm)


def test_the_logits_do_not_depend_on_how_much_was_kept(engine: LlamaCpp) -> None:
    prompt = engine.prompt_tokens([Message("user", ABOUT[0] + MAILS[0] * 3)])[: 2 * CHUNK + 1]

    def work(model: Answerer) -> list[tuple[int, bool]]:
        cache = Cache(model.context)
        cache.reset()
        cold = cache.feed(prompt, never).copy()
        same = []
        whole = len(prompt)
        for shared in (1, 2, CHUNK - 1, CHUNK, CHUNK + 1, whole - 3, whole - 2, whole - 1, whole):
            cache.reset()
            cache.feed([*prompt[:shared], 5, 6, 7], never)
            kept = cache.keep(prompt)
            same.append((kept, np.array_equal(cold, cache.feed(prompt[kept:], never))))
        model.cache.reset()
        return same

    same = on(engine, work)
    assert [kept for kept, _ in same[-3:]] == [len(prompt) - LEAST] * 3
    assert all(equal for _, equal in same), same


def test_a_start_beyond_its_memory_is_read_again(engine: LlamaCpp) -> None:
    first = engine.prompt_tokens([Message("user", ABOUT[0])])
    other = engine.prompt_tokens([Message("system", ABOUT[1])])

    def work(model: Answerer) -> tuple[int, int]:
        cache = Cache(model.context, budget=1000)
        cache.reset()
        for prompt in (first, other):
            cache.feed(prompt[cache.keep(prompt, 30) :], never)
        kept = cache.keep(first, 30)
        model.cache.reset()
        return kept, cache.prefixes.used

    kept, used = on(engine, work)
    assert kept < 30
    assert used == 0


def test_a_prompt_can_be_cancelled_between_its_chunks(engine: LlamaCpp) -> None:
    asked = []

    def stop() -> bool:
        asked.append(True)
        return len(asked) > 2

    def work(model: Answerer) -> int:
        model.cache.reset()
        with pytest.raises(Cancelled):
            model.cache.feed([500] * (10 * CHUNK), stop)
        return len(model.cache.held)

    assert on(engine, work) == 2 * CHUNK
