"""A session: one fleet, one ledger, one dispatcher. It begins runs, resumes them, answers what waits, reads records."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
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
from agentfleet.routing.purse import Pot
from agentfleet.runtime.accounts import Accounts
from agentfleet.runtime.answers import checked_answer
from agentfleet.runtime.context import Pools, RunContext
from agentfleet.runtime.events import Event, Listener, RunFinished, RunStarted
from agentfleet.runtime.loop import LOOP, Halt
from agentfleet.runtime.mailbox import hand_over, mailbox
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
        self._accounts = Accounts(self.ledger)
        self._heart: asyncio.Task[None] | None = None

    # -- beginning a run -------------------------------------------------------------------------------------------

    def run(self, step: Step[..., Any], inputs: Mapping[str, Any], listener: Listener | None = None) -> Run[Any]:
        """Run to its end (or wait) and return the record; blocks the calling thread.

        Ctrl-C lets what is in flight end and pauses the run, a second one stops at once; `resume` goes on with it.
        """
        halt = Halt()
        return LOOP.block(self._begin(step, inputs, listener, halt), step.name, halt)

    async def arun(self, step: Step[..., Any], inputs: Mapping[str, Any], listener: Listener | None = None) -> Run[Any]:
        """The same, awaited from any loop; cancelling the awaiting task cancels the run."""
        return await self._here(self._begin(step, inputs, listener))

    @staticmethod
    async def _here(work: Coroutine[Any, Any, Run[Any]]) -> Run[Any]:
        return await work if LOOP.here() else await hand_over(work, LOOP.loop)

    async def stream(self, step: Step[..., Any], inputs: Mapping[str, Any]) -> AsyncIterator[Event]:
        """Run, and yield its events as they happen; the last is `RunFinished` with the record."""
        box, queue = mailbox(asyncio.get_running_loop()), asyncio.Queue[Event | None]()
        whole = hand_over(self._begin(step, inputs, lambda event: box.post(queue.put_nowait, event)), LOOP.loop)
        whole.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                yield event
            await whole  # raises what kept it from beginning, or from being recorded
        finally:
            whole.cancel()

    async def _begin(
        self, step: Step[..., Any], inputs: Mapping[str, Any], listener: Listener | None, halt: Halt | None = None
    ) -> Run[Any]:
        dispatcher = self._dispatcher(step)
        check_fit(step, dispatcher.fleet)
        secrets = secrets_as_json(known_secrets())
        row = RunRow(
            id=new_run_id(),
            graph=step.name,
            graph_hash=step.base_fingerprint,
            target=json.dumps(target_of(step)),
            inputs=redacted_text(inputs_json(step, inputs), secrets),
            key=step.options.key,
            created=time.time(),
        )
        if row.key is not None:
            found = await asyncio.to_thread(self.ledger.create, row, self.owner, LEASE)
            if found.id != row.id:
                return await self._known(found.id, step, listener, halt)
            row = found
        else:
            begun = self.ledger.create_soon(row, self.owner, LEASE)
            row = replace(row, owner=self.owner, epoch=1)
            begun.add_done_callback(lambda future: self._begun(row.id, future))
        context = self._context(row, step, dispatcher, listener)
        return await self._walk(context, step, dict(inputs), halt)

    def _begun(self, run_id: str, future: Future[RunRow]) -> None:
        error = None if future.cancelled() else future.exception()
        context = self._active.get(run_id)
        if error is not None and context is not None:
            context.broken, context.stopping = error, True

    async def _known(self, run_id: str, step: Step[..., Any], listener: Listener | None, halt: Halt | None) -> Run[Any]:
        """A run with this key exists: its record, or its continuation when nobody works on it."""
        run = await asyncio.to_thread(self.read, run_id, step)
        if run.status not in ("done", "failed", "cancelled"):
            return await self._resume(run_id, step, None, listener, halt)
        if listener is not None:
            listener(RunStarted(run.id, run.graph))
            listener(RunFinished(run))
        return run

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
        halt = Halt()
        return LOOP.block(self._resume(run_id, graph, rerun, listener, halt), "session.resume", halt)

    async def aresume(
        self,
        run_id: str,
        graph: Step[..., Any] | None = None,
        rerun: str | None = None,
        listener: Listener | None = None,
    ) -> Run[Any]:
        """`resume`, awaited from any loop; cancelling the awaiting task cancels the run."""
        return await self._here(self._resume(run_id, graph, rerun, listener))

    async def _resume(
        self,
        run_id: str,
        graph: Step[..., Any] | None,
        rerun: str | None,
        listener: Listener | None,
        halt: Halt | None = None,
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
        return await self._walk(context, step, inputs, halt)

    def answer(self, run_id: str, path: str, value: str, who: str = "", graph: Step[..., Any] | None = None) -> None:
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
        graph, waiting = graph or find_target(json.loads(record.run.target), self.root), json.loads(node.waiting)
        text = checked_answer(find_step(graph, path, waiting.get("step", "")), value, waiting, path)
        text = redacted_text(text, secrets_as_json(known_secrets()))
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
        deadline, limit = step.options.deadline, step.options.budget
        limit = dispatcher.fleet.budget.run if limit is None else limit
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
            accounts=self._accounts,
            pot=Pot("this run's budget", limit, paid=row.cost),
            deadline=None if deadline is None else time.monotonic() + deadline,
            priority=step.options.priority or 0,
            repeated=row.repeated,
        )
        self._active[row.id] = context
        return context

    async def _walk(
        self, context: RunContext, step: Step[..., Any], inputs: dict[str, Any], halt: Halt | None
    ) -> Run[Any]:
        if halt is not None:
            halt.take(context)
        if self._heart is None or self._heart.done():
            self._heart = asyncio.get_running_loop().create_task(self._beat())
        try:
            return await walk(context, step, inputs)
        finally:
            self._active.pop(context.id, None)
            if halt is not None:
                halt.ended.set()

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
