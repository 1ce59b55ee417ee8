"""`oneOf` for a grammar engine that knows only `anyOf`: rewritten where that provably means the same, else left alone.

Either no value can fit two branches (other types, another constant under the same key, a key that the other forbids),
or each branch can be told what the others must lack (which keys are there). llguidance refuses what is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Any, Final

from agentfleet.backends.llama_cpp.numbers import within

MOST_BRANCHES: Final = 64
MOST_WAYS: Final = 32
"""Branches that are compared with each other; alternatives that are written out for them."""
STEPS: Final = 50_000
"""Comparisons, and schemas looked at, for a whole schema (some 10 µs each)."""
DEEPEST: Final = 8

_KINDS: Final = frozenset({"null", "boolean", "integer", "fraction", "string", "array", "object"})
_NAMED: Final = {"number": frozenset({"integer", "fraction"})}
_SAYING_NOTHING: Final = frozenset({"title", "description", "$comment", "default", "examples"})
_UNIONS: Final = ("anyOf", "oneOf")
_PLAIN: Final = frozenset({"type", "required", "properties"}) | _SAYING_NOTHING

Parts = list[Any]
"""Schemas that all hold at once, without `$ref` and `allOf`."""


def exclusive(schema: Any) -> Any:
    """A copy of a valid JSON Schema in which `oneOf` is `anyOf` where both mean the same."""
    rewriter = _Rewriter(schema)
    return rewriter.rewritten(schema)


class _Rewriter:
    def __init__(self, root: Any) -> None:
        self.root = root
        self.left = STEPS

    def rewritten(self, schema: Any) -> Any:
        if not isinstance(schema, Mapping):
            return schema
        out = within(schema, self.rewritten)
        branches = schema.get("oneOf")
        if branches is None or len(branches) > MOST_BRANCHES:
            return out
        base = self.parts(_without(schema, "oneOf"))
        ways = self.ways(base, branches, out["oneOf"])
        if ways is None:
            return out
        del out["oneOf"]
        if "anyOf" in out:
            return {**out, "allOf": [*out.get("allOf", ()), {"anyOf": ways}]}
        return {**out, "anyOf": ways}

    def ways(self, base: Parts, branches: Sequence[Any], done: Sequence[Any]) -> list[Any] | None:
        """Alternatives that mean the same as exactly one of the branches, None where that is not known. `done`: the
        branches with what is inside them rewritten."""
        conjoined = [self.parts(branch) for branch in branches]
        apart = {
            pair: self.impossible([*base, *conjoined[pair[0]], *conjoined[pair[1]]])
            for pair in combinations(range(len(branches)), 2)
        }
        found: list[Any] = []
        for index, branch in enumerate(done):
            others = [other for pair in apart if index in pair and not apart[pair] for other in pair if other != index]
            lacks = [self.lacks([*base, *conjoined[index]], branches[other]) for other in others]
            for choice in product(*(lack if lack is not None else [None] for lack in lacks)):
                if None in choice or len(found) >= MOST_WAYS:
                    return None
                found.append({"allOf": [branch, *choice]} if choice else branch)
        return found or None

    def lacks(self, known: Parts, other: Any) -> list[Any] | None:
        """What an object that is known to fit `known` may have so that it does not fit `other`: one of these. [] when
        it always fits, None when that cannot be said."""
        if not isinstance(other, Mapping) or not other.keys() <= _PLAIN or other.get("type", "object") != "object":
            return None
        if "type" in other and self.kinds(known) != {"object"}:
            return None  # what is no object would fit too
        found: list[Any] = [
            {"properties": {key: False}} for key in other.get("required", ()) if key not in _required(known)
        ]
        for key, held in other.get("properties", {}).items():
            mine = [schema for part in known for schema in _at(part, key)]
            if (
                _same(held) in map(_same, mine)
                or held is True
                or (isinstance(held, Mapping) and held.keys() <= _SAYING_NOTHING)
            ):
                continue
            if not self.impossible([part for schema in (*mine, held) for part in self.parts(schema)]):
                return None
            found.append({"required": [key]})
        return [{"type": "object", **lack} for lack in found]

    def impossible(self, parts: Parts, depth: int = 0) -> bool:
        """Can no value fit all of these? False also where that is not known."""
        self.left -= 1
        if self.left < 0 or depth > DEEPEST:
            return False
        kinds = self.kinds(parts)
        if not kinds or not _shared_values(parts):
            return True
        if kinds == {"object"} and any(self._barred(parts, key, depth) for key in _required(parts)):
            return True
        rest = [_without(part, *_UNIONS) for part in parts]
        unions = (part[key] for part in parts if isinstance(part, Mapping) for key in _UNIONS if key in part)
        return any(all(self.impossible([*rest, *self.parts(way)], depth + 1) for way in union) for union in unions)

    def _barred(self, parts: Parts, key: str, depth: int) -> bool:
        inner = [found for part in parts for schema in _at(part, key) for found in self.parts(schema)]
        return bool(inner) and self.impossible(inner, depth + 1)

    def kinds(self, parts: Parts) -> frozenset[str]:
        """The kinds of values that may fit."""
        found = _KINDS
        for part in parts:
            found &= _kinds(part)
        return found

    def parts(self, schema: Any, depth: int = 0) -> Parts:
        """The schemas that hold where this one does: itself, what it refers to, what is in its `allOf`."""
        self.left -= 1
        if not isinstance(schema, Mapping) or self.left < 0 or depth > DEEPEST:
            return [schema] if isinstance(schema, bool) else []
        if "$ref" in schema:  # beside it older drafts read nothing
            return self.parts(self._target(schema["$ref"]), depth + 1)
        found = [inner for part in schema.get("allOf", ()) for inner in self.parts(part, depth + 1)]
        return [schema, *found]

    def _target(self, place: Any) -> Any:
        """What a reference within this schema means; True (anything) where it leads elsewhere."""
        if not isinstance(place, str) or not (place == "#" or place.startswith("#/")):
            return True
        found = self.root
        for name in place.split("/")[1:]:
            name = name.replace("~1", "/").replace("~0", "~")
            found = found.get(name, True) if isinstance(found, Mapping) else True
        return found


def _without(part: Any, *keys: str) -> Any:
    return {key: value for key, value in part.items() if key not in keys} if isinstance(part, Mapping) else part


def _kinds(part: Any) -> frozenset[str]:
    if not isinstance(part, Mapping):
        return frozenset() if part is False else _KINDS
    found = _KINDS
    if "type" in part:
        names = part["type"] if isinstance(part["type"], list) else [part["type"]]
        found = frozenset().union(*(_NAMED.get(name, {name}) for name in names))
    values = _values(part)
    return found if values is None else found & {_kind(value) for value in values}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "integer" if isinstance(value, int) or value.is_integer() else "fraction"
    names = {type(None): "null", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def _values(part: Any) -> list[Any] | None:
    """The only values that fit; None where there is no such list."""
    if not isinstance(part, Mapping):
        return None
    if "const" in part:
        return [part["const"]]
    values: list[Any] | None = part.get("enum")
    return values


def _shared_values(parts: Parts) -> bool:
    """Is there a value in all lists of values?"""
    lists = [{_same(value) for value in values} for part in parts if (values := _values(part)) is not None]
    return not lists or bool(set.intersection(*lists))


def _same(value: Any) -> Any:
    """What is equal for values that JSON Schema calls equal (1 and 1.0 are, true and 1 are not)."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, list):
        return tuple(_same(item) for item in value)
    if isinstance(value, dict):
        return frozenset((key, _same(item)) for key, item in value.items())
    return value


def _required(parts: Parts) -> frozenset[str]:
    lists = (part["required"] for part in parts if isinstance(part, Mapping) and "required" in part)
    return frozenset(key for names in lists for key in names)


def _at(part: Any, key: str) -> Iterator[Any]:
    """What an object that fits `part` must hold under a key, if it is there."""
    if not isinstance(part, Mapping):
        return
    if key in part.get("properties", {}):
        yield part["properties"][key]
    elif "additionalProperties" in part and not part.get("patternProperties"):
        yield part["additionalProperties"]
