"""JSON Schema made fit for decoding by a weak model: closed objects, bounded strings and arrays, bounded size. Floor 0.

What is only a bound for decoding is not a rule of the type: validation stays pydantic's. So what no grammar engine
knows (look-around, unknown formats, unique items) or can bear (a pattern that is too heavy) is left out here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain, count
from typing import Any

from agentfleet.errors import SchemaError

MAX_STRING = 400
MAX_ITEMS = 32  # where a type has no bound of its own
MAX_DEPTH = 24
MAX_PARTS = 2_000
MAX_OPTIONS = 10_000
LONGEST_STRING = 20_000
MOST_ITEMS = 1_000  # what a type's own bound is lowered to while decoding
MOST_VALUES = 10_000
LEVELS = 32
COPIED = "x-copied"  # of a string: texts of which it must be a run of whole words (for engines that know the word)
HEAVY = 5_000  # single characters of a pattern: see `weight_of`
_DROP = frozenset({"title", "default", "examples", "discriminator", "uniqueItems", "propertyNames"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"})
_SHORT = _FORMATS - {"email", "hostname", "uri"}
_LOOKAROUND = re.compile(r"\(\?<?[=!]")
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(?P<least>\d+)(?:,(?P<most>\d*))?\}|.", re.DOTALL)
_ENDLESS = re.compile(r"[*+]|\{\d*,\}")


def bounded(schema: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy with `additionalProperties: false`, every property required, lengths capped.

    Raises SchemaError for schemas too deep or too large to compile in bounded time, and for those whose smallest answer
    is too large to be written, or has no end.
    """
    found = _Bounds(where).copy(schema, 0)
    least = _least_values(found)
    if least is None:
        raise SchemaError(
            f"{where}: its type holds itself without end, or more than {LEVELS} others inside each other; make a field of "
            "it optional, or flatten it"
        )
    if least > MOST_VALUES:
        raise SchemaError(f"{where}: its smallest answer has {least} values; at most {MOST_VALUES}, so split the step")
    return found


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
        if len(schema.get("enum", ())) > MAX_OPTIONS:
            raise SchemaError(f"{self.where}: {len(schema['enum'])} options; at most {MAX_OPTIONS} can be written out")
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

    def close(self, part: dict[str, Any]) -> dict[str, Any]:
        kind = part.get("type")
        if kind == "object":
            _close_object(part)
        if kind == "string":
            if part.get("minLength", 0) > LONGEST_STRING:
                raise SchemaError(
                    f"{self.where}: a text of at least {part['minLength']} characters is too long to ask for"
                )
            _close_string(part)
        if kind == "array":
            _cap(part, "minItems", "maxItems", MAX_ITEMS, MOST_ITEMS)
        return part


def _cap(part: dict[str, Any], least: str, most: str, usual: int, limit: int) -> None:
    """An upper bound for decoding: the type's own up to a limit, the usual one where it has none."""
    part[most] = max(min(part.get(most, usual), limit), part.get(least, 0))


def _close_object(part: dict[str, Any]) -> None:
    if "properties" in part:
        part["additionalProperties"] = False
        part["required"] = list(part["properties"])
    else:
        _cap(part, "minProperties", "maxProperties", MAX_ITEMS, MOST_ITEMS)


def _close_string(part: dict[str, Any]) -> None:
    pattern = part.get("pattern")
    if pattern is not None and (_LOOKAROUND.search(pattern) or weight_of(pattern) > HEAVY):
        del part["pattern"]
        pattern = None
    if part.get("format") not in _FORMATS:
        part.pop("format", None)
    ends = {"enum", "const"} & set(part) or part.get("format") in _SHORT
    if "maxLength" in part or (not ends and (pattern is None or _ENDLESS.search(pattern))):
        _cap(part, "minLength", "maxLength", MAX_STRING, LONGEST_STRING)


def weight_of(pattern: str) -> int:
    """How many single characters a pattern asks for, bounded repetitions written out: what matching one piece costs."""
    open_groups, last = [0], 0
    for token in _TOKEN.finditer(pattern):
        text = token.group()
        if text == "(":
            open_groups.append(0)
            continue
        if token["least"] is not None:
            last *= max(0, int(token["most"] or token["least"]) - 1)
        else:
            last = open_groups.pop() if text == ")" and len(open_groups) > 1 else 1
        open_groups[-1] += last
    return sum(open_groups)


def _least_values(schema: Mapping[str, Any]) -> int | None:
    """How many values the smallest answer has; None when none ends within `LEVELS` definitions inside each other."""
    known: dict[str, int] = {}
    for _ in range(LEVELS):
        sizes = {name: _least(part, known) for name, part in schema.get("$defs", {}).items()}
        found = {name: size for name, size in sizes.items() if size is not None}
        if found == known:
            break
        known = found
    return _least(schema, known)


def _least(part: Mapping[str, Any], known: Mapping[str, int]) -> int | None:
    """The smallest answer to a part, given those of the definitions that are known to end; None when it has no end."""
    if "$ref" in part:
        return known.get(part["$ref"].rsplit("/", 1)[-1])
    if "anyOf" in part:
        sizes = [size for other in part["anyOf"] if (size := _least(other, known)) is not None]
        return min(sizes, default=None)
    first = part.get("prefixItems", [])
    inside = _total([*part.get("allOf", ()), *part.get("properties", {}).values(), *first], known)
    further = part.get("minItems", 0) - len(first) if "items" in part else part.get("minProperties", 0)
    each = part.get("items", part.get("additionalProperties"))
    one = _least(each, known) if isinstance(each, Mapping) else 1
    if inside is None or further <= 0:
        return inside
    return None if one is None else inside + further * one


def _total(parts: Sequence[Mapping[str, Any]], known: Mapping[str, int]) -> int | None:
    """One value and those of all these parts."""
    total = 1
    for part in parts:
        size = _least(part, known)
        if size is None:
            return None
        total += size
    return total


class Definitions:
    """The `$defs` of a schema that is put together from others. Nothing is inlined, so what is shared stays shared."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, Any]] = {}

    def share(self, name: str, part: dict[str, Any]) -> dict[str, Any]:
        """A reference to a part, which gets this name, or one like it when another part has it."""
        names = chain([name], (f"{name}_{number}" for number in count(2)))
        free = next(free for free in names if self.parts.setdefault(free, part) == part)
        return {"$ref": f"#/$defs/{free}"}

    def take(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """A schema without its own `$defs`: they stand here now, under other names where theirs were taken."""
        own = schema.get("$defs", {})
        rest = {key: value for key, value in schema.items() if key != "$defs"}
        for ending in chain([""], (f"_{number}" for number in count(2))):
            renamed = {f"{name}{ending}": _renamed(part, ending) for name, part in own.items()}
            if all(self.parts.get(name, part) == part for name, part in renamed.items()):
                break
        self.parts.update(renamed)
        found: dict[str, Any] = _renamed(rest, ending)
        return found


def _renamed(part: Any, ending: str) -> Any:
    """A copy of a part whose references have this ending."""
    if isinstance(part, Mapping):
        return {
            key: f"{value}{ending}" if key == "$ref" and isinstance(value, str) else _renamed(value, ending)
            for key, value in part.items()
        }
    return [_renamed(item, ending) for item in part] if isinstance(part, list) else part
