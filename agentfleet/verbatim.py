"""`Verbatim` fields: candidates found in the source by code, narrowed schemas, and the check that nothing was made up.

Floor 0.
"""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from functools import cached_property, lru_cache
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import SchemaError as BadPattern
from pydantic_core import SchemaValidator, core_schema

from agentfleet.markers import Abstain, Part, Verbatim, alternatives, items_of, members, parts_of

if TYPE_CHECKING:
    from agentfleet.schema import Output

_NUMBER = re.compile(
    r"(?<![\w.,:/\-+])(?<!\w')[-−]?\d{1,3}(?:[ \u00a0\u202f.,'’]\d{3})+(?:[.,](?:\d{1,2}(?!\d)|[-–—]))?(?![\w]*[-/:]\d)"
    r"|(?<![\w.,:/\-+])[-−]?\d+(?:[.,](?:\d+|[-–—]))?(?!\d)(?![.,]\d)(?!\w*[-/:]\d)"
)
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\b\d{1,2}:\d{2}(?::\d{2})?\b")
_PHONE = re.compile(r"\+\d[\d \-/()]{6,}\d|\(?\b0\d{1,4}\)?[ /\-]\d[\d \-/]{4,}\d")
_CODE = re.compile(r"\b[A-Za-z]+[-_#]?\d[\w\-]*|\b\d+[-_][A-Za-z]\w*")
_ACCOUNT = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_MONEY = r"(?i:eur|usd|gbp|chf|sek|dkk|nok|pln|zł|kr|fr|rs|[€$£¥])"
_CURRENCY = re.compile(rf"(?<![A-Za-z]){_MONEY}\.?(?=\d)|(?<=\d){_MONEY}(?!\w)")
_START = re.compile(r"(?<!\w)(?<!\w-)\w|[^\w\s]")
_END = re.compile(r"\w(?!-?\w)|[^\w\s]")
_NUMERIC = (int, float, Decimal)

LONGEST = 80
"""Characters up to which a piece of the source is a candidate for a pattern."""
MAX_TRIES = 400_000
"""Pieces tried against one pattern; in a longer source the candidates are not listed (the answer is still checked)."""


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


# -- the source --------------------------------------------------------------------------------------------------------


def numbers_in(text: str) -> list[float]:
    """The numbers that stand in a text, in order, without repeats: 49.90, 49,90, 1.299,00, 1,299.00, 1'250.-

    Digits inside ids, dates, times, accounts and phone numbers are left out.
    """
    for pattern in (_ACCOUNT, _DATE, _PHONE, _CURRENCY, _CODE):
        text = pattern.sub(" ", text)
    numbers = (read_number(match.group()) for match in _NUMBER.finditer(text))
    return list(dict.fromkeys(number for number in numbers if number is not None))


def read_number(text: str) -> float | None:
    """A number as people write it; the last separator with one or two digits behind it is the decimal one."""
    plain = re.sub(r"[ \u00a0\u202f'’]", "", text).replace("−", "-")
    plain = re.sub(r"[.,][-–—]$", "", plain)
    last = max(plain.rfind("."), plain.rfind(","))
    if last >= 0:
        separator, tail = plain[last], plain[last + 1 :]
        thousands = len(tail) == 3 and re.fullmatch(r"-?\d{1,3}([.,]\d{3})+", plain) is not None
        if thousands and not plain.lstrip("-").startswith(("0.", "0,")):
            plain = plain.replace(".", "").replace(",", "")
        else:
            other = "," if separator == "." else "."
            plain = plain[:last].replace(other, "").replace(separator, "") + "." + tail
    try:
        return float(plain)
    except ValueError:
        return None


