"""A fleet that names a model of the backend transformers: steps run on it as on any other."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from agentfleet import Fleet, Model, Session, ask, classify
from agentfleet.ledger.open import open_ledger

pytestmark = [pytest.mark.real_model, pytest.mark.slow]


@classify(tier="small")
def wish(mail: str) -> Literal["money back", "a parcel"]:
    """What does the customer want?"""
    return ask(mail)


def test_a_step_runs_on_transformers(tmp_path: Path) -> None:
    fleet = Fleet(
        [Model(name="hf", backend="transformers", model="embedded", tier="small", context=1024, params={"threads": 1})]
    )
    session = Session(fleet=fleet, ledger=open_ledger(":memory:", tmp_path), root=tmp_path)
    run = session.run(wish, {"mail": "Give me my money back, please."})
    session.close()
    assert run.status == "done", run.error
    (attempt,) = run.steps["wish"].attempts
    assert run.steps["wish"].model == "hf" and attempt.distribution is not None and not attempt.calibrated
