"""Steps by themselves: binding, options, prompts, examples, fingerprints, typed constructors, being called and run."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Annotated, Any, Literal

import pytest
from graph.desk import Letter, Parcel, gist, length, mood, parcel, ring, words
from pydantic import BaseModel, Field

from agentfleet import (
    ByReference,
    Graph,
    Label,
    OnFail,
    Plan,
    Verbatim,
    ask,
    each,
    extract,
    graph,
    plan,
    step,
)
from agentfleet.errors import InputError, SchemaError, TraceError
from agentfleet.graph.options import UNSET
from agentfleet.graph.signature import EMPTY
from agentfleet.testing import scripted


@step
def cut(text: str, limit: int = 3, *, tail: str = "") -> str:
    return text[:limit] + tail


def test_what_the_runtime_reads() -> None:
    assert (mood.kind, mood.name, mood.tier, mood.up_to, mood.is_skill) == ("classify", "mood", "nano", None, True)
    assert mood.instruction == "How does the sender feel?"
    assert mood.output is not None and mood.output.kind == "closed"
    assert [p.name for p in cut.params] == ["text", "limit", "tail"]
    assert [p.default for p in cut.params] == [EMPTY, 3, ""]
    assert (cut.kind, cut.is_skill, cut.output, cut.is_async) == ("step", False, None, False)
    assert cut.file == __file__ and cut.line == cut.fn.__code__.co_firstlineno
    assert cut.options.on_fail is UNSET
    assert ring.effect and ring.has_effects and not cut.has_effects


def test_async_functions_are_steps_of_their_result() -> None:
    @step
    async def late(text: str) -> int:
        return len(text)

    assert late.is_async and late.returns is int
    with scripted({}):
        assert late("abc") == 3


def test_a_call_means_the_value_and_run_the_record() -> None:
    with scripted({"gist": ["first", "second"]}):
        assert gist("x") == "first"
        run = gist.run(mail="x")
    assert (run.value, run.status) == ("second", "done")


# -- bind


def test_bind_fills_defaults_and_converts() -> None:
    assert cut.bind(("abc",), {}) == {"text": "abc", "limit": 3, "tail": ""}
    assert cut.bind(("abc", 1), {"tail": "!"}) == {"text": "abc", "limit": 1, "tail": "!"}
    assert gist.bind(("x",), {}) == gist.bind((), {"mail": "x"}) == {"mail": "x"}

    @step
    def post(letter: Letter) -> str:
        return letter.text

    assert post.bind(({"text": "x"},), {}) == {"letter": Letter(text="x")}


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "cut needs 'text'"),
        (("a", 1, "b"), {}, "cut takes 2 positional inputs, got 3"),
        (("a",), {"text": "b"}, "cut got 'text' twice"),
        (("a",), {"limt": 2}, "cut has no input 'limt'; did you mean 'limit'"),
        (("a",), {"limit": "many"}, "cut: limit: Input should be a valid integer"),
    ],
)
def test_bind_refuses(args: tuple[Any, ...], kwargs: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError) as caught:
        cut.bind(args, kwargs)
    assert str(caught.value).startswith(text)
    assert len(caught.value.problems) == 1


def test_bind_names_every_field_and_nested_ones() -> None:
    @step
    def two(letter: Letter, number: int) -> str:
        return ""

    with pytest.raises(InputError) as caught:
        two.bind(({"text": 3},), {"number": "x"})
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["letter.text", "number"]


def test_bind_does_not_repeat_labelled_values() -> None:
    @step
    def secret(number: Annotated[int, Label("restricted")]) -> str:
        return ""

    with pytest.raises(InputError) as caught:
        secret.bind(("diagnosis",), {})
    assert "diagnosis" not in str(caught.value)


def test_mutable_defaults_are_fresh() -> None:
    @step
    def gather(more: list[int] = []) -> int:  # noqa: B006
        more.append(1)
        return len(more)

    first = gather.bind((), {})["more"]
    first.append(1)
    assert gather.bind((), {})["more"] == []


# -- using


def test_using_gives_a_copy() -> None:
    other = gist.using(name="short", tier="large", tries=2, budget=0.5, deadline=3, on_fail=OnFail.WAIT)
    assert other is not gist and gist.options.name is None
    assert (other.name, other.node_name) == ("gist", "short")
    assert (other.options.tier, other.options.tries, other.options.on_fail) == ("large", 2, OnFail.WAIT)
    assert other.base_fingerprint == gist.base_fingerprint
    again = other.using(model="m")
    assert (again.options.name, again.options.model) == ("short", "m")


def test_a_default_answer_widens_the_type() -> None:
    spare = parcel.using(on_fail="none")
    assert spare.returns == Parcel | None | Literal["none"]
    assert parcel.using(on_fail=None).returns == parcel.returns
    assert spare.using(on_fail=OnFail.RAISE).returns == parcel.returns

    with pytest.raises(TraceError, match=r"g returns Parcel | None; parcel is Parcel | None | Literal\['none'\]"):

        @graph
        def g(mail: str) -> Parcel | None:
            return spare(mail)  # type: ignore[return-value]


def test_using_on_a_graph_and_a_planner() -> None:
    @graph
    def g(mail: str) -> str:
        return gist(mail)

    assert isinstance(g.using(name="other"), Graph)

    @plan(tier="small", tools=[length])
    def count(mail: str) -> Plan[int]:
        """Count."""
        return ask(mail)

    @graph
    def h(mail: str) -> int:
        return count.carry_out(count(mail))

    @graph
    def h2(mail: str) -> int:
        again = count.using(name="again")
        return again.carry_out(again(mail))

    assert list(h.dag.nodes) == ["count", "count.carry_out"]
    assert list(h2.dag.nodes) == ["again", "again.carry_out"]
    carry = h.dag.nodes["count.carry_out"].step
    assert (carry.kind, carry.inner, [p.name for p in carry.params]) == ("carry_out", count, ["plan"])
    assert carry.returns is int


# -- checks


def test_a_check_belongs_to_the_step_and_its_copies() -> None:
    @extract(tier="small")
    def code(mail: str) -> str:
        """The code."""
        return ask(mail)

    copy = code.using(name="second")
    before = code.base_fingerprint

    @code.check
    def starts_right(value: str, mail: str) -> None:
        if not value.startswith("P"):
            raise ValueError("codes start with P")

    assert code.checks == copy.checks == [starts_right]
    assert code.base_fingerprint != before
    assert copy.base_fingerprint == code.base_fingerprint
    with scripted({"code": ["X1", "P1"]}):
        assert code("x") == "P1"


# -- fingerprints


def test_fingerprints_follow_meaning_not_place() -> None:
    def make(instruction: str, tier: str, kind: Any, body: Any = None) -> str:
        def skill(mail: str) -> Any:
            return ask(mail)

        def other(mail: str) -> Any:
            return ask(mail.upper())

        chosen = skill if body is None else other
        chosen.__annotations__ = {"mail": str, "return": kind}
        chosen.__name__ = "skill"
        return extract(tier=tier, prompt=instruction)(chosen).base_fingerprint

    base = make("Find it.", "small", str)
    assert base == make("Find it.", "large", str)
    others = [make("Find it!", "small", str), make("Find it.", "small", int), make("Find it.", "small", str, 1)]
    assert len({base, *others}) == 4


def test_nested_fields_and_markers_count() -> None:
    def shape(marked: bool, wide: bool) -> str:
        class Inner(BaseModel):
            code: Annotated[str, Verbatim()] if marked else str  # type: ignore[valid-type]
            size: float if wide else int  # type: ignore[valid-type]

        class Outer(BaseModel):
            inner: Inner

        def skill(mail: str) -> Any:
            return ask(mail)

        skill.__annotations__ = {"mail": str, "return": Outer}
        return extract(tier="small", prompt="Find.")(skill).base_fingerprint

    assert len({shape(False, False), shape(True, False), shape(False, True)}) == 3


def test_a_graphs_hash_follows_its_steps() -> None:
    def build(limit: int) -> str:
        @step
        def short(text: str) -> str:
            return text[:3]

        @step
        def long(text: str) -> str:
            return text[:300]

        @graph
        def g(mail: str) -> str:
            return (short if limit == 3 else long).using(name="cut")(mail)

        return g.hash

    assert build(3) == build(3) != build(300)


# -- typed constructors


class Notice(BaseModel):
    text: Annotated[str, Field(min_length=1)]
    copies: int = 1
    to: list[str] = Field(default_factory=list)
    kind: str = Field(default="plain", alias="type")


def test_step_of_a_model() -> None:
    make = step(Notice)
    assert make.name == "Notice" and make.returns is Notice
    required = {p.name: p.required for p in make.params}
    assert required == {"text": True, "copies": False, "to": False, "kind": False}

    @graph
    def g(mail: str) -> Notice:
        return make(text=gist(mail), to=words(mail), kind="loud")  # type: ignore[call-arg]

    with scripted({"gist": "hi"}):
        assert g("a b") == Notice(text="hi", to=["a", "b"], type="loud")
    with pytest.raises(InputError, match="Notice: text: String should have at least 1 character"):
        make(text="")


@dataclass
class Pair:
    left: str
    right: list[int] = dataclass_field(default_factory=list)


def test_step_of_a_dataclass() -> None:
    make = step(Pair)
    with scripted({}):
        assert make("x") == Pair("x", [])
        assert each(make)(["a", "b"]) == [Pair("a"), Pair("b")]


class Loose:
    def __init__(self, text: str, size: int = 2) -> None:
        self.text = text


def test_classes_that_cannot_be_recorded() -> None:
    with pytest.raises(TraceError, match=r"step\(int\): write a function"):
        step(int)
    with pytest.raises((TraceError, SchemaError), match="Loose"):
        step(Loose)


def test_by_reference_is_read_from_the_annotation() -> None:
    @step
    def pay(to: Annotated[str, ByReference()], note: str) -> str:
        return to

    assert [p.by_reference for p in pay.params] == [True, False]


def test_decorating_twice() -> None:
    with pytest.raises(TraceError, match="gist is a summarise already"):
        step(gist)


def test_describes_itself() -> None:
    assert repr(gist) == "<summarise gist>"
    assert gist.__name__ == "gist" and gist.__doc__ == "One sentence."
