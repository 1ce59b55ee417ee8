"""A person's answer: checked against the step's type before it is recorded, given once, found wherever the node lies."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from agentfleet import (
    ByReference,
    InputError,
    OnFail,
    Plan,
    Session,
    ask,
    classify,
    each,
    extract,
    graph,
    plan,
    repeat,
    step,
    summarise,
)
from agentfleet.errors import UnknownName
from agentfleet.testing import Scripted

Opened = Callable[..., tuple[Session, Scripted]]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Bill(BaseModel):
    number: int
    total: Annotated[float, Field(ge=0)]


@classify(tier="person")
def approve(text: str) -> Literal["yes", "no"]:
    """Yes?"""
    return ask(text)


@classify(tier="person")
def colour(text: str) -> Colour | None:
    """Which?"""
    return ask(text)


@classify(tier="person")
def is_urgent(text: str) -> bool:
    """Urgent?"""
    return ask(text)


@extract(tier="person")
def bill(text: str) -> Bill:
    """The bill."""
    return ask(text)


@summarise(tier="person")
def gist(text: str) -> str:
    """Gist."""
    return ask(text)


@graph
def asks(text: str) -> list[Any]:
    return [approve(text), colour(text), is_urgent(text), bill(text), gist(text)]


GOOD = {
    "approve": ("yes", "yes"),
    "colour": ('"blue"', Colour.BLUE),
    "is_urgent": ("true", True),
    "bill": ('{"number": 7, "total": 2.5}', Bill(number=7, total=2.5)),
    "gist": ("a leak", "a leak"),
}


def test_answers_of_every_kind(opened: Opened) -> None:
    session, backend = opened()
    run = session.run(asks, {"text": "x"})
    assert {w.path for w in run.waiting} == set(GOOD)
    for path, (text, _) in GOOD.items():
        session.answer(run.id, path, text, "ada")
    session, backend = opened()
    ended = session.resume(run.id, asks)
    assert ended.value == [value for _, value in GOOD.values()] and backend.calls == []
    assert {(s.tier, s.model) for s in ended.steps.values()} == {("person", "ada")}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("approve", "perhaps"),
        ("approve", "true"),
        ("colour", '"green"'),
        ("is_urgent", '"maybe"'),
        ("bill", "{"),
        ("bill", '{"number": 7}'),
        ("bill", '{"number": 7, "total": -1}'),
        ("bill", '{"number": 7, "number": 8, "total": 1}'),
        ("gist", ""),
    ],
)
def test_an_answer_that_does_not_fit_changes_nothing(opened: Opened, path: str, text: str) -> None:
    session, _ = opened()
    run = session.run(asks, {"text": "x"})
    with pytest.raises(InputError, match=f"the answer for {path} does not fit"):
        session.answer(run.id, path, text)
    assert {w.path for w in session.read(run.id).waiting} == set(GOOD)


def test_json_text_and_bare_words_are_the_same_answer(opened: Opened) -> None:
    session, _ = opened()
    for text in ("a leak", '"a leak"'):
        run = session.run(gist, {"text": "x"})
        session.answer(run.id, "gist", text)
        assert session.resume(run.id, gist).value == "a leak"


def test_a_node_that_does_not_wait(opened: Opened) -> None:
    session, _ = opened()
    run = session.run(asks, {"text": "x"})
    with pytest.raises(UnknownName, match="waiting: "):
        session.answer(run.id, "aprove", "yes")
    session.answer(run.id, "approve", "yes")
    with pytest.raises(UnknownName):
        session.answer(run.id, "approve", "no")
    assert session.read(run.id).steps["approve"].value == "yes", "the first answer stands"


@graph
def inside(text: str) -> Bill:
    return bill(text)


@graph
def outer(text: str) -> Bill:
    return inside(text)


many = each(inside)


@graph
def listed(text: str) -> list[Bill]:
    return many([text])


@step
def in_a_body(text: str) -> float:
    return bill(text).total


@pytest.mark.parametrize("where", [outer, listed, in_a_body], ids=lambda one: one.name)
def test_wherever_the_node_lies_its_type_is_known(opened: Opened, where: Any) -> None:
    session, _ = opened()
    run = session.run(where, {"text": "x"})
    (wait,) = run.waiting
    with pytest.raises(InputError):
        session.answer(run.id, wait.path, '{"number": "x"}')
    session.answer(run.id, wait.path, '{"number": 1, "total": 3}')
    assert session.resume(run.id, where).status == "done"


@step
def grow(draft: Bill) -> Bill:
    return Bill(number=draft.number + 1, total=draft.total)


patient = repeat(grow, until=lambda draft: draft.number > 9, at_most=2).using(on_fail=OnFail.WAIT)


@graph
def grown(draft: Bill) -> Bill:
    return patient(draft)


def test_rounds_that_wait_are_answered_with_a_value_of_their_type(opened: Opened) -> None:
    session, _ = opened()
    run = session.run(grown, {"draft": Bill(number=1, total=1)})
    (wait,) = run.waiting
    assert (wait.path, wait.reason) == ("repeat_grow", "failed") and '"number":3' in wait.question
    with pytest.raises(InputError):
        session.answer(run.id, wait.path, '"ten"')
    session.answer(run.id, wait.path, '{"number": 10, "total": 1}')
    assert session.resume(run.id, grown).value == Bill(number=10, total=1)


@step
def refund(amount: Annotated[float, ByReference()]) -> str:
    """Refund."""
    return f"refunded {amount}"


@plan(tier="person", tools=[refund])
def resolve(found: Bill) -> Plan[str]:
    """What to do."""
    return ask(found)


@graph
def planned(found: Bill) -> str:
    return resolve.carry_out(resolve(found))


def test_a_plan_of_a_person_is_checked_like_one_of_a_model(opened: Opened) -> None:
    session, _ = opened()
    run = session.run(planned, {"found": Bill(number=1, total=5)})
    step_of = '{"steps": [{"id": "s1", "tool": "refund", "with": {"amount": %s}}], "result": "s1"}'
    for wrong in (step_of % "5.0", step_of % '{"ref": "found.amount"}', "{}", "no"):
        with pytest.raises(InputError):
            session.answer(run.id, "resolve", wrong)
    session.answer(run.id, "resolve", step_of % '{"ref": "found.total"}')
    assert session.resume(run.id, planned).value == "refunded 5.0"
