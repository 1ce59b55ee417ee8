"""The schema as a provider's strict mode accepts it, and the way back from its answer to ours.

Providers want an object at the root, every property required, nothing additional, and few keywords. What is taken
out here is still enforced: every answer is validated against the full type afterwards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentfleet.schema import Output

ANSWER = "answer"
"""Name of the tool, of the schema, and of the property that wraps an answer whose schema has no object at its root."""

_KEPT = frozenset(
    {
        "title",
        "description",
        "type",
        "enum",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minItems",
        "maxItems",
    }
)
_LENGTHS = ("minLength", "maxLength")
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_LOOKAROUND = re.compile(r"\(\?(?!:)")
_JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_OPEN = re.compile(r'\s*\{\s*"' + ANSWER + r'"\s*:\s*')
_CLOSE = re.compile(r"\s*\}\s*\Z")
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)\n?\s*```", re.DOTALL)


class _Loose(Exception):
    """The schema says something that strict mode has no words for."""


@dataclass(frozen=True, slots=True)
class WireSchema:
    """What goes on the wire. `strict`: the schema keeps to the subset that strict mode takes."""

    schema: dict[str, Any]
    strict: bool


def wire_schema(output: Output, *, lengths: bool = True) -> WireSchema:
    """The schema to send for an output. `lengths`: whether bounds on the length of text may stay.

    Where strict mode cannot say it (free-form keys, fixed-length tuples), the full schema goes out as a hint. An output
    that has a wider schema for hosts is sent with that one.
    """
    rooted = _object_root(output.schema if output.wide is None else output.wide)
    try:
        return WireSchema(_relaxed_root(rooted, lengths), True)
    except _Loose:
        return WireSchema(rooted, False)


def wraps(output: Output) -> bool:
    """Is the answer on the wire ``{"answer": …}``, because its own schema has no object at its root?"""
    return not _is_object(output.schema if output.wide is None else output.wide)


def unwrap(text: str) -> str:
    """The JSON inside ``{"answer": …}``, cut out of the text as it stands; any other text unchanged."""
    opened = _OPEN.match(text)
    if opened is None:
        return text
    try:
        _, end = json.JSONDecoder(strict=False).raw_decode(text, opened.end())
    except ValueError:
        return text
    return text[opened.end() : end] if _CLOSE.match(text, end) else text


def unfence(text: str) -> str:
    """What stands in the first code fence, where an unconstrained model put its JSON into one."""
    fenced = _FENCE.search(text)
    return fenced[1] if fenced else text


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object" and "anyOf" not in schema and "oneOf" not in schema


def _object_root(schema: Mapping[str, Any]) -> dict[str, Any]:
    if _is_object(schema):
        return dict(schema)
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    wrapped: dict[str, Any] = {
        "type": "object",
        "properties": {ANSWER: inner},
        "required": [ANSWER],
        "additionalProperties": False,
    }
    if "$defs" in schema:
        wrapped["$defs"] = schema["$defs"]
    return wrapped


def _relaxed_root(schema: Mapping[str, Any], lengths: bool) -> dict[str, Any]:
    relaxed = _relaxed(schema, lengths)
    if "$defs" in schema:
        relaxed["$defs"] = {name: _relaxed(part, lengths) for name, part in schema["$defs"].items()}
    return relaxed


def _relaxed(node: Any, lengths: bool) -> dict[str, Any]:
    if not isinstance(node, Mapping):
        raise _Loose
    if "$ref" in node:
        return {"$ref": node["$ref"]}
    if "allOf" in node:
        return _relaxed(_merged(node), lengths)
    kept = {key: value for key, value in node.items() if key in _KEPT}
    if "const" in node:
        kept["enum"] = [node["const"]]
    _keep_text_rules(node, kept, lengths)
    choices = node.get("anyOf", node.get("oneOf"))
    if choices is not None:
        return {**_described(kept), "anyOf": [_relaxed(choice, lengths) for choice in choices]}
    if "enum" in kept and "type" not in kept:
        kept["type"] = _types_of(kept["enum"])
    if "type" not in kept:
        raise _Loose
    if isinstance(kept["type"], list) and "enum" not in kept:
        return {**_described(kept), "anyOf": [_relaxed({**node, "type": one}, lengths) for one in kept["type"]]}
    if kept["type"] == "object":
        kept.update(_object(node, lengths))
    if kept["type"] == "array":
        kept["items"] = _relaxed(_items(node), lengths)
    return kept


def _described(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {key: kept[key] for key in ("title", "description") if key in kept}


def _merged(node: Mapping[str, Any]) -> dict[str, Any]:
    if len(node["allOf"]) != 1:
        raise _Loose
    rest = {key: value for key, value in node.items() if key != "allOf"}
    return {**node["allOf"][0], **rest}


def _keep_text_rules(node: Mapping[str, Any], kept: dict[str, Any], lengths: bool) -> None:
    if lengths:
        kept.update({key: node[key] for key in _LENGTHS if key in node})
    if node.get("format") in _FORMATS:
        kept["format"] = node["format"]
    pattern = node.get("pattern", "")
    # Providers read an unanchored pattern in different ways (some crash); lookaround none of them can decode.
    if pattern.startswith("^") and pattern.endswith("$") and not _LOOKAROUND.search(pattern):
        kept["pattern"] = pattern


def _object(node: Mapping[str, Any], lengths: bool) -> dict[str, Any]:
    extra = node.get("additionalProperties", False)
    if extra is not False or "patternProperties" in node:
        raise _Loose
    properties = {name: _relaxed(part, lengths) for name, part in node.get("properties", {}).items()}
    return {"properties": properties, "required": list(properties), "additionalProperties": False}


def _items(node: Mapping[str, Any]) -> Any:
    if "prefixItems" in node:
        raise _Loose
    return node.get("items")


def _types_of(values: list[Any]) -> str | list[str]:
    names = list(dict.fromkeys(_JSON_TYPES.get(type(value), "object") for value in values))
    if "object" in names:
        raise _Loose
    return names[0] if len(names) == 1 else names
