"""JSON Schema made fit for decoding by a weak model: closed objects, bounded strings and arrays, bounded size. Floor 0.

What is only a bound for decoding is not a rule of the type: validation stays pydantic's. So what no grammar engine
knows (look-around, unknown formats, unique items) is left out here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agentfleet.errors import SchemaError

MAX_STRING = 400
MAX_ITEMS = 32
MAX_DEPTH = 24
MAX_PARTS = 2_000
_DROP = frozenset({"title", "default", "examples", "discriminator", "uniqueItems", "propertyNames"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"})
_SHORT = _FORMATS - {"email", "hostname", "uri"}
_LOOKAROUND = re.compile(r"\(\?<?[=!]")
_ENDLESS = re.compile(r"[*+]|\{\d*,\}")


def bounded(schema: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy with `additionalProperties: false`, every property required, lengths capped.

    Raises SchemaError for schemas too deep or too large to compile in bounded time.
    """
    return _Bounds(where).copy(schema, 0)


class _Bounds:
    def __init__(self, where: str) -> None:
        self.where = where
        self.parts = 0

    def copy(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        self.parts += 1
        if depth > MAX_DEPTH:
            raise SchemaError(f"{self.where}: its type is nested more than {MAX_DEPTH} deep; flatten it")
        if self.parts > MAX_PARTS:
            raise SchemaError(f"{self.where}: its schema has more than {MAX_PARTS} parts; split the step")
        out: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _DROP:
                continue
            if key in ("properties", "$defs", "patternProperties"):
                out[key] = {name: self.copy(part, depth + 1) for name, part in value.items()}
            elif key in ("anyOf", "oneOf", "allOf", "prefixItems"):
                out["anyOf" if key == "oneOf" else key] = [self.copy(part, depth + 1) for part in value]
            elif key in ("items", "additionalProperties", "not") and isinstance(value, Mapping):
                out[key] = self.copy(value, depth + 1)
            else:
                out[key] = value
        return self.close(out)

    @staticmethod
    def close(part: dict[str, Any]) -> dict[str, Any]:
        kind = part.get("type")
        if kind == "object":
            _close_object(part)
        if kind == "string":
            _close_string(part)
        if kind == "array" and "maxItems" not in part:
            part["maxItems"] = max(MAX_ITEMS, part.get("minItems", 0))
        return part


def _close_object(part: dict[str, Any]) -> None:
    if "properties" in part:
        part["additionalProperties"] = False
        part["required"] = list(part["properties"])
    elif "maxProperties" not in part:
        part["maxProperties"] = max(MAX_ITEMS, part.get("minProperties", 0))


def _close_string(part: dict[str, Any]) -> None:
    if _LOOKAROUND.search(part.get("pattern", "")):
        del part["pattern"]
    if part.get("format") not in _FORMATS:
        part.pop("format", None)
    pattern = part.get("pattern")
    ends = {"maxLength", "enum", "const"} & set(part) or part.get("format") in _SHORT
    if not ends and (pattern is None or _ENDLESS.search(pattern)):
        part["maxLength"] = max(MAX_STRING, part.get("minLength", 0))
