"""An input that is too long for a model: where it is cut, what is asked of a part, how the answers are put together.

Pure functions of texts, types and JSON data. Floor 0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Final, Literal, TypeAlias, get_origin

from pydantic import BaseModel, Field, create_model

from agentfleet.errors import SchemaError
from agentfleet.markers import Abstain, Part, alternatives, items_of, members, parts_of
from agentfleet.schema import Output, output_of
from agentfleet.verbatim import numbers_in
from agentfleet.verbatim.folding import folded, places_of

OVERLAP: Final = 0.15
"""Share of a part that the next one begins with, so that what stands on a border is seen whole."""
_BORDERS = (re.compile(r"\n\s*\n"), re.compile(r"[.!?…。！？][\"'”’)\]]*\s+|\n"), re.compile(r"\s+|[。！？]"))

Shape: TypeAlias = Literal["list", "fields", "value"]


@dataclass(frozen=True, slots=True)
class Found:
    """What one part's answer holds, as JSON data. `number`: of the part, from 1. `before`: its text that stands in the
    part before it too. `text`: all of its text.
    """

    number: int
    data: Any
    before: str = ""
    text: str = ""


# -- the text ----------------------------------------------------------------------------------------------------------


def cut(text: str, size: int) -> list[tuple[int, int]]:
    """Start and end of parts of at most `size` characters: at paragraphs, else sentences, else words, else anywhere.

    Each but the first begins some words before the last one ends (`OVERLAP`).
    """
    parts: list[tuple[int, int]] = []
    start = 0
    while True:
        end = len(text) if start + size >= len(text) else _border(text, start + size // 2, start + size)
        parts.append((start, end))
        if end == len(text):
            return parts
        start = max(start + 1, _word(text, end - int(size * OVERLAP), end))


def _border(text: str, low: int, high: int) -> int:
    """The end of the last paragraph (sentence, word) that ends between these places; `high` where there is none."""
    for pattern in _BORDERS:
        found = [match.end() for match in pattern.finditer(text, low, high)]
        if found:
            return found[-1]
    return high


def _word(text: str, low: int, high: int) -> int:
    """The first start of a word between these places, `low` where there is none."""
    match = re.compile(r"(?<=\s)\S").search(text, low, high)
    return match.start() if match else low


# -- what is asked of a part -------------------------------------------------------------------------------------------


def shape_of(annotation: Any, where: str) -> Shape:
    """How answers of a type are put together. Raises SchemaError for a type that is several at once."""
    kinds = [kind for kind in members(annotation) if kind not in (NoneType, Abstain)]
    if len(kinds) != 1 or get_origin(kinds[0]) is tuple or _is_mapping(kinds[0]):
        raise SchemaError(
            f"{where}: split=True puts together the answers to parts of a text: return a model, a list, or one plain "
            "value (or None)"
        )
    if items_of(kinds[0]):
        return "list"
    return "fields" if parts_of(kinds[0]) else "value"


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def part_output(annotation: Any, where: str) -> Output:
    """What is asked of a part: as much of the type as it says. Raises SchemaError."""
    shape = shape_of(annotation, where)
    kind, extras = next(found for found in alternatives(annotation) if found[0] not in (NoneType, Abstain))
    if shape == "list":
        return output_of(_with(kind, extras), where=where)
    if shape == "value":
        return output_of(_with(kind, extras) | None, where=where)
    made: dict[str, Any] = {part.name: _optional(kind, part) for part in parts_of(kind)}
    return output_of(create_model(kind.__name__, **made), where=where)


def _with(kind: Any, extras: tuple[Any, ...]) -> Any:
    return Annotated[(kind, *extras)] if extras else kind


def _optional(kind: Any, part: Part) -> tuple[Any, Any]:
    """A field that may be absent."""
    about = kind.model_fields[part.name].description if issubclass(kind, BaseModel) else None
    return _with(part.annotation, part.extras) | None, Field(default=None, alias=part.wire, description=about)


# -- the answers put together ------------------------------------------------------------------------------------------


def join(annotation: Any, shape: Shape, found: Sequence[Found]) -> tuple[str, str]:
    """JSON text of the whole answer, and "" or a sentence that names what contradicts itself."""
    if shape == "list":
        return json.dumps(_lists(found), ensure_ascii=False), ""
    if shape == "value":
        value, problem = _one("the value", found)
        return _whole(annotation, value is not None, value), problem
    kind = next(kind for kind in members(annotation) if kind not in (NoneType, Abstain))
    whole: dict[str, Any] = {}
    problems = []
    for part in parts_of(kind):
        held = [Found(f.number, f.data.get(part.wire), f.before, f.text) for f in found]
        value, problem = _one(part.name, held)
        problems += [problem] if problem else []
        if value is not None or NoneType in members(part.annotation):
            whole[part.wire] = value
    return _whole(annotation, any(v is not None for v in whole.values()), whole), "; ".join(problems)


def _whole(annotation: Any, holds: bool, value: Any) -> str:
    """The answer where something was found, else how the type says that nothing was."""
    if not holds and NoneType in members(annotation):
        return "null"
    if not holds and Abstain in members(annotation):
        return json.dumps({"abstain": True})
    return json.dumps(value, ensure_ascii=False)


def _one(name: str, found: Sequence[Found]) -> tuple[Any, str]:
    """The first part's value; a problem where another part has another one. Lists are put together."""
    held = [one for one in found if one.data is not None and one.data != ""]
    if not held:
        return None, ""
    if isinstance(held[0].data, list):
        return _lists(held), ""
    first = held[0]
    other = next((one for one in held if _key(one.data) != _key(first.data)), None)
    if other is None:
        return first.data, ""
    told = [f"{_shown(one.data)} in part {one.number}" for one in (first, other)]
    return first.data, f"{name} is {told[0]} and {told[1]}; only one of them can be meant"


def _shown(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False)[:80]


def _lists(found: Sequence[Found]) -> list[Any]:
    """The items of all parts; one that stands where two parts overlap is taken once."""
    whole: list[Any] = []
    last: list[str] = []
    number = 0
    for one in found:
        seen = list(last) if one.number == number + 1 else []
        for item in one.data:
            key = _key(item)
            if key in seen and _may_overlap(item, one):
                seen.remove(key)
            else:
                whole.append(item)
        last, number = [_key(item) for item in one.data], one.number
    return whole


def _may_overlap(item: Any, found: Found) -> bool:
    """May an item have been read where two parts overlap? Not if some of it stands in the later part, but not there."""
    return not any(_stands(leaf, found.text) and not _stands(leaf, found.before) for leaf in _leaves(item))


def _leaves(data: Any) -> Iterator[Any]:
    inside = data.values() if isinstance(data, dict) else data if isinstance(data, list) else None
    if inside is None:
        yield data
        return
    for one in inside:
        yield from _leaves(one)


def _stands(leaf: Any, text: str) -> bool:
    if isinstance(leaf, str):
        return next(places_of(folded(leaf), folded(text)), None) is not None
    return type(leaf) in (int, float) and float(leaf) in numbers_in(text)


def _key(data: Any) -> str:
    """Equal for what says the same: line breaks and ways to write an accent do not count."""
    return folded(json.dumps(data, sort_keys=True, ensure_ascii=False).replace("\\n", " "))
