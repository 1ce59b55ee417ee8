"""The store against a model of it in plain Python: random creates, takes, commits, answers, in groups and alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from agentfleet.errors import LedgerBusy, LedgerError, StaleEpoch, UnknownName
from agentfleet.ledger.records import AttemptRow, Batch, Finish, NodeRow, RunRow
from agentfleet.ledger.sqlite import SQLiteLedger

Queue = Callable[[SQLiteLedger, Sequence[Batch]], list[Future[None]]]
LIVE, LAPSED = 10_000.0, -1.0


@dataclass
class ModelRun:
    status: str
    owner: str
    epoch: int
    alive: bool
    key: str | None
    value: str | None = None
    cost: int = 0
    unpriced: int = 0
    repeated: int = 0
    nodes: dict[tuple[str, str], tuple[str, str | None]] = field(default_factory=dict)
    uncounted: set[tuple[str, str]] = field(default_factory=set)
    attempts: list[tuple[str, str, int]] = field(default_factory=list)

    def commit(self, batch: Batch) -> type[Exception] | None:
        """What the ledger must do with a batch; changes nothing when it refuses."""
        if not self.owner or batch.epoch != self.epoch:
            return StaleEpoch
        again = set()
        for node in batch.nodes:
            state, value = self.nodes.get((node.path, node.fingerprint), ("", None))
            if state == "done" and node.state != "waiting":
                if (node.state, node.value) != (state, value):
                    return LedgerError
                again.add((node.path, node.fingerprint))
        self._write(batch, again)
        return None

    def _write(self, batch: Batch, again: set[tuple[str, str]]) -> None:
        for node in batch.nodes:
            key = (node.path, node.fingerprint)
            if self.nodes.get(key, ("",))[0] != "done":
                self.nodes[key] = (node.state, node.value)
                (self.uncounted.add if node.state == "started" else self.uncounted.discard)(key)
        for row in batch.attempts:
            if (row.path, row.fingerprint) not in again:
                self.attempts.append((row.path, row.fingerprint, row.number))
                self.cost += int(row.cost or 0)
                self.unpriced += row.cost is None
        if batch.finish is not None:
            self.status, self.value, self.owner, self.alive = batch.finish.status, batch.finish.value, "", False


owners = st.sampled_from(["ann", "bob", "cy"])
paths = st.sampled_from(["a", "b"])
prints = st.sampled_from(["f", "g"])
nodes = st.builds(
    lambda path, print_, state, value: NodeRow(path, print_, state, value if state == "done" else None),
    paths,
    prints,
    st.sampled_from(["started", "done", "done", "waiting", "failed"]),
    st.sampled_from(["1", "2"]),
)
attempts = st.builds(
    lambda path, print_, number, cost: AttemptRow(path, print_, number, "m", "valid", cost, "{}"),
    paths,
    prints,
    st.integers(1, 3),
    st.sampled_from([None, 0.0, 1.0, 2.0]),
)
finishes = st.none() | st.none() | st.builds(Finish, st.sampled_from(["done", "waiting", "failed"]), st.just("9"))
changes = st.tuples(
    st.integers(0, 5),
    st.sampled_from([0, 0, 0, 0, -1, 1]),
    st.lists(nodes, max_size=3, unique_by=lambda node: (node.path, node.fingerprint)).map(tuple),
    st.lists(attempts, max_size=2).map(tuple),
    finishes,
)


class Store(RuleBasedStateMachine):
    together: Queue

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.ledgers = [SQLiteLedger(Path(self.folder.name) / "ledger.sqlite") for _ in range(2)]
        self.model: dict[str, ModelRun] = {}

    def teardown(self) -> None:
        for ledger in self.ledgers:
            ledger.close()
        self.folder.cleanup()

    def run_id(self, number: int) -> str:
        return list(self.model)[number % len(self.model)]

    @rule(owner=owners | st.just(""), alive=st.booleans(), key=st.none() | st.sampled_from(["k1", "k2"]))
    def create(self, owner: str, alive: bool, key: str | None) -> None:
        id = f"run{len(self.model)}"
        row = self.ledgers[0].create(RunRow(id, "g", "h", "t", "{}", key=key), owner, LIVE if alive else LAPSED)
        known = [name for name, run in self.model.items() if key is not None and run.key == key]
        assert row.id == (known[0] if known else id)
        if not known:
            self.model[id] = ModelRun("running" if owner else "queued", owner, int(bool(owner)), alive, key)

    @precondition(lambda self: self.model)
    @rule(number=st.integers(0, 5), owner=owners, alive=st.booleans(), by=st.integers(0, 1))
    def take(self, number: int, owner: str, alive: bool, by: int) -> None:
        run = self.model[self.run_id(number)]
        if run.owner not in ("", owner) and run.alive:
            with pytest.raises(LedgerBusy):
                self.ledgers[by].take(self.run_id(number), owner, LIVE)
            return
        self.ledgers[by].take(self.run_id(number), owner, LIVE if alive else LAPSED)
        run.owner, run.alive, run.status, run.epoch = owner, alive, "running", run.epoch + 1
        run.repeated += len(run.uncounted)
        run.uncounted.clear()

    @precondition(lambda self: self.model)
    @rule(changes=st.lists(changes, min_size=1, max_size=6), by=st.integers(0, 1))
    def commit(
        self, changes: list[tuple[int, int, tuple[NodeRow, ...], tuple[AttemptRow, ...], Finish | None]], by: int
    ) -> None:
        batches = []
        for number, off, rows, tried, finish in changes:
            id = self.run_id(number)
            batches.append(Batch(id, self.model[id].epoch + off, rows, tried, finish))
        futures = self.together(self.ledgers[by], batches)
        for batch, future in zip(batches, futures, strict=True):
            expected = self.model[batch.run].commit(batch)
            error = future.exception()
            assert type(error) is (expected or type(None)), error

    @precondition(lambda self: self.model)
    @rule(owner=owners, alive=st.booleans())
    def extend(self, owner: str, alive: bool) -> None:
        mine = [id for id, run in self.model.items() if run.owner == owner]
        assert self.ledgers[1].extend(list(self.model), owner, LIVE if alive else LAPSED) == mine
        for id in mine:
            self.model[id].alive = alive

    @precondition(lambda self: self.model)
    @rule(number=st.integers(0, 5), status=st.sampled_from(["paused", "cancelled", "queued"]))
    def set_status(self, number: int, status: str) -> None:
        run = self.model[self.run_id(number)]
        if run.status == "done":
            with pytest.raises(LedgerError):
                self.ledgers[0].set_status(self.run_id(number), status)
            return
        self.ledgers[0].set_status(self.run_id(number), status)
        run.status, run.owner, run.alive, run.epoch = status, "", False, run.epoch + 1

    @precondition(lambda self: self.model)
    @rule(number=st.integers(0, 5), path=paths)
    def answer(self, number: int, path: str) -> None:
        run = self.model[self.run_id(number)]
        waiting = [key for key, (state, _) in run.nodes.items() if key[0] == path and state == "waiting"]
        if not waiting:
            with pytest.raises(UnknownName):
                self.ledgers[1].answer(self.run_id(number), path, "3", "dee")
            return
        self.ledgers[1].answer(self.run_id(number), path, "3", "dee")
        before = [tried for at, print_, tried in run.attempts if (at, print_) == waiting[-1]]
        run.nodes[waiting[-1]] = ("done", "3")
        run.attempts.append((*waiting[-1], max(before, default=0) + 1))

    @invariant()
    def the_same(self) -> None:
        assert {row.id for row in self.ledgers[0].runs()} == set(self.model)
        for id, run in self.model.items():
            record = self.ledgers[0].read(id)
            row = record.run
            stored = (row.status, row.owner, row.epoch, row.value, row.cost, row.unpriced, row.repeated)
            assert stored == (run.status, run.owner, run.epoch, run.value, run.cost, run.unpriced, run.repeated)
            assert {(n.path, n.fingerprint): (n.state, n.value) for n in record.nodes} == run.nodes
            assert [(tried.path, tried.fingerprint, tried.number) for tried in record.attempts] == run.attempts


def test_the_store_does_what_the_model_does(together: Queue) -> None:
    kind = type("Store", (Store,), {"together": staticmethod(together)})
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        kind, settings=settings(max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=slow)
    )
