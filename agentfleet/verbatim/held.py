"""The check after a call: does what an answer holds in its Verbatim fields, or says in a summary, stand in the source,
and where?
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from enum import Enum
from itertools import islice
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel

from agentfleet.markers import Abstain, Part, alternatives, items_of, parts_of
from agentfleet.verbatim.facts import unstated
from agentfleet.verbatim.fields import NUMERIC, Marked, is_marked
from agentfleet.verbatim.folding import folded, places_of
from agentfleet.verbatim.source import Source

if TYPE_CHECKING:
    from agentfleet.schema import Output

MOST_SPANS = 8
"""Places of one value that are told at most."""
_LISTS = (list, tuple, set, frozenset)


class Span(NamedTuple):
    """Where a value stands: number of the part that the skill gave to ``ask`` (from 0), first character, end."""

    part: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Held:
    """One value inside an answer: the path to it, what it is declared as, its types without None."""

    path: tuple[str, ...]
    part: Part
    kinds: tuple[tuple[Any, tuple[Any, ...]], ...]
    value: Any

    @property
    def field(self) -> Marked:
        return Marked(self.path, self.kinds, self.part.default)


def ungrounded(output: Output, value: Any, sources: Sequence[str]) -> str:
    """ "" or a sentence that names the Verbatim field whose value does not stand in the sources."""
    source = Source(sources)
    for held in _marked_values(output, value):
        if not _stands(held.field, held.value, source):
            return f"{held.field.name}: {str(held.value)[:80]!r} does not stand in the input; copy it from there"
    return ""


def unsaid(output: Output, value: Any, sources: Sequence[str]) -> str:
    """ "" or a sentence that names the numbers, dates, codes and addresses in an answer's texts that no source has.

    Options of a closed field are the author's own words, so they are not looked at.
    """
    texts = [
        held.value
        for held in _values(Part("", "", output.type), value, ())
        if type(held.value) is str and not any(_is_option(kind, held.value) for kind, _ in held.kinds)
    ]
    return unstated(texts, sources)


def evidence(output: Output, value: Any, sources: Sequence[str]) -> dict[str, list[Span]]:
    """Path of each Verbatim field → where its value stands; "" is the path of the whole answer.

    At most `MOST_SPANS` places of each; none for a default, and for what the user's own code found and wrote otherwise.
    """
    if output.kind == "closed":
        return {}
    source = Source(sources)
    found: dict[str, list[Span]] = {}
    for held in _marked_values(output, value):
        many = isinstance(held.value, _LISTS)
        for index, one in enumerate(held.value if many else [held.value]):
            path = (*held.path, str(index)) if many else held.path
            found[".".join(path)] = list(_spans(held.field, one, source))
    return found


# -- what an answer holds ----------------------------------------------------------------------------------------------


def _marked_values(output: Output, value: Any) -> Iterator[_Held]:
    return (held for held in _values(Part("", "", output.type), value, ()) if is_marked(held.kinds))


def _values(part: Part, value: Any, path: tuple[str, ...]) -> Iterator[_Held]:
    """Every value in an answer that holds no others, and every one that is marked as a whole."""
    if value is None:
        return
    every = alternatives(part.annotation, part.extras)
    kinds = tuple((kind, extras) for kind, extras in every if kind not in (NoneType, Abstain))
    if is_marked(kinds) or not _is_container(value):
        yield _Held(path, part, kinds, value)
        return
    for inner, held, name in _inside([kind for kind, _ in kinds], value):
        yield from _values(inner, held, (*path, name))


def _is_container(value: Any) -> bool:
    return isinstance(value, (BaseModel, Mapping, *_LISTS)) or is_dataclass(value)


def _inside(kinds: Sequence[Any], value: Any) -> Iterator[tuple[Part, Any, str]]:
    """(what it is, value, name) of each thing inside a value."""
    if isinstance(value, BaseModel) or is_dataclass(value):
        kind: Any = type(value)
        for part in parts_of(kind):
            yield part, getattr(value, part.name), part.name
    elif isinstance(value, Mapping):
        known = {part.name: part for kind in kinds for part in parts_of(kind)}
        others = [get_args(kind)[1] for kind in kinds if len(get_args(kind)) == 2 and get_origin(kind) is not tuple]
        for name, held in value.items():
            other = Part("", "", others[0]) if others else None
            found = known.get(str(name), other)
            if found is not None:
                yield found, held, str(name)
    elif isinstance(value, _LISTS):
        items = [items_of(kind) for kind in kinds if items_of(kind)]
        for index, held in enumerate(value):
            if items:
                yield Part("", "", items[0][min(index, len(items[0]) - 1)]), held, str(index)


def _is_option(kind: Any, value: str) -> bool:
    return get_origin(kind) is Literal and value in get_args(kind)


# -- whether and where it stands ---------------------------------------------------------------------------------------


def _stands(field: Marked, value: Any, source: Source) -> bool:
    value = value.value if isinstance(value, Enum) else value
    if isinstance(value, bool) or any(type(value) is type(other) and value == other for other in field.besides):
        return True
    if field.found_by is not None and not isinstance(value, _LISTS):
        return value in source.found_by(field.found_by)
    if isinstance(value, NUMERIC):
        return any(abs(number - float(value)) < 1e-9 for number in source.numbers)
    if isinstance(value, _LISTS):
        return all(_stands(field, item, source) for item in value)
    listed = source.matching(field.pattern) if field.pattern is not None and not field.number else None
    if listed is not None:
        return str(value) in listed
    return any(True for part in source.folded for _ in places_of(folded(str(value)), part))


def _spans(field: Marked, value: Any, source: Source) -> Iterator[Span]:
    value = value.value if isinstance(value, Enum) else value
    if isinstance(value, bool):
        return
    parts = range(len(source.parts))
    every = (Span(part, *place) for part in parts for place in _places(field, value, part, source))
    yield from islice(every, MOST_SPANS)


def _places(field: Marked, value: Any, part: int, source: Source) -> Iterator[tuple[int, int]]:
    """The places in one part of the source, in characters of it as it was given."""
    if isinstance(value, NUMERIC):
        for mark in source.marks[part]:
            if mark.kind == "number" and abs(mark.value - float(value)) < 1e-9:
                yield mark.start, mark.end
        return
    written, text = str(value), source.parts[part]
    spans: list[tuple[int, int]] | None = None
    if next(places_of(written, text), None) is None:  # only then is every character looked at
        written, (text, spans) = folded(written), source.origins[part]
    for start, end in places_of(written, text):
        if field.pattern is None or not (text[start - 1 : start] == "-" or text[end : end + 1] == "-"):
            yield (start, end) if spans is None else (spans[start][0], spans[end - 1][1])
