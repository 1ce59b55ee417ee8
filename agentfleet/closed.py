"""Closed answers: Literal, Enum, bool, ordered levels, optional of these, or a model of such fields. Floor 0."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from types import NoneType
from typing import Any, Literal, TypeAlias, get_args, get_origin

from pydantic import BaseModel

from agentfleet.errors import SchemaError
from agentfleet.markers import Abstain, bare, members, wire_name

Kind: TypeAlias = Literal["choice", "bool", "score"]

MAX_OPTIONS = 255
NONE_TEXT = "none of these"


@dataclass(frozen=True, slots=True)
class Option:
    """One possible answer. `value`: a JSON scalar, None for "none of these". `text`: what a model reads and writes."""

    value: Any
    text: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One closed question. `name`: the field, "" for a single answer. `kind`: score has ordered levels."""

    name: str
    options: tuple[Option, ...]
    kind: Kind = "choice"


def questions_of(annotation: Any, where: str) -> tuple[Question, ...]:
    """The questions of a closed type. Raises SchemaError that says what a classify step may return."""
    plain = bare(annotation)
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        found = tuple(
            _question(wire_name(name, field), field.annotation, f"{where}, field {name}")
            for name, field in plain.model_fields.items()
        )
        if not found:
            raise SchemaError(f"{where}: {plain.__name__} has no fields to decide")
        return found
    return (_question("", annotation, where),)


def _question(name: str, annotation: Any, where: str) -> Question:
    options: dict[str, Option] = {}
    kinds: set[Kind] = set()
    for member in members(annotation):
        more, kind = _options(member, where)
        if kind is not None:
            kinds.add(kind)
        for option in more:
            _refuse_unclear(option, options.setdefault(option.text, option), where)
    if len(options) > MAX_OPTIONS:
        raise SchemaError(f"{where}: {len(options)} options; at most {MAX_OPTIONS} can be decided between")
    return Question(name, tuple(options.values()), kinds.pop() if len(kinds) == 1 else "choice")


def _refuse_unclear(option: Option, same: Option, where: str) -> None:
    if not isinstance(option.value, (str, int, float, bool, NoneType)):
        raise SchemaError(f"{where}: the option {option.text!r} stands for {option.value!r}, no text or number")
    if type(option.value) is not type(same.value) or option.value != same.value:
        both = f"{option.value!r} and {same.value!r}"
        raise SchemaError(f"{where}: {both} would both be called {option.text!r}; rename one")


def _options(member: Any, where: str) -> tuple[list[Option], Kind | None]:
    if member is NoneType:
        return [Option(None, NONE_TEXT)], None
    if member is Abstain:
        raise SchemaError(f"{where}: a decision declines with None (`| None`) or below min_confidence; drop Abstain")
    if member is bool:
        return [Option(True, "yes"), Option(False, "no")], "bool"
    if get_origin(member) is Literal:
        values = get_args(member)
        kind: Kind = "score" if all(type(v) is int for v in values) else "choice"
        return [Option(getattr(v, "value", v), option_text(v)) for v in values], kind
    if isinstance(member, type) and issubclass(member, Enum):
        kind = "score" if issubclass(member, int) else "choice"
        return [Option(item.value, option_text(item)) for item in member], kind
    name = getattr(member, "__name__", str(member))
    raise SchemaError(
        f"{where}: {name} is open; classify answers Literal, Enum, bool, an optional of these, or a model whose fields "
        "are all such. Use extract for anything else"
    )


def option_text(value: Any) -> str:
    """The words that stand for a value."""
    if value is None:
        return NONE_TEXT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str) else value.name
    return str(value)


def closed_schema(questions: Sequence[Question]) -> dict[str, Any]:
    """JSON Schema of the answer: an enum, or an object of enums."""
    if len(questions) == 1 and not questions[0].name:
        return {"enum": [option.value for option in questions[0].options]}
    return {
        "type": "object",
        "properties": {q.name: {"enum": [option.value for option in q.options]} for q in questions},
        "required": [q.name for q in questions],
        "additionalProperties": False,
    }


def read_closed(questions: Sequence[Question], text: str) -> Any:
    """The JSON data of an answer written as JSON, or as the bare words of an option. Raises ValueError."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = text
    if len(questions) == 1 and not questions[0].name:
        return _pick(questions[0], data)
    if not isinstance(data, dict):
        raise ValueError(f"write a JSON object with {', '.join(q.name for q in questions)}")
    missing = [q.name for q in questions if q.name not in data]
    if missing:
        raise ValueError(f"missing: {', '.join(missing)}")
    return {q.name: _pick(q, data[q.name]) for q in questions}


def _pick(question: Question, data: Any) -> Any:
    for option in question.options:
        if type(option.value) is type(data) and option.value == data:
            return option.value
    words = str(data).strip().strip("\"'.").casefold()
    for option in question.options:
        if words == option.text.casefold() or words == str(option.value).casefold():
            return option.value
    known = ", ".join(option.text for option in question.options[:20])
    at = f"{question.name}: " if question.name else ""
    raise ValueError(f"{at}{str(data)[:60]!r} is none of the options: {known}")
