"""Whole runs against endpoints that hang, throttle, cut, lie and are away: the scenarios of `benchmarks/dispatch.py`.

Real HTTP on loopback, a ledger in memory; the servers are threads of this process, so latencies are upper bounds.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from servers.protocol import ProtocolServer, Reply, cut, error, good, hang, huge, malformed, refusal, truncated

from agentfleet import Fleet, Model, Session, ask, extract, graph
from agentfleet.ledger.open import open_ledger
from agentfleet.runtime.loop import LOOP

AT_ONCE = 16
THROTTLE = 10
"""Requests a second that the throttling endpoint takes."""
TIMEOUT = 1.0
"""Seconds that a call may take: what one hanging call costs."""
ANSWER = '{"order_id":"AB-1","amount":2.5}'
DEAR = '{"order_id":"AB-1","amount":9.5}'


class Order(BaseModel):
    """What is asked for."""

    order_id: str
    amount: float


@extract(tier="large", up_to="frontier")
def order(text: str) -> Order:
    """What was ordered?"""
    return ask(text)


@graph
def desk(text: str) -> float:
    return order(text).amount


class Throttling(ProtocolServer):
    """Takes so many requests in each second of the clock; the others get 429 with the time until the next second."""

    def next(self) -> Reply:
        now = time.monotonic()
        second = int(now)
        if second != getattr(self, "second", None):
            self.second, self.left_now = second, THROTTLE
        self.left_now -= 1
        if self.left_now >= 0:
            return good(ANSWER)
        return error(429, "slow down", retry_after=f"{second + 1 - now:.3f}")


class Away(ProtocolServer):
    """Bad in its own way while `away` is set, else fine."""

    def __init__(self, bad: Reply) -> None:
        super().__init__(good(ANSWER))
        self.bad = bad
        self.away = True

    def next(self) -> Reply:
        return self.bad if self.away else good(ANSWER)


def fleet_of(servers: Sequence[ProtocolServer], timeout: float = TIMEOUT, **changes: Any) -> Fleet:
    """One model for each server, all in one tier, asked in this order."""
    models = [
        Model(name=f"m{number}", backend="openai", model="m", base_url=server.base_url, tier="large", timeout=timeout)
        for number, server in enumerate(servers)
    ]
    return Fleet([model.model_copy(update=changes) for model in models])


def opened(fleet: Fleet) -> Session:
    return Session(fleet=fleet, ledger=open_ledger(":memory:", Path.cwd()), root=Path.cwd())


async def run_once(session: Session, text: str) -> tuple[str, float, float]:
    began = time.perf_counter()
    run = await session.arun(desk, {"text": text})
    return run.status, time.perf_counter() - began, run.result if run.status == "done" else -1.0


async def at_once(count: int, one: Any) -> list[Any]:
    """`one(number)` for each number, `AT_ONCE` together."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def within(number: int) -> Any:
        async with slots:
            return await one(number)

    return await asyncio.gather(*(within(number) for number in range(count)))


def here(work: Any) -> Any:
    """Run on agentfleet's loop and wait."""
    return LOOP.submit(work).result()


# -- one hangs, one throttles, one is fine -----------------------------------------------------------------------------


def three_endpoints(runs: int) -> dict[str, Any]:
    """R22, ours beside the bare SDK with its own two retries, which asks the same endpoints in the same order."""
    ours = _with_three(lambda servers: _ours(servers, runs), runs)
    bare = _with_three(lambda servers: here(at_once(runs, _Bare(servers).once)), runs)
    return {**ours, **{f"sdk_{key}": value for key, value in bare.items()}}


def _with_three(play: Any, runs: int) -> dict[str, Any]:
    with ExitStack() as stack:
        servers = [stack.enter_context(server) for server in (ProtocolServer(hang()), Throttling(), _fine())]
        ends: list[tuple[str, float, float]] = play(servers)
        asked = [len(server.seen) for server in servers]
    times = sorted(seconds for _, seconds, _ in ends)
    good_ones = sum(status == "done" for status, _, _ in ends)
    return {
        "success_rate": good_ones / runs,
        "calls_per_success": round(sum(asked) / max(good_ones, 1), 3),
        "p50_s": round(statistics.median(times), 4),
        "p95_s": round(times[int(0.95 * (len(times) - 1))], 4),
        "requests": asked,
    }


def _fine() -> ProtocolServer:
    return ProtocolServer(Reply(ANSWER, delay=0.02))


def _ours(servers: Sequence[ProtocolServer], runs: int) -> list[tuple[str, float, float]]:
    session = opened(fleet_of(servers))
    try:
        found: list[tuple[str, float, float]] = here(at_once(runs, lambda number: run_once(session, f"{number}")))
        return found
    finally:
        session.close()


