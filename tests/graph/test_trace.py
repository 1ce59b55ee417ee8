"""What tracing yields: nodes by name, expressions, roots; types followed through fields, items and branches."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import pytest
from graph import desk
from graph.desk import Parcel, Speed, found, gist, halves, keep, length, mood, parcel, ring, total, words
from pydantic import BaseModel
from typing_extensions import TypedDict

from agentfleet import Graph, Label, TraceError, ask, extract, graph, step, when
from agentfleet.graph.dag import Const, Field, Input, Item, Op, Out, Pack, When
from agentfleet.graph.signature import EMPTY
from agentfleet.graph.types import assignable, can_equal, describe, type_of
from agentfleet.testing import scripted

T = TypeVar("T")
Secret = Annotated[T, Label("restricted")]


def test_a_graph_is_a_dag_of_named_nodes() -> None:
    @graph
    def g(mail: str) -> str:
        it = when(mood(mail) == "angry", found(mail), otherwise=None)

        @step
        def answer(it: Parcel | None, about: str) -> str:
            return about

        return answer(it, gist(mail))

    dag = g.dag
    assert list(dag.nodes) == ["mood", "found", "gist", "answer"]
    assert dag.result == Out("answer")
    assert dag.inputs == ("mail",)
    assert dag.nodes["answer"].bindings == {
        "it": When(Op("==", (Out("mood"), Const("angry"))), Out("found"), Const(None)),
        "about": Out("gist"),
    }
    assert dag.depends["answer"] == ("mood", "found", "gist")
    assert dag.roots == ()


def test_nodes_know_their_line() -> None:
    def g(mail: str) -> str:
        return gist(mail)

    node = graph(g).dag.nodes["gist"]
    assert (node.file, node.line) == (__file__, g.__code__.co_firstlineno + 1)


def test_names_tell_uses_apart() -> None:
    @graph
    def g(mail: str) -> int:
        return total([length(mail), length.using(name="short")(gist(mail))])

    assert list(g.dag.nodes) == ["length", "gist", "short", "total"]
    assert g.dag.nodes["short"].step.name == "length"


def test_fields_items_and_tuples() -> None:
    class Depot(BaseModel):
        parcels: list[Parcel]
        names: dict[str, Parcel]
        pair: tuple[Parcel, int]

    @step
    def depot(mail: str) -> Depot:
        raise NotImplementedError

    @graph
    def g(mail: str) -> str:
        it = depot(mail)
        first, count = it.pair
        return keep([it.parcels[0].code, it.names["a"].weight, first.speed.value, count])

    pack = g.dag.nodes["keep"].bindings["thing"]
    assert isinstance(pack, Pack) and pack.kind == "list"
    assert pack.items[0] == Field(Item(Field(Out("depot"), "parcels"), 0), "code")
    assert pack.items[3] == Item(Field(Out("depot"), "pair"), 1)


def test_a_tuple_result_unpacks() -> None:
    @graph
    def g(mail: str) -> int:
        text, _ = halves(mail)
        return length(text)

    assert g.dag.nodes["length"].bindings == {"text": Item(Out("halves"), 0)}


class Point(NamedTuple):
    x: int
    y: str


@dataclass
class Plain:
    number: int


class Keyed(TypedDict):
    number: int


def test_other_kinds_of_records() -> None:
    @step
    def point(mail: str) -> Point:
        raise NotImplementedError

    @step
    def plain(mail: str) -> Plain:
        raise NotImplementedError

    @step
    def keyed(mail: str) -> Keyed:
        raise NotImplementedError

    @graph
    def g(mail: str) -> int:
        x, _ = point(mail)
        return total([x, plain(mail).number, keyed(mail)["number"]])

    assert list(g.dag.nodes) == ["point", "plain", "keyed", "total"]

    with pytest.raises(TraceError, match="Keyed has no key 'nubmer'; did you mean 'number'"):

        @graph
        def g2(mail: str) -> int:
            return keyed(mail)["nubmer"]


def test_properties_have_their_type() -> None:
    @graph
    def g(mail: str) -> int:
        return length(found(mail).prefix)

    assert g.dag.nodes["length"].bindings == {"text": Field(Out("found"), "prefix")}


def test_containers_become_packs_and_constants_stay() -> None:
    @graph
    def g(mail: str) -> str:
        return keep({"mail": mail, "rest": (1, [gist(mail)]), "fixed": [1, 2]})

    pack = g.dag.nodes["keep"].bindings["thing"]
    assert isinstance(pack, Pack)
    assert pack.keys == ("mail", "rest", "fixed")
    assert pack.items == (Input("mail"), Pack("tuple", (Const(1), Pack("list", (Out("gist"),)))), Const([1, 2]))


def test_constants_are_copied_when_they_are_passed() -> None:
    @graph
    def g(mail: str) -> str:
        fixed = [1]
        first = keep(fixed)
        fixed.append(2)
        return keep.using(name="second")([first, fixed])

    assert g.dag.nodes["keep"].bindings["thing"] == Const([1])


def test_a_generator_is_taken_as_a_list() -> None:
    @graph
    def g(mail: str) -> int:
        return total(length.using(name=f"n{i}")(text) for i, text in enumerate([mail, "x"]))  # type: ignore[arg-type]

    assert list(g.dag.nodes) == ["n0", "n1", "total"]


def test_conditions_are_joined() -> None:
    @graph
    def g(mail: str, hurry: bool) -> str:
        return when((mood(mail) == "angry") & hurry | (length(mail) > 9), gist(mail), otherwise=mail)

    assert isinstance(g.dag.result, When)
    assert g.dag.result.condition == Op(
        "|", (Op("&", (Op("==", (Out("mood"), Const("angry"))), Input("hurry"))), Op(">", (Out("length"), Const(9))))
    )


def test_subgraphs_are_nodes() -> None:
    @graph
    def inner(mail: str) -> str:
        return gist(mail)

    @graph
    def outer(mail: str) -> int:
        return length(inner(mail))

    assert list(outer.dag.nodes) == ["inner", "length"]
    assert isinstance(outer.dag.nodes["inner"].step, Graph)


def test_defaults_are_left_to_the_step() -> None:
    @step
    def cut(text: str, limit: int = 3) -> str:
        return text[:limit]

    @graph
    def g(mail: str) -> str:
        return cut(mail)

    assert g.dag.nodes["cut"].bindings == {"text": Input("mail")}


def test_effects_that_nothing_reads_are_roots() -> None:
    @graph
    def g(mail: str) -> str:
        ring(gist(mail))
        return mail

    assert g.dag.roots == ("ring",)


def test_an_effect_in_a_subgraph_makes_it_a_root() -> None:
    @graph
    def inner(mail: str) -> str:
        return ring(mail)

    @graph
    def outer(mail: str) -> str:
        inner(mail)
        return mail

    assert outer.dag.roots == ("inner",)


@pytest.mark.parametrize(("feeling", "rung"), [("angry", ["hello"]), ("calm", [])])
def test_an_effect_under_a_when_that_nothing_reads_stays_conditional(feeling: str, rung: list[str]) -> None:
    @graph
    def g(mail: str) -> str:
        when(mood(mail) == "angry", ring(mail), otherwise=None)
        return mail

    desk.RUNG.clear()
    with scripted({"mood": feeling}):
        assert g("hello") == "hello"
    assert rung == desk.RUNG


def test_local_types_and_text_annotations() -> None:
    class Here(BaseModel):
        text: str

    def make() -> Graph[[str], Here]:
        class Deeper(BaseModel):
            here: Here

        @extract(tier="small")
        def look(mail: str) -> Deeper:
            """Look."""
            return ask(mail)

        @graph
        def g(mail: str) -> Here:
            return look(mail).here

        return g

    assert make().returns is Here


def test_labels_through_generic_aliases() -> None:
    @graph
    def g(record: Secret[str], many: list[Secret[str]], rest: str) -> str:
        return keep([record, many, rest])

    by_name = {p.name: p for p in g.params}
    assert by_name["record"].label == by_name["many"].label == Label("restricted")
    assert by_name["rest"].label is None
    assert by_name["record"].default is EMPTY


def test_a_decorated_function_may_wire() -> None:
    def twice(fn: Any) -> Any:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        return wrapper

    @graph
    @twice
    def g(mail: str) -> str:
        return gist(mail)

    assert list(g.dag.nodes) == ["gist"]


def test_partials_and_lambdas_of_the_graph_itself_wire() -> None:
    @graph
    def g(mail: str) -> int:
        call = functools.partial(length, mail)
        other = lambda: gist(mail)  # noqa: E731
        return total([call(), length.using(name="second")(other())])

    assert list(g.dag.nodes) == ["length", "gist", "second", "total"]


def test_tracing_ends_when_it_fails() -> None:
    def g(mail: str) -> str:
        raise KeyError(mail == "x")

    with pytest.raises(KeyError):
        graph(g)
    with scripted({"gist": "short"}):
        assert gist("long") == "short"


class Base(BaseModel):
    pass


class Derived(Base):
    pass


ANGRY = Literal["calm", "angry"]


@pytest.mark.parametrize(
    ("source", "target", "fits"),
    [
        (str, str, True),
        (str, int, False),
        (int, float, True),
        (float, int, False),
        (bool, int, True),
        (int, bool, False),
        (Any, int, True),
        (int, object, True),
        (Derived, Base, True),
        (Base, Derived, False),
        (Base, Base | None, True),
        (Base | None, Base, False),
        (Annotated[str, "x"], str, True),
        (ANGRY, str, True),
        (str, ANGRY, False),
        (Literal["calm"], ANGRY, True),
        (Literal["other"], ANGRY, False),
        (bool, Literal[True, False], True),
        (Speed, Literal[Speed.SLOW, Speed.FAST], True),
        (list[int], list[float], True),
        (list[str], list[int], False),
        (list[Derived], Sequence[Base], True),
        (list[int], Iterable[int], True),
        (str, Sequence[str], False),
        (tuple[int, str], tuple[int, str], True),
        (tuple[int, str], tuple[int, int], False),
        (tuple[int, str], tuple[int, ...], False),
        (tuple[int, ...], tuple[int, int], False),
        (dict[str, int], Mapping[str, float], True),
        (dict[str, str], dict[str, int], False),
        (list[Any], list[int], True),
        (None, type(None), True),
    ],
)
def test_assignable(source: Any, target: Any, fits: bool) -> None:
    assert assignable(source, target) is fits


def test_equality_that_may_hold() -> None:
    assert can_equal(ANGRY, Literal["angry"])
    assert not can_equal(ANGRY, Literal["angri"])
    assert can_equal(ANGRY, str)
    assert can_equal(Base | None, type(None))
    assert not can_equal(int, str)
    assert can_equal(int, float)
    assert can_equal(Speed, Literal[Speed.FAST])


def test_types_as_people_write_them() -> None:
    assert describe(Parcel | None) == "Parcel | None"
    assert describe(dict[str, list[int]]) == "dict[str, list[int]]"
    assert describe(ANGRY) == "Literal['calm', 'angry']"
    assert describe(type_of([1, "a"])) == "list[Literal[1] | Literal['a']]"
    assert describe(tuple[int, ...]) == "tuple[int, ...]"


def test_optional_values_pass_whole() -> None:
    @graph
    def g(mail: str) -> Parcel | None:
        return parcel(mail)

    assert g.dag.result == Out("parcel")


def test_words_are_a_list() -> None:
    @graph
    def g(mail: str) -> int:
        return length(words(mail)[0])

    assert g.dag.nodes["length"].bindings == {"text": Item(Out("words"), 0)}
