"""Schemas for strict mode, the way back from the wrapper, waiting times, and rough token counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.backends.estimate import estimate_prompt, estimate_tokens
from agentfleet.backends.failures import retry_after
from agentfleet.backends.strict import unfence, unwrap, wire_schema
from agentfleet.prompt import Block, Prompt
from agentfleet.schema import Output


def wire(schema: dict[str, Any], **kwargs: Any) -> Any:
    return wire_schema(Output(kind="json", type=Any, schema=schema), **kwargs)


def test_what_strict_mode_knows_is_kept_and_the_rest_is_left_to_validation() -> None:
    schema = {
        "$defs": {"P": {"type": "object", "properties": {"x": {"const": 1}}, "additionalProperties": False}},
        "type": "object",
        "properties": {
            "a": {"type": "string", "maxLength": 3, "pattern": "^(?=x)x$", "default": "x", "format": "email"},
            "b": {"allOf": [{"$ref": "#/$defs/P"}], "description": "d"},
            "c": {"oneOf": [{"type": "integer", "minimum": 0}, {"type": "null"}], "default": None},
            "d": {"type": ["string", "null"], "maxLength": 4},
            "e": {"enum": ["x", None]},
        },
        "required": ["a"],
    }
    made = wire(schema, lengths=False)
    assert made.strict
    assert made.schema["required"] == ["a", "b", "c", "d", "e"]
    assert made.schema["properties"] == {
        "a": {"type": "string", "format": "email"},
        "b": {"$ref": "#/$defs/P"},
        "c": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]},
        "d": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "e": {"enum": ["x", None], "type": ["string", "null"]},
    }
    assert made.schema["$defs"]["P"]["properties"]["x"] == {"enum": [1], "type": "integer"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "array", "prefixItems": [{"type": "string"}]},
        {"type": "array"},
        {"enum": [[1]]},
        {},
    ],
)
def test_what_strict_mode_cannot_say_goes_out_as_a_hint(schema: dict[str, Any]) -> None:
    made = wire(schema)
    assert not made.strict
    assert made.schema["type"] == "object"


def test_a_wider_schema_is_sent_where_there_is_one() -> None:
    wide = {"type": "object", "properties": {"a": {"type": "array", "items": {"enum": ["x"]}}}}
    tight = {"anyOf": [{"type": "object", "properties": {"a": {"type": "array", "prefixItems": [{"const": "x"}]}}}]}
    made = wire_schema(Output(kind="json", type=Any, schema=tight, wide=wide))
    assert made.strict
    assert made.schema["properties"]["a"]["items"] == {"enum": ["x"], "type": "string"}


def test_the_wrapper_comes_off_without_touching_the_json() -> None:
    assert unwrap(' {"answer" : {"a":1,"a":2} } ') == '{"a":1,"a":2}'
    assert unwrap('{"answer":1,"b":2}') == '{"answer":1,"b":2}'
    assert unwrap('{"answer":1} {"answer":2}') == '{"answer":1} {"answer":2}'
    assert unwrap('{"answer":') == '{"answer":'
    assert unwrap("null") == "null"


@given(st.text())
def test_any_text_comes_through_the_way_back(text: str) -> None:
    assert unwrap(unfence(text)) is not None


def test_waiting_times_in_all_their_forms() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after({"retry-after": "2"}) == 2
    assert retry_after({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, now) == 30
    assert retry_after({"retry-after": "Thu, 01 Jan 2025 00:00:30 GMT"}, now) == 0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after": "nan"}) is None
    assert retry_after({}) is None


def test_other_alphabets_are_estimated_at_more_tokens_a_character() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("abcd" * 10) == 10
    assert estimate_tokens("д" * 10) == 5
    assert estimate_tokens("字" * 10) == 10
    assert estimate_prompt(Prompt("Read.", (Block("t", "x"),))) > estimate_tokens("Read.")
