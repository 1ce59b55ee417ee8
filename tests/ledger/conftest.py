"""What the ledger's tests share: a ledger on a real file, rows with few words, and a way to make a group commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from agentfleet.ids import new_run_id
from agentfleet.ledger.records import AttemptRow, Batch, NodeRow, NodeState, RunRow
from agentfleet.ledger.sqlite import SQLiteLedger

Rows = Callable[..., NodeRow]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[SQLiteLedger]:
    opened = SQLiteLedger(path)
    yield opened
    opened.close()


@pytest.fixture
def a_run() -> Callable[..., RunRow]:
    def make(id: str = "", key: str | None = None, graph: str = "desk", created: float = 0.0) -> RunRow:
        return RunRow(id or new_run_id(), graph, "hash", "desk.py:desk", '{"email": "hello"}', key=key, created=created)

    return make


@pytest.fixture
def node() -> Rows:
    def make(path: str, state: NodeState = "done", value: str | None = None, fingerprint: str = "f") -> NodeRow:
        return NodeRow(path, fingerprint, state, "1" if value is None and state == "done" else value, model="code")

    return make


@pytest.fixture
def attempt() -> Callable[..., AttemptRow]:
    def make(path: str, cost: float | None = 0.5, number: int = 1, fingerprint: str = "f") -> AttemptRow:
        return AttemptRow(path, fingerprint, number, "big", "valid", cost, '{"number": 1}')

    return make


@pytest.fixture
def together() -> Callable[[SQLiteLedger, Sequence[Batch]], list[Future[None]]]:
    """Queue batches while the writer is held up, so that they stand in one transaction."""

    def queue(ledger: SQLiteLedger, batches: Sequence[Batch]) -> list[Future[None]]:
        gate, held = threading.Event(), threading.Event()
        ledger._writing().call(lambda _: (held.set(), gate.wait()))
        held.wait()
        futures = [ledger.commit(batch) for batch in batches]
        gate.set()
        return futures

    return queue
