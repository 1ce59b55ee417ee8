"""Bounds for numbers while decoding: a weak model writes 12.000000… to its last token where the schema lets it.

The rule of the type does not change; pydantic still validates the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

LARGEST: Final = 10**15
"""Beyond this a number is not written (doubles are exact up to about 9e15)."""
STEP: Final = 1e-6
FINE_STEP: Final = 1e-9
"""Steps between numbers: six decimals; nine where the schema's own bounds are small."""

_ONE = ("items", "additionalProperties", "not", "contains", "if", "then", "else")
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "$defs", "definitions", "patternProperties")
_LOW = ("minimum", "exclusiveMinimum")
_HIGH = ("maximum", "exclusiveMaximum")


def bound_numbers(schema: Any) -> Any:
    """A copy of a JSON Schema in which every number has an end."""
    if not isinstance(schema, Mapping):
        return schema
    out = within(schema, bound_numbers)
    kinds = out.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if {"enum", "const"} & out.keys() or not {"number", "integer"} & set(kinds):
        return out
    return _bounded(out, whole="number" not in kinds)


def within(schema: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """A copy of a JSON Schema with each schema directly in it changed."""
    out = dict(schema)
    for key in _ONE:
        if key in out:
            out[key] = change(out[key])
    for key in _MANY:
        if key in out:
            out[key] = [change(part) for part in out[key]]
    for key in _NAMED:
        if key in out:
            out[key] = {name: change(part) for name, part in out[key].items()}
    return out


def _bounded(out: dict[str, Any], whole: bool) -> dict[str, Any]:
    limits = [out[key] for key in (*_LOW, *_HIGH) if isinstance(out.get(key), (int, float))]
    if not any(key in out for key in _LOW):
        out["minimum"] = -LARGEST if all(limit > -LARGEST for limit in limits) else 10 * min(limits)
    if not any(key in out for key in _HIGH):
        out["maximum"] = LARGEST if all(limit < LARGEST for limit in limits) else 10 * max(limits)
    if not whole and "multipleOf" not in out:
        out["multipleOf"] = FINE_STEP if any(0 < abs(limit) < 1e-2 for limit in limits) else STEP
    return out
