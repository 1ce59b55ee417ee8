"""Calls, results and signatures that cannot be right: refused while tracing or decorating, with graph and line."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from graph import desk
from graph.desk import gist, length, mood, parcel, post, ring, total

from agentfleet import Plan, TraceError, ask, classify, extract, graph, plan, step, when
from agentfleet.errors import SchemaError, UsageError


def refused(*parts: str) -> Any:
    """A TraceError whose message holds every part, in this order."""
    return pytest.raises(TraceError, match=".*".join(re.escape(part) for part in parts))


def test_wrong_arguments() -> None:
    def unknown(mail: str) -> str:
        return gist(mial=mail)

    def absent(mail: str) -> str:
        return gist()

    def many(mail: str) -> str:
        return gist(mail, mail)

    def typed(mail: str) -> str:
        return post(mail)

    def maybe(mail: str) -> str:
        @step
        def weigh(it: desk.Parcel) -> str:
            return ""

        return weigh(parcel(mail))

    for fn, text in (
        (unknown, "gist has no input 'mial'; did you mean 'mail'?"),
        (absent, "gist needs 'mail'"),
        (many, "gist takes 1 positional input, got 2"),
        (typed, "post takes letter: Letter; mail is str."),
        (maybe, "weigh takes it: Parcel; parcel is Parcel | None: it may be None"),
    ):
        with refused(f"{fn.__name__}, line ", text):
            graph(fn)


def test_members_of_lists_are_checked() -> None:
    def number(mail: str) -> int:
        return total([length(mail), gist(mail)])

    def constant(mail: str) -> int:
        return total([length(mail), "3"])

    def nested(mail: str) -> int:
        return total([[length(mail)]])

    for fn, text in ((number, "gist is str"), (constant, "'3' is str"), (nested, "a list is no int")):
        with refused(f"{fn.__name__}, line ", "total takes numbers: list[int]; ", text):
            graph(fn)


def test_wrong_result() -> None:
    with refused("g returns int; gist is str."):

        @graph
        def g(mail: str) -> int:
            return gist(mail)

    with refused("g2 returns nothing, but its annotation says str."):

        @graph
        def g2(mail: str) -> str:
            ring(mail)


def test_comparisons_that_have_one_outcome() -> None:
    def misspelt(mail: str) -> str:
        return when(mood(mail) == "angri", mail, otherwise="")

    def types(mail: str) -> str:
        return when(length(mail) == "3", mail, otherwise="")

    with refused("mood (Literal['calm', 'angry']) can never equal 'angri'"):
        graph(misspelt)
    with refused("length (int) can never equal '3'"):
        graph(types)


def test_conditions_that_are_no_bool() -> None:
    def number(mail: str) -> str:
        return when(length(mail), mail, otherwise="")

    def brackets(mail: str) -> str:
        return when(mood(mail) == "calm" & length(mail) > 3, mail, otherwise="")

    with refused("when(...) decides on a bool, and this is int; compare it with something."):
        graph(number)
    with refused("& joins conditions, and ", "in brackets: (a == b) & (c == d)"):
        graph(brackets)


def test_only_a_graph_wires() -> None:
    def helper(mail: str) -> str:
        return gist(mail)

    with refused("g, line ", "the helper 'helper' ", "calls 'gist', but only a @graph wires steps. Mark 'helper'"):

        @graph
        def g(mail: str) -> str:
            return helper(mail)


def test_running_inside_a_graph() -> None:
    with refused("gist.run runs now, and a graph is only traced; write gist(...)"):

        @graph
        def g(mail: str) -> str:
            return gist.run(mail).value

    with refused("ask(...) belongs into a skill's body"):

        @graph
        def g2(mail: str) -> str:
            return ask(mail)


def test_ask_outside() -> None:
    with pytest.raises(UsageError, match=r"ask\(\.\.\.\) only works in the body of a skill"):
        ask("x")


def test_await_inside_a_graph_has_no_meaning() -> None:
    def g(mail: str) -> str:
        asyncio.run(gist(mail))
        return mail

    with pytest.raises((TraceError, ValueError)):
        graph(g)


def test_signatures_that_no_step_can_have() -> None:
    def untyped(mail) -> str:
        return ""

    def silent(mail: str):
        return ""

    def starred(*mails: str) -> str:
        return ""

    def positional(mail: str, /) -> str:
        return ""

    def generator(mail: str) -> Any:
        yield mail

    def wrong_default(mail: str = None) -> str:  # noqa: RUF013
        return ""

    class Shop:
        def method(self, mail: str) -> str:
            return ""

    for fn, text in (
        (untyped, "parameter 'mail' has no type; write mail: TYPE."),
        (silent, "write what it returns"),
        (starred, "write each input as a parameter"),
        (positional, "'mail' is positional-only"),
        (generator, "return a list instead of yield"),
        (wrong_default, "the default of 'mail', None, is no str"),
        (Shop.method, "is a method; steps are functions"),
    ):
        with refused(text, "test_misuse.py"):
            step(fn)


def test_skills_that_cannot_ask() -> None:
    with refused("mute has no instruction: write a docstring, or prompt=..."):

        @extract(tier="small")
        def mute(mail: str) -> str:
            return ask(mail)

    with refused("idle, line ", "the body asks nothing; end it with: return ask(...)"):

        @extract(tier="small")
        def idle(mail: str) -> str:
            """Only words."""

    with pytest.raises(SchemaError, match="str is open; classify answers"):

        @classify(tier="nano")
        def free(mail: str) -> str:
            """Anything."""
            return ask(mail)


def test_planners() -> None:
    with refused("p: a planner returns Plan[T], not str."):

        @plan(tier="small", tools=[length])
        def p(mail: str) -> str:
            """A plan."""
            return ask(mail)

    with refused("p2: the tool", "is no step; mark it with @step."):

        @plan(tier="small", tools=[len])
        def p2(mail: str) -> Plan[int]:
            """A plan."""
            return ask(mail)

    with refused("p3: no tool returns int, so no plan can (gist -> str)."):

        @plan(tier="small", tools=[gist])
        def p3(mail: str) -> Plan[int]:
            """A plan."""
            return ask(mail)


def test_bad_options() -> None:
    with pytest.raises(UsageError, match=r"gist.using has no option 'teir'"):
        gist.using(teir="small")
    with pytest.raises(UsageError, match="a name starts with a letter"):
        gist.using(name="a/b")
    with pytest.raises(UsageError, match="attempts per rung"):
        gist.using(tries=0)


def test_check_of_an_effect() -> None:
    @step(effect=True)
    def pay(amount: float) -> str:
        return "paid"

    with refused("pay is an effect, and a check of its value would come when it has happened."):

        @pay.check
        def late(value: str, amount: float) -> None: ...
