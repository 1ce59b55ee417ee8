"""Every mistake of the error list: the message says what, where (graph and line) and what to do."""

from __future__ import annotations

import inspect
import json
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import pytest
from graph import desk
from graph.desk import Crate, Letter, found, gist, halves, keep, length, mood, parcel, post, total, words

from agentfleet import Graph, TraceError, ask, each, extract, graph, repeat, step, when

if TYPE_CHECKING:
    from nowhere import Later

T = TypeVar("T")


def here() -> int:
    """The line of the calling test that ends with the comment `here`."""
    lines, first = inspect.getsourcelines(sys._getframe(1).f_code)
    return next(first + i for i, text in enumerate(lines) if text.rstrip().endswith("# here"))


def refused(*parts: str) -> Any:
    """A TraceError whose message holds every part, in this order."""
    return pytest.raises(TraceError, match=".*".join(re.escape(part) for part in parts))


DECIDE = (
    "its value is known only when the graph runs. Use when(condition, value, otherwise=...);"
    " for and/or use & and |; for not, swap the branches."
)


def test_if_on_a_value() -> None:
    with refused(f"g, line {here()}: cannot decide on mood == 'angry' (bool): ", DECIDE):

        @graph
        def g(mail: str) -> str:
            if mood(mail) == "angry":  # here
                return gist(mail)
            return mail


def test_and_or_not_while_and_chained_comparisons() -> None:
    def both(mail: str) -> str:
        return when(mood(mail) == "angry" and length(mail) > 3, mail, otherwise="")

    def swapped(mail: str) -> str:
        return when(not (mood(mail) == "angry"), mail, otherwise="")  # noqa: SIM201

    def between(mail: str) -> str:
        return when(1 < length(mail) < 9, mail, otherwise="")

    def while_long(mail: str) -> str:
        while length(mail) > 3:
            pass
        return mail

    for fn in (both, swapped, between, while_long):
        with refused(f"{fn.__name__}, line ", "cannot decide on ", DECIDE):
            graph(fn)


def test_loop() -> None:
    with refused(
        f"g, line {here()}: cannot loop over words (list[str]): its length is known only when the graph runs."
        " Use each(step)(words)."
    ):

        @graph
        def g(mail: str) -> list[int]:
            return [length(word) for word in words(mail)]  # here


WRITERS = [lambda m: f"about {m}", lambda m: "about " + m, lambda m: "%s" % m, str, repr]  # noqa: UP031


@pytest.mark.parametrize("write", WRITERS)
def test_text(write: Any) -> None:
    def g(mail: str) -> str:
        return gist(write(mail))

    with refused("cannot write mail (str) into text: it is known only when the graph runs. Put the text together in"):
        graph(g)


def test_text_names_graph_and_line() -> None:
    with refused(f"g, line {here()}: cannot write mail (str) into text"):

        @graph
        def g(mail: str) -> str:
            return gist(f"about {mail}")  # here


def test_used_twice() -> None:
    def g(mail: str) -> int:
        first = length(mail)
        second = length(gist(mail))
        return total([first, second])

    start = inspect.getsourcelines(g)[1]
    with refused(
        f"'length' is used twice in 'g' (lines {start + 1} and {start + 2}). Name one:"
        ' length.using(name="...")(...). Names, not positions, identify steps when a run is resumed.'
    ):
        graph(g)


def test_used_twice_in_a_comprehension() -> None:
    with refused("'gist' is used twice in 'g' (line ", "more than once)"):

        @graph
        def g(mail: str) -> list[str]:
            return [gist(part) for part in (mail, "x")]


def test_unknown_field() -> None:
    with refused(f"g, line {here()}: Parcel has no field 'wieght'; did you mean 'weight'?"):

        @graph
        def g(mail: str) -> float:
            return found(mail).wieght  # here


def test_field_of_an_optional() -> None:
    with refused(f"g, line {here()}: parcel may be None, so .weight is not safe. Give the whole value to a @step"):

        @graph
        def g(mail: str) -> float:
            return parcel(mail).weight  # here


def test_optional_made_by_when() -> None:
    with refused("may be None, so .weight is not safe"):

        @graph
        def g(mail: str) -> float:
            either = when(mood(mail) == "calm", found(mail), otherwise=None)
            return either.weight


def test_methods() -> None:
    with refused(f"g, line {here()}: found.model_dump is a method of Parcel; call it inside a @step."):

        @graph
        def g(mail: str) -> str:
            return keep(found(mail).model_dump())  # here

    with refused("mail.strip is a method of str; call it inside a @step."):

        @graph
        def g2(mail: str) -> str:
            return gist(mail.strip())


def test_changing_a_value() -> None:
    with refused(
        f"g, line {here()}: cannot change found (Parcel): a step's result never changes;",
        " return a new value from a @step.",
    ):

        @graph
        def g(mail: str) -> desk.Parcel:
            it = found(mail)
            it.weight = 3  # here
            return it

    with refused("cannot change words (list[str])"):

        @graph
        def g2(mail: str) -> list[str]:
            many = words(mail)
            many[0] = "x"
            return many


def test_closure() -> None:
    with refused("g, line ", "f closes over the step value 'mail'; make it an argument."):

        @graph
        def g(mail: str) -> str:
            @step
            def f(text: str) -> str:
                return text + mail

            return f("x")


@pytest.mark.parametrize("hide", [lambda m: lambda: m, lambda m: lambda x=[m]: x])
def test_closures_as_arguments(hide: Any) -> None:
    def g(mail: str) -> str:
        return keep(hide(mail))

    with refused("closes over the step value 'mail'; make it an argument."):
        graph(g)


