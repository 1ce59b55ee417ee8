"""Static checks: labels along every edge, graphs that are not the same twice, and structures no tracing would make."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from agentfleet import Label, Plan, ask, each, extract, graph, plan, repeat, step, summarise, when
from agentfleet.graph.check import label_problems, retrace_problems
from agentfleet.graph.dag import Const, Dag, Node, Out
from agentfleet.graph.network import RESULT, layers, structure_problems

Public = Annotated[str, Label("public")]
Secret = Annotated[str, Label("restricted")]


class Case(BaseModel):
    diagnosis: str


@extract(tier="small")
def case(record: str) -> Case:
    """The diagnosis."""
    return ask(record)


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


def sees(asked: Any) -> Sequence[tuple[str, str]]:
    """Small models run here, large ones in a cloud; none is a frontier model yet."""
    return {"small": [("local", "restricted")], "large": [("cloud", "internal")]}.get(asked.tier, [])


@graph
def leaky(question: Public, record: Secret) -> str:
    return advice(case(record).diagnosis)


@graph
def released(record: Secret) -> str:
    return advice(redact(case(record).diagnosis))


def test_data_that_no_model_may_see_is_named() -> None:
    (problem,) = label_problems(leaky, sees)
    line = leaky.dag.nodes["advice"].line
    assert problem.startswith(f"advice ({__file__}:{line}) reads restricted data (from record → case)")
    assert "no model it may use may see that: cloud (up to internal)" in problem
    assert 'Pass it through a @step(releases="internal")' in problem


def test_a_release_a_bigger_clearance_or_no_model_yet_is_no_problem() -> None:
    assert label_problems(released, sees) == []
    assert label_problems(leaky, lambda asked: [("cloud", "internal"), ("here", "restricted")]) == []
    assert label_problems(leaky, lambda asked: []) == []


def test_what_has_no_label_is_internal() -> None:
    @graph
    def plain(mail: str) -> str:
        return advice(mail)

    assert label_problems(plain, sees) == []
    assert len(label_problems(plain, lambda asked: [("tight", "public")])) == 1


def test_the_condition_of_a_branch_counts() -> None:
    @graph
    def decides(record: Secret, mail: Public) -> str:
        return advice(when(size(record) > 5, mail, otherwise="short"))

    (problem,) = label_problems(decides, sees)
    assert "(from record → size)" in problem


def test_both_branches_count() -> None:
    @graph
    def either(record: Secret, mail: Public) -> str:
        return advice(when(mail == "x", mail, otherwise=record))

    assert len(label_problems(either, sees)) == 1


def test_a_label_on_the_input_of_a_step_counts() -> None:
    @summarise(tier="large")
    def marked(text: Secret) -> str:
        """Short."""
        return ask(text)

    @graph
    def uses(mail: Public) -> str:
        return marked(mail)

    (problem,) = label_problems(uses, sees)
    assert "(from marked(text))" in problem


def test_subgraphs_are_looked_into() -> None:
    @graph
    def inner(text: str) -> str:
        return advice(text)

    @graph
    def outer(record: Secret) -> str:
        return inner(record)

    @graph
    def cleaned(record: Secret) -> str:
        return advice(inner.using(name="again")(redact(record)))

    (problem,) = label_problems(outer, sees)
    assert problem.startswith("inner/advice (")
    assert label_problems(cleaned, sees) == []


def test_each_is_looked_into() -> None:
    @graph
    def many(records: Annotated[list[str], Label("restricted")]) -> list[str]:
        return each(advice)(records)

    (problem,) = label_problems(many, sees)
    assert problem.startswith("each_advice/advice (")


@step
def both(one: str, other: str) -> str:
    return one + other


@graph
def mixed(question: str, record: str) -> str:
    return both(advice(question), redact(record))


def test_each_input_of_a_subgraph_a_list_and_rounds_keeps_its_label() -> None:
    @graph
    def outer(question: Public, record: Secret) -> str:
        return mixed(question, record)

    @graph
    def deeper(question: Public, record: Secret) -> str:
        return outer(question, record)

    @graph
    def many(questions: Annotated[list[str], Label("public")], record: Secret) -> list[str]:
        return each(mixed)(questions, record)

    @graph
    def rounds(question: Public, record: Secret) -> str:
        return repeat(mixed, until=bool, at_most=3)(question, record)

    for graph_ in (mixed, outer, deeper, many, rounds):
        assert label_problems(graph_, sees) == [], graph_.name

    @graph
    def swapped(question: Public, record: Secret) -> str:
        return outer(record, question)

    assert [problem.split(" ")[0] for problem in label_problems(swapped, sees)] == ["outer/mixed/advice"]


def test_a_default_in_the_code_is_public() -> None:
    @graph
    def asks_the_same(record: str, question: str = "What is usual?") -> str:
        return both(advice(question), redact(record))

    @graph
    def outer(record: Secret) -> str:
        return asks_the_same(record)

    assert label_problems(outer, sees) == []


def test_a_planner_releases_what_it_writes_not_what_its_plan_points_at() -> None:
    @plan(tier="small", tools=[advice], releases="internal")
    def releasing(record: str) -> Plan[str]:
        """What to do."""
        return ask(record)

    @graph
    def planned(record: Secret) -> str:
        return releasing.carry_out(releasing(record))

    (problem,) = label_problems(planned, sees)
    assert problem.startswith("releasing.carry_out/advice (") and "restricted" in problem


@step
def grow(text: str, secret: Secret) -> str:
    return text + secret


@graph
def round_of(text: str, secret: str) -> str:
    return grow(advice(text), secret)


def test_a_later_round_of_repeat_is_given_what_the_first_made() -> None:
    @graph
    def rounds(text: Public, note: Public) -> str:
        return repeat(round_of, until=bool, at_most=3)(text, note)

    (problem,) = label_problems(rounds, sees)
    assert problem.startswith("repeat_round_of/round_of/advice (")
    assert "restricted" in problem


@step
def fetch(key: str) -> Annotated[str, "no label: what it reads is not known"]:
    return key


@step
def open_file(key: Secret) -> str:
    return key


@plan(tier="small", tools=[open_file, advice])
def choose(mail: str) -> Plan[str]:
    """What to do."""
    return ask(mail)


def test_the_tools_of_a_plan_may_be_given_each_others_results() -> None:
    @graph
    def planned(mail: Public) -> str:
        return choose.carry_out(choose(mail))

    (problem,) = label_problems(planned, sees)
    assert problem.startswith("choose.carry_out/advice (")
    assert "restricted" in problem


def test_one_line_a_place_however_often_it_is_met() -> None:
    @graph
    def twice(record: Secret) -> list[str]:
        return [advice(record), advice.using(name="more")(record)]

    assert [problem.split(" ")[0] for problem in label_problems(twice, sees)] == ["advice", "more"]


def test_a_skill_by_itself_can_be_asked_about() -> None:
    @summarise(tier="large")
    def marked(text: Secret) -> str:
        """Short."""
        return ask(text)

    assert len(label_problems(marked, sees)) == 1
    assert label_problems(advice, sees) == []


# -- traced twice ------------------------------------------------------------------------------------------------------


@step
def stamp(text: str, at: Any) -> str:
    return f"{at} {text}"


class Plain:
    def __init__(self, number: int) -> None:
        self.number = number


def test_a_clock_is_found() -> None:
    @graph
    def dated(mail: str) -> str:
        return stamp(mail, datetime.now())

    (problem,) = retrace_problems(dated)
    assert "stamp(at=...) is not the same each time" in problem
    assert "frozen" in problem
    assert "@step" in problem


def test_chance_and_counters_are_found() -> None:
    numbers = itertools.count()

    @graph
    def counted(mail: str) -> str:
        return stamp(mail, {"n": [next(numbers)]})

    @graph
    def drawn(mail: str) -> str:
        return stamp(mail, random.random())

    @graph
    def named(mail: str) -> str:
        return stamp.using(name=f"stamp_{next(numbers)}")(mail, 1)

    assert len(retrace_problems(counted)) == 1
    assert len(retrace_problems(drawn)) == 1
    assert "has not the same nodes" in retrace_problems(named)[0]


def test_a_clock_inside_a_subgraph_is_found_too() -> None:
    @graph
    def dated(mail: str) -> str:
        return stamp(mail, datetime.now())

    @graph
    def outer(mails: list[str]) -> list[str]:
        return each(dated)(mails)

    assert retrace_problems(outer)[0].startswith("dated, line ")


def test_values_that_are_equal_are_the_same() -> None:
    @graph
    def steady(mail: str) -> str:
        made = step(Case)
        first = stamp(mail, [Case(diagnosis="x"), (1, {"a": 2.5}), Plain(3), len])
        return stamp.using(name="last", budget=1.0)(first, made(diagnosis=mail))

    assert retrace_problems(steady) == []


def test_objects_that_differ_inside_are_not_the_same() -> None:
    numbers = itertools.count()

    @graph
    def changing(mail: str) -> str:
        return stamp(mail, Plain(next(numbers)))

    assert len(retrace_problems(changing)) == 1


def test_a_graph_that_traces_only_once_says_why() -> None:
    left = [1]

    @graph
    def once(mail: str) -> str:
        return stamp(mail, left.pop())

    (problem,) = retrace_problems(once)
    assert problem.startswith("once: it cannot be traced a second time")


# -- structure ---------------------------------------------------------------------------------------------------------


def node(name: str, *reads: str) -> Node:
    return Node(name, fetch, {f"p{i}": Out(other) for i, other in enumerate(reads)})


@pytest.mark.parametrize(
    ("nodes", "result", "message"),
    [
        ([node("a", "b"), node("b", "a")], Out("a"), "wait for each other"),
        ([node("a")], Out("z"), "it reads 'z', and there is no such node"),
        ([node("a"), node("b")], Out("a"), "nothing reads b"),
        ([node("a"), node("b", "a")], Out("b"), ""),
        ([], Const(1), ""),
    ],
)
def test_structures(nodes: list[Node], result: Any, message: str) -> None:
    problems = structure_problems(Dag("g", {one.id: one for one in nodes}, result))
    assert (message in problems[0]) if message else not problems


def test_layers_put_the_result_last_and_a_decision_before_what_it_decides() -> None:
    @graph
    def desk(mail: str) -> int:
        return when(advice(mail) == "count", size(mail), otherwise=0)

    assert layers(desk.dag) == [[("input", "mail")], [("node", "advice")], [("node", "size")], [RESULT]]
