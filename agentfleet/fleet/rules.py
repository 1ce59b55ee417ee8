"""Rules of the fleet file as data: when a request is like this, begin there, ask that model, or leave one out.

What a request is like is found out in routing/describe.py; rules are applied in routing/rules.py.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agentfleet.errors import nearest
from agentfleet.labels import LEVELS

KINDS = ("classify", "extract", "summarise", "plan")
"""Kinds of step that ask a model."""

OBJECTIVES = ("cheapest", "fastest", "best")
Objective = Literal["cheapest", "fastest", "best"]

SIGNALS = ("long", "code", "numbers", "table", "questions", "thread", "wide", "nested", "list")
"""What may make a request harder, found by rule; see `routing.describe` for what each means."""

_FROZEN = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class When(BaseModel):
    """What a request must be like; all that is stated must hold, of a list one.

    `kind`, `step`, `graph`, `language` (two letters): any of these. `min_tokens`, `max_tokens`: of the prompt, both
    included. `label`: the data is at least this sensitive. `signals`: all of them.
    """

    model_config = _FROZEN

    kind: tuple[str, ...] = ()
    step: tuple[str, ...] = ()
    graph: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    min_tokens: int | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=0)
    label: str | None = None
    signals: tuple[str, ...] = ()

    @field_validator("kind", "step", "graph", "language", "signals", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("kind")
    @classmethod
    def _known_kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known(value, KINDS, "kind of step that asks a model")

    @field_validator("signals")
    @classmethod
    def _known_signals(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known(value, SIGNALS, "signal")

    @field_validator("language")
    @classmethod
    def _two_letters(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not (len(name) == 2 and name.isascii() and name.islower()):
                raise ValueError(f'{name!r} is no language; write its two letters, e.g. "en" or "de"')
        return value

    @field_validator("label")
    @classmethod
    def _level(cls, value: str | None) -> str | None:
        return value if value is None else _known((value,), LEVELS, "label level")[0]

    @model_validator(mode="after")
    def _in_order(self) -> When:
        if self.min_tokens is not None and self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise ValueError(f"min_tokens {self.min_tokens} is more than max_tokens {self.max_tokens}")
        return self


class Then(BaseModel):
    """What follows: `tier` to begin at, the one `model` to ask, models to `avoid`, the `objective` in each tier."""

    model_config = _FROZEN

    tier: str | None = None
    model: str | None = None
    avoid: tuple[str, ...] = ()
    objective: Objective | None = None

    @field_validator("avoid", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _says_something(self) -> Then:
        if self == Then.model_construct():
            raise ValueError("says nothing; write tier, model, avoid or objective")
        if self.model is not None and (self.tier is not None or self.model in self.avoid):
            raise ValueError("names one model, so neither tier nor avoid can say another thing")
        return self


class Rule(BaseModel):
    """One of `[[rules]]`. `name`: how `route explain` calls it, by default what it says."""

    model_config = _FROZEN

    name: str = ""
    when: When = When()
    then: Then

    def __str__(self) -> str:
        return self.name or f"{_said(self.when)} → {_said(self.then)}"


def _known(values: tuple[str, ...], known: tuple[str, ...], what: str) -> tuple[str, ...]:
    for value in values:
        if value not in known:
            raise ValueError(f"{value!r} is no {what}{nearest(value, known)}")
    return values


def _said(part: BaseModel) -> str:
    """``kind extract, min_tokens 3000``, or ``always`` for nothing."""
    stated = part.model_dump(exclude_defaults=True)
    words = (f"{key} {' '.join(value) if isinstance(value, tuple) else value}" for key, value in stated.items())
    return ", ".join(words) or "always"