class _Source:
    """What a skill reads, looked through at most once for numbers and for each pattern."""

    def __init__(self, parts: Sequence[str]) -> None:
        self.text = "\n".join(parts)
        self.matches: dict[str, list[str] | None] = {}

    @cached_property
    def numbers(self) -> list[float]:
        return numbers_in(self.text)

    @cached_property
    def folded(self) -> str:
        return _folded(self.text)

    def matching(self, pattern: str) -> list[str] | None:
        """The pieces of the text that match a pattern whole, longest first at each place; None: cannot be listed."""
        if pattern not in self.matches:
            self.matches[pattern] = self._search(pattern)
        return self.matches[pattern]

    def _search(self, pattern: str) -> list[str] | None:
        """Rust's matcher, which never backtracks, is asked for every piece between word boundaries: a user's pattern
        cannot hang it, as it could hang Python's `re`."""
        fits = _whole_match(pattern)
        if fits is None:
            return None
        ends = [match.end() for match in _END.finditer(self.text)]
        found: dict[str, None] = {}
        first, after, tries = 0, 0, 0
        for match in _START.finditer(self.text):
            start = match.start()
            if start < after:
                continue
            while first < len(ends) and ends[first] <= start:
                first += 1
            last = first
            while last < len(ends) and ends[last] <= start + LONGEST:
                last += 1
            tries += last - first
            if tries > MAX_TRIES:
                return None
            end = next((end for end in reversed(ends[first:last]) if fits(self.text[start:end])), None)
            if end is not None:
                found[_without_stop(self.text[start:end], fits)] = None
                after = end
        return list(found)


@lru_cache(maxsize=256)
def _whole_match(pattern: str) -> Callable[[str], bool] | None:
    """Does a text match the pattern from end to end? None for a pattern that only Python's `re` understands."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=f"^(?:{pattern})$", strict=True)).isinstance_python
    except BadPattern:
        return None


def _without_stop(piece: str, fits: Callable[[str], bool]) -> str:
    """A match without the full stop or bracket after it, where the pattern can do without."""
    shorter = piece.rstrip(".,;:!?)")
    return shorter if shorter and fits(shorter) else piece


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


# -- the fields --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Field:
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
        return any(kind in _NUMERIC for kind, _ in self.kinds)

    @property
    def pattern(self) -> str | None:
        found = [getattr(extra, "pattern", None) for _, extras in self.kinds for extra in extras]
        patterns = [p for p in found if isinstance(p, (str, re.Pattern))]
        return _pattern_text(patterns[-1]) if patterns else None

    def candidates(self, source: _Source) -> list[Any] | None:
        """The values that it may take, None when they cannot be listed (free text)."""
        if self.number:
            found: list[Any] | None = [int(n) if n.is_integer() else n for n in source.numbers]
        else:
            found = source.matching(self.pattern) if self.pattern is not None else None
        if found is None:
            return None
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


def _marked(kinds: Sequence[tuple[Any, tuple[Any, ...]]]) -> bool:
    return any(isinstance(extra, Verbatim) or extra is Verbatim for _, extras in kinds for extra in extras)


def _fields(annotation: Any) -> list[_Field]:
    """The Verbatim places of a type, at most six levels deep."""
    return list(_walk(Part("", "", annotation), (), True, top=True))


def _walk(part: Part, path: tuple[str, ...], needed: bool, *, top: bool = False) -> Iterator[_Field]:
    every = alternatives(part.annotation, part.extras)
    kinds = tuple((kind, extras) for kind, extras in every if kind not in (NoneType, Abstain))
    optional = any(kind is NoneType for kind, _ in every)
    if _marked(kinds):
        besides = (*((None,) if optional and not top else ()), *part.default)
        yield _Field(path, kinds, besides, needed and not besides)
        return
    needed = needed and len(kinds) == 1 and (top or not optional) and not part.default
    for kind, _ in kinds if len(path) < 6 else ():
        for inner in parts_of(kind):
            yield from _walk(inner, (*path, inner.wire), needed)
        for item in items_of(kind):
            yield from _walk(Part("", "", item), (*path, "[]"), False)


# -- before the call ---------------------------------------------------------------------------------------------------


def narrow(output: Output, sources: Sequence[str]) -> Narrowed:
    """Replace what a Verbatim field may hold by what stands in `sources`. See `Narrowed`."""
    marked = _fields(output.type)
    if not marked:
        return Narrowed(output)
    source = _Source(sources)
    schema: dict[str, Any] = copy.deepcopy(dict(output.schema))
    whole = None
    for field in marked:
        found = field.candidates(source)
        if found is None:
            continue
        options = _unique([*found, *(value for value in field.besides if _is_scalar(value))])
        if not found and field.needed:
            return _none(output, field)
        if not field.path:
            whole = [*options, None] if NoneType in members(output.type) else options
        for place in _places(schema, schema, field.path) if options else ():
            place.clear()
            place["enum"] = options
    if whole is not None:
        return Narrowed(replace(output, kind="json", schema={"enum": whole}))
    return Narrowed(replace(output, schema=schema))


def _none(output: Output, field: _Field) -> Narrowed:
    if NoneType in members(output.type):
        return Narrowed(output, settled=True)
    return Narrowed(output, problem=f"{field.name}: nothing in the input fits")


def _unique(values: Sequence[Any]) -> list[Any]:
    return list({(type(value), value): value for value in values}.values())


def _is_scalar(value: Any) -> bool:
    return value is None or type(value) in (str, int, float)


def _places(root: dict[str, Any], part: Any, path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The parts of a JSON Schema that stand at a path, through references and alternatives."""
    if not path or not isinstance(part, dict):
        return
    if "$ref" in part:
        yield from _places(root, root.get("$defs", {}).get(part["$ref"].rsplit("/", 1)[-1]), path)
    for other in (*part.get("anyOf", ()), *part.get("allOf", ())):
        yield from _places(root, other, path)
    inside = [part.get("items"), *part.get("prefixItems", ())] if path[0] == "[]" else []
    for found in [*inside, part.get("properties", {}).get(path[0])]:
        if isinstance(found, dict) and len(path) == 1:
            yield found
        elif found is not None:
            yield from _places(root, found, path[1:])


