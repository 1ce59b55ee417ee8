"""The bounded schemas are such that the grammar engine compiles them, and an answer under them can always end."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, create_model

from agentfleet.decoding import Definitions, bounded, weight_of
from agentfleet.errors import SchemaError
from agentfleet.schema import Abstain, Invalid, output_of


class Shade(Enum):
    DARK = "dark"
    LIGHT = "light"


class Tree(BaseModel):
    name: str
    children: list[Tree]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=0, le=9)]


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: set[str]


class Zoo(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    others: tuple[int, str]
    shade: Shade | None
    when: datetime
    key: UUID
    where: Path
    price: Decimal
    raw: bytes
    scores: dict[str, float]


TYPES = [Zoo, Tree, Cat | Abstain, list[Zoo], dict[Literal["a", "b"], int], int | None]


@pytest.mark.parametrize("annotation", TYPES, ids=str)
def test_the_grammar_engine_takes_it(annotation: Any) -> None:
    guidance = pytest.importorskip("llguidance", reason="llguidance is not installed")
    text = json.dumps(output_of(annotation, where="t").schema)
    grammar = guidance.LLMatcher.grammar_from_json_schema(text, defaults={"whitespace_flexible": False})
    assert guidance.LLMatcher.validate_grammar(grammar) == ""


def test_discriminated_unions_become_plain_ones() -> None:
    pet = output_of(Zoo, where="t").schema["properties"]["pet"]
    assert set(pet) == {"anyOf"}


def test_lookaround_and_unknown_formats_are_left_out() -> None:
    found = bounded({"type": "string", "pattern": "^(?!x)a$", "format": "colour", "title": "T"}, "t")
    assert found == {"type": "string", "maxLength": 400}
    assert bounded({"type": "string", "pattern": "^(?:a)$"}, "t")["pattern"] == "^(?:a)$"


def test_formats_of_any_length_are_bounded() -> None:
    assert bounded({"type": "string", "format": "email"}, "t")["maxLength"] == 400
    assert "maxLength" not in bounded({"type": "string", "format": "date"}, "t")


def test_too_large_a_schema_is_refused() -> None:
    wide = {"type": "object", "properties": {f"f{n}": {"type": "integer"} for n in range(2_001)}}
    with pytest.raises(SchemaError, match="t: its schema has more than 2000 parts"):
        bounded(wide, "t")


def test_the_schema_given_is_not_changed() -> None:
    given = {"type": "object", "properties": {"a": {"type": "string", "title": "A"}}}
    before = json.dumps(given)
    bounded(given, "t")
    assert json.dumps(given) == before


# -- bombs -------------------------------------------------------------------------------------------------------------


class Endless(BaseModel):
    inner: Endless


class Crowd(BaseModel):
    others: Annotated[list[Crowd], Field(min_length=1)]


class Ping(BaseModel):
    pong: Pong


class Pong(BaseModel):
    pings: tuple[Ping, int]


def chain(length: int, last: Any = int) -> Any:
    for level in range(length):
        last = create_model(f"Link{level}", inner=(last, ...))
    return last


def listed(depth: int) -> Any:
    annotation: Any = int
    for _ in range(depth):
        annotation = list[annotation]
    return annotation


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Endless, "holds itself without end"),
        (Crowd, "holds itself without end"),
        (Ping, "holds itself without end"),
        (list[Annotated[list[Endless], Field(min_length=1)]] | Endless, None),
        (chain(40), "or more than 32 others inside each other"),
        (chain(20), None),
        (Tree, None),
        (listed(400), "nested too deeply"),
        (Annotated[list[int], Field(min_length=10**6)], "smallest answer has 1000001 values; at most 10000"),
        (Annotated[list[Annotated[list[int], Field(min_length=200)]], Field(min_length=200)], "has 40201 values"),
        (Annotated[dict[str, int], Field(min_length=10**6)], "smallest answer has 1000001 values"),
        (Annotated[str, Field(min_length=10**7)], "a text of at least 10000000 characters"),
        (Literal[tuple(range(10_001))], "10001 options; at most 10000"),
        (Annotated[str, Field(pattern=r"^(\w{1,90}){1,90}$")], "cannot be checked: .*size limit"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_schema_bomb_is_refused_before_an_engine_sees_it(annotation: Any, message: str | None) -> None:
    if message is None:
        assert output_of(annotation, where="order").schema
        return
    with pytest.raises(SchemaError, match=message) as caught:
        output_of(annotation, where="order")
    assert str(caught.value).startswith("order: ")


def test_what_may_be_large_is_lowered_for_decoding() -> None:
    huge = Annotated[list[Annotated[str, Field(max_length=10**9)]], Field(max_length=10**9)]
    found = output_of(huge, where="t").schema
    assert (found["maxItems"], found["items"]["maxLength"]) == (1_000, 20_000)
    assert output_of(Annotated[dict[str, int], Field(max_length=10**9)], where="t").schema["maxProperties"] == 1_000
    assert output_of(Annotated[list[int], Field(min_length=2_000)], where="t").schema["maxItems"] == 2_000


def test_a_pattern_too_heavy_for_a_grammar_is_left_to_validation() -> None:
    output = output_of(Annotated[str, Field(pattern=r"^(a{100}){100}$")], where="t")
    assert bounded({"type": "string", "pattern": "^(a{100}){100}$"}, "t") == {"type": "string", "maxLength": 400}
    assert output.parse("a" * 10_000) == "a" * 10_000
    with pytest.raises(Invalid, match="should match pattern"):
        output.parse("a")


def test_the_weight_of_a_pattern() -> None:
    assert [weight_of(p) for p in (r"^[A-Z]{2}-\d{6}$", "(a{1,3}b){4}", r"(\w|[\]a)]){1,}", "a)b")] == [11, 16, 3, 3]


def test_definitions_are_gathered_under_names_of_their_own() -> None:
    def schema(kind: str) -> dict[str, Any]:
        defs = {"A": {"items": {"$ref": "#/$defs/B"}}, "B": {"type": kind}}
        return {"$defs": defs, "properties": {"$ref": {"$ref": "#/$defs/A"}}}

    found = Definitions()
    assert found.take(schema("string")) == {"properties": {"$ref": {"$ref": "#/$defs/A"}}}
    assert found.take(schema("string")) == {"properties": {"$ref": {"$ref": "#/$defs/A"}}}
    assert found.take(schema("null")) == {"properties": {"$ref": {"$ref": "#/$defs/A_2"}}}
    assert found.parts["A_2"] == {"items": {"$ref": "#/$defs/B_2"}}
    assert found.share("B", {"type": "null"}) == {"$ref": "#/$defs/B_2"}
    assert found.share("B", {"type": "integer"}) == {"$ref": "#/$defs/B_3"}
    assert sorted(found.parts) == ["A", "A_2", "B", "B_2", "B_3"]
