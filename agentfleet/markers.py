"""Markers that a type may carry (`Verbatim`, `ByReference`), `Abstain`, and how a union falls into members. Floor 0."""

from __future__ import annotations

import types
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema


class Verbatim:
    """``Annotated[str, Verbatim()]``: the value must stand in the text that the skill reads (numbers as numbers)."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ByReference:
    """``Annotated[str, ByReference()]`` on a tool's argument: a plan may only point at a value, never write one."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Abstain:
    """In a skill's return type (``Order | Abstain``) it lets a model decline; the step then climbs, never returns it."""

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
    """An annotation without its `Annotated` extras."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def extras(annotation: Any) -> tuple[Any, ...]:
    """The `Annotated` extras, outermost last."""
    found: tuple[Any, ...] = ()
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        found = (*more, *found)
    return found


def members(annotation: Any) -> list[Any]:
    """The members of a union without extras; a single type is its own only member."""
    plain = bare(annotation)
    if get_origin(plain) in (Union, types.UnionType):
        return [member for part in get_args(plain) for member in members(part)]
    return [plain]
