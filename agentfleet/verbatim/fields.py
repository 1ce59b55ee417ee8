"""The fields of a type that are marked Verbatim: their candidates, and the narrowed schema before a call."""

from __future__ import annotations

import copy
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import TypeAdapter, ValidationError

from agentfleet.decoding import COPIED, MAX_STRING, Definitions
from agentfleet.markers import Abstain, Part, Verbatim, alternatives, items_of, members, parts_of
from agentfleet.verbatim.source import Source

if TYPE_CHECKING:
    from agentfleet.schema import Output

NUMERIC = (int, float, Decimal)
"""Types that stand as numbers in a text."""

DEEPEST = 16
"""Levels of a type that are looked through for Verbatim places; below them only the check after a call holds."""
MOST_COPIED = 50_000
"""Characters of a source up to which a field is held to it while it is written (0.4 s); above, only the check holds."""
MANY = 16
"""Candidates from which they become a definition of the schema."""


@dataclass(frozen=True, slots=True)
class Narrowed:
    """An output whose Verbatim fields may only be what the source holds.

    `settled`: there is no candidate and the type allows None: the value is None without a call.
    `problem`: there is no candidate and None is not allowed: the step abstains without a call.
    """

    output: Output
    settled: bool = False
    value: Any = None
    problem: str = ""


# -- the fields --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Marked:
    """One place of a type that is marked Verbatim. `kinds`: its types without None, with their extras.

    `path`: names of properties, ``[]`` for the items of a list. `besides`: what may stand there though no source has
    it (None, a default). `needed`: the answer cannot do without it.
    """

    path: tuple[str, ...]
    kinds: tuple[tuple[Any, tuple[Any, ...]], ...]
    besides: tuple[Any, ...] = ()
    needed: bool = True

    @property
    def name(self) -> str:
        return ".".join(self.path) or "the value"

    @property
    def number(self) -> bool:
        return any(kind in NUMERIC for kind, _ in self.kinds)

    @property
    def pattern(self) -> str | None:
        found = [getattr(extra, "pattern", None) for _, extras in self.kinds for extra in extras]
        patterns = [p for p in found if isinstance(p, (str, re.Pattern))]
        return _pattern_text(patterns[-1]) if patterns else None

    @property
    def found_by(self) -> Callable[[str], Iterable[Any]] | None:
        """The user's own function that finds the candidates."""
        found = [extra.found_by for _, extras in self.kinds for extra in extras if isinstance(extra, Verbatim)]
        return next((function for function in found if function is not None), None)

    @property
    def longest(self) -> int | None:
        """Characters that its type allows, None for any number."""
        found = [getattr(extra, "max_length", None) for _, extras in self.kinds for extra in extras]
        bounds = [bound for bound in found if bound is not None]
        return min(bounds) if bounds else None

    def pieces(self, source: Source) -> list[Any] | None:
        """Of free text the pieces that it may be, None when there are too many to list."""
        if not self.free:
            return None
        found = source.pieces(self.longest)
        return None if found is None else self._fitting(found)

    @property
    def free(self) -> bool:
        """May it be any text of the source?"""
        return self.found_by is None and self.pattern is None and all(kind is str for kind, _ in self.kinds)

    def candidates(self, source: Source) -> list[Any] | None:
        """The values that it may take, None when they cannot be listed (free text)."""
        if self.found_by is not None:
            return self._fitting(source.found_by(self.found_by))
        if self.number:
            found: list[Any] | None = [int(n) if n.is_integer() else n for n in source.numbers]
        else:
            found = source.matching(self.pattern) if self.pattern is not None else None
        return None if found is None else self._fitting(found)

    def _fitting(self, found: Sequence[Any]) -> list[Any]:
        adapters = [_adapter(kind, extras) for kind, extras in self.kinds]
        return [value for value in found if any(_valid(adapter, value) for adapter in adapters)]


def _pattern_text(pattern: str | re.Pattern[str]) -> str:
    if isinstance(pattern, str):
        return pattern
    return f"(?i){pattern.pattern}" if pattern.flags & re.IGNORECASE else pattern.pattern


def _adapter(kind: Any, extras: tuple[Any, ...]) -> TypeAdapter[Any]:
    return TypeAdapter(Annotated[(kind, *extras)] if extras else kind)


