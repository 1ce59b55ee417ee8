"""The slot-filling eval: spans, the examples that are shown, F1, and words that are not the guest's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.common import small_session
from evals.restaurant8k import FREE, LISTED, SLOTS, Case, Score, cases_of, chosen, f1, measure, normalised, of_the_guest
from evals.restaurant8k import fields as booking_of

EMPTY = Case("Is it open?", "", {})
FULL = Case("Two people at 8pm for Ada Byron", "", {"people": "Two people", "time": "8pm", "first_name": "Ada"})
DATE = Case("12th of July", "date", {"date": "12th of July"})


def test_spans_without_a_start_begin_at_0(tmp_path: Path) -> None:
    row = {
        "userInput": {"text": "8 on Friday"},
        "context": {"requestedSlots": ["time", "time"]},
        "labels": [
            {"slot": "time", "valueSpan": {"endIndex": 1}},
            {"slot": "date", "valueSpan": {"startIndex": 5, "endIndex": 11}},
        ],
    }
    path = tmp_path / "test.json"
    path.write_text(json.dumps([row, {"userInput": {"text": "Hello"}}]), encoding="utf-8")
    assert cases_of(path) == [Case("8 on Friday", "time", {"time": "8", "date": "Friday"}), Case("Hello", "", {})]


def test_the_examples_show_nothing_once_and_then_most_slots() -> None:
    assert chosen([DATE, EMPTY, FULL]) == [EMPTY, FULL, DATE]


def test_scores() -> None:
    score = Score()
    score.add(FULL, {"people": "two people", "time": "8pm", "date": "8pm", "last_name": "Lovelace"})
    assert (score.right.total(), score.near.total(), score.given.total(), score.gold.total()) == (1, 2, 4, 3)
    assert score.made_up == 2  # another case of letters, and a name that nobody said
    report = score.report()
    assert report["f1"] == round(2 / 7, 4)
    assert report["f1_normalised"] == round(4 / 7, 4)


def test_f1_of_nothing_is_0() -> None:
    assert f1(0, 0, 0) == 0.0


@pytest.mark.parametrize(
    ("left", "right", "same"), [("The 8th.", "8th", True), ("7 people", "7", True), ("7pm", "8pm", False)]
)
def test_normalised(left: str, right: str, same: bool) -> None:
    assert (normalised(left) == normalised(right)) is same


def test_the_waiters_words_are_refused() -> None:
    found = booking_of(FREE)(**{**dict.fromkeys(SLOTS), "people": "people"})
    with pytest.raises(ValueError, match="people: copy it"):
        of_the_guest(found, said="8", asked="people")


@pytest.mark.real_model
@pytest.mark.parametrize("kind", [FREE, LISTED])
def test_nothing_is_made_up(kind: str) -> None:
    session = small_session()
    try:
        report = measure(session, [FULL, EMPTY], [DATE], kind).report()
    finally:
        session.close()
    assert (report["cases"], report["made_up"]) == (2, 0)
    assert report["prompt_tokens"] > report["evaluated_tokens"] > 0
