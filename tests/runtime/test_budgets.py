"""Budgets of a step, a run, a graph and a day: set aside before each call, so that calls at the same time keep to them.

The models are scripted and the prices stated; ledger, dispatcher and the walk are real.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentfleet import Fleet, Model, OnFail, Session, ask, each, graph, summarise
from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.errors import CallTimeout
from agentfleet.fleet.budget import Budget
from agentfleet.ledger.open import open_ledger
from agentfleet.runtime.runner import use_session

ROOT = Path(__file__).parents[2]
WORST, PAID = 0.1, 0.01
"""US dollars of a call at most (ten tokens of answer), and of one as it is answered here (one token)."""


class Priced:
    """Answers one token after the others have had their turn; counts what was under way at once."""

    def __init__(self, told: bool = True, late: bool = False) -> None:
        self.calls = self.now = self.most = 0
        self.told, self.late = told, late

    context: int | None = None

    def count(self, request: Request) -> int | None:
        return 1

    async def complete(self, request: Request) -> Completion:
        self.calls += 1
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(5):
            await asyncio.sleep(0)
        self.now -= 1
        if self.late:
            raise CallTimeout("too late")
        return Completion("short", "m", usage=Usage(1, 1) if self.told else Usage())

    async def close(self) -> None:
        return None


def opened_at(folder: Path, backend: Any, cheap: bool = False, **limits: Any) -> Session:
    price = {"input": 0.0, "output": WORST / 10 * 1e6}
    models = [Model(name="dear", backend="scripted", tier="large", price=price, max_tokens=10)]
    if cheap:
        models.append(Model(name="free", backend="scripted", tier="frontier"))
    fleet = Fleet(models, budget=Budget(**limits))
    ledger = open_ledger(folder / "ledger.sqlite", folder)
    return Session(fleet, ledger, folder, backends={model.name: backend for model in models})


@summarise(tier="large", up_to="frontier")
def gist(text: str) -> str:
    """Sum up."""
    return ask(text)


@graph
def many(texts: list[str]) -> list[str]:
    return each(gist)(texts)


@graph
def once(text: str) -> str:
    return gist(text)


TEXTS = {"texts": [f"text {n}" for n in range(20)]}


def test_parallel_steps_wait_for_money_that_is_set_aside_and_do_not_overspend(tmp_path: Path) -> None:
    backend = Priced()
    session = opened_at(tmp_path, backend, run=0.35)
    run = session.run(many, TEXTS)
    assert (run.status, backend.calls) == ("done", 20), "what is set aside comes back: 20 calls cost 0.20"
    assert run.cost == pytest.approx(20 * PAID)
    assert backend.most == 3, "never more at once than the budget could pay in the worst case"
    session.close()


def test_a_run_stops_where_its_budget_ends(tmp_path: Path) -> None:
    backend = Priced()
    session = opened_at(tmp_path, backend, run=0.15)
    run = session.run(many, TEXTS)
    assert run.status != "done"
    assert backend.calls == 6, "after 6 calls of 0.01 the worst case of a seventh does not fit 0.09"
    assert run.cost == pytest.approx(6 * PAID)
    session.close()


def test_code_may_give_a_run_and_a_step_another_budget(tmp_path: Path) -> None:
    backend = Priced()
    session = opened_at(tmp_path, backend, run=0.01)
    assert session.run(once.using(budget=0.1), {"text": "x"}).status == "done"
    assert session.run(once, {"text": "x"}).status != "done"
    session.close()


def test_a_step_has_a_budget_of_its_own(tmp_path: Path) -> None:
    backend = Priced()
    session = opened_at(tmp_path, backend, step=0.05, cheap=True)
    run = session.run(once, {"text": "x"})
    assert (run.status, run.steps["gist"].model) == ("done", "free")
    skipped = run.steps["gist"].attempts[0]
    assert (skipped.model, skipped.outcome.value) == ("dear", "skipped")
    assert skipped.problem == "budget: this call may cost $0.1000, $0.0500 is left of this step's budget"
    session.close()


def test_a_step_that_goes_on_in_another_process_has_spent_what_it_spent(tmp_path: Path) -> None:
    class Down(Priced):
        async def complete(self, request: Request) -> Completion:
            await super().complete(request)
            return Completion("", "m", usage=Usage(1, 1))  # an empty text will not do, and is paid for

    first = opened_at(tmp_path, Down(), step=0.115)
    run = first.run(waiting, {"text": "x"})
    assert (run.status, run.cost) == ("waiting", pytest.approx(2 * PAID)), "two tries of 0.01"
    first.close()
    backend = Priced()
    second = opened_at(tmp_path, backend, step=0.115, cheap=True)
    again = second.resume(run.id, waiting)
    assert again.status == "done"
    assert backend.calls == 1 and again.steps["gist"].model == "free"
    second.close()


@graph
def waiting(text: str) -> str:
    return gist.using(on_fail=OnFail.WAIT)(text)


@pytest.mark.parametrize("limits", [{"day": 0.125}, {"graphs": {"once": 0.125}}])
def test_all_runs_of_a_session_share_the_days_budget(limits: dict[str, Any], tmp_path: Path) -> None:
    backend = Priced()
    session = opened_at(tmp_path, backend, **limits)
    runs = session.run_many(once, [{"text": f"x {n}"} for n in range(10)], 10, lambda index, run: None)
    assert sum(run.status == "done" for run in runs if run is not None) == backend.calls == 3
    assert backend.most == 1
    session.close()


@summarise(tier="large")
def looked_at(text: str) -> str:
    """Sum up."""
    return ask(text)


@looked_at.check
def another_model_agrees(value: str, text: str) -> None:
    assert gist(value)


def test_a_check_that_asks_a_model_finds_the_money_of_the_call_that_it_checks(tmp_path: Path) -> None:
    backend = Priced()
    session = opened_at(tmp_path, backend, day=0.115)
    before = use_session(session)
    try:
        assert looked_at(text="x") == "short"
    finally:
        use_session(before)
    assert backend.calls == 2
    session.close()


def test_a_graphs_budget_is_no_other_graphs(tmp_path: Path) -> None:
    session = opened_at(tmp_path, Priced(), graphs={"many": 0.0})
    assert session.run(once, {"text": "x"}).status == "done"
    assert session.run(many, TEXTS).status != "done"
    session.close()


def test_the_next_process_knows_what_the_last_one_spent(tmp_path: Path) -> None:
    first = opened_at(tmp_path, Priced(), day=0.105)
    assert first.run(gist, {"text": "x"}).status == "done"
    first.close()
    second = opened_at(tmp_path, Priced(), day=0.105)
    run = second.run(gist, {"text": "x"})
    assert run.status != "done"
    assert "$0.0950 is left of today's budget" in run.waiting[0].why if run.waiting else run.error
    second.close()


def test_what_another_process_spends_meanwhile_counts(tmp_path: Path) -> None:
    session = opened_at(tmp_path, Priced(), day=0.115)
    assert session.run(gist, {"text": "x"}).status == "done"
    search = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    child = subprocess.run(
        [sys.executable, "-m", "runtime.budget_child", str(tmp_path), "0.115"],
        env={**os.environ, "PYTHONPATH": search},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert child.stdout.startswith("done 0.01"), child.stderr
    assert session.run(gist, {"text": "x"}).status != "done", "0.02 were spent; 0.095 are left"
    session.close()


@pytest.mark.parametrize("backend", [Priced(told=False), Priced(late=True)], ids=["no usage told", "timed out"])
def test_what_nobody_knows_the_cost_of_counts_in_full(backend: Priced, tmp_path: Path) -> None:
    session = opened_at(tmp_path, backend, day=0.25)
    for _ in range(3):
        session.run(gist.using(tries=1), {"text": "x"})
    assert backend.calls == 2, "two worst cases of 0.10; a third does not fit"
    session.close()


def test_models_without_a_price_are_asked_if_the_file_says_so(tmp_path: Path) -> None:
    model = Model(name="m", backend="openai", model="nobody-knows", tier="large")
    for allow, status in ((False, "failed"), (True, "done")):
        backend = Priced()
        fleet = Fleet([model], budget=Budget(run=1.0, allow_unpriced=allow))
        session = Session(fleet, open_ledger(":memory:", tmp_path), tmp_path, backends={"m": backend})
        run = session.run(gist.using(tier="large"), {"text": "x"})
        assert (run.status == "done") == (status == "done")
        session.close()


def test_little_money_left_turns_to_the_cheaper_model_before_it_stops(tmp_path: Path) -> None:
    good = Model(
        name="good", backend="scripted", tier="large", price={"input": 0.0, "output": WORST / 10 * 1e6},
        max_tokens=10, quality={"summarise": 0.9},
    )  # fmt: skip
    cheap = good.model_copy(
        update={"name": "cheap", "price": {"input": 0.0, "output": 1.0}, "quality": {"summarise": 0.1}}
    )
    fleet = Fleet([good, cheap], budget=Budget(run=0.6))
    backend = Priced(told=False)  # so that each call counts with its worst case
    session = Session(fleet, open_ledger(":memory:", tmp_path), tmp_path, backends={"good": backend, "cheap": backend})
    run = session.run(best_first, {"text": "x"})
    assert [run.steps[name].model for name in ("a", "b", "c", "d", "e", "f")] == ["good"] * 5 + ["cheap"]
    session.close()


@graph
def best_first(text: str) -> str:
    step = gist.using(objective="best")
    for name in "abcdef":
        text = step.using(name=name)(text)
    return text
