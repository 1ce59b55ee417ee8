"""What the dispatcher costs a call, and what it does when endpoints hang, throttle, cut, lie and are away.

Cost: the dispatcher alone on a backend that answers at once; then, on one loopback server in a process of its own, a
structured answer by the bare SDK, by instructor, by our backend, by our dispatcher over it and, with ``--peers``, by
LiteLLM's Router in another interpreter, in turns. Outages: `outages.py`.

    python benchmarks/dispatch.py [--quick] [--peers PATH_TO_PYTHON]

Keys of the last line, one JSON object:

- ``dispatch_us``: median microseconds that `Dispatcher.complete` adds to a backend; target 50. ``dispatch_p95_us``;
  ``dispatch_limited_us``: with limits of requests and tokens a minute and a deadline.
- ``sdk_us``, ``instructor_us``, ``backend_us``, ``dispatched_us``, ``litellm_router_us`` (null without ``--peers``):
  median microseconds of one whole call.
- ``r22``: one of three endpoints hangs, one throttles, one is fine: ``success_rate``, ``calls_per_success``, ``p50_s``,
  ``p95_s`` of a run, ``requests`` per endpoint; the same with ``sdk_`` for the bare SDK with its own retries.
- ``r23``: ``cuts`` made, ``truncated_accepted`` (target 0), ``whole_accepted`` (1), ``wrong_usage_tokens`` (0).
- ``r24``: ``lies`` told, ``invalid_passed_on`` (target 0), ``escalation_rate``, ``around_a_refusal`` (0).
- ``r25``: all endpoints away for ``outage_s`` (60; 4 with ``--quick``) while ``runs`` begin: ``amplification``, requests
  at the most-asked endpoint for each run (target 1.2 at most), ``requests_per_run`` at all three together,
  ``recovery_s`` (target 5 at most), ``finished_after``: runs of the outage that `resume` then finished.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
PEER = "--as-peer"
SERVER = "--as-server"
QUESTION = "Read the order: AB-1 for 2.50"

if PEER not in sys.argv:
    sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(HERE)]

Call = Callable[[], Awaitable[Any]]


# -- the dispatcher alone ----------------------------------------------------------------------------------------------


def own_cost(calls: int) -> dict[str, float]:
    """Microseconds that the dispatcher adds, without and with limits."""
    plain, limited = asyncio.run(_added(calls, {}, None)), asyncio.run(_added(calls, LIMITS, 3600.0))
    return {
        "dispatch_us": round(statistics.median(plain), 2),
        "dispatch_p95_us": round(sorted(plain)[int(0.95 * len(plain))], 2),
        "dispatch_limited_us": round(statistics.median(limited), 2),
    }


LIMITS = {"requests_per_minute": 10**9, "tokens_per_minute": 10**12}


async def _added(calls: int, limits: dict[str, int], seconds: float | None) -> list[float]:
    """For each call, its time through the dispatcher less the median of the backend alone."""
    from agentfleet import Fleet, Model
    from agentfleet.backends.backend import Completion, Request, Usage
    from agentfleet.prompt import Block, Prompt
    from agentfleet.routing.dispatch import Dispatcher
    from agentfleet.routing.limits import Door
    from agentfleet.schema import output_of

    class Null:
        context = None
        times_itself = True

        def count(self, request: Request) -> int | None:
            return None

        async def complete(self, request: Request) -> Completion:
            return ANSWER

        async def close(self) -> None:
            return None

    ANSWER = Completion("1", "null", usage=Usage(10, 1))  # noqa: N806
    model = Model(name="null", backend="openai", model="m", base_url="http://127.0.0.1:9/v1")
    backend = Null()
    dispatcher = Dispatcher(Fleet([model]), backends={"null": backend})
    lane = dispatcher.lane(model)
    if limits:
        lane.door = Door("null", 8, limits["requests_per_minute"], limits["tokens_per_minute"])
    deadline = None if seconds is None else time.monotonic() + seconds
    request = Request(Prompt("Count.", (Block("text", "one"),)), output_of(int, where="benchmark"), deadline=deadline)
    through = await _times(lambda: dispatcher.complete(backend, model, request), calls)
    alone = statistics.median(await _times(lambda: backend.complete(request), calls))
    return [each - alone for each in through]


async def _times(call: Call, calls: int) -> list[float]:
    """Microseconds of each of `calls` calls, one after another, after a few that are not counted."""
    found = []
    for number in range(calls + 10):
        began = time.perf_counter_ns()
        await call()
        if number >= 10:
            found.append((time.perf_counter_ns() - began) / 1000)
    return found


# -- whole calls on one server -----------------------------------------------------------------------------------------


def whole_calls(calls: int, peer: str | None) -> dict[str, float | None]:
    """Median microseconds of one structured answer, by each way of getting it; they take turns."""
    with _server() as url:
        found = asyncio.run(_ways(url, calls))
        found["litellm_router_us"] = None if peer is None else _peer(peer, url, calls)
    return found


@contextmanager
def _server() -> Iterator[str]:
    child = subprocess.Popen(
        [sys.executable, __file__, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield child.stdout.readline().strip()
    finally:
        child.communicate("")  # its standard input ends, and so does it


def serve() -> None:
    """The server, until standard input ends."""
    from servers.protocol import ProtocolServer, good

    with ProtocolServer(good('{"order_id":"AB-1","amount":2.5}')) as server:
        print(server.base_url, flush=True)
        sys.stdin.read()


async def _ways(url: str, calls: int) -> dict[str, float | None]:
    import instructor
    import openai
    from outages import Order

    from agentfleet import Fleet, Model
    from agentfleet.backends.backend import Request
    from agentfleet.backends.openai import OpenAI
    from agentfleet.prompt import Block, Prompt
    from agentfleet.routing.dispatch import Dispatcher
    from agentfleet.schema import output_of

    client = openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0)
    typed = instructor.from_openai(client, mode=instructor.Mode.JSON_SCHEMA)
    backend = OpenAI("m", "m", "", url)
    model = Model(name="m", backend="openai", model="m", base_url=url)
    dispatcher = Dispatcher(Fleet([model]), backends={"m": backend})
    request = Request(Prompt("Read the order.", (Block("text", QUESTION),)), output_of(Order, where="benchmark"))
    messages: Any = [{"role": "user", "content": QUESTION}]
    form: Any = {"type": "json_schema", "json_schema": {"name": "order", "schema": Order.model_json_schema()}}
    ways: dict[str, Call] = {
        "sdk_us": lambda: client.chat.completions.create(model="m", messages=messages, response_format=form),
        "instructor_us": lambda: typed.create(model="m", messages=messages, response_model=Order, max_retries=0),
        "backend_us": lambda: backend.complete(request),
        "dispatched_us": lambda: dispatcher.complete(backend, model, request),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(5):
        for name, call in ways.items():
            found[name] += await _times(call, calls // 5)
    await client.close()
    await dispatcher.close()
    return {name: round(statistics.median(times), 1) for name, times in found.items()}


def _peer(python: str, url: str, calls: int) -> float | None:
    """LiteLLM's Router in another interpreter; None where it is not installed or fails."""
    done = subprocess.run([python, __file__, PEER, url, str(calls)], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        print(f"LiteLLM: not measured ({lines[-1] if lines else done.returncode})", file=sys.stderr)
        return None
    return float(done.stdout.strip().splitlines()[-1])


async def _litellm(url: str, calls: int) -> float:
    from litellm import Router

    place = {"model": "openai/m", "api_base": url, "api_key": "none"}
    router = Router(model_list=[{"model_name": "m", "litellm_params": place}], num_retries=0)
    messages = [{"role": "user", "content": QUESTION}]
    return statistics.median(await _times(lambda: router.acompletion(model="m", messages=messages), calls))


# -- all of it ---------------------------------------------------------------------------------------------------------


def measured(quick: bool, peer: str | None) -> dict[str, Any]:
    import outages

    found: dict[str, Any] = own_cost(2_000 if quick else 20_000)
    _show("dispatcher alone, µs a call", found)
    whole = whole_calls(50 if quick else 500, peer)
    _show("whole calls, µs", whole)
    found |= whole
    scenarios: dict[str, Callable[[], dict[str, Any]]] = {
        "r22": lambda: outages.three_endpoints(48 if quick else 200),
        "r23": lambda: outages.cut_streams(4 if quick else 1),
        "r24": outages.bad_answers,
        "r25": lambda: outages.outage(200, 4.0 if quick else 60.0),
    }
    for name, play in scenarios.items():
        found[name] = play()
        _show(name, found[name])
    return found


def _show(title: str, rows: dict[str, Any]) -> None:
    print(f"\n{title}")
    for name, value in rows.items():
        print(f"  {name:24} {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description="What the dispatcher costs, and what it does in outages.")
    parser.add_argument("--quick", action="store_true", help="fewer calls, an outage of seconds")
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter in which litellm is installed")
    given = parser.parse_args()
    print(f"\n{json.dumps(measured(given.quick, given.peers))}")


if __name__ == "__main__":
    if SERVER in sys.argv:
        serve()
    elif PEER in sys.argv:
        print(asyncio.run(_litellm(sys.argv[2], int(sys.argv[3]))))
    else:
        main()
