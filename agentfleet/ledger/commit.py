"""Applying batches inside one transaction: the epoch fence, and what may replace what.

A group goes in by a handful of statements; only a group with a refusal in it is split until the batch to blame
stands alone, so that its neighbours still land. Statements carry many rows each, because Python gives up its lock
at every statement and may wait for it (5 ms) when the event loop is busy.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any

from agentfleet.errors import AgentfleetError, LedgerError, StaleEpoch, UnknownName
from agentfleet.ledger.connect import NOW, translated
from agentfleet.ledger.records import Batch, NodeRow
from agentfleet.ledger.rows import ATTEMPT_COLUMNS, NODE_COLUMNS

_NODES = (
    f"INSERT INTO nodes (run, {', '.join(NODE_COLUMNS)}) VALUES {{rows}} ON CONFLICT (run, path, fingerprint) "
    f"DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in NODE_COLUMNS[2:])}, counted = 0 "
    "WHERE state <> 'done'"
)
_ATTEMPTS = f"INSERT INTO attempts (run, {', '.join(ATTEMPT_COLUMNS)}) VALUES {{rows}}"
_COSTS = (
    "WITH spent (run, cost, unpriced) AS (VALUES {rows}) UPDATE runs SET cost = runs.cost + spent.cost, "
    f"unpriced = runs.unpriced + spent.unpriced, updated = {NOW} FROM spent WHERE runs.id = spent.run"
)
_SPENDING = (
    "WITH spent (run, cost) AS (VALUES {rows}) INSERT INTO spending (day, graph, cost) "
    "SELECT date('now'), runs.graph, sum(spent.cost) FROM spent JOIN runs ON runs.id = spent.run WHERE TRUE "
    "GROUP BY runs.graph ON CONFLICT (day, graph) DO UPDATE SET cost = cost + excluded.cost"
)
_FINISHES = (
    "WITH ended (run, status, value, error) AS (VALUES {rows}) UPDATE runs SET status = ended.status, "
    f"value = ended.value, error = ended.error, owner = '', lease_until = 0, updated = {NOW} "
    "FROM ended WHERE runs.id = ended.run"
)
_FENCES = (
    "SELECT json_group_array(json_array(id, epoch, owner <> '')) FROM runs WHERE id IN (SELECT value FROM json_each(?))"
)
_CHUNKS = (512, 64, 8, 1)

Fences = dict[str, tuple[int, bool]]


class _Split(Exception):
    """This group holds a row that may not be written."""


def apply(connection: sqlite3.Connection, batches: Sequence[Batch]) -> list[AgentfleetError | None]:
    """Write the batches; for each None, or why it was refused (then nothing of it was written).

    An error that concerns them all (the disk is full) is raised: the caller rolls back.
    """
    connection.execute("SAVEPOINT together")
    try:
        refusals = _together(connection, batches)
    except sqlite3.OperationalError:
        raise
    except Exception:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO together")
        connection.execute("RELEASE together")
    else:
        connection.execute("RELEASE together")
        return refusals
    if len(batches) == 1:
        return [_alone(connection, batches[0])]
    half = len(batches) // 2
    return apply(connection, batches[:half]) + apply(connection, batches[half:])


def _together(connection: sqlite3.Connection, batches: Sequence[Batch]) -> list[AgentfleetError | None]:
    fences = _fences(connection, batches)
    refusals: list[AgentfleetError | None] = []
    nodes: list[Any] = []
    attempts: list[Any] = []
    spent: dict[str, list[float]] = {}
    ended: list[Any] = []
    for batch in batches:
        run = batch.run
        refusal = _fenced(fences, batch)
        refusals.append(refusal)
        if refusal is not None:
            continue
        for node in batch.nodes:
            nodes += (run, *node)
        if batch.attempts:
            _gather(batch, attempts, spent)
        if batch.finish is not None:
            ended += (run, batch.finish.status, batch.finish.value, batch.finish.error)
            fences[run] = (batch.epoch, False)
    if _write(connection, _NODES, 1 + len(NODE_COLUMNS), nodes) * (1 + len(NODE_COLUMNS)) < len(nodes):
        raise _Split
    _write(connection, _ATTEMPTS, 1 + len(ATTEMPT_COLUMNS), attempts)
    _write(connection, _COSTS, 3, [part for run, sums in spent.items() for part in (run, *sums)])
    _write(connection, _SPENDING, 2, [part for run, (cost, _) in spent.items() if cost > 0 for part in (run, cost)])
    _write(connection, _FINISHES, 4, ended)
    return refusals


def _gather(batch: Batch, attempts: list[Any], spent: dict[str, list[float]]) -> None:
    """The attempts of a batch, and what they add to its run's counters."""
    sums = spent.setdefault(batch.run, [0.0, 0])
    for attempt in batch.attempts:
        attempts += (batch.run, *attempt)
        if attempt.cost is None:
            sums[1] += 1
        else:
            sums[0] += attempt.cost


