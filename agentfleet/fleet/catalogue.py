"""What is known of small models before one is fetched: licence, context, chat template, thinking, sizes, weak spots.

The facts stand in catalogue.toml, each with its source; what nobody wrote down is None here, never a guess.
"""

from __future__ import annotations

import os
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agentfleet.errors import FleetError, UnknownName, nearest

FILE: Final = Path(__file__).with_name("catalogue.toml")
OVERHEAD: Final = 400
"""MB beside the weights for a context of 4 096 tokens and the buffers of small models: an estimate, rather too high."""
SPREAD: Final = 1.15
"""Contexts grow with models: as a part of the size of the weights."""

_NAMES: Final = frozenset({"name", "family", "sources"})
_CGROUPS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Entry(BaseModel):
    """One model. `parameters`: their number. `license`: SPDX, or its name. `context`: tokens. `formats`: MB of each file.

    `thinking`: none; off or on until it is switched (`switch` says how); always. `ends`: tokens that end a turn. `hub`:
    the repository that has the files. `weak`: what it is bad at. `memory`: MB that somebody says it needs. `sources`:
    field → where it was read; every field but the names has one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    family: str = Field(min_length=1)
    parameters: int | None = Field(default=None, gt=0)
    license: str | None = None
    context: int | None = Field(default=None, gt=0)
    template: str | None = None
    thinking: Literal["none", "off", "on", "always"] | None = None
    switch: str | None = None
    ends: tuple[str, ...] | None = None
    hub: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    weak: str | None = None
    memory: int | None = Field(default=None, gt=0)
    formats: dict[str, Annotated[int, Field(gt=0)]] | None = None
    sources: dict[str, str]

    @model_validator(mode="after")
    def _sourced(self) -> Entry:
        facts = self.model_fields_set - _NAMES
        bare = sorted(facts - self.sources.keys())
        if bare:
            raise ValueError(f"{self.name}: no source for {', '.join(bare)}")
        idle = sorted(self.sources.keys() - facts)
        if idle:
            raise ValueError(f"{self.name}: a source for {', '.join(idle)}, which says nothing")
        if self.switch and self.thinking not in ("off", "on"):
            raise ValueError(f"{self.name}: a switch for thinking that is {self.thinking}")
        return self

    def need(self, format_: str) -> int:
        """MB of memory that a format needs with a context of 4 096 tokens, estimated. Raises KeyError."""
        return round((self.formats or {})[format_] * SPREAD) + OVERHEAD


@dataclass(frozen=True, slots=True)
class Fit:
    """A model that fits into some memory: in which format ("" where only its need is known), MB needed."""

    entry: Entry
    format: str
    need: int


@cache
def catalogue() -> tuple[Entry, ...]:
    """All entries, in the file's order. Raises FleetError for a damaged file."""
    return read_catalogue(FILE)


def read_catalogue(path: Path) -> tuple[Entry, ...]:
    """The entries of a file. Raises FleetError: unreadable, a fact without a source, a name that stands twice."""
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))["models"]
        found = tuple(Entry(**row) for row in rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else error
        raise FleetError(f"cannot read the catalogue {path}: {message}") from error
    names = [entry.name.lower() for entry in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FleetError(f"{path}: {', '.join(twice)} stands twice")
    return found


def entry(name: str) -> Entry:
    """The entry of a model, whatever the case of its name. Raises UnknownName with the nearest."""
    for found in catalogue():
        if found.name.lower() == name.lower():
            return found
    raise UnknownName(f"no model {name!r} in the catalogue{nearest(name, [found.name for found in catalogue()])}")


def fits_here(memory: int) -> list[Fit]:
    """What fits into so many bytes of memory: each model in the largest format that does; the largest models first.

    A model of which neither sizes nor needs are known is not among them.
    """
    found = [fit for one in catalogue() if (fit := _largest(one, memory // 10**6)) is not None]
    return sorted(found, key=lambda fit: (-fit.need, fit.entry.name))


def _largest(one: Entry, room: int) -> Fit | None:
    fitting = [name for name in one.formats or {} if one.need(name) <= room]
    if fitting:
        best = max(fitting, key=one.need)
        return Fit(one, best, one.need(best))
    if one.formats is None and one.memory is not None and one.memory <= room:
        return Fit(one, "", one.memory)
    return None


def memory_here() -> int | None:
    """Bytes of memory of this machine, or of the container that this process may not outgrow; None where unknown."""
    found = []
    with suppress(ValueError, OSError, AttributeError):  # no sysconf on Windows
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for place in _CGROUPS:
        with suppress(ValueError, OSError):  # "max"
            found.append(int(Path(place).read_text().strip()))
    return min((size for size in found if size > 0), default=None)
