"""A session: one fleet, one ledger, one dispatcher. It begins runs, resumes them, answers what waits, reads records."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentfleet.errors import LedgerBusy, StaleEpoch, UnknownName, UsageError
from agentfleet.fleet.config import current_fleet, known_secrets, project_root
from agentfleet.fleet.model import Fleet
from agentfleet.ids import new_run_id
from agentfleet.ledger.ledger import Ledger
from agentfleet.ledger.open import open_ledger
from agentfleet.ledger.records import RunRow
from agentfleet.routing.dispatch import Dispatcher
from agentfleet.routing.fit import check_fit
from agentfleet.routing.outcome import Attempt
from agentfleet.runtime.answers import checked_answer
from agentfleet.runtime.context import Pools, RunContext
from agentfleet.runtime.events import Event, Listener, RunFinished
from agentfleet.runtime.loop import LOOP
from agentfleet.runtime.many import OnDone, run_many
from agentfleet.runtime.record import run_of
from agentfleet.runtime.redact import redacted_text, secrets_as_json
from agentfleet.runtime.run import Run
from agentfleet.runtime.target import find_step, find_target, target_of
from agentfleet.runtime.walk import walk

if TYPE_CHECKING:
    from agentfleet.graph.step import Step

LEASE = 15.0
"""Seconds for which a process owns a run without renewing."""

AT_ONCE = 64
"""Bodies and calls of one session that run together."""


def owner_name() -> str:
    """Who this process is to the ledger: host, pid and the pid's start, so that a reused pid is told apart."""
    return f"{os.uname().nodename}/{os.getpid()}/{_started(os.getpid())}"


