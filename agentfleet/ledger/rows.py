"""Reading runs, nodes and attempts out of the SQLite ledger: columns, prefix lookup, whole records.

Each function takes a connection and leaves transactions to its caller.
"""

from __future__ import annotations

import sqlite3
from dataclasses import fields
from typing import Any

from agentfleet.errors import UnknownName, nearest
from agentfleet.ledger.records import AttemptRow, NodeRow, Record, RunRow

RUN_COLUMNS = tuple(field.name for field in fields(RunRow))
NODE_COLUMNS = NodeRow._fields
ATTEMPT_COLUMNS = AttemptRow._fields

_RUN = f"SELECT {', '.join(RUN_COLUMNS)} FROM runs"
_NODES = f"SELECT {', '.join(NODE_COLUMNS)} FROM nodes WHERE run = ? ORDER BY rowid"
_ATTEMPTS = f"SELECT {', '.join(ATTEMPT_COLUMNS)} FROM attempts WHERE run = ? ORDER BY rowid"
_SHOWN = 5


def find(connection: sqlite3.Connection, prefix: str) -> str:
    """The id of the one run that is called `prefix` or starts so; else UnknownName with what there is."""
    range_ = "SELECT id FROM runs WHERE id >= ? AND id < ? || char(1114111) ORDER BY id LIMIT ?"
    found = [row[0] for row in connection.execute(range_, (prefix, prefix, _SHOWN + 1))]
    if found and prefix and (found[0] == prefix or len(found) == 1):
        return str(found[0])
    if not found:
        known = [row[0] for row in connection.execute("SELECT id FROM runs ORDER BY created DESC, id DESC LIMIT 50")]
        hint = nearest(prefix, known)
        if not hint.startswith("; did"):
            hint = ""  # fifty ids are no help
        raise UnknownName(f"no run {prefix!r} in the ledger{hint}; `agentfleet runs` lists them")
    listed = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    raise UnknownName(f"{prefix!r} begins the id of several runs: {listed}; give more of the one you mean")


def run_row(connection: sqlite3.Connection, column: str, value: str) -> RunRow | None:
    """The run whose unique `column` (id or key) has a value."""
    row = connection.execute(f"{_RUN} WHERE {column} = ?", (value,)).fetchone()
    return None if row is None else RunRow(*row)


def the_run(connection: sqlite3.Connection, run_id: str) -> RunRow:
    """The run with exactly this id, which the caller knows to exist."""
    return RunRow(*connection.execute(f"{_RUN} WHERE id = ?", (run_id,)).fetchone())


def record(connection: sqlite3.Connection, prefix: str) -> Record:
    """One run, whole, nodes and attempts in the order in which they were first written."""
    run_id = find(connection, prefix)
    nodes = tuple(NodeRow(*row) for row in connection.execute(_NODES, (run_id,)))
    attempts = tuple(AttemptRow(*row) for row in connection.execute(_ATTEMPTS, (run_id,)))
    return Record(the_run(connection, run_id), nodes, attempts)


def spent(connection: sqlite3.Connection, day: str, graph: str | None) -> float:
    """US dollars that were recorded on a day (``2026-01-31``, UTC), of one graph or of all."""
    where = "day = ?" if graph is None else "day = ? AND graph = ?"
    given = (day,) if graph is None else (day, graph)
    return float(connection.execute(f"SELECT total(cost) FROM spending WHERE {where}", given).fetchone()[0])


def run_rows(connection: sqlite3.Connection, status: str | None, graph: str | None, limit: int) -> list[RunRow]:
    """Runs, newest first; `status` and `graph` narrow."""
    asked: dict[str, Any] = {"status": status, "graph": graph}
    given = {name: value for name, value in asked.items() if value is not None}
    where = " AND ".join(f"{name} = :{name}" for name in given) or "TRUE"
    sql = f"{_RUN} WHERE {where} ORDER BY created DESC, id DESC LIMIT :limit"
    return [RunRow(*row) for row in connection.execute(sql, {**given, "limit": limit})]