def test_closure_of_key_until_and_each() -> None:
    def keyed(mail: str) -> list[int]:
        return each(length, key=lambda item: mail)(["a"])

    def bounded(mail: str) -> str:
        return repeat(gist, until=lambda text: text == mail, at_most=2)(mail)

    def inner(mail: str) -> list[str]:
        def f(text: str) -> str:
            return text + mail

        return each(f)(["a"])

    for fn in (keyed, bounded, inner):
        with refused("closes over the step value 'mail'; make it an argument."):
            graph(fn)


def test_nothing_reads_it() -> None:
    line = here()
    with pytest.raises(TraceError) as caught:

        @graph
        def g(mail: str) -> str:
            found(mail)  # here
            return mail

    text = str(caught.value)
    wanted = "g: nothing reads ['found']. Return it, pass it on, delete it, or mark it @step(effect=True)."
    assert text.startswith(wanted)
    assert f"found line {line}" in text


def test_unknown_type() -> None:
    with refused("f: cannot find the type 'Later'. Define or import it above (not under TYPE_CHECKING)."):

        @step
        def f(it: Later) -> str:
            return ""


def test_generic_type() -> None:
    with refused("f: list[~T] is generic; a skill needs a concrete type."):

        @extract(tier="small")
        def f(mail: str) -> list[T]:
            """Whatever."""
            return ask(mail)

    with refused("g: ~T is generic; a step needs a concrete type."):

        @step
        def g(it: Annotated[T, "bare"]) -> str:
            return ""


def test_recursion_names_repeat() -> None:
    with refused(f"g, line {here()}: g calls itself, and a graph has no cycles.", "Use repeat(step, until="):

        @graph
        def g(mail: str) -> str:
            return g(mail)  # here


def test_recursion_through_an_earlier_definition() -> None:
    def make(before: Any) -> Graph[[str], str]:
        @graph
        def g(mail: str) -> str:
            return gist(mail) if before is None else before(mail)

        return g

    first = make(None)
    with refused("g calls itself", "repeat"):
        make(first)


def test_async_graph() -> None:
    with refused("g: a graph is traced, not awaited: write def.", "test_errors.py"):

        @graph
        async def g(mail: str) -> str:
            return mail


def test_async_skill_and_check() -> None:
    with refused("f: a skill's body only says what the model reads: write def, not async def."):

        @extract(tier="small")
        async def f(mail: str) -> str:
            """Async."""
            return ask(mail)

    with refused("the check late of gist is async; write def."):

        @gist.check
        async def late(value: str, mail: str) -> None: ...


def test_check_with_other_inputs() -> None:
    with refused("the check other takes (value, text), and a check of gist takes", "(value, mail)"):

        @gist.check
        def other(value: str, text: str) -> None: ...


def test_value_of_another_graph() -> None:
    leaked: list[Any] = []

    @graph
    def g1(mail: str) -> desk.Parcel:
        leaked.append(found(mail))
        return leaked[0]

    with refused(f"g2, line {here()}: found (Parcel) belongs to graph 'g1', not 'g2'"):

        @graph
        def g2(mail: str) -> str:
            return keep(leaked[0])  # here

    with refused("length got found (Parcel), which only exists while graph 'g1' is traced."):
        length(leaked[0])


def test_model_built_from_a_value() -> None:
    with refused(f"g, line {here()}: Letter(...) is built from 'mail'", "make = step(Letter)"):

        @graph
        def g(mail: str) -> str:
            return post(Letter(text=mail))  # here


@pytest.mark.parametrize(
    ("hide", "name"),
    [
        (lambda m: Letter.model_construct(text=m), "Letter"),
        (lambda m: Crate(m), "Crate"),
        (lambda m: Crate([{"deep": (m,)}]), "Crate"),
        (lambda m: [Crate(m)], "Crate"),
        (lambda m: {"a": Letter.model_construct(text=m)}, "Letter"),
    ],
)
def test_values_hidden_in_objects(hide: Any, name: str) -> None:
    def g(mail: str) -> str:
        return keep(hide(mail))

    with refused(f"is given {name}(...) with mail (str) inside", f"step({name})"):
        graph(g)


def test_value_hidden_in_the_result() -> None:
    with refused("return of g is given Crate(...) with mail (str) inside", "step(Crate)"):

        @graph
        def g(mail: str) -> Crate:
            return Crate(mail)


def test_value_hidden_in_a_set() -> None:
    with refused("cannot use mail (str) as a key or in a set: it is known only when the graph runs. Use a list."):

        @graph
        def g(mail: str) -> str:
            return keep({mail})


@pytest.mark.parametrize("use", [lambda m: " ".join([m]), lambda m: json.dumps([m]), lambda m: round(m)])
def test_type_errors_of_c_code_get_a_note(use: Any) -> None:
    def g(mail: str) -> str:
        return gist(use(mail))

    with pytest.raises(TypeError) as caught:
        graph(g)
    note = caught.value.__notes__[0]
    assert note.startswith("g, line ")
    assert "known only when the graph runs" in note and "@step" in note


def test_other_errors_say_that_they_come_from_tracing() -> None:
    def g(mail: str) -> str:
        first, _, _ = halves(mail)
        return gist(first)

    with pytest.raises(ValueError, match="unpack") as caught:
        graph(g)
    assert "while the graph was traced" in caught.value.__notes__[0]


def test_name_defined_later() -> None:
    def g(mail: str) -> str:
        return comes_later(mail)  # noqa: F821

    with pytest.raises(NameError) as caught:
        graph(g)
    assert "define what it calls above it" in caught.value.__notes__[0]
