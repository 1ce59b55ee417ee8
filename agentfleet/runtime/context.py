"""What all nodes of one run share: its id and epoch, what earlier processes finished, the records, the commits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import TypeVar

from agentfleet.labels import Label
from agentfleet.ledger.ledger import Ledger
from agentfleet.ledger.records import AttemptRow, Batch, Finish, NodeRow
from agentfleet.routing.dispatch import Dispatcher
from agentfleet.routing.outcome import Attempt
from agentfleet.routing.purse import Pot
from agentfleet.runtime.accounts import Accounts
from agentfleet.runtime.events import Event, Listener
from agentfleet.runtime.redact import redacted
from agentfleet.runtime.run import StepRecord

T = TypeVar("T")

THREADS = 32
"""Sync bodies that run at once, for each level of nesting."""

MOST_PENDING = 256
PENDING_SECONDS = 0.01
"""Rows of free steps are handed to the writer together: waking its thread for each would cost more than the step."""

Key = tuple[str, str]
"""(path, fingerprint) of a node."""


class Blocked(BaseException):
    """Something below waits. Not an Exception, so that a user's ``except Exception`` lets it through."""


class Interrupted(BaseException):
    """The run was told to stop taking up new nodes (Ctrl-C); what was in flight has ended."""


class Pools:
    """Thread pools for sync bodies, one per nesting depth: a parent that waits for its child never starves it."""

    def __init__(self) -> None:
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def at(self, depth: int) -> ThreadPoolExecutor:
        pool = self._pools.get(depth)
        if pool is None:
            pool = self._pools[depth] = ThreadPoolExecutor(THREADS, thread_name_prefix=f"agentfleet-body-{depth}")
        return pool

    async def run(self, depth: int, fn: Callable[[], T]) -> T:
        """Call `fn` in a thread with the caller's context variables."""
        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(self.at(depth), lambda: context.run(fn))

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        self._pools.clear()


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the steps around a node set for all that they hold. `deadline`: on `time.monotonic`; `priority`: low first."""

    deadline: float | None = None
    priority: int | None = None

    def within(self, seconds: float | None, priority: int | None) -> Bounds:
        """These and those of one more step: the earlier deadline, its own priority."""
        ends = None if seconds is None else time.monotonic() + seconds
        return Bounds(earlier(self.deadline, ends), self.priority if priority is None else priority)


bounds: ContextVar[Bounds] = ContextVar("agentfleet_bounds", default=Bounds())  # noqa: B039 - it is frozen
"""The bounds of the node that is running here."""


def earlier(one: float | None, other: float | None) -> float | None:
    """The earlier of two moments; None is never."""
    return min((moment for moment in (one, other) if moment is not None), default=None)


@dataclass(slots=True)
class RunContext:
    """One run in this process. `finished` and `prior` come from the ledger when a run is resumed.

    `pot`: the run's own budget. `accounts`: those of graphs and days.
    """

    id: str
    graph: str
    epoch: int
    ledger: Ledger
    dispatcher: Dispatcher
    pools: Pools
    slots: asyncio.Semaphore
    accounts: Accounts
    finished: dict[Key, NodeRow] = field(default_factory=dict)
    prior: dict[Key, list[Attempt]] = field(default_factory=dict)
    records: dict[str, StepRecord] = field(default_factory=dict)
    listener: Listener | None = None
    secrets: tuple[str, ...] = ()
    pot: Pot = field(default_factory=lambda: Pot("this run's budget"))
    deadline: float | None = None
    priority: int = 0
    spent: float = 0.0
    unpriced: int = 0
    repeated: int = 0
    stopping: bool = False
    broken: BaseException | None = None
    pending: list[NodeRow] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None

    def emit(self, event: Event) -> None:
        if self.listener is not None:
            self.listener(event)

    def later(self, row: NodeRow) -> None:
        """Commit a free step's row soon, together with its neighbours: nothing waits for it but the next `commit`."""
        self.pending.append(row)
        if len(self.pending) >= MOST_PENDING:
            self.commit()
        elif self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(PENDING_SECONDS, self._late)

    def _late(self) -> None:
        self.timer = None
        if self.pending:
            self.commit()

    def commit(
        self, nodes: tuple[NodeRow, ...] = (), attempts: tuple[AttemptRow, ...] = (), finish: Finish | None = None
    ) -> Future[None]:
        """Queue one transaction, with what is pending first. A refused commit (taken over, disk full) stops the run."""
        if self.pending:
            nodes = (*self.pending, *nodes)
            self.pending.clear()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        batch = Batch(self.id, self.epoch, nodes, attempts, finish)
        future = self.ledger.commit(redacted(batch, self.secrets) if self.secrets else batch)
        future.add_done_callback(self._committed)
        return future

    def _committed(self, future: Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None and self.broken is None:
            self.broken, self.stopping = error, True

    def check(self) -> None:
        """Raise what a queued commit met, if it met something."""
        if self.broken is not None:
            raise self.broken

    def pay(self, attempt: Attempt) -> None:
        """Add one attempt to the account of the run."""
        if attempt.cost is None:
            self.unpriced += 1
        else:
            self.spent += attempt.cost

    def ends(self) -> float | None:
        """When the run, or a step around what runs here, ends; on `time.monotonic`."""
        return earlier(self.deadline, bounds.get().deadline)

    def turn(self) -> int:
        """The priority of calls made here: that of the nearest step with one, else of the run."""
        nearest = bounds.get().priority
        return self.priority if nearest is None else nearest

    def seconds_left(self) -> float | None:
        ends = self.ends()
        return None if ends is None else max(ends - time.monotonic(), 0.0)


@dataclass(slots=True)
class Body:
    """The body that is running here; a step called in it is its child. `counts`: calls per step name, for paths."""

    context: RunContext
    path: str
    label: Label
    depth: int
    counts: dict[str, int] | None = None
    blocked: bool = False

    def child_path(self, name: str) -> str:
        if self.counts is None:
            self.counts = {}
        number = self.counts[name] = self.counts.get(name, 0) + 1
        return f"{self.path}/{name}#{number}"


current: ContextVar[Body | None] = ContextVar("agentfleet_body", default=None)
"""The running body of this thread or task, if there is one."""
