"""The protocol of the durable record. Two stores speak it: SQLite (embedded) and, later, Postgres.

Every commit names its epoch and is refused with StaleEpoch when another owner has taken the run over.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from agentfleet.ledger.records import Batch, Record, RunRow


class Ledger(Protocol):
    """Reads block briefly; `commit` is queued to the writer and answered by a future. Thread-safe.

    Raises LedgerFull, LedgerTooNew, LedgerBusy, StaleEpoch, LedgerError.
    """

    def create(self, run: RunRow, owner: str, lease: float) -> RunRow:
        """Insert a run, owned (epoch 1, `lease` seconds) or queued (owner ""); durable on return.

        A `key` that exists returns the row that has it, unchanged.
        """
        ...

    def create_many(self, runs: Sequence[RunRow], owner: str, lease: float) -> list[RunRow]:
        """The same for many, in one transaction."""
        ...

    def create_soon(self, run: RunRow, owner: str, lease: float) -> Future[RunRow]:
        """`create` without waiting: many at once share a transaction, and later commits stand behind it."""
        ...

    def take(self, run_id: str, owner: str, lease: float, dead: str = "", forget: str | None = None) -> RunRow:
        """Become the owner: epoch + 1, status running, `repeated` raised by what was in flight.

        `dead`: an owner known to be gone, whose lease need not be waited for. `forget`: a node path to set aside,
        with all below it, so that it runs again.
        Raises LedgerBusy while another owner's lease holds, UnknownName when there is no such run.
        """
        ...

    def extend(self, run_ids: Sequence[str], owner: str, lease: float) -> list[str]:
        """Renew leases; returns the ids that are still this owner's."""
        ...

    def commit(self, batch: Batch) -> Future[None]:
        """Queue one batch. The future ends once it is on disk, or with StaleEpoch or LedgerFull."""
        ...

    def flush(self) -> None:
        """Wait until everything queued is on disk."""
        ...

    def answer(self, run_id: str, path: str, value: str, who: str) -> None:
        """Give a waiting node its value (JSON text). Raises UnknownName when that node does not wait."""
        ...

    def read(self, run_id: str) -> Record:
        """One run, whole; an unambiguous prefix of the id will do. Raises UnknownName."""
        ...

    def runs(self, status: str | None = None, graph: str | None = None, limit: int = 50) -> list[RunRow]:
        """Newest first."""
        ...

    def spent(self, day: str, graph: str | None = None) -> float:
        """US dollars that all processes recorded on a day (``2026-01-31``, UTC), of one graph or of all."""
        ...

    def set_status(self, run_id: str, status: str) -> None:
        """Cancel or pause a run from outside: bumps the epoch, so that its owner can commit nothing more."""
        ...

    def close(self) -> None: ...
