"""Whole runs against servers that fail: the same tier first, a person never for an outage, never around a refusal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from servers.protocol import ProtocolServer, Reply, error, good, hang, refusal

from agentfleet import Fleet, Model, OnFail, ask, extract, graph
from agentfleet.ledger.open import open_ledger
from agentfleet.routing import breaker, retry
from agentfleet.runtime.events import Writing
from agentfleet.runtime.session import Session

pytestmark = pytest.mark.server

CANARY = "sk-canary-8812f0"


class Order(BaseModel):
    order_id: str
    amount: float


GOOD = '{"order_id":"AB-1","amount":2.5}'


@extract(tier="large", up_to="frontier")
def order(text: str) -> Order:
    """What was ordered?"""
    return ask(text)


@graph
def desk(text: str) -> float:
    return order(text).amount


@graph
def patient_desk(text: str) -> Order | None:
    return order.using(deadline=0.4, on_fail=None)(text)


Opened = Callable[..., Session]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST", 0.001)
    monkeypatch.setenv("A_KEY", CANARY)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    made: list[Session] = []

    def open_session(*models: Model) -> Session:
        made.append(Session(Fleet(models), open_ledger(":memory:", tmp_path), tmp_path))
        return made[-1]

    yield open_session
    for session in made:
        session.close()


def model(name: str, server: ProtocolServer, tier: str = "large", **changes: Any) -> Model:
    given = {"key": "env:A_KEY", "timeout": 5.0, "sees": "internal", **changes}
    return Model(name=name, backend="openai", model="m", base_url=server.base_url, tier=tier, **given)


def asked(run: Any) -> list[tuple[str, str]]:
    return [(attempt.model, attempt.outcome.value) for _, attempt in run.attempts]


@pytest.mark.parametrize("reply", [error(500), error(529), error(429), Reply(body="<html>")])
def test_another_model_of_the_same_tier_answers_for_one_that_is_down(opened: Opened, reply: Reply) -> None:
    with ProtocolServer(reply) as down, ProtocolServer(good(GOOD)) as fine, ProtocolServer(good(GOOD)) as dear:
        run = opened(model("a", down), model("b", fine), model("c", dear, "frontier")).run(desk, {"text": "x"})
    assert run.value == 2.5 and asked(run) == [("a", "unavailable"), ("b", "valid")]
    assert dear.seen == [] and len(down.seen) == (1 if reply.body else 3)


def test_the_next_tier_answers_when_the_whole_tier_is_down(opened: Opened) -> None:
    with ProtocolServer(error(503)) as down, ProtocolServer(good(GOOD)) as dear:
        run = opened(model("a", down), model("b", down), model("c", dear, "frontier")).run(desk, {"text": "x"})
    assert run.value == 2.5
    assert asked(run) == [("a", "unavailable"), ("b", "unavailable"), ("c", "valid")]


def test_a_hanging_model_costs_its_timeout_until_its_circuit_opens(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "FIRST", 600.0)
    monkeypatch.setattr(breaker, "LONGEST", 600.0)
    with ProtocolServer(hang()) as stuck, ProtocolServer(good(GOOD)) as fine:
        session = opened(model("a", stuck, timeout=0.1), model("b", fine))
        runs = [session.run(desk, {"text": f"{number}"}) for number in range(breaker.IN_A_ROW + 3)]
        first, last = runs[0], runs[-1]
    assert [run.value for run in runs] == [2.5] * len(runs)
    assert asked(first) == [("a", "timeout"), ("b", "valid")]
    assert asked(last) in ([("b", "valid")], [("a", "unavailable"), ("b", "valid")])  # seen to be slow, or shut
    assert sum(("a", "timeout") in asked(run) for run in runs) <= breaker.IN_A_ROW
    assert 1 <= len(stuck.seen) <= breaker.IN_A_ROW and len(fine.seen) == len(runs)


def test_nobody_goes_around_a_refusal(opened: Opened) -> None:
    with ProtocolServer(refusal("No.")) as strict, ProtocolServer(good(GOOD)) as lax:
        run = opened(model("a", strict), model("b", lax)).run(desk, {"text": "x"})
    assert (run.status, asked(run), lax.seen) == ("failed", [("a", "refused")], [])


def test_when_all_are_down_the_run_waits_and_goes_on_when_one_is_back(opened: Opened) -> None:
    with ProtocolServer(error(503)) as down:
        session = opened(model("a", down))
        run = session.run(desk, {"text": "x"})
        assert (run.status, run.waiting[0].reason) == ("waiting", "model")
        down.script(good(GOOD))
        again = session.resume(run.id, desk)
    assert again.value == 2.5


def test_bad_content_is_asked_again_by_the_ladder_with_another_key(opened: Opened) -> None:
    with ProtocolServer(good('{"order_id":"AB-1","amount":"many"}'), good(GOOD)) as server:
        run = opened(model("a", server)).run(desk, {"text": "x"})
    assert asked(run) == [("a", "invalid"), ("a", "valid")]
    keys = [seen.headers["idempotency-key"] for seen in server.seen]
    assert len(set(keys)) == 2, "it is another question"


def test_a_request_that_is_sent_twice_has_one_key(opened: Opened) -> None:
    with ProtocolServer(error(500), error(500), good(GOOD)) as server:
        run = opened(model("a", server)).run(desk, {"text": "x"})
    assert asked(run) == [("a", "valid")] and len(server.seen) == 3
    assert len({seen.headers["idempotency-key"] for seen in server.seen}) == 1


def test_the_deadline_of_a_step_ends_its_calls_and_asks_nobody_after(opened: Opened) -> None:
    with ProtocolServer(hang()) as stuck, ProtocolServer(good(GOOD)) as other:
        run = opened(model("a", stuck, timeout=60.0), model("b", other)).run(patient_desk, {"text": "x"})
        assert stuck.left.wait(10), "the connection was closed"
    assert run.status == "done" and run.value is None
    assert asked(run) == [("a", "timeout"), ("b", "skipped")] and other.seen == []
    assert "deadline" in run.attempts[0][1].problem and "deadline" in run.attempts[1][1].problem


def test_the_deadline_of_a_run_ends_its_calls(opened: Opened) -> None:
    with ProtocolServer(hang()) as stuck:
        run = opened(model("a", stuck, timeout=60.0)).run(desk.using(deadline=0.4), {"text": "x"})
        assert stuck.left.wait(10), "the connection was closed"
    assert (run.status, run.error) == ("cancelled", "its deadline passed")


def test_the_deadline_of_a_graph_inside_holds_for_its_steps(opened: Opened) -> None:
    @graph
    def outer(text: str) -> float:
        return desk.using(deadline=0.3, on_fail=0.5)(text)

    with ProtocolServer(hang()) as stuck:
        run = opened(model("a", stuck, timeout=60.0)).run(outer, {"text": "x"})
        assert stuck.left.wait(10)
    assert run.value == 0.5


def test_a_cancelled_run_closes_its_connection(opened: Opened) -> None:
    async def main(session: Session, server: ProtocolServer) -> None:
        task = asyncio.create_task(session.arun(desk, {"text": "x"}))
        assert await asyncio.to_thread(server.arrived.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.left.wait, 10)

    with ProtocolServer(hang()) as stuck:
        asyncio.run(main(opened(model("a", stuck, timeout=60.0)), stuck))


def test_an_urgent_step_goes_before_others_that_wait_for_the_same_model(opened: Opened) -> None:
    async def main(session: Session, server: ProtocolServer) -> None:
        lane = session.dispatcher.lane(session.fleet.models[0])
        tasks = []
        for place, (text, priority) in enumerate([("running", 0), ("late", 5), ("soon", -5), ("none", 0)]):
            tasks.append(asyncio.create_task(session.arun(desk.using(priority=priority), {"text": text})))
            while lane.door.running + lane.door.waiting <= place:
                await asyncio.sleep(0.005)
        server.release.set()
        await asyncio.gather(*tasks)

    with ProtocolServer(Reply(GOOD, held=True)) as server:
        asyncio.run(main(opened(model("a", server, concurrency=1)), server))
    prompts = [json.dumps(seen.body["messages"]) for seen in server.seen]
    assert [word for text in prompts for word in ("running", "late", "soon", "none") if word in text] == [
        "running", "soon", "none", "late"
    ]  # fmt: skip


def test_the_key_is_in_no_record_of_a_run_that_failed(opened: Opened) -> None:
    said = error(401, f"bad key {CANARY}")
    with ProtocolServer(said) as server:
        session = opened(model("a", server))
        run = session.run(desk, {"text": "x"})
        record = session.ledger.read(run.id)
    assert run.status == "failed" or run.status == "waiting"
    assert CANARY not in repr(record) + repr(run) + run.error


def test_a_wait_before_a_retry_never_outlives_the_step(opened: Opened) -> None:
    with ProtocolServer(error(503, retry_after="20")) as down:
        run = opened(model("a", down)).run(patient_desk, {"text": "x"})
    assert run.value is None and asked(run) == [("a", "unavailable")] and len(down.seen) == 1


def test_on_fail_wait_is_still_a_persons(opened: Opened) -> None:
    @graph
    def asks(text: str) -> Order:
        return order.using(on_fail=OnFail.WAIT)(text)

    with ProtocolServer(error(503)) as down:
        run = opened(model("a", down)).run(asks, {"text": "x"})
    assert run.status == "waiting"


def test_who_streams_a_run_sees_the_answer_grow(opened: Opened) -> None:
    async def main(session: Session) -> list[Any]:
        return [event async for event in session.stream(desk, {"text": "x"})]

    with ProtocolServer(good(GOOD)) as server:
        events = asyncio.run(main(opened(model("a", server))))
    grown = [event for event in events if isinstance(event, Writing)]
    assert grown and {event.path for event in grown} == {"order"}
    assert all(event.value.keys() <= {"order_id", "amount"} for event in grown)
    assert events[-1].run.value == 2.5 and server.seen[0].body["stream"] is True


def test_a_run_that_nobody_watches_asks_for_no_stream(opened: Opened) -> None:
    with ProtocolServer(good(GOOD)) as server:
        opened(model("a", server)).run(desk, {"text": "x"})
    assert "stream" not in server.seen[0].body
