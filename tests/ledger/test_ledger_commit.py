"""Batches: what lands, what is refused, and that a refusal touches nobody else in the same transaction."""

from __future__ import annotations

import pytest

from agentfleet.errors import LedgerError, StaleEpoch, UnknownName
from agentfleet.ledger.records import Batch, Finish


def test_a_batch_lands_whole_and_its_attempts_are_summed(ledger, a_run, node, attempt):
    run = ledger.create(a_run(), "me", 60)
    attempts = (attempt("order"), attempt("order", None, 2), attempt("order", 0.25, 3))
    ledger.commit(Batch(run.id, run.epoch, (node("order", value='"A-1"'), node("gist")), attempts)).result()
    record = ledger.read(run.id)
    assert [(row.path, row.value) for row in record.nodes] == [("order", '"A-1"'), ("gist", "1")]
    assert record.attempts == attempts
    assert (record.run.cost, record.run.unpriced) == (0.75, 1)


def test_nodes_keep_every_field(ledger, a_run, node):
    run = ledger.create(a_run(), "me", 60)
    row = node("n")._replace(tier="small", outcome="valid", label='{"level":"public"}', cost=0.1, error='"e"')
    row = row._replace(waiting='{"for":"a person"}', kind="classify", started=1.5, finished=2.5)
    ledger.commit(Batch(run.id, 1, (row,))).result()
    assert ledger.read(run.id).nodes == (row,)


def test_finish_sets_the_run_and_frees_it(ledger, a_run, node):
    run = ledger.create(a_run(), "me", 60)
    ledger.commit(Batch(run.id, 1, (node("a"),), finish=Finish("done", '"yes"'))).result()
    ended = ledger.read(run.id).run
    assert (ended.status, ended.value, ended.owner, ended.lease_until, ended.epoch) == ("done", '"yes"', "", 0.0, 1)


def test_nothing_is_written_after_the_end(ledger, a_run, node, together):
    run = ledger.create(a_run(), "me", 60)
    ended, late = together(ledger, [Batch(run.id, 1, finish=Finish("done", "1")), Batch(run.id, 1, (node("late"),))])
    assert ended.result() is None
    with pytest.raises(StaleEpoch, match="has ended"):
        late.result()
    with pytest.raises(StaleEpoch, match="has ended"):
        ledger.commit(Batch(run.id, 1, (node("later"),))).result()
    assert ledger.read(run.id).nodes == ()


def test_a_started_row_may_become_anything_and_a_failed_one_be_done(ledger, a_run, node):
    run = ledger.create(a_run(), "me", 60)
    for path, end in (("a", "done"), ("b", "failed"), ("c", "waiting")):
        ledger.commit(Batch(run.id, 1, (node(path, "started"),))).result()
        ledger.commit(Batch(run.id, 1, (node(path, end),))).result()
    ledger.commit(Batch(run.id, 1, (node("b", "started"),))).result()
    ledger.commit(Batch(run.id, 1, (node("b", "done"),))).result()
    assert [row.state for row in ledger.read(run.id).nodes] == ["done", "done", "waiting"]


@pytest.mark.parametrize(("state", "value"), [("done", "2"), ("started", None), ("failed", None)])
def test_done_is_never_overwritten(ledger, a_run, node, attempt, state, value):
    run = ledger.create(a_run(), "me", 60)
    ledger.commit(Batch(run.id, 1, (node("a", value="1"),))).result()
    refused = ledger.commit(Batch(run.id, 1, (node("other"), node("a", state, value)), (attempt("a"),)))
    with pytest.raises(LedgerError, match=r"node 'a' of run .* is done already"):
        refused.result()
    record = ledger.read(run.id)
    assert [(row.path, row.value) for row in record.nodes] == [("a", "1")]
    assert record.attempts == () and record.run.cost == 0


def test_the_same_again_is_fine_and_counted_once(ledger, a_run, node, attempt):
    run = ledger.create(a_run(), "me", 60)
    batch = Batch(run.id, 1, (node("a"),), (attempt("a"),))
    ledger.commit(batch).result()
    ledger.commit(batch).result()
    record = ledger.read(run.id)
    assert len(record.nodes) == len(record.attempts) == 1
    assert record.run.cost == 0.5


