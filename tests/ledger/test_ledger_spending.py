"""What a day cost, by graph: counted in the transaction of the attempts, seen by every process, kept by an upgrade."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentfleet.ledger.migrations import NAMES, statements
from agentfleet.ledger.records import AttemptRow, Batch, RunRow
from agentfleet.ledger.sqlite import SQLiteLedger


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def run(ledger: SQLiteLedger, name: str, graph: str) -> RunRow:
    row = RunRow(name, graph, "h", "{}", "{}", created=time.time())
    return ledger.create(row, "me", 60)


def attempt(number: int, cost: float | None) -> AttemptRow:
    return AttemptRow("a", "f", number, "m", "rejected", cost, "{}")


def test_a_day_is_the_sum_of_its_graphs(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path / "l.sqlite")
    run(ledger, "r1", "desk")
    run(ledger, "r2", "desk")
    run(ledger, "r3", "other")
    futures = [
        ledger.commit(Batch("r1", 1, attempts=(attempt(1, 0.25), attempt(2, None), attempt(3, 0.5)))),
        ledger.commit(Batch("r2", 1, attempts=(attempt(1, 1.0),))),
        ledger.commit(Batch("r3", 1, attempts=(attempt(1, 0.125),))),
        ledger.commit(Batch("r3", 1, attempts=(attempt(2, 0.0),))),
    ]
    for future in futures:
        future.result()
    other = SQLiteLedger(tmp_path / "l.sqlite")
    for one in (ledger, other):
        assert one.spent(today(), "desk") == 1.75
        assert one.spent(today(), "other") == 0.125
        assert one.spent(today()) == 1.875
        assert one.spent("2001-01-01") == 0.0
        assert one.spent(today(), "none") == 0.0
    other.close()
    ledger.close()


def test_what_is_refused_is_not_counted(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path / "l.sqlite")
    run(ledger, "r1", "desk")
    good = ledger.commit(Batch("r1", 1, attempts=(attempt(1, 0.5),)))
    stale = ledger.commit(Batch("r1", 7, attempts=(attempt(2, 9.0),)))
    good.result()
    with pytest.raises(Exception, match="taken over"):
        stale.result()
    assert ledger.spent(today()) == 0.5
    ledger.close()


def test_an_older_ledger_brings_what_its_runs_cost(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    raw = sqlite3.connect(path, isolation_level=None)
    folder = Path(__import__("agentfleet.ledger.migrations", fromlist=["x"]).__file__).parent
    for statement in statements((folder / NAMES[0]).read_text(encoding="utf-8")):
        raw.execute(statement)
    raw.execute("PRAGMA user_version = 1")
    raw.execute(f"PRAGMA application_id = {0x6167666C}")
    row = "INSERT INTO runs VALUES (?, 'desk', 'h', '{}', '{}', '{}', 'done', NULL, NULL, ?, 0, NULL, '', 1, 0, ?, ?, 0, '{}')"
    raw.execute(row, ("r1", 0.75, 86400.0, 86400.0))
    raw.execute(row, ("r2", 0.25, 90000.0, 90000.0))
    raw.execute(row, ("r3", 0.0, 190000.0, 190000.0))
    raw.close()
    ledger = SQLiteLedger(path)
    assert ledger.spent("1970-01-02", "desk") == 1.0
    assert ledger.spent("1970-01-03") == 0.0
    ledger.close()
