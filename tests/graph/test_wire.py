"""Branches, lists and rounds: when, each, repeat. How they are typed, named, and what they do when they run."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from graph.desk import Parcel, found, gist, length, mood, total, words
from pydantic import BaseModel

from agentfleet import OnFail, TraceError, each, graph, repeat, step, when
from agentfleet.errors import UsageError
from agentfleet.testing import scripted


class Draft(BaseModel):
    text: str
    rounds: int = 0


@step
def better(draft: Draft, mark: str) -> Draft:
    return Draft(text=draft.text + mark, rounds=draft.rounds + 1)


@step
def shout(text: str, mark: str = "!") -> str:
    return text.upper() + mark


def test_when_outside_a_graph_chooses() -> None:
    assert when(True, 1, otherwise="x") == 1
    assert when(False, 1, otherwise="x") == "x"


@pytest.mark.parametrize(("feeling", "answer", "ran"), [("angry", "SORRY!", True), ("calm", "fine", False)])
def test_only_the_branch_taken_runs(feeling: str, answer: str, ran: bool) -> None:
    @graph
    def g(mail: str) -> str:
        return when(mood(mail) == "angry", shout("sorry"), otherwise="fine")

    with scripted({"mood": feeling}):
        run = g.run("x")
    assert run.value == answer
    assert ("shout" in run.steps) is ran


def test_when_with_a_constant_condition_is_still_a_branch() -> None:
    @graph
    def g(mail: str) -> str:
        return when(False, shout(mail), otherwise=mail)

    with scripted({}):
        assert g("x") == "x"


def test_each_takes_a_list_and_shares_the_rest() -> None:
    all_of = each(shout, at_once=2)
    assert all_of.name == "each_shout"
    assert [(p.name, p.annotation) for p in all_of.params] == [("text", Sequence[str]), ("mark", str)]
    assert all_of.returns == list[str]

    @graph
    def g(mails: list[str]) -> list[str]:
        return all_of(mails, "?")

    with scripted({}):
        assert g(["a", "b"]) == ["A?", "B?"]
        assert all_of(["c"]) == ["C!"]


def test_each_over_a_graph_and_over_a_plain_function() -> None:
    @graph
    def one(mail: str) -> int:
        return length(shout(mail))

    def double(number: int) -> int:
        return number * 2

    @graph
    def g(mails: list[str]) -> list[int]:
        return each(double)(each(one)(mails))

    assert list(g.dag.nodes) == ["each_one", "each_double"]
    with scripted({}):
        assert g(["a", "bcd"]) == [4, 8]


def test_each_checks_its_items_while_tracing() -> None:
    with pytest.raises(TraceError, match=r"each_shout takes text: Sequence\[str\]; numbers is list\[int\]"):

        @graph
        def g(numbers: list[int]) -> list[str]:
            return each(shout)(numbers)

    with pytest.raises(TraceError, match=r"each_shout takes text: Sequence\[str\]; mail is str"):

        @graph
        def g2(mail: str) -> list[str]:
            return each(shout)(mail)


def test_each_keys_name_the_items() -> None:
    @step
    def weigh(it: Parcel) -> float:
        return it.weight

    by_code = each(weigh, key=lambda it: it.code)
    with scripted({}):
        run = by_code.run([Parcel(code="A", weight=1), Parcel(code="B", weight=2)])
    assert run.value == [1, 2]
    assert any("#A" in path for path in run.steps)


def test_each_of_nothing() -> None:
    with scripted({}):
        assert each(shout)([]) == []


def test_repeat_until_it_holds() -> None:
    three = repeat(better, until=lambda draft: draft.rounds >= 3, at_most=5)
    assert three.name == "repeat_better"
    assert [p.name for p in three.params] == ["draft", "mark"]
    with scripted({}):
        assert three(Draft(text="a"), "+") == Draft(text="a+++", rounds=3)


def test_repeat_that_never_holds_gives_the_last_unless_told() -> None:
    never = repeat(better, until=lambda draft: False, at_most=2)
    with scripted({}):
        assert never(Draft(text="a"), "+").rounds == 2
        assert never.using(on_fail=OnFail.RAISE).run(Draft(text="a"), "+").status == "failed"
        assert never.using(on_fail=Draft(text="given up"))(Draft(text="a"), "+").text == "given up"


def test_repeat_refuses_what_does_not_feed_itself() -> None:
    with pytest.raises(TraceError, match=r"repeat\(length\): it returns int, and its first input 'text' takes str"):
        repeat(length, until=bool, at_most=2)


def test_bad_numbers_and_functions() -> None:
    with pytest.raises(UsageError, match="whole number, 1 or more"):
        repeat(better, until=bool, at_most=0)
    with pytest.raises(UsageError, match="whole number, 1 or more"):
        each(shout, at_once=0)
    with pytest.raises(TraceError, match=r"each\(...\) takes a step, graph or function, not int"):
        each(3)  # type: ignore[arg-type,var-annotated]
    with pytest.raises(TraceError, match=r"until=...\) takes a plain function, and this is a step"):
        repeat(better, until=total, at_most=2)  # type: ignore[arg-type]

    async def late(draft: Draft) -> bool:
        return True

    with pytest.raises(TraceError, match="takes a plain function, and this is async"):
        repeat(better, until=late, at_most=2)  # type: ignore[arg-type]


def test_branches_join_their_types() -> None:
    @graph
    def g(mail: str) -> Parcel | str:
        return when(mood(mail) == "angry", found(mail), otherwise="none")

    with pytest.raises(TraceError, match="g2 returns str; when"):

        @graph
        def g2(mail: str) -> str:
            return when(mood(mail) == "angry", found(mail), otherwise="none")  # type: ignore[return-value]


def test_literal_branches_fit_a_literal() -> None:
    @graph
    def g(mail: str) -> str:
        chosen = when(length(mail) > 3, mood(mail), otherwise="calm")

        @step
        def answer(feeling: str) -> str:
            return feeling

        return answer(chosen)

    with scripted({}):
        assert g("ab") == "calm"


def test_a_fan_out_and_in() -> None:
    @graph
    def g(mail: str) -> int:
        return total([length(gist(mail)), length.using(name="whole")(mail)])

    with scripted({"gist": "ab"}):
        assert g("abcd") == 6


def test_each_inside_each() -> None:
    lengths = each(each(length))
    assert lengths.name == "each_each_length"

    @graph
    def g(mails: list[str]) -> list[list[int]]:
        return lengths(each(words)(mails))

    with scripted({}):
        assert g(["a bc", "def"]) == [[1, 2], [3]]
