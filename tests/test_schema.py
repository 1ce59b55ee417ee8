"""Types as a model is held to them: what kind of answer, strict parsing, bounds, and codecs that lose nothing."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, NewType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from agentfleet.errors import SchemaError
from agentfleet.markers import alternatives, bare, extras, members
from agentfleet.schema import ABSTAINED, Abstain, Invalid, Output, Verbatim, codec, output_of, strict_json


class Item(BaseModel):
    name: str
    price: float = Field(ge=0)


class Basket(BaseModel):
    items: list[Item]
    note: str | None = None


@dataclass
class Point:
    x: int
    y: int


Name = NewType("Name", str)


def read(annotation: Any, text: str) -> Any:
    return output_of(annotation, where="t").parse(text)


def test_kinds_of_answers() -> None:
    assert output_of(str, where="t").kind == "text"
    assert output_of(Name, where="t").kind == "text"
    assert output_of(str | Abstain, where="t").kind == "text"
    assert output_of(Annotated[str, Field(max_length=9)], where="t").kind == "text"
    assert output_of(Annotated[str, Field(pattern="^a+$")], where="t").kind == "json"
    assert output_of(str | None, where="t").kind == "json"
    assert output_of(Basket, where="t").kind == "json"
    assert output_of(bool, where="t", closed=True).kind == "closed"


def test_text_is_stripped_and_held_to_its_type() -> None:
    assert read(str, "  a word \n") == "a word"
    with pytest.raises(Invalid, match="the answer is empty"):
        read(str, " \n")
    with pytest.raises(Invalid, match="at most 3 characters"):
        read(Annotated[str, Field(max_length=3)], "four")


def test_json_is_validated_with_a_line_a_field() -> None:
    assert read(Basket, '{"items": [{"name": "a", "price": 2}]}') == Basket(items=[Item(name="a", price=2)])
    with pytest.raises(Invalid) as caught:
        read(Basket, '{"items": [{"name": 1, "price": -2}]}')
    assert str(caught.value).splitlines() == [
        "items.0.name: Input should be a valid string",
        "items.0.price: Input should be greater than or equal to 0",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": 1e999}', "too large a number"),
        ("{} and more", "not valid JSON"),
        ("", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5_000, "not valid JSON"),
    ],
)
def test_json_that_is_not_strict_is_refused(text: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        strict_json(text)


def test_a_model_may_decline_only_where_the_type_says_so() -> None:
    assert read(Item | Abstain, '{"abstain": true}') is ABSTAINED
    assert read(str | Abstain, '{"abstain": true}') is ABSTAINED
    assert read(str | Abstain, "{curly} text") == "{curly} text"
    assert read(str, '{"abstain": true}') == '{"abstain": true}'
    with pytest.raises(Invalid):
        read(Item, '{"abstain": true}')


def test_a_lone_surrogate_in_an_answer_is_invalid_not_a_crash() -> None:
    with pytest.raises(Invalid):
        read(Item, '{"name": "\\ud800", "price": 1}')


def test_a_parser_replaces_validation() -> None:
    output = Output("json", int, {}, parser=lambda data: data["n"] + 1)
    assert output.parse('{"n": 1}') == 2
    assert output.dump(3) == "3"


# -- bounds ------------------------------------------------------------------------------------------------------------


def schema_of(annotation: Any) -> Any:
    return output_of(annotation, where="t").schema


def test_objects_are_closed_and_everything_is_bounded() -> None:
    schema = schema_of(Basket)
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["items", "note"]
    assert schema["properties"]["items"]["maxItems"] == 32
    assert schema["properties"]["note"] == {"anyOf": [{"type": "string", "maxLength": 400}, {"type": "null"}]}
    assert schema["$defs"]["Item"]["additionalProperties"] is False
    assert schema_of(dict[str, int])["maxProperties"] == 32


def test_a_bound_of_the_type_stands() -> None:
    assert schema_of(Annotated[list[int], Field(max_length=3)])["maxItems"] == 3
    assert schema_of(Annotated[list[int], Field(min_length=40)])["maxItems"] == 40
    assert schema_of(Annotated[str, Field(pattern=r"^\d{3}$")]) == {"type": "string", "pattern": r"^\d{3}$"}
    assert schema_of(Annotated[str, Field(pattern=r"^\d+$")])["maxLength"] == 400


def test_what_no_grammar_engine_knows_is_left_out_and_still_validated() -> None:
    assert "uniqueItems" not in schema_of(set[int])
    assert "propertyNames" not in schema_of(dict[Literal["a", "b"], int])
    assert schema_of(list[bytes])["items"] == {"type": "string", "maxLength": 400}
    with pytest.raises(Invalid):
        read(dict[Literal["a", "b"], int], '{"c": 1}')


def test_fields_may_be_called_like_keywords() -> None:
    class Odd(BaseModel):
        title: str
        default: int
        examples: list[str]

    assert schema_of(Odd)["required"] == ["title", "default", "examples"]


def test_a_type_without_schema_says_where() -> None:
    with pytest.raises(SchemaError, match=r"^order: .*object.* cannot be recorded as JSON|^order: "):
        output_of(type("Opaque", (), {}), where="order")


def test_a_type_that_is_too_deep_is_refused() -> None:
    annotation: Any = int
    for _ in range(30):
        annotation = list[annotation]
    with pytest.raises(SchemaError, match="order: its type is nested more than 24 deep"):
        output_of(annotation, where="order")


# -- codecs ------------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_dumped_comes_back(value: Any) -> None:
    assert codec(Any).load(codec(Any).dump(value)) == value


@given(st.text(st.characters(), max_size=20))
def test_any_text_comes_back_and_can_be_written_to_a_file(text: str) -> None:
    for annotation, value in ((str, text), (list[str], [text]), (Item, Item.model_construct(name=text, price=1.0))):
        dumped = codec(annotation).dump(value)
        dumped.encode()
        assert codec(annotation).load(dumped) == value


def test_numbers_that_json_does_not_know_come_back() -> None:
    assert math.isnan(codec(float).load(codec(float).dump(math.nan)))
    assert codec(list[float | None]).load(codec(list[float | None]).dump([math.inf, None])) == [math.inf, None]


def test_codecs_of_other_types() -> None:
    assert codec(date).load(codec(date).dump(date(2026, 11, 25))) == date(2026, 11, 25)
    assert codec(Point).load('{"x": 1, "y": 2}') == Point(1, 2)
    assert codec(tuple[int, str]).check([1, "a"]) == (1, "a")
    assert codec(list[Annotated[int, Field(ge=0)]]).dump([1]) == "[1]"
    assert codec(str) is codec(str)
    assert json.loads(codec(None).dump(None)) is None


# -- taking types apart ------------------------------------------------------------------------------------------------


def test_extras_follow_each_member() -> None:
    marked = Annotated[Annotated[str, Field(pattern="a")] | None, Verbatim()]
    (text, held), (nothing, others) = alternatives(marked)
    assert (text, nothing) == (str, type(None))
    assert [type(extra).__name__ for extra in held] == ["Verbatim", "_PydanticGeneralMetadata"]
    assert others == (Verbatim(),)
    assert members(Annotated[int | str, 1] | None) == [int, str, type(None)]
    assert bare(Annotated[Name, 1]) is str
    assert extras(Annotated[Annotated[int, 1], 2]) == (1, 2)
