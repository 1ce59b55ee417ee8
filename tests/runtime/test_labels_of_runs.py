"""Labels while a run goes on: each input on its own, conditions count, what a model may not see is skipped and said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from agentfleet import ByReference, Label, Model, OnFail, Plan, Session, ask, each, graph, plan, repeat, step, summarise
from agentfleet import when as either
from agentfleet.errors import LabelError
from agentfleet.testing import Scripted

Opened = Callable[..., tuple[Session, Scripted]]
Public = Annotated[str, Label("public")]
Secret = Annotated[str, Label("restricted")]

HERE = Model(name="here", backend="scripted", tier=("nano", "small"))
CLOUD = Model(
    name="cloud", backend="scripted", tier=("large", "frontier"), location="cloud", price={"input": 0, "output": 0}
)
SCRIPT = {"rule": "r", "read": "d", "advice": "a", "revise": "v", "climbs": "c"}


@summarise(tier="large")
def rule(question: str) -> str:
    """The rule."""
    return ask(question)


@summarise(tier="small")
def read(record: str) -> str:
    """The record."""
    return ask(record)


@step(releases="internal")
def redact(text: str) -> str:
    return text[:1]


@summarise(tier="large")
def advice(rule: str, found: str) -> str:
    """Advice."""
    return ask(rule, found)


@graph
def consult(question: Public, record: Secret) -> str:
    return advice(rule(question), redact(read(record)))


@graph
def plainly(question: str, record: str) -> str:
    return advice(rule(question), redact(read(record)))


@graph
def nested(question: Public, record: Secret) -> str:
    return plainly(question, record)


@graph
def twice_nested(question: Public, record: Secret) -> str:
    return nested.using(name="deep")(question, record)


of_each = each(plainly)


@graph
def listed(questions: Annotated[list[str], Label("public")], record: Secret) -> list[str]:
    return of_each(questions, record)


@graph
def round_of(question: str, record: str) -> str:
    return advice(question, redact(read(record)))


rounds = repeat(round_of, until=lambda text: text == "never", at_most=2)


@graph
def repeated(question: Public, record: Secret) -> str:
    return rounds(question, record)


CASES = [
    (consult, {"question": "q", "record": "r"}),
    (nested, {"question": "q", "record": "r"}),
    (twice_nested, {"question": "q", "record": "r"}),
    (listed, {"questions": ["p", "q"], "record": "r"}),
    (repeated, {"question": "q", "record": "r"}),
]


@pytest.mark.parametrize(("where", "inputs"), CASES, ids=[where.name for where, _ in CASES])
def test_each_input_keeps_its_own_label(opened: Opened, where: Any, inputs: dict[str, Any]) -> None:
    """The same steps alone, in a graph, in a list and in rounds: the cloud model is given what it may see."""
    session, _ = opened(SCRIPT, [HERE, CLOUD])
    run = session.run(where, inputs)
    assert run.status == "done", run.error
    levels = {path.rsplit("/", 1)[-1]: s.label.level for path, s in run.steps.items() if s.kind != "graph"}
    assert levels["read"] == "restricted" and levels["redact"] == levels["advice"] == "internal"
    if where is not repeated:
        assert levels["rule"] == "public"
    assert {s.model for p, s in run.steps.items() if p.endswith("advice")} == {"cloud"}
    assert session.read(run.id).steps.keys() == run.steps.keys()


@step
def leaks(text: str) -> str:
    return text


@graph
def nested_leak(question: str, record: str) -> str:
    return advice(rule(question), leaks(read(record)))


@graph
def leaky(question: Public, record: Secret) -> str:
    return nested_leak(question, record)


def test_what_leaks_inside_is_refused_before_anything_runs(opened: Opened) -> None:
    session, backend = opened(SCRIPT, [HERE, CLOUD])
    for where in (leaky, each(leaky)):
        with pytest.raises(LabelError, match="advice .* reads restricted data"):
            session.run(
                where, {"question": "q", "record": "r"} if where is leaky else {"question": ["q"], "record": "r"}
            )
    assert backend.calls == [] and session.ledger.runs() == []


@summarise(tier="small", up_to="large")
def climbs(text: str) -> str:
    """Climbs."""
    return ask(text)


@climbs.check
def never_good(value: str, text: str) -> None:
    raise ValueError("no")


@graph
def climbing(record: Secret) -> str:
    return climbs(record)


def test_a_rung_that_may_not_see_the_data_is_skipped_and_recorded(opened: Opened) -> None:
    session, backend = opened(SCRIPT, [HERE, CLOUD])
    run = session.run(climbing, {"record": "r"})
    assert run.status == "failed"
    tried = [(a.model, a.outcome.value) for a in run.steps["climbs"].attempts]
    assert tried == [("here", "rejected"), ("here", "rejected"), ("cloud", "skipped")]
    why = run.steps["climbs"].attempts[-1].problem
    assert why == "label: the data is restricted, and cloud (cloud) may see up to internal"
    assert len(backend.calls) == 2
    kept = session.read(run.id).steps["climbs"].attempts
    assert [a.outcome for a in kept] == ["rejected", "rejected", "skipped"]


@step
def size(text: str) -> int:
    return len(text)


@step
def in_a_body(question: str, record: str) -> str:
    return rule(question) if len(read(record)) == 1 else "none"


@graph
def bodily(question: Public, record: Secret) -> str:
    return in_a_body(question, record)


def test_a_call_in_a_body_is_given_all_that_the_body_knows(opened: Opened) -> None:
    session, backend = opened(SCRIPT, [HERE, CLOUD])
    run = session.run(bodily, {"question": "q", "record": "r"})
    assert run.status == "failed" and "the data is restricted" in run.error
    assert [path for path, _ in backend.calls] == ["in_a_body/read#1"]


@graph
def under_a_condition(question: Public, record: Secret) -> str:
    return either(size(record) > 3, rule(question), otherwise="short")


def test_that_a_call_is_made_tells_about_its_condition(opened: Opened) -> None:
    """The question is public, but who is asked it learns how long the secret record is."""
    session, _ = opened(SCRIPT, [HERE, CLOUD])
    with pytest.raises(LabelError, match=r"rule .* reads restricted data \(from record → size\)"):
        session.run(under_a_condition, {"question": "q", "record": "r"})
    session, _ = opened(SCRIPT, [HERE, CLOUD.model_copy(update={"sees": "restricted"})])
    run = session.run(under_a_condition, {"question": "q", "record": "long"})
    assert run.value == "r" and run.steps["rule"].label.level == "restricted"
    short = session.run(under_a_condition, {"question": "q", "record": "s"})
    assert short.value == "short" and "rule" not in short.steps


@graph
def asked_anyway(question: Public, record: Secret) -> str:
    found = rule(question)
    return either(size(record) > 3, leaks(found), otherwise=found)


def test_what_runs_in_any_case_tells_nothing(opened: Opened) -> None:
    """Both branches read it under the condition, so it counts; read outside of it as well, it does not."""

    @graph
    def outside(question: Public, record: Secret) -> list[str]:
        found = rule(question)
        return [found, either(size(record) > 3, leaks(found), otherwise=found)]

    session, _ = opened(SCRIPT, [HERE, CLOUD])
    run = session.run(outside, {"question": "q", "record": "long"})
    assert run.value == ["r", "r"] and run.steps["rule"].label.level == "public"
    assert run.steps["leaks"].label.level == "restricted"
    with pytest.raises(LabelError):
        session.run(asked_anyway, {"question": "q", "record": "long"})


class Item(BaseModel):
    name: str


@summarise(tier="large")
def describe(text: str) -> str:
    """Describe it."""
    return ask(text)


@step
def show(text: Annotated[str, ByReference()]) -> str:
    """Show."""
    return text


@plan(tier="small", tools=[describe, show], releases="internal")
def choose(item: Item) -> Plan[str]:
    """What to do."""
    return ask(item)


@graph
def planned(item: Annotated[Item, Label("restricted")]) -> str:
    return choose.carry_out(choose(item))


def carried(tool: str, text: object) -> dict[str, Any]:
    return {"steps": [{"id": "s1", "tool": tool, "with": {"text": text}}], "result": "s1"}


@pytest.mark.parametrize(
    ("wanted", "level"),
    [
        (carried("show", {"ref": "item.name"}), "restricted"),
        (carried("describe", "in general"), "internal"),
    ],
)
def test_a_plan_releases_what_it_wrote_and_not_what_it_points_at(
    opened: Opened, wanted: dict[str, Any], level: str
) -> None:
    trusted = CLOUD.model_copy(update={"sees": "restricted"})
    session, _ = opened({"choose": wanted, "describe": "d"}, [HERE, trusted])
    run = session.run(planned, {"item": Item(name="n")})
    assert run.status == "done", run.error
    assert run.steps["choose"].label.level == "restricted", "a plan carries the planner's inputs"
    assert run.steps["choose.carry_out/s1"].label.level == level


def test_a_reference_to_what_the_planner_read_is_as_secret_as_that(opened: Opened) -> None:
    session, _ = opened({"choose": carried("describe", {"ref": "item.name"})}, [HERE, CLOUD])
    with pytest.raises(LabelError, match=r"choose\.carry_out/describe"):
        session.run(planned, {"item": Item(name="n")})
    alone = session.run(choose, {"item": Item(name="n")})

    @graph
    def later(todo: Annotated[Plan[str], Label("restricted")]) -> str:
        return choose.using(on_fail=OnFail.RAISE).carry_out(todo)

    with pytest.raises(LabelError):
        session.run(later, {"todo": alone.value})


def test_what_a_model_wrote_into_a_plan_is_as_secret_as_what_it_read(opened: Opened) -> None:
    @plan(tier="small", tools=[describe])
    def copies(item: Item) -> Plan[str]:
        """What to do."""
        return ask(item)

    trusted = CLOUD.model_copy(update={"sees": "restricted"})
    session, _ = opened({"copies": carried("describe", "the secret name"), "describe": "d"}, [HERE, trusted])

    @graph
    def copied(item: Annotated[Item, Label("restricted")]) -> str:
        return copies.carry_out(copies(item))

    run = session.run(copied, {"item": Item(name="the secret name")})
    assert run.steps["copies.carry_out/s1"].label.level == "restricted"


@step
def signed(text: str) -> str:
    if text == "a":
        raise ValueError("not signed")
    return text


@graph
def letter(question: Public, record: Secret) -> str:
    return signed(plainly(question, record))


def test_a_reused_step_keeps_its_label(opened: Opened) -> None:
    session, _ = opened(SCRIPT, [HERE, CLOUD])
    run = session.run(letter, {"question": "q", "record": "r"})
    assert run.status == "failed"
    session, _ = opened({}, [HERE, CLOUD])
    again = session.resume(run.id, letter)
    assert again.status == "failed" and again.steps["plainly"].reused
    assert again.steps["signed"].label == again.steps["plainly"].label == run.steps["plainly"].label
