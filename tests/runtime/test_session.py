"""Runs from beginning to end: run, arun, resume, rerun, key, what is waited for, how a run is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Literal

import pytest

from agentfleet import OnFail, RunFailed, RunWaiting, Session, StepError, ask, classify, graph, step, summarise, when
from agentfleet.errors import LedgerBusy, RunCancelled, Unavailable, UnknownName, UsageError
from agentfleet.testing import Scripted, scripted

Opened = Callable[..., tuple[Session, Scripted]]
DONE: list[str] = []
BROKEN: set[str] = set()


@summarise(tier="small")
def first(text: str) -> str:
    """First."""
    return ask(text)


@summarise(tier="small")
def second(text: str) -> str:
    """Second."""
    return ask(text)


@step(effect=True)
def send(text: str) -> str:
    if "send" in BROKEN:
        raise ValueError("the wire is cut")
    DONE.append(text)
    return f"sent {text}"


@graph
def letter(text: str) -> str:
    return send(second(first(text)))


@classify(tier="person")
def approve(text: str) -> Literal["yes", "no"]:
    """May it be sent?"""
    return ask(text)


@summarise(tier="large")
def big(text: str) -> str:
    """For a big model."""
    return ask(text)


@step
def count(text: str) -> int:
    DONE.append(f"count {text}")
    return len(text)


@step
def together(said: str, gist: str, number: int) -> str:
    return f"{said} {gist} {number}"


@graph
def waits(text: str) -> str:
    return together(approve(text), big(first(text)), count(text))


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    DONE.clear()
    BROKEN.clear()


def paths(backend: Scripted) -> list[str]:
    return [path for path, _ in backend.calls]


def test_a_run_ends_with_its_value_and_stands_in_the_ledger(opened: Opened) -> None:
    session, _ = opened({"first": "a", "second": "b"})
    run = session.run(letter, {"text": "x"})
    assert (run.status, run.value, DONE) == ("done", "sent b", ["b"])
    assert list(run.steps) == ["first", "second", "send"]
    kept = session.read(run.id, letter)
    assert (kept.status, kept.value) == ("done", "sent b")
    assert {p: s.value for p, s in kept.steps.items()} == {"first": "a", "second": "b", "send": "sent b"}
    assert [a.answer for _, a in kept.attempts] == ["a", "b"]


def test_a_run_is_awaited_from_any_loop(opened: Opened) -> None:
    session, _ = opened({"first": "a", "second": "b"})

    async def many() -> list[str]:
        runs = await asyncio.gather(*(session.arun(letter, {"text": str(i)}) for i in range(5)))
        return [run.value for run in runs]

    assert asyncio.run(many()) == ["sent b"] * 5


def test_a_plain_call_in_a_running_loop_names_the_awaitable_form(opened: Opened) -> None:
    session, backend = opened({"first": "a", "second": "b"})

    async def wrong(call: Callable[[], Any]) -> None:
        call()

    with pytest.raises(UsageError, match=r"await letter\.arun"):
        asyncio.run(wrong(lambda: session.run(letter, {"text": "x"})))
    with pytest.raises(UsageError, match=r"await session\.aresume"):
        asyncio.run(wrong(lambda: session.resume("x", letter)))
    assert backend.calls == []


def test_after_a_failure_only_what_is_missing_runs(opened: Opened) -> None:
    session, backend = opened({"first": "a", "second": "b"})
    BROKEN.add("send")
    run = session.run(letter, {"text": "x"})
    assert run.status == "failed" and "the wire is cut" in run.error and "test_session.py:" in run.error
    with pytest.raises(RunFailed, match="the wire is cut"):
        _ = run.value
    BROKEN.clear()
    session, backend = opened({"first": "a", "second": "b"})
    again = session.resume(run.id, letter)
    assert (again.status, again.value) == ("done", "sent b")
    assert backend.calls == [] and DONE == ["b"]
    assert {p: s.reused for p, s in again.steps.items()} == {"first": True, "second": True, "send": False}
    assert session.resume(run.id).value == "sent b", "a run that is done is only read; its graph is found again"
    assert DONE == ["b"]


def test_a_model_that_was_down_is_asked_again_and_nothing_else(opened: Opened) -> None:
    session, _ = opened({"first": "a", "second": Unavailable("down")})
    run = session.run(letter, {"text": "x"})
    assert run.status == "waiting"
    assert [(w.path, w.reason) for w in run.waiting] == [("second", "model")]
    session, backend = opened({"second": "b"})
    assert session.resume(run.id, letter).value == "sent b"
    assert paths(backend) == ["second"]
    outcomes = [a.outcome for a in session.read(run.id).steps["second"].attempts]
    assert outcomes == ["unavailable", "valid"], "the account keeps what was tried before"


def test_rerun_forgets_one_step_and_what_rests_on_another_value_of_it(opened: Opened) -> None:
    session, _ = opened({"first": "a", "second": "b"})
    run = session.run(letter, {"text": "x"})
    session, backend = opened({"first": "a", "second": "c"})
    assert session.resume(run.id, letter, rerun="second").value == "sent c"
    assert paths(backend) == ["second"] and DONE == ["b", "c"]
    session, backend = opened({"first": "a"})
    assert session.resume(run.id, letter, rerun="first").value == "sent c"
    assert paths(backend) == ["first"], "the same value again: what follows is not repeated"
    with pytest.raises(UnknownName, match="frist"):
        session.resume(run.id, letter, rerun="frist")


def test_everything_that_can_run_runs_and_every_wait_is_reported(opened: Opened) -> None:
    from agentfleet import Model

    session, backend = opened({"first": "a"}, [Model(name="local", backend="scripted", tier=("nano", "small"))])
    run = session.run(waits, {"text": "four"})
    assert run.status == "waiting"
    assert {w.path: w.reason for w in run.waiting} == {"approve": "person", "big": "model"}
    why = {w.path: w.why for w in run.waiting}
    assert why == {"approve": "a person is asked by design (tier person)", "big": "no model in tier large"}
    assert paths(backend) == ["first"] and DONE == ["count four"]
    with pytest.raises(RunWaiting, match="agentfleet answer"):
        _ = run.value
    assert {w.path for w in session.read(run.id).waiting} == {"approve", "big"}
    session.answer(run.id, "approve", "yes")
    session, backend = opened({"big": "B"})
    assert session.resume(run.id, waits).value == "yes B 4"
    assert paths(backend) == ["big"] and DONE == ["count four"]


def test_one_key_is_one_run(opened: Opened) -> None:
    session, backend = opened({"first": "a", "second": "b"})
    once, twice = (session.run(letter.using(key="order 7"), {"text": "x"}) for _ in range(2))
    assert once.id == twice.id and twice.value == "sent b"
    assert len(backend.calls) == 2 and DONE == ["b"]
    assert session.run(letter.using(key="order 8"), {"text": "x"}).id != once.id


def test_one_key_goes_on_with_a_run_that_waits(opened: Opened) -> None:
    session, _ = opened({"first": "a", "second": Unavailable("down")})
    run = session.run(letter.using(key="k"), {"text": "x"})
    session, backend = opened({"second": "b"})
    again = session.run(letter.using(key="k"), {"text": "x"})
    assert (again.id, again.value, paths(backend)) == (run.id, "sent b", ["second"])


@step
async def forever(text: str) -> str:
    DONE.append("begun")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        DONE.append("cancelled")
        raise
    return text


@graph
def endless(text: str) -> str:
    return forever(first(text))


def settled(session: Session, run_id: str) -> str:
    """The status once the run is no longer going on in this process."""
    while run_id in session._active:
        threading.Event().wait(0.005)
    return session.read(run_id).status


def test_cancelling_the_awaiting_task_cancels_the_run(opened: Opened) -> None:
    session, _ = opened({"first": "a"})

    async def main() -> None:
        task = asyncio.create_task(session.arun(endless, {"text": "x"}))
        while "begun" not in DONE:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    session.ledger.flush()
    (row,) = session.ledger.runs()
    assert settled(session, row.id) == "cancelled" and DONE == ["begun", "cancelled"]
    again = session.resume(row.id, endless)
    assert again.status == "cancelled" and DONE == ["begun", "cancelled"], "a cancelled run is not taken up again"
    with pytest.raises(RunCancelled):
        _ = again.value


def test_what_this_process_works_on_is_not_taken_up_twice(opened: Opened) -> None:
    session, _ = opened({"first": "a"})

    async def main() -> None:
        task = asyncio.create_task(session.arun(endless, {"text": "x"}))
        while "begun" not in DONE:
            await asyncio.sleep(0.005)
        session.ledger.flush()
        (row,) = session.ledger.runs()
        with pytest.raises(LedgerBusy):
            await session.aresume(row.id, endless)
        with pytest.raises(UsageError, match="still going on"):
            session.close()
        task.cancel()

    asyncio.run(main())
    assert settled(session, session.ledger.runs()[0].id) == "cancelled"


def test_a_deadline_cancels_the_run_and_the_step(opened: Opened) -> None:
    session, _ = opened({"first": "a"})
    run = session.run(endless.using(deadline=0.2), {"text": "x"})
    assert run.status == "cancelled" and run.error == "its deadline passed"
    assert DONE == ["begun", "cancelled"] and run.steps["first"].value == "a"
    with pytest.raises(RunCancelled, match="deadline"):
        _ = run.value
    assert session.read(run.id).status == "cancelled"


def test_stop_pauses_what_is_going_on_and_resume_ends_it(opened: Opened) -> None:
    session, _ = opened({"first": "a", "second": "b"})
    listening: list[str] = []

    def stop(event: Any) -> None:
        listening.append(type(event).__name__)
        if listening.count("StepFinished") == 1:
            session.stop()

    run = session.run(letter, {"text": "x"}, listener=stop)
    assert run.status == "paused" and list(run.steps) == ["first"]
    session, backend = opened({"second": "b"})
    assert session.resume(run.id, letter).value == "sent b" and paths(backend) == ["second"]


def test_a_plain_call_raises_what_went_wrong() -> None:
    BROKEN.add("send")
    with scripted({"first": "a", "second": "b"}), pytest.raises(StepError) as caught:
        letter("x")
    assert isinstance(caught.value.__cause__, ValueError) and caught.value.path == "send"


def test_only_the_branch_taken_runs(opened: Opened) -> None:
    session, backend = opened({"first": ["yes", "no"], "second": "b"})
    assert session.run(branch, {"text": "x"}).value == "sent b"
    other = session.run(branch, {"text": "x"})
    assert other.value == "kept" and list(other.steps) == ["first"]
    assert paths(backend) == ["first", "second", "first"] and DONE == ["b"]


@graph
def branch(text: str) -> str:
    return when(first(text) == "yes", send(second(text)), otherwise="kept")


def test_a_run_that_nobody_knows(opened: Opened) -> None:
    session, _ = opened()
    for work in (lambda: session.resume("0000", letter), lambda: session.read("0000")):
        with pytest.raises(UnknownName):
            work()


def test_a_graph_made_in_a_function_is_resumed_by_handing_it_in(opened: Opened) -> None:
    @graph
    def local(text: str) -> str:
        return second.using(on_fail=OnFail.WAIT)(first(text))

    session, _ = opened({"first": "a", "second": Unavailable("down")})
    run = session.run(local, {"text": "x"})
    with pytest.raises(UnknownName, match=r"session\.resume\(run_id, graph\)"):
        session.resume(run.id)
    session.answer(run.id, "second", "by hand", graph=local)
    assert session.resume(run.id, local).value == "by hand"
