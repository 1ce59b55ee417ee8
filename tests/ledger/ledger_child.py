"""A process that the tests start and kill: it works on a run and notes in a log of its own what it was told is safe.

Usage: ledger_child.py LEDGER LOG RUN OWNER COUNT
"""

from __future__ import annotations

import os
import sys
from collections import deque
from concurrent.futures import Future

from agentfleet.errors import LedgerBusy, UnknownName
from agentfleet.ledger.records import AttemptRow, Batch, Finish, NodeRow, RunRow
from agentfleet.ledger.sqlite import SQLiteLedger


def own(ledger: SQLiteLedger, run_id: str, owner: str) -> RunRow:
    """The run, taken over; created when it does not exist. A lease that has lapsed at once lets the next take it."""
    try:
        return ledger.take(run_id, owner, -1)
    except UnknownName:
        return ledger.create(RunRow(run_id, "g", "h", "t", "{}"), owner, -1)


def work(ledger: SQLiteLedger, log: int, run: RunRow, count: int) -> None:
    done = {node.path for node in ledger.read(run.id).nodes if node.state == "done"}
    queued: deque[tuple[str, Future[None]]] = deque()
    for number in range(count):
        path = f"n{number}"
        if path in done:
            continue
        if number % 3 == 0:
            ledger.commit(Batch(run.id, run.epoch, (NodeRow(path, "f", "started"),))).result()
        attempt = AttemptRow(path, "f", 1, "m", "valid", 1.0, "{}")
        batch = Batch(run.id, run.epoch, (NodeRow(path, "f", "done", str(number)),), (attempt,))
        queued.append((path, ledger.commit(batch)))
        while len(queued) > number % 40:
            note(log, queued)
    while queued:
        note(log, queued)


def note(log: int, queued: deque[tuple[str, Future[None]]]) -> None:
    path, future = queued.popleft()
    future.result()
    os.write(log, f"{path}\n".encode())
    os.fsync(log)


def main(where: str, noted: str, run_id: str, owner: str, count: str) -> None:
    ledger = SQLiteLedger(where)
    log = os.open(noted, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        run = own(ledger, run_id, owner)
    except LedgerBusy:
        print("busy")
        return
    work(ledger, log, run, int(count))
    ledger.commit(Batch(run.id, run.epoch, (), (), Finish("done", "1"))).result()
    ledger.close()
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
