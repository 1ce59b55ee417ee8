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
from pydantic import BaseModel, Field

from agentfleet.decoding import bounded
from agentfleet.errors import SchemaError
from agentfleet.schema import Abstain, output_of


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
