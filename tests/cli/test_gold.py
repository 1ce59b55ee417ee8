"""Comparing runs with gold: by step path or value, numbers by value, only keys that have a place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentfleet.cli.gold import gold_path, is_right
from agentfleet.runtime.run import Run, StepRecord

PLACES = {"kind": "intent", "order_id": "order.order_id", "refunded": "value.refunded"}
STEPS = {
    "intent": StepRecord("intent", "done", value_json='"refund"'),
    "order": StepRecord("order", "done", value_json='{"order_id": "AB-1", "amount": 5}'),
}
RUN: Run[Any] = Run("r", "g", "done", steps=STEPS, result_json='{"text": "x", "refunded": 5.0}')


@pytest.mark.parametrize(
    ("gold", "right"),
    [
        ({"kind": "refund", "order_id": "AB-1", "refunded": 5}, True),
        ({"kind": "refund", "note": "no place for this"}, True),
        ({"kind": "other"}, False),
        ({"order_id": None}, False),
        ({"refunded": 5.004}, True),
        ({"refunded": 5.01}, False),
        ({"refunded": True}, False),
    ],
)
def test_right_means_every_key_that_has_a_place(gold: dict[str, Any], right: bool) -> None:
    assert is_right(RUN, gold, PLACES) is right


def test_a_step_that_did_not_run_holds_none() -> None:
    run: Run[Any] = Run("r", "g", "done", steps={"intent": STEPS["intent"]}, result_json='{"refunded": 0}')
    assert is_right(run, {"order_id": None, "refunded": 0}, PLACES)


def test_the_gold_file_beside_the_inputs(tmp_path: Path) -> None:
    inputs = tmp_path / "a.jsonl"
    assert gold_path(inputs, None) is None
    beside = tmp_path / "a.gold.jsonl"
    beside.touch()
    assert gold_path(inputs, None) == beside
    assert gold_path(inputs, tmp_path / "b") == tmp_path / "b"
    assert gold_path(None, None) is None
