"""Closed answers: scores of all options together, what they are normalised over, several questions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Literal

import pytest
from pydantic import BaseModel

from agentfleet.backends.backend import Completion
from agentfleet.backends.llama_cpp import LlamaCpp
from agentfleet.backends.llama_cpp.answer import Answerer, LocalCompletion
from agentfleet.backends.llama_cpp.score import Asked, score
from agentfleet.backends.options import END, close, shares
from agentfleet.prompt import Message

Ask = Callable[..., Completion]
NOISE = 0.6
"""What its place in the cache moves a sum of log probabilities by, at most; another question moves it by 3 to 5."""
MAIL = "I would like my money back for the broken kettle."


def test_an_option_that_begins_another_must_end() -> None:
    assert close([[1], [1, 2], [3, 4], [3, 4, 5, 6]]) == [[1, END], [1, 2], [3, 4, END], [3, 4, 5, 6]]
    assert close([[1], [2]]) == [[1], [2]]


def test_shares_are_normalised_and_corrected() -> None:
    assert shares([-900.0, -900.0]) == [0.5, 0.5]
    assert sum(shares([-1.0, -50.0, -700.0])) == pytest.approx(1)
    assert shares([-1.0, -2.0], [-1.0, -2.0]) == [0.5, 0.5]


@pytest.mark.real_model
def test_one_choice(ask: Ask) -> None:
    done = ask(MAIL, Literal["refund", "delivery", "complaint"], closed=True)
    assert json.loads(done.text) in ("refund", "delivery", "complaint")
    assert done.distribution is not None
    assert list(done.distribution) == ["refund", "delivery", "complaint"]
    assert sum(done.distribution.values()) == pytest.approx(1)
    assert max(done.distribution, key=done.distribution.__getitem__) == json.loads(done.text)
    assert done.option_mass is not None
    assert 0 < done.option_mass <= 1
    assert not done.calibrated
    assert (done.finish, done.usage.output_tokens) == ("stop", 0)


@pytest.mark.real_model
def test_the_same_question_again_gives_the_same_numbers(ask: Ask) -> None:
    kind = Literal["refund", "delivery", "complaint"]
    first = ask(MAIL, kind, closed=True)
    again = ask(MAIL, kind, closed=True)
    assert again.text == first.text
    assert again.distribution == pytest.approx(first.distribution, abs=0.02)


@pytest.mark.real_model
def test_values_that_are_no_text(ask: Ask) -> None:
    class Level(Enum):
        LOW = 1
        HIGH = 10

    assert json.loads(ask(MAIL, bool, closed=True).text) in (True, False)
    assert json.loads(ask(MAIL, Level, closed=True).text) in (1, 10)
    assert json.loads(ask(MAIL, Literal["a", "b"] | None, closed=True).text) in ("a", "b", None)


@pytest.mark.real_model
def test_several_questions_at_once(ask: Ask) -> None:
    class Triage(BaseModel):
        urgent: bool
        about: Literal["refund", "delivery", "other"]
        level: Literal[1, 10, 100]

    done = ask(MAIL, Triage, closed=True)
    found = Triage.model_validate_json(done.text)
    assert done.distribution is not None
    names = {key.partition(": ")[0] for key in done.distribution}
    assert len(names) == 1
    assert names < {"urgent", "about", "level"} or names <= set(found.model_dump())
    assert sum(done.distribution.values()) == pytest.approx(1)


def _scores(engine: LlamaCpp, options: Sequence[Sequence[int]], text: str = MAIL) -> list[float]:
    def work(model: Answerer, prompt: list[int], cancelled: Callable[[], bool]) -> list[float]:
        return list(score(model.cache, prompt, [Asked((), options)], cancelled)[0].logs)

    found: list[float] = engine.call([Message("user", text)], 1, work)
    return found


@pytest.mark.real_model
def test_together_is_as_good_as_one_by_one(engine: LlamaCpp) -> None:
    words = ["refund", "delivery", "a complaint about quality", "other", "invoice 2026/11"]
    options = close([engine.weights.tokens(word, special=False) for word in words])
    together = _scores(engine, options)
    alone = [_scores(engine, [option])[0] for option in options]
    assert together == pytest.approx(alone, abs=0.25)


@pytest.mark.real_model
def test_more_options_than_sequences(engine: LlamaCpp) -> None:
    words = [f"option number {i} of many" for i in range(200)]
    options = close([engine.weights.tokens(word, special=False) for word in words])
    together = _scores(engine, options)
    some = [0, 62, 63, 64, 150, 199]
    assert [together[i] for i in some] == pytest.approx([_scores(engine, [options[i]])[0] for i in some], abs=0.25)


@pytest.mark.real_model
def test_a_long_prompt_is_read_in_chunks(engine: LlamaCpp) -> None:
    options = close([engine.weights.tokens(word, special=False) for word in ("refund please", "delivery")])
    text = "word " * 700
    assert _scores(engine, options, text) == pytest.approx(
        _scores(engine, options[:1], text) + _scores(engine, options[1:], text), abs=0.25
    )


@pytest.mark.real_model
def test_the_shares_of_all_endings_make_one(engine: LlamaCpp) -> None:
    """Over every token of the vocabulary the probabilities of the next token sum to one."""
    logs = _scores(engine, [[token] for token in range(engine.weights.size)])
    total = sum(2.718281828459045**log for log in logs)
    assert total == pytest.approx(1, abs=1e-3)


@pytest.mark.real_model
def test_each_question_is_answered_as_if_it_were_alone(engine: LlamaCpp) -> None:
    """Stems and options of several questions in one evaluation: the scores of each are those of asking it alone."""
    tokens = engine.weights.tokens
    words = [("refund", "money back"), ("today", "this week", "some day"), ("yes", "no")]
    asked = [
        Asked(tokens(f"Question {i}:", special=False), close([tokens(f" {word}", special=False) for word in options]))
        for i, options in enumerate(words)
    ]

    def work(model: Answerer, prompt: list[int], cancelled: Callable[[], bool]) -> tuple[list[float], list[float]]:
        together = [log for scores in score(model.cache, prompt, asked, cancelled) for log in scores.logs]
        alone = [log for one in asked for log in score(model.cache, prompt, [one], cancelled)[0].logs]
        return together, alone

    together, alone = engine.call([Message("user", MAIL)], 1, work)
    assert together == pytest.approx(alone, abs=NOISE)


@pytest.mark.real_model
def test_many_questions_go_into_several_evaluations(engine: LlamaCpp) -> None:
    tokens = engine.weights.tokens
    options = close([tokens(f" answer number {i}", special=False) for i in range(30)])
    asked = [Asked(tokens(f"Question {i} of many:", special=False), options) for i in range(12)]

    def work(model: Answerer, prompt: list[int], cancelled: Callable[[], bool]) -> tuple[list[float], list[float]]:
        found = [list(scores.logs) for scores in score(model.cache, prompt, asked, cancelled)]
        return found[11], list(score(model.cache, prompt, asked[11:], cancelled)[0].logs)

    together, alone = engine.call([Message("user", MAIL)], 1, work)
    assert together == pytest.approx(alone, abs=NOISE)


@pytest.mark.real_model
def test_several_questions_keep_all_their_distributions(ask: Ask) -> None:
    class Triage(BaseModel):
        urgent: bool
        about: Literal["refund", "delivery", "other"]

    done = ask(MAIL, Triage, closed=True)
    assert isinstance(done, LocalCompletion)
    assert done.distributions is not None
    assert {name: list(shares) for name, shares in done.distributions.items()} == {
        "urgent": ["yes", "no"],
        "about": ["refund", "delivery", "other"],
    }
    best = {name: max(found, key=found.__getitem__) for name, found in done.distributions.items()}
    assert json.loads(done.text) == {"urgent": best["urgent"] == "yes", "about": best["about"]}