def test_one_batch_may_say_the_same_twice(ledger, a_run, node, attempt):
    run = ledger.create(a_run(), "me", 60)
    ledger.commit(Batch(run.id, 1, (node("a"), node("a")), (attempt("a"),))).result()
    assert ledger.read(run.id).run.cost == 0.5


def test_another_fingerprint_is_another_node(ledger, a_run, node):
    run = ledger.create(a_run(), "me", 60)
    ledger.commit(Batch(run.id, 1, (node("a", value="1"), node("a", value="2", fingerprint="g")))).result()
    assert [row.value for row in ledger.read(run.id).nodes] == ["1", "2"]


def test_what_waits_does_not_undo_an_answer(ledger, a_run, node):
    run = ledger.create(a_run(), "me", 60)
    ledger.commit(Batch(run.id, 1, (node("ask", "waiting"),))).result()
    ledger.answer(run.id, "ask", "true", "ann")
    ledger.commit(Batch(run.id, 1, (node("ask", "waiting"),), finish=Finish("waiting"))).result()
    record = ledger.read(run.id)
    assert record.nodes[0].state == "done" and record.run.status == "waiting"


def test_a_taken_run_refuses_its_old_owner_and_the_neighbours_land(ledger, a_run, node, together):
    old, other = ledger.create(a_run(), "old", -1), ledger.create(a_run(), "other", 60)
    ledger.take(old.id, "new", 60)
    stale, fresh, neighbour = together(
        ledger,
        [
            Batch(old.id, 1, (node("a"),), finish=Finish("done", "1")),
            Batch(old.id, 2, (node("b"),)),
            Batch(other.id, 1, (node("c"),)),
        ],
    )
    with pytest.raises(StaleEpoch, match="taken over"):
        stale.result()
    assert fresh.result() is None and neighbour.result() is None
    assert [row.path for row in ledger.read(old.id).nodes] == ["b"]
    assert ledger.read(old.id).run.status == "running"
    assert [row.path for row in ledger.read(other.id).nodes] == ["c"]


def test_bad_batches_in_a_group_do_not_take_the_good_with_them(ledger, a_run, node, attempt, together):
    run = ledger.create(a_run(), "me", 60)
    ledger.commit(Batch(run.id, 1, (node("fixed", value="1"),))).result()
    batches = [Batch(run.id, 1, (node(f"n{i}"),), (attempt(f"n{i}", 0.125),)) for i in range(40)]
    batches[7] = Batch(run.id, 1, (node("fixed", value="2"),))
    batches[21] = Batch(run.id, 1, (node("n")._replace(state="nonsense"),))
    batches[22] = Batch(run.id, 1, (node("n")._replace(value=object()),))
    batches[30] = Batch("nobody", 1, (node("n"),))
    futures = together(ledger, batches)
    failed = {i: future.exception() for i, future in enumerate(futures) if future.exception() is not None}
    assert {i: type(error) for i, error in failed.items()} == {
        7: LedgerError,
        21: LedgerError,
        22: LedgerError,
        30: UnknownName,
    }
    record = ledger.read(run.id)
    assert len(record.nodes) == 1 + 36 and len(record.attempts) == 36
    assert record.run.cost == 36 * 0.125


def test_a_queued_run_takes_no_commit(ledger, a_run, node):
    run = ledger.create(a_run(), "", 60)
    with pytest.raises(StaleEpoch):
        ledger.commit(Batch(run.id, 0, (node("a"),))).result()


@pytest.mark.parametrize("count", [1, 7, 8, 63, 64, 511, 512, 5000])
def test_groups_of_every_size(ledger, a_run, node, together, count):
    run = ledger.create(a_run(), "me", 60)
    futures = together(ledger, [Batch(run.id, 1, (node(f"n{i}", value=str(i)),)) for i in range(count)])
    assert all(future.result() is None for future in futures)
    assert [row.value for row in ledger.read(run.id).nodes] == [str(i) for i in range(count)]


def test_many_runs_end_in_one_group(ledger, a_run, node, attempt, together):
    runs = ledger.create_many([a_run() for _ in range(100)], "me", 60)
    batches = [Batch(r.id, 1, (node("a"),), (attempt("a", i),), Finish("done", str(i))) for i, r in enumerate(runs)]
    for future in together(ledger, batches):
        future.result()
    ended = [ledger.read(run.id).run for run in runs]
    assert [(run.status, run.value, run.cost) for run in ended] == [("done", str(i), float(i)) for i in range(100)]
