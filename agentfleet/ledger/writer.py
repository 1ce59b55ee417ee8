"""The one thread that writes to the ledger: it takes all that is queued, commits it together, answers the futures.

Knows neither rows nor SQL beyond transactions; what a batch means stands in commit.py.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias, TypeVar

from agentfleet.errors import AgentfleetError, LedgerError
from agentfleet.ledger.commit import apply
from agentfleet.ledger.connect import BUSY_SECONDS, begin, translated
from agentfleet.ledger.records import Batch
from agentfleet.ledger.ticket import Ticket

T = TypeVar("T")
Call: TypeAlias = Callable[[sqlite3.Connection], Any]
Item: TypeAlias = tuple[Batch | Call | None, Ticket]

LINGER = 0.01
"""Seconds for which work that nobody waits for may wait for company: a short run then costs one fsync, not two."""

_MOST = 4096
"""Items in one transaction: a bound on how long a waiter waits for a busy neighbour's backlog."""


class Writer:
    """Owns the connection. `batch` and `call` queue and return at once; `stop` writes the rest and ends."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None, busy: float = BUSY_SECONDS) -> None:
        self._connection = connection
        self._busy = busy
        self._path = path
        self._file = _identity(path)
        self._queue: SimpleQueue[Item | None] = SimpleQueue()
        self._lazy: set[Ticket] = set()
        self._closing = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="agentfleet-ledger", daemon=True)
        self._thread.start()

    def batch(self, batch: Batch) -> Future[None]:
        """Queue a batch; its future ends when the transaction that holds it is on disk, or with the reason."""
        ticket = Ticket()
        self._queue.put((batch, ticket))
        if self._ended:
            self._refuse_rest()
        return ticket

    def call(self, work: Callable[[sqlite3.Connection], T], *, lazy: bool = False) -> Future[T]:
        """Queue a function that runs in the next transaction, after all that was queued before it.

        `lazy`: alone it may be kept back for `LINGER` seconds.
        """
        return self._put(work, lazy)

    def ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`call`, and wait for its result."""
        self._not_here()
        return self.call(work).result()

    def flush(self) -> None:
        """Wait until everything queued so far has been answered."""
        self._not_here()
        self._put(None).result()

    def stop(self) -> None:
        """Write what is queued, close the connection, end the thread. Idempotent."""
        if not self._closing:
            self._closing = True
            self._queue.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _put(self, work: Call | None, lazy: bool = False) -> Future[Any]:
        ticket = Ticket()
        if lazy:
            self._lazy.add(ticket)
        self._queue.put((work, ticket))
        if self._ended:
            self._refuse_rest()
        return ticket

    def _not_here(self) -> None:
        if threading.current_thread() is self._thread:
            raise LedgerError("a commit's callback may not wait for the ledger; hand the work to another thread")

    def _run(self) -> None:
        stopping = False
        while not stopping:
            items, stopping = self._gather()
            if items:
                self._group(items)
                items.clear()  # the thread may now sleep for long: let go of what it wrote
        with suppress(sqlite3.Error):
            self._connection.close()
        self._ended = True
        self._refuse_rest()

    def _gather(self) -> tuple[list[Item], bool]:
        """What is queued now, waiting for the first; and whether to stop after it."""
        items: list[Item] = []
        item = self._queue.get()
        until = time.monotonic() + LINGER
        with suppress(Empty):
            while item is not None:
                items.append(item)
                if item[1] not in self._lazy:
                    until = 0.0
                if len(items) >= _MOST:
                    break
                item = self._next(until)
            else:
                self._lazy.clear()
                return items, True
        self._lazy.difference_update(ticket for _, ticket in items)
        return items, False

    def _next(self, until: float) -> Item | None:
        """What is queued next; waits for it while all that was gathered is lazy. Raises Empty."""
        left = until - time.monotonic() if until else 0.0
        return self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()

    def _group(self, items: list[Item]) -> None:
        """One transaction. Nothing that goes wrong in it may end this thread."""
        try:
            answers = self._transaction(items)
        except BaseException as error:
            self._roll_back()
            for _, ticket in items:
                ticket.settle(None, _reason(error, self._path))
            return
        for (_, ticket), (result, problem) in zip(items, answers, strict=True):
            ticket.settle(result, problem)

    def _transaction(self, items: list[Item]) -> list[tuple[Any, BaseException | None]]:
        if all(work is None for work, _ in items):
            return [(None, None)] * len(items)
        if self._file is not None and _identity(self._path) != self._file:
            raise LedgerError(
                f"the ledger {self._path} was moved or deleted while it was in use; nothing more is written. "
                "Put it back, or start again."
            )
        begin(self._connection, self._busy)
        answers = self._work(items)
        self._connection.execute("COMMIT")
        return answers

    def _work(self, items: list[Item]) -> list[tuple[Any, BaseException | None]]:
        """Everything in the order in which it was queued; batches that follow each other are applied together."""
        answers: list[tuple[Any, BaseException | None]] = []
        batches: list[Batch] = []
        for work, _ in items:
            if isinstance(work, Batch):
                batches.append(work)
                continue
            if batches:
                answers += [(None, refusal) for refusal in apply(self._connection, batches)]
                batches = []
            answers.append((None, None) if work is None else self._called(work))
        if batches:
            answers += [(None, refusal) for refusal in apply(self._connection, batches)]
        return answers

    def _called(self, work: Call) -> tuple[Any, BaseException | None]:
        """A function in its own savepoint: when it raises, only its own writes go."""
        self._connection.execute("SAVEPOINT call")
        try:
            answer: tuple[Any, BaseException | None] = (work(self._connection), None)
        except Exception as error:
            if not self._connection.in_transaction:
                raise
            self._connection.execute("ROLLBACK TO call")
            answer = (None, error if isinstance(error, AgentfleetError) else _reason(error, self._path))
        self._connection.execute("RELEASE call")
        return answer

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _refuse_rest(self) -> None:
        with suppress(Empty):
            while True:
                item = self._queue.get_nowait()
                if item is not None:
                    item[1].settle(None, LedgerError("the ledger is closed; open it again"))


def _identity(path: Path | None) -> tuple[int, int] | None:
    """What tells a file from another that later has its name; None when there is none."""
    if path is None:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _reason(error: BaseException, path: Path | None) -> AgentfleetError:
    """A fresh error for each waiter: an exception that is raised in several threads would mix their tracebacks."""
    if isinstance(error, LedgerError):
        return type(error)(*error.args)
    reason = translated(error, path)
    reason.__cause__ = error
    return reason
