"""`oneOf` becomes `anyOf` only where both mean the same: told case by case, and against a validator on drawn schemas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfleet.backends.llama_cpp.grammar import grammar_of_schema
from agentfleet.backends.llama_cpp.one_of import MOST_BRANCHES, exclusive
from agentfleet.errors import BackendError

Validator = pytest.importorskip("jsonschema").Draft202012Validator

CAT: dict[str, Any] = {"type": "object", "properties": {"kind": {"const": "cat"}, "lives": {}}, "required": ["kind"]}
DOG: dict[str, Any] = {"type": "object", "properties": {"kind": {"enum": ["dog", "wolf"]}}}


def one(*branches: Any, **more: Any) -> dict[str, Any]:
    return {**more, "oneOf": list(branches)}


APART = {
    "types": one({"type": "string"}, {"type": ["null", "boolean"]}),
    "constants": one({"const": 1}, {"const": True}, {"enum": ["1", None]}),
    "a constant of no such type": one({"const": 1.5}, {"type": "integer"}),
    "a discriminator that one of them requires": one(CAT, DOG),
    "a key that the other forbids": one(
        {"type": "object", "required": ["a"]},
        {"type": "object", "properties": {"b": {}}, "additionalProperties": False},
    ),
    "a key whose value the other would have otherwise": one(
        {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}},
        {"type": "object", "additionalProperties": {"type": "integer"}},
    ),
    "references": {"$defs": {"cat": CAT, "dog": {"allOf": [DOG]}}} | one({"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}),
    "what stands beside": one(
        {"properties": {"a": {"const": 1}}}, {"properties": {"a": {"const": 2}}}, type="object", required=["a"]
    ),
    "branches of branches": one({"anyOf": [{"const": 1}, {"const": 2}]}, {"const": 3}),
}  # fmt: skip

OVERLAP = {
    "numbers": one({"type": "number"}, {"type": "integer"}),
    "equal numbers": one({"const": 1}, {"const": 1.0}),
    "no type": one({"required": ["a"], "patternProperties": {"b": {}}}, {"required": ["b"], "minProperties": 1}),
    "a discriminator that none requires": one(
        *({"type": "object", "properties": {"a": {"const": n}}, "minProperties": 1} for n in range(2))
    ),
    "elsewhere": one({"$ref": "other.json"}, {"type": "string"}),
    "without end": {"$defs": {"a": {"$ref": "#/$defs/a"}}} | one({"$ref": "#/$defs/a"}, {"type": "string"}),
    "too many": one(*({"const": n} for n in range(MOST_BRANCHES + 1))),
    "equal for Python alone": one(
        {"properties": {"a": {"const": 1}}, "required": ["a"]},
        {"properties": {"a": {"const": True}}, "minProperties": 1},
    ),
    "multiples": one({"multipleOf": 10}, {"multipleOf": 15}),
}


@pytest.mark.parametrize("name", APART)
def test_branches_that_no_value_shares_are_rewritten(name: str) -> None:
    found = exclusive(APART[name])
    assert found == {**{k: v for k, v in APART[name].items() if k != "oneOf"}, "anyOf": APART[name]["oneOf"]}


@pytest.mark.parametrize("name", OVERLAP)
def test_all_else_is_left_alone(name: str) -> None:
    assert exclusive(OVERLAP[name]) == OVERLAP[name]


def test_keys_that_exclude_each_other_are_written_out() -> None:
    schema = one({"required": ["from", "to"]}, {"required": ["for"]}, type="object", required=["from"])
    assert exclusive(schema)["anyOf"] == [
        {"allOf": [{"required": ["from", "to"]}, {"type": "object", "properties": {"for": False}}]},
        {"allOf": [{"required": ["for"]}, {"type": "object", "properties": {"to": False}}]},
    ]


def test_a_branch_that_always_comes_with_another_is_left_out() -> None:
    schema = one({"required": ["a"]}, {"required": ["b"]}, type="object", required=["a"])
    assert exclusive(schema)["anyOf"] == [
        {"allOf": [{"required": ["a"]}, {"type": "object", "properties": {"b": False}}]}
    ]


def test_an_any_of_beside_it_stays() -> None:
    schema = one({"type": "string"}, {"type": "null"}, anyOf=[{"minLength": 2}])
    assert exclusive(schema) == {"anyOf": [{"minLength": 2}], "allOf": [{"anyOf": schema["oneOf"]}]}


def test_it_is_found_wherever_schemas_stand() -> None:
    inner, done = one({"type": "string"}, {"type": "null"}), {"anyOf": [{"type": "string"}, {"type": "null"}]}
    for place in (
        lambda part: {"items": part},
        lambda part: {"properties": {"oneOf": part}},
        lambda part: {"allOf": [part]},
        lambda part: {"$defs": {"a": {"not": part}}},
    ):
        assert exclusive(place(inner)) == place(done)
    for other in ({"const": inner}, {"enum": [inner]}, {"default": inner}):
        assert exclusive(other) == other


def test_work_is_bounded() -> None:
    """Sixty branches of sixty ways each would be some six million comparisons."""
    ways = [{"type": "object", "anyOf": [{"required": [f"a{i}{j}"]} for j in range(60)]} for i in range(60)]
    assert exclusive(one(*ways)) == one(*ways)


def test_references_that_multiply_are_not_followed_to_the_end() -> None:
    many = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 20} for n in range(9)}
    schema = {"$defs": many} | one({"$ref": "#/$defs/d0"}, {"type": "null"})
    assert exclusive(schema) == schema


def test_what_no_validator_looked_at_is_no_crash() -> None:
    schema = {"$defs": {"a": {"required": True}}} | one({"$ref": "#/$defs/a"}, {"type": "object"})
    with pytest.raises(BackendError, match="no JSON Schema"):
        grammar_of_schema(json.dumps(schema))


def test_a_grammar_holds_to_it() -> None:
    spec = grammar_of_schema('{"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}')
    assert "oneOf" not in spec


NAMES = st.sampled_from(["a", "b", "c"])
CONSTANTS = st.sampled_from([0, 1, 1.0, 1.5, True, None, "x", "y", [1], {"a": 1}])
KINDS = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
LEAVES = st.one_of(
    st.booleans(),
    st.builds(lambda value: {"const": value}, CONSTANTS),
    st.builds(lambda values: {"enum": values}, st.lists(CONSTANTS, min_size=1, max_size=3)),
    st.builds(lambda kinds: {"type": kinds}, st.one_of(KINDS, st.lists(KINDS, min_size=1, max_size=2, unique=True))),
    st.sampled_from([{"$ref": "#/$defs/d"}, {"minLength": 1}, {"minimum": 1}, {}]),
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas of objects over simpler ones, mostly with keywords that the proof knows."""
    keys = {
        "type": st.just("object"),
        "required": st.lists(NAMES, max_size=2, unique=True),
        "properties": st.dictionaries(NAMES, inner, max_size=2),
        "additionalProperties": inner,
        "patternProperties": st.dictionaries(st.just("a|b"), inner, min_size=1, max_size=1),
        "allOf": st.lists(inner, min_size=1, max_size=2),
        "anyOf": st.lists(inner, min_size=1, max_size=2),
        "oneOf": st.lists(inner, min_size=2, max_size=3),
    }
    return st.fixed_dictionaries({}, optional=keys)


SCHEMAS = st.recursive(LEAVES, objects, max_leaves=8)
VALUES = st.recursive(CONSTANTS, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=4)


@settings(max_examples=300, deadline=None)
@given(
    branches=st.lists(SCHEMAS, min_size=2, max_size=3),
    beside=objects(LEAVES),
    define=LEAVES,
    values=st.lists(VALUES, max_size=12),
)
def test_the_same_values_are_valid_before_and_after(
    branches: list[Any], beside: Any, define: Any, values: list[Any]
) -> None:
    define = True if define == {"$ref": "#/$defs/d"} else define
    schema = {**beside, "oneOf": branches, "$defs": {"d": define}}
    before, after = Validator(schema), Validator(exclusive(schema))
    for value in values:
        assert before.is_valid(value) == after.is_valid(value), value
