"""The embedded ledger: one SQLite file (WAL, synchronous FULL), one writer thread, many processes at once.

Here the parts meet: connect.py opens, writer.py queues and commits, commit.py and leases.py write, rows.py reads.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from agentfleet.errors import LedgerError
from agentfleet.ledger import leases, rows
from agentfleet.ledger.connect import BUSY_SECONDS, connect, translated
from agentfleet.ledger.records import Batch, Record, RunRow
from agentfleet.ledger.writer import Writer

T = TypeVar("T")


class SQLiteLedger:
    """A ledger in a file, or a private one in memory for ``":memory:"``. Thread-safe; implements `Ledger`.

    `readonly` opens what exists and changes nothing. `busy`: seconds to wait for another process's transaction.
    Raises LedgerTooNew, LedgerBusy, LedgerFull, LedgerError. What is queued is written by `close`, or at exit.
    """

    def __init__(self, path: Path | str, *, readonly: bool = False, busy: float = BUSY_SECONDS) -> None:
        self.path = None if str(path) == ":memory:" else Path(path).absolute()
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self._reader: sqlite3.Connection | None = None
        if not readonly:
            self._writer = Writer(connect(self.path, busy=busy), self.path, busy)
        try:
            if self.path is not None:
                self._reader = connect(self.path, readonly=True, busy=busy)
        finally:
            self._end = weakref.finalize(self, _end, self._lock, self._reader, self._writer)

    def create(self, run: RunRow, owner: str, lease: float) -> RunRow:
        """Insert a run, owned (`lease` in seconds) or queued (owner ""); see `Ledger.create`."""
        return self.create_many([run], owner, lease)[0]

    def create_many(self, runs: Sequence[RunRow], owner: str, lease: float) -> list[RunRow]:
        """Insert many in one transaction: all or none."""
        return self._write(lambda connection: [leases.create(connection, run, owner, lease) for run in runs])

    def create_soon(self, run: RunRow, owner: str, lease: float) -> Future[RunRow]:
        """`create` without waiting: many at once share a transaction."""
        return self._writing().call(lambda connection: leases.create(connection, run, owner, lease), lazy=True)

    def take(self, run_id: str, owner: str, lease: float, dead: str = "", forget: str | None = None) -> RunRow:
        """Become the owner of a run under a new epoch. LedgerBusy while another owner is alive; see `Ledger.take`."""
        return self._write(lambda connection: leases.take(connection, run_id, owner, lease, dead, forget))

    def extend(self, run_ids: Sequence[str], owner: str, lease: float) -> list[str]:
        """Renew leases for `lease` seconds from now; returns the ids that are still this owner's."""
        return self._write(lambda connection: leases.extend(connection, list(run_ids), owner, lease))

    def commit(self, batch: Batch) -> Future[None]:
        """Queue one batch; the future ends once it is on disk, or with StaleEpoch, LedgerFull or LedgerError."""
        if self._writer is None:
            raise self._is_readonly()
        return self._writer.batch(batch)

    def flush(self) -> None:
        """Wait until everything queued is on disk or refused."""
        self._writing().flush()

    def answer(self, run_id: str, path: str, value: str, who: str) -> None:
        """Give a waiting node its value (JSON text). UnknownName when it does not wait, or was answered before."""
        self._write(lambda connection: leases.answer(connection, run_id, path, value, who))

    def set_status(self, run_id: str, status: str) -> None:
        """Cancel, pause, fail or requeue a run from outside; its owner can commit nothing more."""
        self._write(lambda connection: leases.set_status(connection, run_id, status))

    def read(self, run_id: str) -> Record:
        """One run, whole, as far as it is committed; an unambiguous prefix of the id will do."""
        return self._read(lambda connection: rows.record(connection, run_id))

    def runs(self, status: str | None = None, graph: str | None = None, limit: int = 50) -> list[RunRow]:
        """Newest first."""
        return self._read(lambda connection: rows.run_rows(connection, status, graph, limit))

    def spent(self, day: str, graph: str | None = None) -> float:
        """US dollars that were recorded on a day (``2026-01-31``, UTC), of one graph or of all."""
        return self._read(lambda connection: rows.spent(connection, day, graph))

    def close(self) -> None:
        """Write what is queued and let the file go. Idempotent; later commits are refused."""
        self._end()

    def _writing(self) -> Writer:
        if self._writer is None:
            raise self._is_readonly()
        return self._writer

    def _is_readonly(self) -> LedgerError:
        return LedgerError(f"the ledger {self.path} is open for reading only; open it without readonly to write")

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self._writing().ask(work)

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """In one transaction, so that a record is whole, beside the writer and not behind it."""
        if self._reader is None:
            return self._write(work)
        try:
            with self._lock:
                self._reader.execute("BEGIN")
                try:
                    return work(self._reader)
                finally:
                    if self._reader.in_transaction:
                        self._reader.execute("COMMIT")
        except sqlite3.ProgrammingError as error:
            raise LedgerError(f"the ledger {self.path} is closed; open it again") from error
        except sqlite3.Error as error:
            raise translated(error, self.path) from error


def _end(lock: threading.Lock, reader: sqlite3.Connection | None, writer: Writer | None) -> None:
    """The reader first: the last to close moves the -wal into the file, which a reader may not do."""
    if reader is not None:
        with lock:
            reader.close()
    if writer is not None:
        writer.stop()