def _fences(connection: sqlite3.Connection, batches: Sequence[Batch]) -> Fences:
    """Epoch, and whether it has an owner, of every run that the batches name."""
    names = json.dumps(list({batch.run for batch in batches}))
    found = json.loads(connection.execute(_FENCES, (names,)).fetchone()[0])
    return {run: (epoch, bool(owned)) for run, epoch, owned in found}


def _fenced(fences: Fences, batch: Batch) -> AgentfleetError | None:
    fence = fences.get(batch.run)
    if fence == (batch.epoch, True):
        return None
    if fence is None:
        return UnknownName(f"no run {batch.run!r} in the ledger; create it before committing to it")
    if fence[0] != batch.epoch:
        return StaleEpoch(
            f"run {batch.run} was taken over, paused or cancelled (epoch {fence[0]}, this owner's is {batch.epoch}): "
            "nothing of this was written; stop working on it"
        )
    return StaleEpoch(
        f"run {batch.run} has ended or was never taken (epoch {batch.epoch}): nothing of this was written"
    )


def _write(connection: sqlite3.Connection, template: str, width: int, values: list[Any]) -> int:
    """Execute a statement over flat rows of `width` values, many rows at a time; how many rows it changed."""
    changed, start, count = 0, 0, len(values) // width
    for size in _CHUNKS:
        while count >= size:
            end = start + size * width
            changed += connection.execute(_statement(template, width, size), values[start:end]).rowcount
            start, count = end, count - size
    return changed


@cache
def _statement(template: str, width: int, rows: int) -> str:
    row = f"({', '.join('?' * width)})"
    return template.format(rows=", ".join([row] * rows))


def _alone(connection: sqlite3.Connection, batch: Batch) -> AgentfleetError | None:
    """One batch, looked at row by row: leave out what is there already, or say what is wrong with it."""
    connection.execute("SAVEPOINT alone")
    try:
        refusal = _fenced(_fences(connection, [batch]), batch)
        if refusal is None:
            _one_by_one(connection, batch)
    except sqlite3.OperationalError:
        raise
    except Exception as error:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO alone")
        refusal = error if isinstance(error, AgentfleetError) else _unfit(batch, error)
    connection.execute("RELEASE alone")
    return refusal


def _one_by_one(connection: sqlite3.Connection, batch: Batch) -> None:
    fresh, again = set(), set()
    for node in batch.nodes:
        key = (node.path, node.fingerprint)
        if _is_new(connection, batch.run, node):
            _write(connection, _NODES, 1 + len(NODE_COLUMNS), [batch.run, *node])
            fresh.add(key)
        elif node.state == "done" and key not in fresh:
            again.add(key)
    # A batch that is sent a second time brings its attempts again: they are counted once.
    attempts = tuple(row for row in batch.attempts if (row.path, row.fingerprint) not in again)
    _together(connection, [Batch(batch.run, batch.epoch, (), attempts, batch.finish)])


def _is_new(connection: sqlite3.Connection, run: str, node: NodeRow) -> bool:
    """False: the ledger holds it already (or it was answered meanwhile). LedgerError: it would overwrite a result."""
    sql = "SELECT value, model FROM nodes WHERE run = ? AND path = ? AND fingerprint = ? AND state = 'done'"
    done = connection.execute(sql, (run, node.path, node.fingerprint)).fetchone()
    if done is None:
        return True
    if node.state == "waiting" or (node.state == "done" and node.value == done[0]):
        return False
    said = "another value" if node.state == "done" else f"the state {node.state!r}"
    raise LedgerError(
        f"node {node.path!r} of run {run} is done already (by {done[1]}) and never changes; {said} was refused. "
        "Read the record again before working on the run."
    )


def _unfit(batch: Batch, error: Exception) -> LedgerError:
    if isinstance(error, sqlite3.Error) and not isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
        return translated(error, None)
    paths = ", ".join(node.path for node in batch.nodes[:3])
    return LedgerError(f"a batch for run {batch.run} ({paths}) holds what the ledger cannot store: {error}")
