"""That a node runs tells about the condition that decided it: which conditions those are, and that labels count them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from agentfleet import Label, ask, graph, step, summarise, when
from agentfleet.graph.check import label_problems
from agentfleet.graph.conditions import conditions

Public = Annotated[str, Label("public")]
Secret = Annotated[str, Label("restricted")]


@summarise(tier="large")
def advice(text: str) -> str:
    """Advice."""
    return ask(text)


@step(releases="internal")
def redact(text: str) -> str:
    return text[:1]


@step
def size(text: str) -> int:
    return len(text)


@step
def both(one: str, other: str) -> str:
    return one + other


@step(effect=True)
def send(text: str) -> str:
    return text


@graph
def mixed(question: str, record: str) -> str:
    return both(advice(question), redact(record))


def sees(asked: Any) -> Sequence[tuple[str, str]]:
    return [("cloud", "internal")]


def decided(wanted: Any) -> dict[str, int]:
    """How many conditions stand over each node that does not run in any case."""
    return {name: len(tests) for name, tests in conditions(wanted.dag).items()}


def test_which_nodes_run_only_under_conditions() -> None:
    @graph
    def plain(mail: str) -> str:
        return both(advice(mail), redact(mail))

    @graph
    def branches(mail: str) -> str:
        first = redact(mail)
        inside = when(size(mail) > 5, advice(first), otherwise=send(mail))
        return when(first == "x", both(inside, first), otherwise="none")

    assert decided(plain) == {}
    assert decided(branches) == {"both": 1, "size": 1, "advice": 2, "send": 2}


def test_an_effect_under_no_condition_runs_in_any_case_and_so_does_what_it_reads() -> None:
    @graph
    def sends(mail: str) -> str:
        found = redact(mail)
        send(found)
        return when(size(mail) > 5, both(found, mail), otherwise="none")

    assert decided(sends) == {"both": 1}


def test_what_runs_only_under_a_condition_counts_it() -> None:
    @graph
    def tells(record: Secret, mail: Public) -> str:
        found = advice(mail)
        return when(size(record) > 5, found, otherwise="short")

    @graph
    def tells_inside(record: Secret, mail: Public) -> str:
        return when(size(record) > 5, mixed(mail, record), otherwise="short")

    @graph
    def tells_before(record: Secret, mail: Public) -> str:
        found = redact(advice(mail))
        return when(size(record) > 5, found, otherwise="short")

    for wanted in (tells, tells_inside, tells_before):
        (problem,) = label_problems(wanted, sees)
        assert "reads restricted data (from record → size)" in problem

    @graph
    def asked_in_any_case(record: Secret, mail: Public) -> list[str]:
        found = advice(mail)
        return [found, when(size(record) > 5, found, otherwise="short")]

    @graph
    def released_condition(record: Secret, mail: Public) -> str:
        return when(redact(record) == "x", advice(mail), otherwise="short")

    assert label_problems(asked_in_any_case, sees) == label_problems(released_condition, sees) == []


def test_conditions_that_read_what_they_decide_come_to_an_end() -> None:
    @graph
    def knotted(record: Secret, mail: Public) -> str:
        first = advice(mail)
        second = both(when(mail == "x", first, otherwise="-"), when(mail == "y", record, otherwise=mail))
        return when(second == "z", first, otherwise="none")

    assert list(conditions(knotted.dag)) == ["advice"] and len(conditions(knotted.dag)["advice"]) == 2
    (problem,) = label_problems(knotted, sees)
    assert problem.startswith("advice (")
