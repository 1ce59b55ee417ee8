"""Runs and who owns them: create, keys, take, extend, status from outside, answers, lookup and lists."""

from __future__ import annotations

import json

import pytest

from agentfleet.errors import InputError, LedgerBusy, LedgerError, StaleEpoch, UnknownName
from agentfleet.ledger.records import Batch, Finish
from agentfleet.ledger.sqlite import SQLiteLedger


def test_create_owned_and_queued(ledger, a_run):
    owned, queued = ledger.create(a_run(), "me", 60), ledger.create(a_run(), "", 60)
    assert (owned.status, owned.owner, owned.epoch) == ("running", "me", 1)
    assert (queued.status, queued.owner, queued.epoch, queued.lease_until) == ("queued", "", 0, 0.0)
    assert owned.lease_until == pytest.approx(owned.created + 60)
    assert ledger.read(owned.id).run == owned and ledger.read(queued.id).run == queued


def test_a_key_gives_the_run_that_has_it(ledger, a_run):
    first = ledger.create(a_run(key="mail-7"), "me", 60)
    again = ledger.create(a_run(key="mail-7"), "you", 60)
    assert again == first
    many = ledger.create_many([a_run(key="mail-8"), a_run(key="mail-8"), a_run(key="mail-7")], "me", 60)
    assert many[0] == many[1] and many[2] == first
    assert len(ledger.runs()) == 2


def test_create_many_is_all_or_none(ledger, a_run):
    with pytest.raises(LedgerError, match="already"):
        ledger.create_many([a_run("one"), a_run("two"), a_run("one")], "me", 60)
    assert ledger.runs() == []


def test_create_soon_shares_a_transaction(ledger, a_run):
    futures = [ledger.create_soon(a_run(), "me", 60) for _ in range(50)]
    assert len({future.result().id for future in futures}) == len(ledger.runs()) == 50


def test_take_waits_for_the_lease_of_a_living_owner(path, ledger, a_run, node):
    run = ledger.create(a_run(), "me", 60)
    other = SQLiteLedger(path)
    with pytest.raises(LedgerBusy, match="belongs to me, which is alive"):
        other.take(run.id, "you", 60)
    assert ledger.extend([run.id, "nobody"], "me", -1) == [run.id]
    taken = other.take(run.id, "you", 60)
    assert (taken.owner, taken.epoch, taken.status) == ("you", 2, "running")
    with pytest.raises(StaleEpoch):
        ledger.commit(Batch(run.id, 1, (node("a"),))).result()
    assert ledger.extend([run.id], "me", 60) == [] and other.extend([run.id], "you", 60) == [run.id]
    other.close()


def test_take_by_the_same_owner_and_of_a_free_run(ledger, a_run):
    run = ledger.create(a_run(), "me", 60)
    assert ledger.take(run.id, "me", 60).epoch == 2
    free = ledger.create(a_run(), "", 0)
    assert ledger.take(free.id, "me", 60).epoch == 1
    with pytest.raises(UnknownName):
        ledger.take("nobody", "me", 60)
    with pytest.raises(LedgerError, match="owner with a name"):
        ledger.take(free.id, "", 60)


def test_what_was_in_flight_is_counted_once(ledger, a_run, node):
    run = ledger.create(a_run(), "a", -1)
    ledger.commit(Batch(run.id, 1, (node("x", "started"), node("y", "started"), node("z")))).result()
    assert ledger.take(run.id, "b", -1).repeated == 2
    assert ledger.take(run.id, "c", -1).repeated == 2
    ledger.commit(Batch(run.id, 3, (node("x", "started"),))).result()
    assert ledger.take(run.id, "d", -1).repeated == 3


def test_take_forgets_the_old_error(ledger, a_run):
    run = ledger.create(a_run(), "me", 60)
    ledger.commit(Batch(run.id, 1, finish=Finish("failed", error='"broken"'))).result()
    assert ledger.read(run.id).run.error == '"broken"'
    assert ledger.take(run.id, "me", 60).error is None