class _Bare:
    """What one writes by hand: the SDK with its default retries, the next endpoint when it gives up."""

    def __init__(self, servers: Sequence[ProtocolServer]) -> None:
        import openai

        self.clients = [
            openai.AsyncOpenAI(api_key="none", base_url=server.base_url, timeout=TIMEOUT) for server in servers
        ]
        self.failures = (openai.APIConnectionError, openai.APIStatusError)

    async def once(self, number: int) -> tuple[str, float, float]:
        began = time.perf_counter()
        for client in self.clients:
            try:
                await client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"{number}"}])
            except self.failures:
                continue
            return "done", time.perf_counter() - began, 0.0
        return "failed", time.perf_counter() - began, 0.0


# -- streams that are cut, and answers that lie ------------------------------------------------------------------------


def cut_streams(each: int = 1) -> dict[str, Any]:
    """R23: a good answer cut at every byte (`each`: at every so many), and usage that cannot be."""
    with ProtocolServer(good(ANSWER)) as server:
        session = opened(fleet_of([server], retries=0))
        lane = session.dispatcher.lane(session.fleet.models[0])
        lane.retries, lane.breaker = 0, None  # each cut is to be seen, none kept from the server
        whole = here(run_once(session, "whole"))
        places = range(-ANSWER_BYTES, 0, each)
        server.script(*(cut(ANSWER, place) for place in places), good(ANSWER, usage={"input": "x"} | WRONG))
        ends = [here(run_once(session, f"{place}")) for place in places]
        wrong = session.run(desk, {"text": "wrong usage"})
        session.close()
    return {
        "cuts": len(places),
        "truncated_accepted": sum(status == "done" for status, _, _ in ends),
        "whole_accepted": int(whole[0] == "done"),
        "wrong_usage_tokens": sum(attempt.usage.input_tokens for _, attempt in wrong.attempts),
    }


ANSWER_BYTES = 560
"""Bytes of a chat completion with `ANSWER` in it, at least: cuts are counted from its end."""
WRONG = {"output": -5, "cached": None, "reasoning": "many"}

LIES = {
    "schema": good('{"order_id":"AB-1","amount":"many"}'),
    "prose": good("I think it is AB-1."),
    "keys twice": good('{"order_id":"AB-1","amount":1.0,"amount":2.0}'),
    "NaN": good('{"order_id":"AB-1","amount":NaN}'),
    "infinite": good('{"order_id":"AB-1","amount":1e999}'),
    "huge": huge(50_000_000, told=False),
    "malformed": malformed(),
    "truncated": truncated(ANSWER),
    "extra": good('{"order_id":"AB-1"}'),
}


def bad_answers() -> dict[str, Any]:
    """R24: the first model lies in every way, the second is right. A refusal stands apart: nobody goes around it."""
    passed, climbed = 0, 0
    with ProtocolServer(good(ANSWER)) as liar, ProtocolServer(good(DEAR)) as honest:
        session = opened(fleet_of([liar, honest], timeout=10.0))
        for name, lie in LIES.items():
            liar.script(lie)
            status, _, value = here(run_once(session, name))
            passed += status == "done" and value != 9.5
            climbed += value == 9.5
        liar.script(refusal())
        before = len(honest.seen)
        here(run_once(session, "refused"))
        around = len(honest.seen) - before
        session.close()
    return {
        "lies": len(LIES),
        "invalid_passed_on": passed,
        "escalation_rate": round(climbed / len(LIES), 3),
        "around_a_refusal": around,
    }


# -- all of them away --------------------------------------------------------------------------------------------------


def outage(runs: int, seconds: float) -> dict[str, Any]:
    """R25: `runs` runs begin evenly while all three endpoints are away; then they are back."""
    with ExitStack() as stack:
        ways = (error(503), error(529), cut(ANSWER, 0))
        servers = [stack.enter_context(Away(bad)) for bad in ways]
        session = opened(fleet_of(servers))
        waiting = here(_through(session, runs, seconds))
        asked = [len(server.seen) for server in servers]
        for server in servers:
            server.away = False
        recovery = here(_recovery(session))
        finished = sum(session.resume(run_id, desk).status == "done" for run_id in waiting)
        session.close()
    return {
        "runs": runs,
        "outage_s": seconds,
        "requests": asked,
        "amplification": round(max(asked) / runs, 3),
        "requests_per_run": round(sum(asked) / runs, 3),
        "waiting": len(waiting),
        "recovery_s": round(recovery, 3),
        "finished_after": finished,
    }


async def _through(session: Session, runs: int, seconds: float) -> list[str]:
    began = time.monotonic()

    async def one(number: int) -> Any:
        await asyncio.sleep(max(0.0, began + seconds * number / runs - time.monotonic()))
        return await session.arun(desk, {"text": f"{number}"})

    ended = await asyncio.gather(*(one(number) for number in range(runs)))
    return [run.id for run in ended if run.status == "waiting"]


async def _recovery(session: Session) -> float:
    """Seconds from when the servers are back until a new run succeeds and the nine after it do too."""
    began, row, first = time.monotonic(), 0, 0.0
    while row < 10 and time.monotonic() - began < 30:
        at = time.monotonic() - began
        status, _, _ = await run_once(session, "again")
        row = row + 1 if status == "done" else 0
        first = at if row == 1 else first
        await asyncio.sleep(0.05)
    return first if row >= 10 else float("inf")
