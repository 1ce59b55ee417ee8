"""The writer thread and its futures: order, waiting, asyncio, callbacks, closing, and errors that it must survive."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
import weakref

import pytest

from agentfleet.errors import LedgerError, UnknownName
from agentfleet.ledger.records import Batch
from agentfleet.ledger.sqlite import SQLiteLedger
from agentfleet.ledger.ticket import Ticket


def test_calls_see_what_was_queued_before_them(ledger, a_run, node):
    run = ledger.create(a_run(), "me", -1)
    for number in range(300):
        ledger.commit(Batch(run.id, 1, (node(f"n{number}", "started"),)))
    assert ledger.take(run.id, "you", 60).repeated == 300


def test_flush_waits_for_the_good_and_the_bad(ledger, a_run, node):
    run = ledger.create(a_run(), "me", 60)
    good, bad = ledger.commit(Batch(run.id, 1, (node("a"),))), ledger.commit(Batch("nobody", 1, (node("a"),)))
    ledger.flush()
    assert good.done() and bad.done()
    assert good.exception() is None and isinstance(bad.exception(), UnknownName)


def test_a_call_that_raises_undoes_only_itself(ledger, a_run):
    def broken(connection):
        connection.execute("DELETE FROM runs")
        raise ZeroDivisionError("a bug")

    ledger.create(a_run(), "me", 60)
    with pytest.raises(LedgerError, match="ZeroDivisionError"):
        ledger._write(broken)
    ledger.create(a_run(), "me", 60)
    assert len(ledger.runs()) == 2


def test_even_a_system_exit_does_not_end_the_thread(ledger, a_run):
    def out(connection):
        raise SystemExit

    with pytest.raises(LedgerError, match="SystemExit"):
        ledger._write(out)
    assert ledger.create(a_run(), "me", 60).epoch == 1


def test_a_callback_may_commit_but_not_wait(ledger, a_run, node):
    run = ledger.create(a_run(), "me", 60)
    heard: list[object] = []
    done = threading.Event()

    def after(_):
        ledger.commit(Batch(run.id, 1, (node("second"),)))
        try:
            ledger.create(a_run(), "me", 60)
        except LedgerError as error:
            heard.append(str(error))
        done.set()

    gate = threading.Event()
    ledger._writing().call(lambda _: gate.wait())
    ledger.commit(Batch(run.id, 1, (node("first"),))).add_done_callback(after)
    gate.set()
    done.wait()
    ledger.flush()
    assert [row.path for row in ledger.read(run.id).nodes] == ["first", "second"]
    assert "callback may not wait" in str(heard[0])


def test_a_callback_that_exits_ends_nothing(ledger, a_run, node):
    def out(_):
        raise SystemExit

    run = ledger.create(a_run(), "me", 60)
    gate = threading.Event()
    ledger._writing().call(lambda _: gate.wait())
    first, second = (ledger.commit(Batch(run.id, 1, (node(name),))) for name in "ab")
    first.add_done_callback(out)
    gate.set()
    assert second.result() is None
    assert first.result() is None
    assert ledger.commit(Batch(run.id, 1, (node("c"),))).result() is None


def test_a_cancelled_task_does_not_take_its_commit_along(ledger, a_run, node):
    run = ledger.create(a_run(), "me", 60)

    async def main() -> None:
        gate = threading.Event()
        ledger._writing().call(lambda _: gate.wait())
        task = asyncio.ensure_future(asyncio.wrap_future(ledger.commit(Batch(run.id, 1, (node("paid"),)))))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        await asyncio.wrap_future(ledger.commit(Batch(run.id, 1, (node("next"),))))

    asyncio.run(main())
    assert [row.path for row in ledger.read(run.id).nodes] == ["paid", "next"]


def test_many_threads(ledger, a_run, node):
    def work(_: int) -> str:
        run = ledger.create(a_run(), "me", 60)
        for number in range(50):
            future = ledger.commit(Batch(run.id, 1, (node(f"n{number}"),)))
            ledger.read(run.id)
        future.result()
        return run.id

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(work, range(16)))
    assert {len(ledger.read(id).nodes) for id in ids} == {50}


def test_closed_is_closed(path, a_run, node):
    ledger = SQLiteLedger(path)
    run = ledger.create(a_run(), "me", 60)
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.commit(Batch(run.id, 1, (node("a"),))).result()
    for use in (ledger.flush, lambda: ledger.create(a_run(), "me", 60), ledger.runs):
        with pytest.raises(LedgerError, match="closed"):
            use()


def test_a_forgotten_ledger_is_closed(path, a_run, node):
    ledger = SQLiteLedger(path)
    run = ledger.create(a_run(), "me", 60)
    ledger.commit(Batch(run.id, 1, (node("a"),)))
    thread, gone = ledger._writing()._thread, weakref.ref(ledger)
    del ledger
    gc.collect()
    thread.join()
    assert gone() is None
    again = SQLiteLedger(path, readonly=True)
    assert len(again.read(run.id).nodes) == 1
    again.close()


@pytest.mark.parametrize("looked", [False, True])
def test_a_ticket_is_a_future(looked):
    good, bad, never = Ticket(), Ticket(), Ticket()
    heard: list[object] = []
    if looked:
        good.add_done_callback(heard.append)
        assert not bad.done() and bad.running() is False
        with pytest.raises(TimeoutError):
            never.result(0)
    good.settle(7, None)
    bad.settle(None, ValueError("no"))
    if not looked:
        good.add_done_callback(heard.append)
    assert good.result() == 7 and good.done() and heard == [good]
    with pytest.raises(ValueError, match="no"):
        bad.result()
    done, pending = concurrent.futures.wait([good, bad, never], timeout=0)
    assert done == {good, bad} and pending == {never}
    assert not never.cancel() and not never.cancelled()
    assert "Ticket" in repr(good) and not hasattr(good, "other")


def test_a_ticket_wakes_who_waits():
    ticket, waiting = Ticket(), threading.Event()
    found: list[object] = []

    def wait() -> None:
        waiting.set()
        found.append(ticket.result())

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait()
    ticket.settle("here", None)
    thread.join()
    assert found == ["here"]


def test_what_a_callback_raises_stops_no_other():
    def broken(_: object) -> None:
        raise SystemExit

    ticket, heard = Ticket(), list[object]()
    ticket.add_done_callback(broken)
    ticket.add_done_callback(heard.append)
    ticket.settle(1, None)
    assert heard == [ticket]