@pytest.mark.parametrize("status", ["cancelled", "paused"])
def test_a_status_from_outside_fences_the_owner(ledger, a_run, node, status):
    run = ledger.create(a_run(), "me", 60)
    ledger.set_status(run.id, status)
    with pytest.raises(StaleEpoch):
        ledger.commit(Batch(run.id, 1, (node("a"),))).result()
    assert ledger.extend([run.id], "me", 60) == []
    now = ledger.read(run.id).run
    assert (now.status, now.owner, now.epoch) == (status, "", 2)
    assert ledger.take(run.id, "you", 60).epoch == 3


def test_a_done_run_stays_done(ledger, a_run):
    run = ledger.create(a_run(), "me", 60)
    ledger.commit(Batch(run.id, 1, finish=Finish("done", "1"))).result()
    with pytest.raises(LedgerError, match="is done"):
        ledger.set_status(run.id, "cancelled")
    with pytest.raises(LedgerError, match="did you mean 'cancelled'"):
        ledger.set_status(run.id, "canceled")


def test_an_answer_is_given_once_and_leaves_an_attempt(ledger, a_run, node, attempt):
    run = ledger.create(a_run(), "me", 60)
    asked = Batch(run.id, 1, (node("approve", "waiting"), node("gist")), (attempt("approve"),), Finish("waiting"))
    ledger.commit(asked).result()
    with pytest.raises(InputError, match="JSON"):
        ledger.answer(run.id, "approve", "yes", "ann")
    with pytest.raises(UnknownName, match="did you mean 'approve'"):
        ledger.answer(run.id, "aprove", "true", "ann")
    with pytest.raises(UnknownName, match="does not wait"):
        ledger.answer(run.id, "gist", "true", "ann")
    ledger.answer(run.id[:12], "approve", "true", "ann")
    record = ledger.read(run.id)
    row = record.nodes[0]
    assert (row.state, row.value, row.tier, row.model, row.outcome) == ("done", "true", "person", "ann", "valid")
    assert row.finished > 0 and record.run.cost == 0.5
    body = {"number": 2, "tier": "person", "model": "ann", "outcome": "valid", "answer": "true"}
    assert json.loads(record.attempts[-1].body) == body
    with pytest.raises(UnknownName, match="answered already, by ann"):
        ledger.answer(run.id, "approve", "false", "bob")
    assert ledger.read(run.id).nodes[0].value == "true"


def test_a_prefix_finds_one_run(ledger, a_run):
    for id in ("abc1", "abc2", "abd", "ab"):
        ledger.create(a_run(id), "me", 60)
    assert ledger.read("abd").run.id == "abd"
    assert ledger.read("ab").run.id == "ab"
    with pytest.raises(UnknownName, match="several runs: abc1, abc2"):
        ledger.read("abc")
    with pytest.raises(UnknownName, match="did you mean 'abc1'"):
        ledger.read("abcx1")
    with pytest.raises(UnknownName, match="no run '%'"):
        ledger.read("%")
    with pytest.raises(UnknownName):
        ledger.read("")


def test_runs_are_listed_newest_first(ledger, a_run):
    for id, graph, created in (("a", "desk", 2.0), ("b", "desk", 3.0), ("c", "bills", 1.0)):
        ledger.create(a_run(id, graph=graph, created=created), "me", 60)
    ledger.set_status("b", "paused")
    assert [run.id for run in ledger.runs()] == ["b", "a", "c"]
    assert [run.id for run in ledger.runs(limit=1)] == ["b"]
    assert [run.id for run in ledger.runs(graph="desk", status="running")] == ["a"]
    assert ledger.runs(status="failed") == []


def test_an_answer_reads_as_an_attempt(ledger, a_run, node):
    from agentfleet.routing.outcome import Attempt, Outcome

    run = ledger.create(a_run(), "me", 60)
    ledger.commit(Batch(run.id, 1, (node("approve", "waiting"),))).result()
    ledger.answer(run.id, "approve", "true", "ann")
    given = Attempt.from_json(json.loads(ledger.read(run.id).attempts[0].body))
    assert (given.number, given.tier, given.model, given.outcome) == (1, "person", "ann", Outcome.VALID)