def _started(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def owner_is_dead(owner: str) -> bool:
    """Is it certain that this owner is no more? True only for a process of this host that is gone."""
    host, _, rest = owner.partition("/")
    pid, _, started = rest.partition("/")
    if host != os.uname().nodename or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return bool(started) and _started(int(pid)) != started


class Session:
    """Everything one process needs to run graphs.

    `fleet`: default the project's fleet file with `frontier` ("backend:MODEL") models added. `ledger`: default the
    project's. `backends`: open backends by model name (tests). Raises FleetError, LedgerError.
    """

    def __init__(
        self,
        fleet: Fleet | None = None,
        ledger: Ledger | None = None,
        root: Path | None = None,
        frontier: Sequence[str] = (),
        backends: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = root or project_root()
        self.fleet = fleet if fleet is not None else current_fleet(self.root, frontier)
        self.ledger = ledger if ledger is not None else open_ledger(None, self.root)
        scripted = None if backends is None else dict(backends)
        self.dispatcher = Dispatcher(self.fleet, self.root / ".agentfleet" / "heads", scripted)
        self.owner = owner_name()
        self._pools = Pools()
        self._slots: asyncio.Semaphore | None = None
        self._active: dict[str, RunContext] = {}
        self._others: dict[str, Dispatcher] = {}
        self._heart: asyncio.Task[None] | None = None

    # -- beginning a run -------------------------------------------------------------------------------------------

    def run(self, step: Step[..., Any], inputs: Mapping[str, Any], listener: Listener | None = None) -> Run[Any]:
        """Run to its end (or wait) and return the record; blocks the calling thread."""
        return LOOP.block(self._begin(step, inputs, listener), step.name)

    async def arun(self, step: Step[..., Any], inputs: Mapping[str, Any], listener: Listener | None = None) -> Run[Any]:
        """The same, awaited from any loop; cancelling the awaiting task cancels the run."""
        work = self._begin(step, inputs, listener)
        if LOOP.here():
            return await work
        return await asyncio.wrap_future(LOOP.submit(work))

    async def stream(self, step: Step[..., Any], inputs: Mapping[str, Any]) -> AsyncIterator[Event]:
        """Run, and yield its events as they happen; the last is `RunFinished` with the record."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[Event]()
        future = LOOP.submit(self._begin(step, inputs, lambda e: _pass(loop, queue, e)))
        try:
            while True:
                event = await _next(queue, future)
                yield event
                if isinstance(event, RunFinished):
                    await asyncio.wrap_future(future)
                    return
        finally:
            future.cancel()

    async def _begin(self, step: Step[..., Any], inputs: Mapping[str, Any], listener: Listener | None) -> Run[Any]:
        dispatcher = self._dispatcher(step)
        check_fit(step, dispatcher.fleet)
        row = RunRow(
            id=new_run_id(),
            graph=step.name,
            graph_hash=step.base_fingerprint,
            target=json.dumps(target_of(step)),
            inputs=redacted_text(inputs_json(step, inputs), secrets_as_json(known_secrets())),
            key=step.options.key,
            created=time.time(),
        )
        if row.key is not None:
            found = await asyncio.to_thread(self.ledger.create, row, self.owner, LEASE)
            if found.id != row.id:
                return await self._known(found.id, step)
            row = found
        else:
            begun = self.ledger.create_soon(row, self.owner, LEASE)
            row = replace(row, owner=self.owner, epoch=1)
            begun.add_done_callback(lambda future: self._begun(row.id, future))
        context = self._context(row, step, dispatcher, listener)
        return await self._walk(context, step, dict(inputs))

    def _begun(self, run_id: str, future: Future[RunRow]) -> None:
        error = None if future.cancelled() else future.exception()
        context = self._active.get(run_id)
        if error is not None and context is not None:
            context.broken, context.stopping = error, True

    async def _known(self, run_id: str, step: Step[..., Any]) -> Run[Any]:
        """A run with this key exists: its record, or its continuation when nobody works on it."""
        run = await asyncio.to_thread(self.read, run_id, step)
        if run.status in ("done", "failed", "cancelled"):
            return run
        return await self._resume(run_id, step, None, None)

    # -- going on --------------------------------------------------------------------------------------------------

    def resume(
        self,
        run_id: str,
        graph: Step[..., Any] | None = None,
        rerun: str | None = None,
        listener: Listener | None = None,
    ) -> Run[Any]:
        """Go on with a run; nothing committed is repeated. `rerun`: a node path to forget first, with all below it.

        Raises UnknownName, LedgerBusy while its owner lives.
        """
        return LOOP.block(self._resume(run_id, graph, rerun, listener), "resume")

    async def _resume(
        self, run_id: str, graph: Step[..., Any] | None, rerun: str | None, listener: Listener | None
    ) -> Run[Any]:
        record = await asyncio.to_thread(self.ledger.read, run_id)
        step = graph or find_target(json.loads(record.run.target), self.root)
        if record.run.status in ("done", "cancelled") and rerun is None:
            return run_of(record, step)
        dispatcher = self._dispatcher(step)
        check_fit(step, dispatcher.fleet)
        dead = record.run.owner if owner_is_dead(record.run.owner) else ""
        if record.run.id in self._active:
            raise LedgerBusy(f"run {record.run.id} is being worked on by this process")
        row = await asyncio.to_thread(self.ledger.take, record.run.id, self.owner, LEASE, dead, rerun)
        record = await asyncio.to_thread(self.ledger.read, row.id)
        context = self._context(row, step, dispatcher, listener)
        for node in record.nodes:
            if node.state == "done":
                context.finished[node.path, node.fingerprint] = node
        for attempt in record.attempts:
            key = (attempt.path, attempt.fingerprint)
            context.prior.setdefault(key, []).append(Attempt.from_json(json.loads(attempt.body)))
        context.spent, context.unpriced = row.cost, row.unpriced
        inputs = load_inputs(step, row.inputs)
        return await self._walk(context, step, inputs)

    def answer(self, run_id: str, path: str, value: str, who: str = "") -> None:
        """Give a waiting node its value: JSON text, or the bare text of an option. `resume` goes on from there.

        Raises UnknownName (no such run, or that node does not wait), InputError when it does not fit the type.
        """
        record = self.ledger.read(run_id)
        node = next((n for n in record.nodes if n.path == path and n.state == "waiting"), None)
        if node is None or node.waiting is None:
            waiting = [n.path for n in record.nodes if n.state == "waiting"]
            raise UnknownName(
                f"{path} of run {record.run.id} does not wait; waiting: {', '.join(waiting) or 'nothing'}"
            )
        step = find_step(json.loads(node.waiting).get("step", ""), json.loads(record.run.target), self.root)
        text = checked_answer(step, value, json.loads(node.waiting), path)
        self.ledger.answer(record.run.id, path, text, who or os.environ.get("USER", "person"))

    def read(self, run_id: str, step: Step[..., Any] | None = None) -> Run[Any]:
        """The record of a run as the ledger holds it. Values are JSON data unless `step` is given."""
        return run_of(self.ledger.read(run_id), step)

    # -- the machinery ---------------------------------------------------------------------------------------------

    def _dispatcher(self, step: Step[..., Any]) -> Dispatcher:
        fleet = step.options.fleet
        if fleet is None or fleet == self.fleet:
            return self.dispatcher
        found = self._others.get(fleet.digest)
        if found is None:
            found = self._others[fleet.digest] = Dispatcher(fleet, self.dispatcher.heads)
        return found

    def _context(
        self, row: RunRow, step: Step[..., Any], dispatcher: Dispatcher, listener: Listener | None
    ) -> RunContext:
        if self._slots is None:
            self._slots = asyncio.Semaphore(AT_ONCE)
        deadline = step.options.deadline
        context = RunContext(
            id=row.id,
            graph=row.graph,
            epoch=row.epoch,
            ledger=self.ledger,
            dispatcher=dispatcher,
            pools=self._pools,
            slots=self._slots,
            listener=listener,
            secrets=secrets_as_json(known_secrets()),
            budget=step.options.budget,
            deadline=None if deadline is None else time.monotonic() + deadline,
            repeated=row.repeated,
        )
        self._active[row.id] = context
        return context

    async def _walk(self, context: RunContext, step: Step[..., Any], inputs: dict[str, Any]) -> Run[Any]:
        if self._heart is None or self._heart.done():
            self._heart = asyncio.get_running_loop().create_task(self._beat())
        try:
            return await walk(context, step, inputs)
        finally:
            self._active.pop(context.id, None)

    async def _beat(self) -> None:
        """Renew the leases of the runs in hand; one that was lost stops."""
        while self._active:
            await asyncio.sleep(LEASE / 3)
            mine = list(self._active)
            if not mine:
                return
            kept = await asyncio.to_thread(self.ledger.extend, mine, self.owner, LEASE)
            for run_id in set(mine) - set(kept):
                context = self._active.get(run_id)
                if context is not None:
                    context.broken = StaleEpoch(f"run {run_id} was taken over by another process")
                    context.stopping = True

    def run_many(
        self, step: Step[..., Any], rows: Sequence[Mapping[str, Any]], at_once: int, on_done: OnDone
    ) -> list[Run[Any] | None]:
        """Many runs, `at_once` together; see `runtime.many.run_many`."""
        return run_many(self, step, rows, at_once, on_done)

    def stop(self) -> None:
        """Take up no new node in any run; what is in flight ends and is committed, then the runs are paused."""
        for context in list(self._active.values()):
            context.stopping = True

    def close(self) -> None:
        """Flush the ledger, close backends and threads."""
        if any(self._active):
            raise UsageError("runs are still going on; stop() first")
        LOOP.submit(self.dispatcher.close()).result(10)
        self._pools.close()
        self.ledger.close()


def inputs_json(step: Step[..., Any], inputs: Mapping[str, Any]) -> str:
    """The inputs of a run as one JSON object."""
    pairs = (f"{json.dumps(p.name)}:{p.codec.dump(inputs[p.name])}" for p in step.params)
    return "{" + ",".join(pairs) + "}"


def load_inputs(step: Step[..., Any], text: str) -> dict[str, Any]:
    """The inputs of a recorded run as values of the step's types. Raises InputError via `bind`."""
    data = json.loads(text)
    return {p.name: p.codec.load(json.dumps(data[p.name])) if p.name in data else p.default for p in step.params}


def _pass(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[Event], event: Event) -> None:
    loop.call_soon_threadsafe(queue.put_nowait, event)


async def _next(queue: asyncio.Queue[Event], future: Future[Run[Any]]) -> Event:
    """The next event; a run that could not begin raises here instead of leaving the reader waiting."""
    get = asyncio.ensure_future(queue.get())
    whole = asyncio.wrap_future(future)
    waited: set[asyncio.Future[Any]] = {get, whole}
    done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if get in done or not (whole.done() and whole.exception()):
        return await get
    get.cancel()
    return await whole  # type: ignore[return-value]