def _valid(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def is_marked(kinds: Sequence[tuple[Any, tuple[Any, ...]]]) -> bool:
    """Does one of these types carry the mark?"""
    return any(isinstance(extra, Verbatim) or extra is Verbatim for _, extras in kinds for extra in extras)


def marked_in(annotation: Any) -> list[Marked]:
    """The Verbatim places of a type, the upper ones first.

    A class that stands at several places has one schema, so it is looked into once (and once more where it is needed).
    """
    found: list[Marked] = []
    seen: set[tuple[Any, bool]] = set()
    waiting: deque[tuple[Part, tuple[str, ...], bool]] = deque([(Part("", "", annotation), (), True)])
    while waiting:
        part, path, needed = waiting.popleft()
        every = alternatives(part.annotation, part.extras)
        kinds = tuple((kind, extras) for kind, extras in every if kind not in (NoneType, Abstain))
        optional = any(kind is NoneType for kind, _ in every)
        if is_marked(kinds):
            besides = (*((None,) if optional and path else ()), *part.default)
            found.append(Marked(path, kinds, besides, needed and not besides))
            continue
        needed = needed and len(kinds) == 1 and not (optional and path) and not part.default
        for kind, _ in kinds if len(path) < DEEPEST else ():
            waiting.extend(_below(kind, path, needed, seen))
    return found


def _below(
    kind: Any, path: tuple[str, ...], needed: bool, seen: set[tuple[Any, bool]]
) -> Iterator[tuple[Part, tuple[str, ...], bool]]:
    """What stands one level below a type, unless it was seen."""
    inner = parts_of(kind)
    if inner and not {(kind, needed), (kind, True)} & seen:
        seen.add((kind, needed))
        for part in inner:
            yield part, (*path, part.wire), needed
    for item in items_of(kind):
        yield Part("", "", item), (*path, "[]"), False


# -- before the call ---------------------------------------------------------------------------------------------------


def narrow(output: Output, sources: Sequence[str]) -> Narrowed:
    """Replace what a Verbatim field may hold by what stands in `sources`. See `Narrowed`."""
    marked = marked_in(output.type)
    if not marked:
        return Narrowed(output)
    source = Source(sources)
    found = [(field, field.candidates(source)) for field in marked]
    free = [(field, field.pieces(source)) for field in marked] if output.kind == "json" else []
    none = next((field for field, values in [*found, *free] if values == [] and field.needed), None)
    if none is not None:
        return _none(output, none)
    narrowed = _filled(output, found)
    copies = [field for field, values in free if values is None and field.free] if source.length <= MOST_COPIED else []
    if not copies and all(values is None for _, values in free):
        return Narrowed(narrowed)
    wide = narrowed.schema if output.wide is None else output.wide  # hosts bear few options; the check holds for all
    return Narrowed(replace(_copied(_filled(narrowed, free), copies, source), wide=wide))


def _filled(output: Output, found: Sequence[tuple[Marked, list[Any] | None]]) -> Output:
    """The output with a choice among these values at the places of these fields."""
    schema: dict[str, Any] = copy.deepcopy(dict(output.schema))
    shared = Definitions()
    whole = None
    for field, values in found:
        if values is None:
            continue
        if not field.path:
            whole = _unique([*values, *((None,) if NoneType in members(output.type) else ())])
        options = _unique([*values, *(value for value in field.besides if _is_scalar(value))])
        for place in list(_places(schema, field.path)) if options else ():
            place.clear()
            place.update(_choice(values, options, shared))
    if whole is not None:
        return replace(output, kind="json", schema={"enum": whole})
    if shared.parts:
        schema["$defs"] = {**schema.get("$defs", {}), **shared.parts}
    return replace(output, schema=schema)


def _copied(output: Output, copies: Sequence[Marked], source: Source) -> Output:
    """The output in which these fields may only be a run of words of the source."""
    schema: dict[str, Any] = copy.deepcopy(dict(output.schema))
    shared = Definitions()
    for field in copies:
        text = {"type": "string", "maxLength": field.longest or MAX_STRING, COPIED: list(source.folded)}
        part = shared.share("verbatim", text)
        others = [value for value in field.besides if _is_scalar(value)]
        if not field.path:
            others, schema = [None] if NoneType in members(output.type) else [], {"$defs": schema.get("$defs", {})}
        choice = {"anyOf": [part, {"enum": others}]} if others else part
        for place in list(_places(schema, field.path)) if field.path else [schema]:
            defined = {"$defs": place["$defs"]} if "$defs" in place else {}
            place.clear()
            place.update({**choice, **defined})
    if shared.parts:
        schema["$defs"] = {**schema.get("$defs", {}), **shared.parts}
    return replace(output, schema=schema)


def _choice(values: list[Any], options: list[Any], shared: Definitions) -> dict[str, Any]:
    """One of the options; many stand only once in the schema, since several fields choose among the same."""
    if len(values) < MANY:
        return {"enum": options}
    others = [option for option in options if option not in values]
    choice = shared.share("verbatim", {"enum": values})
    return {"anyOf": [choice, {"enum": others}]} if others else choice


def _none(output: Output, field: Marked) -> Narrowed:
    if NoneType in members(output.type):
        return Narrowed(output, settled=True)
    return Narrowed(output, problem=f"{field.name}: nothing in the input fits")


def _unique(values: Sequence[Any]) -> list[Any]:
    return list({(type(value), value): value for value in values}.values())


def _is_scalar(value: Any) -> bool:
    return value is None or type(value) in (str, int, float)


def _places(root: dict[str, Any], path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The parts of a JSON Schema that stand at a path, through references and alternatives, each once."""
    level = [root] if path else []
    for name in path:
        level = [part for outer in _opened(root, level) for part in _inside_schema(outer, name)]
    yield from {id(part): part for part in level}.values()


def _opened(root: dict[str, Any], parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parts, with what they refer to and their alternatives, each once."""
    found: dict[int, dict[str, Any]] = {}
    waiting = list(parts)
    while waiting:
        part = waiting.pop()
        if id(part) in found:
            continue
        found[id(part)] = part
        if "$ref" in part:
            waiting.append(root.get("$defs", {}).get(part["$ref"].rsplit("/", 1)[-1], {}))
        waiting += [other for other in (*part.get("anyOf", ()), *part.get("allOf", ())) if isinstance(other, dict)]
    return list(found.values())


def _inside_schema(part: dict[str, Any], name: str) -> list[dict[str, Any]]:
    inside = [part.get("items"), *part.get("prefixItems", ())] if name == "[]" else []
    return [found for found in [*inside, part.get("properties", {}).get(name)] if isinstance(found, dict)]
