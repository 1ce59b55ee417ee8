"""Calls in a running body: children of the same run, with paths, errors and waits of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import pytest

from agentfleet import Session, StepError, ask, classify, each, graph, step, summarise
from agentfleet.errors import Unavailable
from agentfleet.testing import Scripted, scripted

Opened = Callable[..., tuple[Session, Scripted]]


@summarise(tier="small")
def shorter(text: str) -> str:
    """Half as long."""
    return ask(text)


@step
def shrink(text: str, limit: int) -> str:
    while len(text) > limit:
        text = shorter(text)
    return text


@graph
def small(text: str) -> str:
    return shrink(text, 2)


def test_a_loop_in_a_body_makes_children_of_the_run(opened: Opened) -> None:
    session, _ = opened({"shorter": ["four", "xx"]})
    run = session.run(small, {"text": "eight letters"})
    assert run.value == "xx"
    assert list(run.steps) == ["shrink/shorter#1", "shrink/shorter#2", "shrink"]
    assert [w.path for w in run.waiting] == []


def test_a_body_goes_on_where_its_children_were(opened: Opened) -> None:
    session, _ = opened({"shorter": ["four", Unavailable("down")]})
    run = session.run(small, {"text": "eight letters"})
    assert run.status == "waiting" and [w.path for w in run.waiting] == ["shrink/shorter#2"]
    session, backend = opened({"shorter": "xx"})
    assert session.resume(run.id, small).value == "xx"
    assert [path for path, _ in backend.calls] == ["shrink/shorter#2"]


@step
def outer(text: str) -> str:
    return shrink.using(name="inside")(text, 4) + shrink(text, 2)


def test_bodies_within_bodies(opened: Opened) -> None:
    session, _ = opened({"outer/inside#1/shorter#1": "four", "outer/shrink#1/shorter#1": "xx"})
    run = session.run(outer, {"text": "eight letters"})
    assert run.value == "fourxx"
    assert "outer/inside#1/shorter#1" in run.steps and "outer/shrink#1" in run.steps


nest = each(outer)


def test_more_waiting_parents_than_threads(opened: Opened) -> None:
    """Each body holds a thread while its child runs; with one pool for both, 40 of them would never end."""
    session, _ = opened({"shorter": "xx"})
    texts = [f"text number {n}" for n in range(40)]
    assert session.run(nest, {"text": texts}).value == ["xxxx"] * 40


@step
async def wrong(text: str) -> str:
    return shorter(text)


@step
async def right(text: str) -> str:
    one, two = await asyncio.gather(shorter.arun(text), shorter.arun(text[:1]))
    return one.value + two.value


def test_a_plain_call_in_an_async_body_names_the_awaitable_form() -> None:
    with scripted({"shorter": "s"}):
        run = wrong.run("x")
    assert run.status == "failed" and "(await shorter.arun(...)).value" in run.error


def test_async_bodies_await_their_children(opened: Opened) -> None:
    session, _ = opened({"shorter": ["a", "b"]})
    run = session.run(right, {"text": "xyz"})
    assert sorted(run.value) == ["a", "b"]
    assert list(run.steps) == ["right/shorter#1", "right/shorter#2", "right"]


@step
def records(text: str) -> str:
    run = shorter.run(text)
    return f"{run.value} {list(run.steps)} {run.id == shorter.run(text).id}"


def test_the_record_of_a_child(opened: Opened) -> None:
    session, _ = opened({"shorter": "s"})
    run = session.run(records, {"text": "x"})
    assert run.value == "s ['records/shorter#1'] True", "a child belongs to the run of its parent"


@classify(tier="person")
def approve(text: str) -> Literal["yes", "no"]:
    """Yes?"""
    return ask(text)


@step
def careful(text: str) -> str:
    try:
        return approve(text)
    except Exception:
        return "swallowed"


def test_a_wait_goes_through_an_except_clause(opened: Opened) -> None:
    session, _ = opened()
    run = session.run(careful, {"text": "x"})
    assert run.status == "waiting" and [w.path for w in run.waiting] == ["careful/approve#1"]
    session.answer(run.id, "careful/approve#1", "no")
    assert session.resume(run.id, careful).value == "no"


@step
def breaks(text: str) -> str:
    raise KeyError("no such thing")


@step
def catches(text: str) -> str:
    try:
        return breaks(text)
    except StepError as error:
        return f"caught {type(error.__cause__).__name__}"


def test_the_failure_of_a_child_can_be_caught(opened: Opened) -> None:
    session, _ = opened()
    run = session.run(catches, {"text": "x"})
    assert run.value == "caught KeyError" and run.steps["catches/breaks#1"].state == "failed"


def test_a_stop_ends_a_loop_in_a_body_and_resume_goes_on(opened: Opened) -> None:
    session, _ = opened({"shorter": ["seven..", "four"]})

    def stop(event: object) -> None:
        if type(event).__name__ == "AttemptMade":
            session.stop()

    run = session.run(small, {"text": "eight letters"}, listener=stop)
    assert run.status == "paused" and list(run.steps) == ["shrink/shorter#1"]
    session, backend = opened({"shorter": "xx"})
    assert session.resume(run.id, small).value == "xx" and len(backend.calls) == 1


def test_context_variables_of_the_caller_are_there() -> None:
    from contextvars import ContextVar

    wanted: ContextVar[str] = ContextVar("wanted", default="nothing")

    @step
    def reads(text: str) -> str:
        return text + wanted.get()

    @step
    async def reads_too(text: str) -> str:
        return text + wanted.get()

    wanted.set("something")
    with scripted({}):
        assert reads("a ") == "a something" and reads_too("a ") == "a something"


def test_a_body_that_returns_another_type_is_told() -> None:
    @step
    def lies(text: str) -> int:
        return "one"  # type: ignore[return-value]

    with scripted({}):
        run = lies.run("x")
    assert run.status == "failed" and "lies is declared to return int, but returned str" in run.error


@step
def greedy(text: str) -> str:
    try:
        return approve(text)
    except:  # noqa: E722
        return "swallowed"


def test_a_wait_that_a_body_takes_for_an_error_is_a_wait_all_the_same(opened: Opened) -> None:
    session, _ = opened()
    run = session.run(greedy, {"text": "x"})
    assert run.status == "waiting" and [w.path for w in run.waiting] == ["greedy/approve#1"]
    session.answer(run.id, "greedy/approve#1", "yes")
    assert session.resume(run.id, greedy).value == "yes"


def test_a_body_that_returns_nothing_instead_of_a_number_is_told() -> None:
    @step
    def forgets(text: str) -> int:
        len(text)  # type: ignore[return]

    with scripted({}):
        run = forgets.run("x")
    assert run.status == "failed" and "forgets is declared to return int, but returned NoneType" in run.error


@pytest.mark.parametrize("leaves", [SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("form", ["sync", "async"])
def test_a_body_that_wants_to_end_the_program_ends_its_step(leaves: BaseException, form: str) -> None:
    @step
    def quits(text: str) -> str:
        raise leaves

    @step
    async def quits_later(text: str) -> str:
        raise leaves

    asked = quits if form == "sync" else quits_later
    with scripted({}):
        run = asked.run("x")
    assert run.status == "failed" and type(leaves).__name__ in run.error
    with scripted({}):
        assert asked.run("x").status == "failed"  # the loop is alive
