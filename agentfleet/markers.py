"""Markers that a type may carry (`Verbatim`, `ByReference`), `Abstain`, and the parts that a type falls into. Floor 0."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from types import NoneType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import core_schema
from typing_extensions import is_typeddict


class _Marker:
    """Equal to every other of its class, so that types that carry it can be compared and cached."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Verbatim(_Marker):
    """``Annotated[str, Verbatim()]``: the value must stand in the text that the skill reads (numbers as numbers).

    ``Verbatim(found_by)``: it must be one of the values that this function finds in that text (str → values), as where
    plain code finds the candidates and the model is only to choose among them.
    """

    def __init__(self, found_by: Callable[[str], Iterable[Any]] | None = None) -> None:
        self.found_by = found_by

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verbatim) and other.found_by is self.found_by

    def __hash__(self) -> int:
        return hash((Verbatim, self.found_by))

    def __repr__(self) -> str:
        return f"Verbatim({getattr(self.found_by, '__name__', '') if self.found_by else ''})"


class ByReference(_Marker):
    """``Annotated[str, ByReference()]`` on a tool's argument: a plan may only point at a value, never write one."""


class Abstain:
    """In a skill's return type (``Order | Abstain``) it lets a model decline; the step climbs and never returns it."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "object", "properties": {"abstain": {"const": True}}, "required": ["abstain"]}


class Abstained(Enum):
    """The type of `ABSTAINED`."""

    ABSTAINED = "abstained"


ABSTAINED: Final[Literal[Abstained.ABSTAINED]] = Abstained.ABSTAINED
"""What `Output.parse` returns when the model declined."""


def bare(annotation: Any) -> Any:
    """An annotation without its `Annotated` extras, type aliases and NewTypes."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        else:
            return NoneType if annotation is None else annotation


def extras(annotation: Any) -> tuple[Any, ...]:
    """The `Annotated` extras, those of what is aliased first; a pydantic `Field` is taken apart."""
    found: tuple[Any, ...] = ()
    while annotation is not None:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            found = (*more, *found)
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            annotation = getattr(annotation, "__supertype__", None)
    return tuple(part for extra in found for part in (extra.metadata if isinstance(extra, FieldInfo) else (extra,)))


def alternatives(annotation: Any, outer: tuple[Any, ...] = ()) -> list[tuple[Any, tuple[Any, ...]]]:
    """The members of a union, each bare and with the extras that hold for it; a single type is its own only one."""
    held = (*outer, *extras(annotation))
    plain = bare(annotation)
    if get_origin(plain) in (Union, types.UnionType):
        return [found for part in get_args(plain) for found in alternatives(part, held)]
    return [(plain, held)]


def members(annotation: Any) -> list[Any]:
    """The members of a union without extras; a single type is its own only member."""
    return [plain for plain, _ in alternatives(annotation)]


def wire_name(name: str, info: FieldInfo) -> str:
    """What a model's field is called in JSON."""
    alias = info.validation_alias or info.alias
    if isinstance(alias, AliasChoices):
        alias = next((choice for choice in alias.choices if isinstance(choice, str)), None)
    return alias if isinstance(alias, str) else name


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a model, dataclass or TypedDict: its name here and in JSON, its type, its default."""

    name: str
    wire: str
    annotation: Any
    extras: tuple[Any, ...] = ()
    default: tuple[Any, ...] = ()


@lru_cache(maxsize=512)
def parts_of(kind: Any) -> tuple[Part, ...]:
    """The fields of a class; none for what has no fields."""
    if not isinstance(kind, type):
        return ()
    if issubclass(kind, BaseModel):
        infos = kind.model_fields.items()
        return tuple(
            Part(n, wire_name(n, i), i.annotation, tuple(i.metadata), () if i.is_required() else (i.default,))
            for n, i in infos
        )
    if not is_dataclass(kind) and not is_typeddict(kind):
        return ()
    hints = get_type_hints(kind, include_extras=True)
    defaults = {f.name: f.default for f in fields(kind) if f.default is not MISSING} if is_dataclass(kind) else {}
    return tuple(Part(n, n, hint, (), (defaults[n],) if n in defaults else ()) for n, hint in hints.items())


def items_of(kind: Any) -> tuple[Any, ...]:
    """The types of what a list, set or tuple holds."""
    origin = get_origin(kind)
    if not isinstance(origin, type) or not issubclass(origin, (Sequence, set, frozenset)):
        return ()
    return tuple(arg for arg in get_args(kind) if arg is not Ellipsis)
