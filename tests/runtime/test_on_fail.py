"""What follows when no rung will do, and what a run may spend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import pytest

from agentfleet import Model, OnFail, Session, StepFailed, ask, classify, extract, graph, step, summarise
from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.errors import BackendError
from agentfleet.testing import Scripted

Opened = Callable[..., tuple[Session, Scripted]]
SMALL = Model(name="small", backend="scripted", tier="small")
LARGE = Model(name="large", backend="scripted", tier="large")
Kind = Literal["refund", "other"]


@classify(tier="small", up_to="large", min_confidence=0.8)
def kind(text: str) -> Kind:
    """Which?"""
    return ask(text)


@extract(tier="small", up_to="large")
def number(text: str) -> int:
    """The number."""
    return ask(text)


@number.check
def is_even(value: int, text: str) -> None:
    if value % 2:
        raise ValueError(f"{value} is odd")


@step
def show(value: int) -> str:
    return f"it is {value}"


@graph
def shown(text: str) -> str:
    return show(number(text))


def test_by_default_the_step_fails_with_all_that_was_tried(opened: Opened) -> None:
    session, _ = opened({"number": [1, 3, "x", 5]}, [SMALL, LARGE])
    run = session.run(shown, {"text": "x"})
    assert run.status == "failed" and list(run.steps) == ["number"]
    assert isinstance(run.cause, StepFailed) and run.cause.best == 5 and run.cause.path == "number"
    tried = [(a.number, a.model, a.outcome.value) for a in run.cause.attempts]
    assert tried == [
        (1, "small", "rejected"),
        (2, "small", "rejected"),
        (3, "large", "invalid"),
        (4, "large", "rejected"),
    ]
    assert "small: rejected (1 is odd)" in run.error


@pytest.mark.parametrize("default", [8, 9])
def test_a_default_is_taken_as_it_is(opened: Opened, default: int) -> None:
    session, _ = opened({"number": "x"}, [SMALL])
    run = session.run(number.using(on_fail=default), {"text": "x"})
    last = run.steps["number"]
    assert (run.value, last.model, last.fallback, last.outcome) == (default, "default", True, "invalid")
    assert session.read(run.id, number).steps["number"].value == default


def test_a_default_of_another_type_survives_a_resume(opened: Opened) -> None:
    broken = [True]

    @step
    def show_any(value: int | str) -> str:
        return f"{type(value).__name__} {value}"

    @step
    def fail(text: str) -> str:
        if broken[0]:
            raise ValueError("later")
        return text

    @graph
    def guarded(text: str) -> str:
        return fail(show_any(number.using(on_fail="none")(text)))

    session, _ = opened({"number": "x"}, [SMALL])
    run = session.run(guarded, {"text": "x"})
    assert run.status == "failed"
    broken[0] = False
    session, backend = opened({}, [SMALL])
    assert session.resume(run.id, guarded).value == "str none" and backend.calls == []


def test_the_best_answer_is_shown_with_who_gave_it(opened: Opened) -> None:
    session, _ = opened({"number": [1, 3, "x", "y"]}, [SMALL, LARGE])
    run = session.run(number.using(on_fail=OnFail.BEST), {"text": "x"})
    last = run.steps["number"]
    assert (run.value, last.model, last.tier, last.outcome) == (3, "small", "small", "rejected")
    assert [a.model for a in last.attempts] == ["small", "small", "large", "large"]


def test_without_any_answer_the_best_is_a_failure(opened: Opened) -> None:
    session, _ = opened({"number": "x"}, [SMALL])
    assert session.run(number.using(on_fail=OnFail.BEST), {"text": "x"}).status == "failed"


def test_the_best_of_an_earlier_process_counts(opened: Opened) -> None:
    session, _ = opened({"number": [1, 3, BackendError("down")]}, [SMALL, LARGE])
    waits = number.using(on_fail=OnFail.WAIT)
    run = session.run(waits, {"text": "x"})
    session, backend = opened({"number": "x"}, [SMALL, LARGE])
    again = session.resume(run.id, number.using(on_fail=OnFail.BEST))
    assert again.value == 3 and again.steps["number"].model == "small"
    assert [request.params["path"] for _, request in backend.calls] == ["number", "number"]


def test_it_may_wait_for_a_person(opened: Opened) -> None:
    session, _ = opened({"number": 1}, [SMALL, LARGE])
    run = session.run(number.using(on_fail=OnFail.WAIT), {"text": "x"})
    (wait,) = run.waiting
    assert (wait.reason, "1 is odd" in wait.why) == ("failed", True)
    session.answer(run.id, "number", "7")
    assert session.resume(run.id, number).value == 7, "a person has the last word, also over a check"


def test_confidence_decides_who_answers(opened: Opened) -> None:
    def sure(text: str, share: float, calibrated: bool = False) -> Completion:
        return Completion(f'"{text}"', "m", distribution={text: share, "rest": 1 - share}, calibrated=calibrated)

    answers = {"kind": [sure("refund", 0.6, calibrated=True), sure("other", 0.9)]}
    session, _ = opened(answers, [SMALL, LARGE])
    run = session.run(kind, {"text": "x"})
    assert run.value == "other" and [a.outcome.value for a in run.steps["kind"].attempts] == ["unsure", "valid"]
    assert [a.calibrated for a in run.steps["kind"].attempts] == [True, False]
    session, _ = opened({"kind": sure("other", 0.7)}, [SMALL, LARGE])
    unsure = session.run(kind, {"text": "x"})
    assert unsure.status == "failed" and "uncalibrated" in unsure.error


# -- money -------------------------------------------------------------------------------------------------------------


class Paid:
    """Counts 1 000 tokens for every prompt, uses half of what it may."""

    context = None

    def __init__(self) -> None:
        self.calls = 0

    def count(self, request: Request) -> int:
        return 1_000

    async def complete(self, request: Request) -> Completion:
        self.calls += 1
        await asyncio.sleep(0.01)
        return Completion("text", "paid", usage=Usage(1_000, request.max_tokens // 2))

    async def close(self) -> None:
        return None


@summarise(tier="large")
def gist(text: str) -> str:
    """Gist."""
    return ask(text)


@step
def pair(texts: list[str]) -> str:
    return " ".join(texts)


@graph
def both(text: str) -> str:
    return pair([gist(text), gist.using(name="other")(text)])


PRICED = Model(
    name="paid",
    backend="scripted",
    tier="large",
    location="cloud",
    price={"input": 10.0, "output": 20.0},
    max_tokens=100,
)
WORST = 0.012
PAID = 0.011


def paid_session(opened: Opened, model: Model) -> tuple[Session, Paid]:
    session, _ = opened({}, [model])
    backend = Paid()
    session.dispatcher._backends["paid"] = backend
    return session, backend


@pytest.mark.parametrize(
    ("budget", "calls"), [(WORST - 0.0001, 0), (WORST, 1), (PAID + WORST - 0.0001, 1), (PAID + WORST, 2)]
)
def test_a_call_that_might_exceed_the_budget_is_not_made(opened: Opened, budget: float, calls: int) -> None:
    """Two calls at once: what one of them may cost is set aside while it is made, and the other waits for the rest."""
    session, backend = paid_session(opened, PRICED)
    run = session.run(both.using(budget=budget), {"text": "x"})
    assert backend.calls == calls and run.cost == pytest.approx(calls * PAID)
    assert run.status == ("done" if calls == 2 else "failed")
    if calls < 2:
        assert "budget: this call may cost $0.0120" in run.error
        outcomes = [a.outcome.value for _, a in run.attempts]
        assert outcomes.count("skipped") == 2 - calls
    assert session.read(run.id).cost == pytest.approx(run.cost)


def test_what_was_spent_before_a_resume_counts(opened: Opened) -> None:
    @graph
    def one_after_the_other(text: str) -> str:
        return gist.using(name="later")(gist(text))

    session, backend = paid_session(opened, PRICED)
    run = session.run(one_after_the_other.using(budget=WORST), {"text": "x"})
    assert (run.status, backend.calls) == ("failed", 1)
    session, backend = paid_session(opened, PRICED)
    again = session.resume(run.id, one_after_the_other.using(budget=2 * WORST - 0.002))
    assert (again.status, backend.calls) == ("failed", 0)
    assert session.resume(run.id, one_after_the_other.using(budget=2 * WORST)).cost == pytest.approx(2 * PAID)


def test_a_model_without_a_known_price_is_not_asked_within_a_budget(opened: Opened) -> None:
    nameless = PRICED.model_copy(update={"price": None, "model": "nobody-knows"})
    session, backend = paid_session(opened, nameless)
    run = session.run(gist.using(budget=1.0), {"text": "x"})
    assert run.status == "failed" and "the price of paid is unknown" in run.error and backend.calls == 0
    free = session.run(gist, {"text": "x"})
    assert free.status == "done" and free.unpriced == 1 and free.cost == 0


def test_a_budget_of_nothing_still_pays_for_what_is_free(opened: Opened) -> None:
    session, _ = opened({"number": 2}, [SMALL])
    assert session.run(shown.using(budget=0), {"text": "x"}).value == "it is 2"


@step
def divided(text: str) -> int:
    return 12 // len(text)


@divided.check
def is_small(value: int, text: str) -> None:
    if value > 6:
        raise ValueError(f"{value} is too much")


@graph
def around(text: str) -> int:
    return divided(text)


@pytest.mark.parametrize("failing", [divided, around])
def test_plain_steps_and_graphs_follow_it_too(opened: Opened, failing: Any) -> None:
    session, _ = opened({}, [SMALL])
    assert session.run(failing, {"text": ""}).status == "failed"
    assert session.run(failing.using(on_fail=OnFail.RAISE), {"text": ""}).status == "failed"
    run = session.run(failing.using(on_fail=-1), {"text": ""})
    last = run.steps[failing.name]
    assert (run.value, last.model, last.fallback) == (-1, "default", True)
    assert session.read(run.id, failing).value == -1


@pytest.mark.parametrize("failing", [divided, around])
def test_plain_steps_and_graphs_may_wait_for_a_person(opened: Opened, failing: Any) -> None:
    session, _ = opened({}, [SMALL])
    waits = failing.using(on_fail=OnFail.WAIT)
    run = session.run(waits, {"text": ""})
    assert [(w.path, w.reason) for w in run.waiting] == [(failing.name, "failed")]
    assert "ZeroDivisionError" in run.waiting[0].why
    session.answer(run.id, failing.name, "5", graph=waits)
    assert session.resume(run.id, waits).value == 5


def test_the_best_of_a_plain_step_is_what_its_check_refused(opened: Opened) -> None:
    session, _ = opened({}, [SMALL])
    assert session.run(divided, {"text": "x"}).status == "failed"
    run = session.run(divided.using(on_fail=OnFail.BEST), {"text": "x"})
    assert (run.value, run.steps["divided"].outcome) == (12, "rejected")
    assert session.run(divided.using(on_fail=OnFail.BEST), {"text": ""}).status == "failed"
