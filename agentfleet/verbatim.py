"""`Verbatim` fields: candidates found in the source by code, narrowed schemas, and the check that nothing was made up.

Floor 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agentfleet.markers import Verbatim, bare, members

if TYPE_CHECKING:
    from agentfleet.schema import Output

_NUMBER = re.compile(
    r"(?<![\w.,:/\-+])(?<!\w')[-−]?\d{1,3}(?:[ \u00a0\u202f.,'’]\d{3})+(?:[.,](?:\d{1,2}(?!\d)|[-–—]))?(?![\w]*[-/:]\d)"
    r"|(?<![\w.,:/\-+])[-−]?\d+(?:[.,](?:\d+|[-–—]))?(?!\d)(?!\w*[-/:]\d)"
)
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\b\d{1,2}:\d{2}(?::\d{2})?\b")
_PHONE = re.compile(r"\+\d[\d \-/()]{6,}\d|\(?\b0\d{1,4}\)?[ /\-]\d[\d \-/]{4,}\d")
_CODE = re.compile(r"\b[A-Za-z]+[-_#]?\d[\w\-]*|\b\d+[-_][A-Za-z]\w*")
_CURRENCY = re.compile(r"(?i)(eur|usd|gbp|chf|sek|dkk|nok|pln|zł|kr|[€$£¥])(?=\d)|(?<=\d)(eur|usd|gbp|chf|sek|dkk|nok|pln|zł|kr|[€$£¥])")


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


@dataclass(frozen=True, slots=True)
class _Field:
    path: tuple[str, ...]
    number: bool
    pattern: str | None
    low: float | None
    high: float | None


def numbers_in(text: str) -> list[float]:
    """The numbers that stand in a text, in order, without repeats: 49.90, 49,90, 1.299,00, 1,299.00, 1'250.-

    Digits inside ids, dates, times and phone numbers are left out.
    """
    for pattern in (_DATE, _PHONE):
        text = pattern.sub(" ", text)
    text = _CURRENCY.sub(" ", text)
    text = _CODE.sub(" ", text)
    found: dict[float, None] = {}
    for match in _NUMBER.finditer(text):
        number = read_number(match.group())
        if number is not None:
            found[number] = None
    return list(found)


def read_number(text: str) -> float | None:
    """A number as people write it; the last separator with one or two digits behind it is the decimal one."""
    plain = re.sub(r"[ \u00a0\u202f'’]", "", text).replace("−", "-")
    plain = re.sub(r"[.,][-–—]$", "", plain)
    last = max(plain.rfind("."), plain.rfind(","))
    if last >= 0:
        separator, tail = plain[last], plain[last + 1 :]
        thousands = len(tail) == 3 and re.fullmatch(r"-?\d{1,3}([.,]\d{3})+", plain) is not None
        if thousands and not (plain.startswith(("0.", "0,"))):
            plain = plain.replace(".", "").replace(",", "")
        else:
            other = "," if separator == "." else "."
            plain = plain[:last].replace(other, "").replace(separator, "") + "." + tail
    try:
        return float(plain)
    except ValueError:
        return None


def narrow(output: Output, sources: Sequence[str]) -> Narrowed:
    """Replace what a Verbatim field may hold by what stands in `sources`. See `Narrowed`."""
    fields = list(_fields(output.type))
    if not fields:
        return Narrowed(output)
    text = "\n".join(sources)
    schema: Any = output.schema
    for field in fields:
        options = _candidates(field, text)
        if options is None:
            continue
        if not options:
            return _none(output, field)
        schema = _with_enum(schema, field.path, options)
    return Narrowed(replace(output, schema=schema))


def _none(output: Output, field: _Field) -> Narrowed:
    if NoneType in members(output.type):
        return Narrowed(output, settled=True)
    return Narrowed(output, problem=f"{'.'.join(field.path) or 'the value'}: nothing in the input fits")


def _candidates(field: _Field, text: str) -> list[Any] | None:
    """The values a field may take, None when they cannot be listed (free text)."""
    if field.number:
        inside = [n for n in numbers_in(text) if _within(n, field)]
        return [int(n) if n.is_integer() else n for n in inside]
    if field.pattern is None:
        return None
    inner = field.pattern.removeprefix("^").removesuffix("$")
    found = re.finditer(rf"(?<![\w-])(?:{inner})(?![\w-])", text)
    return list(dict.fromkeys(match.group() for match in found))


def _within(number: float, field: _Field) -> bool:
    return (field.low is None or number >= field.low) and (field.high is None or number <= field.high)


def _fields(annotation: Any, path: tuple[str, ...] = ()) -> Iterator[_Field]:
    """The Verbatim fields of the models in a type, required ones only at any depth of models."""
    for member in members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel) and len(path) < 4:
            for name, info in member.model_fields.items():
                if any(isinstance(extra, Verbatim) for extra in info.metadata):
                    if NoneType not in members(info.annotation):
                        yield _field((*path, name), info)
                else:
                    yield from _fields(info.annotation, (*path, name))


def _field(path: tuple[str, ...], info: FieldInfo) -> _Field:
    pattern, low, high = None, None, None
    for extra in info.metadata:
        pattern = getattr(extra, "pattern", None) or pattern
        if isinstance(extra, (annotated_types.Ge, annotated_types.Gt)):
            low = float(extra.ge if isinstance(extra, annotated_types.Ge) else extra.gt)  # type: ignore[arg-type]
        if isinstance(extra, (annotated_types.Le, annotated_types.Lt)):
            high = float(extra.le if isinstance(extra, annotated_types.Le) else extra.lt)  # type: ignore[arg-type]
    number = any(m in (int, float) for m in members(info.annotation))
    return _Field(path, number, pattern, low, high)


def _with_enum(schema: Any, path: tuple[str, ...], options: list[Any]) -> Any:
    """A copy of a schema in which the property at `path` is an enum; definitions are looked through by name."""
    if isinstance(schema, Mapping):
        copy = {key: _with_enum(value, path, options) for key, value in schema.items()}
        properties = copy.get("properties")
        if isinstance(properties, dict) and path[-1] in properties:
            properties[path[-1]] = {"enum": options}
        return copy
    if isinstance(schema, list):
        return [_with_enum(part, path, options) for part in schema]
    return schema


def ungrounded(output: Output, value: Any, sources: Sequence[str]) -> str:
    """ "" or a sentence that names the Verbatim field whose value does not stand in the sources."""
    text = "\n".join(sources)
    for path, held in _held(output.type, value, ()):
        if not _stands(held, text):
            return f"{'.'.join(path) or 'the value'}: {str(held)[:80]!r} does not stand in the input; copy it from there"
    return ""


def _held(annotation: Any, value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that stands in a Verbatim field, with its path, lists of models included."""
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            held = getattr(value, name)
            if any(isinstance(extra, Verbatim) for extra in info.metadata):
                if held is not None:
                    yield (*path, name), held
            else:
                yield from _held(info.annotation, held, (*path, name))
    elif isinstance(value, (list, tuple)):
        verbatim = _items_verbatim(annotation)
        for index, item in enumerate(value):
            if verbatim:
                yield (*path, str(index)), item
            else:
                yield from _held(None, item, (*path, str(index)))


def _items_verbatim(annotation: Any) -> bool:
    for member in members(annotation):
        for argument in get_args(member) if get_origin(member) in (list, tuple) else ():
            if argument is not bare(argument) and any(isinstance(e, Verbatim) for e in argument.__metadata__):
                return True
    return False


def _stands(value: Any, text: str) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, (int, float)):
        return any(abs(number - value) < 1e-9 for number in numbers_in(text))
    if isinstance(value, (list, tuple)):
        return all(_stands(item, text) for item in value)
    return _folded(str(value)) in _folded(text)


def _folded(text: str) -> str:
    return " ".join(text.split())