# -- after it ----------------------------------------------------------------------------------------------------------


def ungrounded(output: Output, value: Any, sources: Sequence[str]) -> str:
    """ "" or a sentence that names the Verbatim field whose value does not stand in the sources."""
    source = _Source(sources)
    for field, held in _held(Part("", "", output.type), value, ()):
        if not _stands(field, held, source):
            return f"{field.name}: {str(held)[:80]!r} does not stand in the input; copy it from there"
    return ""


def _held(part: Part, value: Any, path: tuple[str, ...]) -> Iterator[tuple[_Field, Any]]:
    """Every value that stands in a Verbatim place, lists and dicts included."""
    if value is None:
        return
    every = alternatives(part.annotation, part.extras)
    kinds = tuple((kind, extras) for kind, extras in every if kind not in (NoneType, Abstain))
    if _marked(kinds):
        yield _Field(path, kinds, part.default), value
        return
    for inner, held, name in _inside([kind for kind, _ in kinds], value):
        yield from _held(inner, held, (*path, name))


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
    elif isinstance(value, (list, tuple, set, frozenset)):
        items = [items_of(kind) for kind in kinds if items_of(kind)]
        for index, held in enumerate(value):
            if items:
                yield Part("", "", items[0][min(index, len(items[0]) - 1)]), held, str(index)


def _stands(field: _Field, value: Any, source: _Source) -> bool:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool) or any(type(value) is type(other) and value == other for other in field.besides):
        return True
    if isinstance(value, _NUMERIC):
        return any(abs(number - float(value)) < 1e-9 for number in source.numbers)
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(_stands(field, item, source) for item in value)
    listed = source.matching(field.pattern) if field.pattern is not None and not field.number else None
    return str(value) in listed if listed is not None else _is_part(_folded(str(value)), source.folded)


def _is_part(piece: str, text: str) -> bool:
    """Does a piece stand in a text as whole words? (Scripts that write without blanks have no such bounds.)"""
    at = text.find(piece) if piece else -1
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(piece) : at + len(piece) + 1]
        if not _one_word(before, piece[0]) and not _one_word(piece[-1], after):
            return True
        at = text.find(piece, at + 1)
    return False


def _one_word(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum() and max(left, right) < "\u0e00"
