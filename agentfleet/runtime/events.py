"""What a run tells while it goes on: `async for event in graph.stream(...)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from agentfleet.routing.outcome import Attempt

if TYPE_CHECKING:
    from agentfleet.runtime.run import Run, StepRecord


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run has an id."""

    run_id: str
    graph: str


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A node began."""

    path: str


@dataclass(frozen=True, slots=True)
class Writing:
    """An answer as far as it is written, told by backends that can: text, or JSON data (its last strings unfinished).

    Nothing has judged it yet, and another attempt may follow: only `StepFinished` tells a value.
    """

    path: str
    model: str
    value: Any


@dataclass(frozen=True, slots=True)
class AttemptMade:
    """One attempt of a node ended (skipped rungs too)."""

    path: str
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A node ended: done, waiting or failed."""

    path: str
    step: StepRecord


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last event; `run` is the whole record."""

    run: Run[Any] = field(repr=False)


Event: TypeAlias = RunStarted | StepStarted | Writing | AttemptMade | StepFinished | RunFinished
Listener: TypeAlias = Callable[[Event], None]
