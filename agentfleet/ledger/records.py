"""Rows of the ledger, as plain data. The ledger stores JSON texts and knows neither graphs nor models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

RunStatus = Literal["queued", "running", "waiting", "paused", "done", "failed", "cancelled"]
NodeState = Literal["started", "done", "waiting", "failed"]


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run. `inputs`, `value`, `error`, `target`, `label`, `meta` are JSON texts; times are Unix seconds.

    `target` says how another process finds the graph again. `epoch` fences commits; `owner` is "" when free.
    """

    id: str
    graph: str
    graph_hash: str
    target: str
    inputs: str
    label: str = "{}"
    status: RunStatus = "running"
    value: str | None = None
    error: str | None = None
    cost: float = 0.0
    unpriced: int = 0
    key: str | None = None
    owner: str = ""
    epoch: int = 0
    lease_until: float = 0.0
    created: float = 0.0
    updated: float = 0.0
    repeated: int = 0
    meta: str = "{}"


class NodeRow(NamedTuple):
    """One node of a run, keyed by (run, path, fingerprint). `value`, `error`, `waiting`, `label` are JSON texts.

    `started` is written before an effect or a paid call begins. `tier`/`model` answered it ("" and "code" when
    Python did). `cost`: US dollars. A tuple, because one is made a step.
    """

    path: str
    fingerprint: str
    state: NodeState
    value: str | None = None
    tier: str = ""
    model: str = ""
    outcome: str = ""
    label: str = "{}"
    cost: float = 0.0
    error: str | None = None
    waiting: str | None = None
    kind: str = "step"
    started: float = 0.0
    finished: float = 0.0


class AttemptRow(NamedTuple):
    """One attempt of a node: `body` is the JSON of routing.outcome.Attempt, unread here. `cost` None: unpriced."""

    path: str
    fingerprint: str
    number: int
    model: str
    outcome: str
    cost: float | None
    body: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The end (or pause) of this attempt of a run: sets status, value, error, releases the owner."""

    status: RunStatus
    value: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What is committed together, in one transaction, for one run and epoch."""

    run: str
    epoch: int
    nodes: tuple[NodeRow, ...] = ()
    attempts: tuple[AttemptRow, ...] = ()
    finish: Finish | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Everything the ledger holds of one run."""

    run: RunRow
    nodes: tuple[NodeRow, ...] = ()
    attempts: tuple[AttemptRow, ...] = field(default=())
