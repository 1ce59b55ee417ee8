"""Who owns a run, and for how long: create, take, extend, set a status from outside, answer a waiting node.

Everything runs inside the caller's transaction and on the database's clock.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

from agentfleet.errors import InputError, LedgerBusy, LedgerError, UnknownName, nearest
from agentfleet.ledger.connect import NOW
from agentfleet.ledger.records import RunRow
from agentfleet.ledger.rows import ATTEMPT_COLUMNS, RUN_COLUMNS, find, run_row, the_run

_INSERT = f"INSERT INTO runs ({', '.join(RUN_COLUMNS)}) VALUES ({', '.join('?' * len(RUN_COLUMNS))})"
_SETTABLE = ("queued", "paused", "cancelled", "failed")


def now(connection: sqlite3.Connection) -> float:
    """The database's clock: Unix seconds."""
    return float(connection.execute(f"SELECT {NOW}").fetchone()[0])


def create(connection: sqlite3.Connection, run: RunRow, owner: str, lease: float) -> RunRow:
    """Insert a run, owned or queued; a key that exists gives the row that has it."""
    if run.key is not None and (known := run_row(connection, "key", run.key)) is not None:
        return known
    if run_row(connection, "id", run.id) is not None:
        raise LedgerError(f"there is a run {run.id} already; a run id is used once")
    time = now(connection)
    row = replace(
        run,
        status="running" if owner else "queued",
        owner=owner,
        epoch=1 if owner else 0,
        lease_until=time + lease if owner else 0.0,
        created=run.created or time,
        updated=time,
    )
    connection.execute(_INSERT, [getattr(row, name) for name in RUN_COLUMNS])
    return row


def take(
    connection: sqlite3.Connection, prefix: str, owner: str, lease: float, dead: str = "", forget: str | None = None
) -> RunRow:
    """Become the owner under a new epoch, unless another owner is alive.

    `dead`: an owner that the caller knows to be gone. `forget`: a node path whose record, and all below, is set aside.
    """
    if not owner:
        raise LedgerError("a run is taken by an owner with a name; pass the id of this process")
    run = the_run(connection, find(connection, prefix))
    time = now(connection)
    if run.owner not in ("", owner, dead) and run.lease_until > time:
        raise LedgerBusy(
            f"run {run.id} belongs to {run.owner}, which is alive (its lease holds {run.lease_until - time:.0f} s more). "
            "Wait for it to end, or stop that process (Ctrl-C there)."
        )
    if forget is not None:
        _forget(connection, run, forget)
    # A started row counts once: its call may be repeated now, whoever takes the run after that.
    count = "UPDATE nodes SET counted = 1 WHERE run = ? AND state = 'started' AND counted = 0"
    in_flight = connection.execute(count, (run.id,)).rowcount
    connection.execute(
        "UPDATE runs SET status = 'running', error = NULL, owner = ?, epoch = epoch + 1, lease_until = ?, updated = ?, "
        "repeated = repeated + ? WHERE id = ?",
        (owner, time + lease, time, in_flight, run.id),
    )
    return the_run(connection, run.id)


def _forget(connection: sqlite3.Connection, run: RunRow, path: str) -> None:
    """Set a node aside, with what lies below it and what holds it: kept under a fingerprint that no node has."""
    below = "(path = ? OR substr(path, 1, ?) IN (? || '/', ? || '#'))"
    above = "substr(?, 1, length(path) + 1) IN (path || '/', path || '#')"
    where = "run = ? AND instr(fingerprint, '~') = 0 AND"
    values = (path, len(path) + 1, path, path)
    if not connection.execute(f"SELECT 1 FROM nodes WHERE {where} {below}", (run.id, *values)).fetchall():
        known = [row[0] for row in connection.execute("SELECT path FROM nodes WHERE run = ?", (run.id,))]
        raise UnknownName(f"run {run.id} has no node {path!r}{nearest(path, known)}")
    for table in ("nodes", "attempts"):
        mark = f"UPDATE {table} SET fingerprint = fingerprint || '~' || ? WHERE {where} ({below} OR {above})"
        connection.execute(mark, (run.epoch, run.id, *values, path))


def extend(connection: sqlite3.Connection, run_ids: list[str], owner: str, lease: float) -> list[str]:
    """Renew the leases that are still this owner's; a lapsed one counts while nobody has taken the run."""
    renew = f"UPDATE runs SET lease_until = {NOW} + ? WHERE id = ? AND owner = ? AND status = 'running'"
    return [run for run in run_ids if connection.execute(renew, (lease, run, owner)).rowcount]


def set_status(connection: sqlite3.Connection, prefix: str, status: str) -> None:
    """Cancel, pause, fail or requeue a run from outside; its owner, if any, is fenced off."""
    if status not in _SETTABLE:
        raise LedgerError(f"a run cannot be set to {status!r} from outside{nearest(status, _SETTABLE)}")
    run = the_run(connection, find(connection, prefix))
    if run.status == "done":
        raise LedgerError(f"run {run.id} is done; it cannot be {status} any more")
    connection.execute(
        f"UPDATE runs SET status = ?, owner = '', lease_until = 0, epoch = epoch + 1, updated = {NOW} WHERE id = ?",
        (status, run.id),
    )


def answer(connection: sqlite3.Connection, prefix: str, path: str, value: str, who: str) -> None:
    """Give a waiting node its value, with an attempt of tier "person" beside it."""
    content = _json(value)
    run = find(connection, prefix)
    waiting = (
        "SELECT rowid, fingerprint FROM nodes WHERE run = ? AND path = ? AND state = 'waiting' ORDER BY started, rowid"
    )
    found = connection.execute(waiting, (run, path)).fetchall()
    if not found:
        raise UnknownName(_why_not(connection, run, path))
    row, fingerprint = found[-1]
    connection.execute(
        f"UPDATE nodes SET state = 'done', value = ?, tier = 'person', model = ?, outcome = 'valid', finished = {NOW} "
        "WHERE rowid = ?",
        (value, who, row),
    )
    before = "SELECT coalesce(max(number), 0) FROM attempts WHERE run = ? AND path = ? AND fingerprint = ?"
    number = 1 + int(connection.execute(before, (run, path, fingerprint)).fetchone()[0])
    attempt = {"number": number, "tier": "person", "model": who, "outcome": "valid", "answer": content}
    connection.execute(
        f"INSERT INTO attempts (run, {', '.join(ATTEMPT_COLUMNS)}) VALUES (?, ?, ?, ?, ?, 'valid', 0.0, ?)",
        (run, path, fingerprint, number, who, json.dumps(attempt)),
    )
    connection.execute(f"UPDATE runs SET updated = {NOW} WHERE id = ?", (run,))


def _json(text: str) -> str:
    """The text itself, once it is known to be JSON."""
    try:
        json.loads(text)
    except ValueError as error:
        raise InputError(f'an answer is JSON text, e.g. true or "yes"; this is not: {error}') from error
    return text


def _why_not(connection: sqlite3.Connection, run: str, path: str) -> str:
    asked = "SELECT path, state, tier, model FROM nodes WHERE run = ?"
    nodes = connection.execute(asked, (run,)).fetchall()
    for name, state, tier, model in nodes:
        if name == path and state == "done" and tier == "person":
            return f"node {path!r} of run {run} was answered already, by {model}; an answer is given once"
    waiting = [name for name, state, _, _ in nodes if state == "waiting"]
    here = ", ".join(waiting) if waiting else "nothing"
    return f"node {path!r} of run {run} does not wait{nearest(path, waiting) if waiting else ''}; waiting there: {here}"
