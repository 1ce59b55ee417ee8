"""The eval of five-way decisions: which intents, which questions, the temperature, and that it scores as steps do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evals.common import embedded, small_session
from evals.five_way import Scored, fitted_temperature, judge, largest, rows_of, score, split, step_with

INTENTS = ["card lost", "new pin", "refund"]
TRAIN = [(f"question {number} of {intent}", intent) for intent in INTENTS for number in range(4)]


def test_rows(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,category\nWhere is it?,Card_Lost\n", encoding="utf-8")
    assert rows_of(path) == [("Where is it?", "card lost")]


def test_the_largest_intents_of_equal_ones_the_first_by_name() -> None:
    assert largest([*TRAIN, ("more", "refund")], 2) == ["card lost", "refund"]


def test_what_is_shown_is_not_fitted_on() -> None:
    shown, fit = split(TRAIN, INTENTS, 3)
    assert len({intent for _, intent in shown}) == 3
    assert len(fit) == 9 and not set(shown) & set(fit)


def scored(logs: list[list[float]], labels: list[int], empty: list[float]) -> Scored:
    return Scored(np.array(logs), np.array(labels), np.array(empty), 0.5, 1.0)


def test_the_correction_takes_off_what_an_empty_question_gets() -> None:
    found = scored([[-1.0, -2.0]], [1], [-1.0, -4.0])
    assert found.shares(False)[0].argmax() == 0
    assert found.shares(True)[0].argmax() == 1


def test_a_model_that_is_too_sure_gets_a_high_temperature() -> None:
    sure = scored([[0.0, -9.0]] * 4, [0, 0, 0, 1], [0.0, 0.0])
    assert fitted_temperature(sure, False) > 4
    report = judge(sure, sure, False)
    assert report["accuracy"] == 0.75
    assert report["ece_calibrated"] < report["ece"]


@pytest.mark.real_model
def test_it_scores_as_a_step_does() -> None:
    step = step_with(INTENTS, TRAIN[:1])
    backend, session = embedded(), small_session()
    try:
        found = score(backend, step, [("Where is my money?", "refund"), ("My card is gone", "card lost")])
        run = session.run(step, {"question": "Where is my money?"})
    finally:
        backend.shut()
        session.close()
    distribution = run.attempts[0][1].distribution
    assert distribution is not None
    assert [distribution[name] for name in INTENTS] == pytest.approx(found.shares(True)[0].tolist(), abs=1e-3)
