"""One model's lane with a backend that fails as it is told: what is retried, what opens the circuit, what is timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from agentfleet import Model
from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.errors import BackendError, CallTimeout, Refused, Unavailable
from agentfleet.prompt import Block, Prompt
from agentfleet.routing import retry
from agentfleet.routing.breaker import IN_A_ROW
from agentfleet.routing.lane import Lane
from agentfleet.schema import output_of

MODEL = Model(name="m", backend="openai", model="x", base_url="http://127.0.0.1:1/v1", concurrency=4)
DOWN = ("500", None, True, 500)
GOOD = Completion("yes", "m", usage=Usage(100, 20))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST", 0.001)
    monkeypatch.setattr("agentfleet.routing.breaker.FIRST", 0.02)


def request(timeout: float | None = 30.0, **changes: Any) -> Request:
    return Request(Prompt("Say it.", (Block("text", "x"),)), output_of(str, where="test"), timeout=timeout, **changes)


class Told:
    """Does what the next word of the script says; the last one for ever. `now`: calls in it at this moment."""

    context = None

    def __init__(self, *script: Any) -> None:
        self.script: Iterator[Any] = iter(script)
        self.last: Any = GOOD
        self.calls: list[float] = []
        self.now = 0
        self.most = 0

    def count(self, wanted: Request) -> int | None:
        return None

    async def complete(self, wanted: Request) -> Completion:
        self.calls.append(time.monotonic())
        self.last = next(self.script, self.last)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if isinstance(self.last, asyncio.Event):
                await self.last.wait()
                return GOOD
            if isinstance(self.last, tuple):
                raise Unavailable(*self.last)
            if isinstance(self.last, BackendError):
                raise self.last
            return self.last  # type: ignore[no-any-return]
        finally:
            self.now -= 1

    async def close(self) -> None:
        return None


def lane(**changes: Any) -> Lane:
    return Lane.of(MODEL.model_copy(update=changes))


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def ends(path: Lane, backend: Told, times: int = 1) -> list[Any]:
    async def main() -> list[Any]:
        return [await end(path.complete(backend, request())) for _ in range(times)]

    found: list[Any] = run(main())
    return found


async def end(call: Coroutine[Any, Any, Completion]) -> Any:
    try:
        return (await call).text
    except BackendError as error:
        return error


# -- retries -----------------------------------------------------------------------------------------------------------


def test_what_passes_by_is_retried_and_nobody_hears_of_it() -> None:
    backend = Told(DOWN, ("connection lost", None, True), GOOD)
    assert ends(lane(), backend) == ["yes"] and len(backend.calls) == 3


def test_after_the_last_retry_the_failure_says_how_often_it_was_asked() -> None:
    backend = Told(DOWN)
    (error,) = ends(lane(), backend)
    assert isinstance(error, Unavailable) and str(error) == "500 (after 3 requests)" and error.status == 500
    assert len(backend.calls) == 3


@pytest.mark.parametrize(
    "error", [Refused("no"), BackendError("400"), CallTimeout("late"), Unavailable("this is not JSON")]
)
def test_nothing_else_is_sent_twice(error: BackendError) -> None:
    backend = Told(error)
    assert ends(lane(), backend) == [error] and len(backend.calls) == 1


def test_an_answer_is_never_retried_whatever_it_says() -> None:
    backend = Told(Completion('{"broken', "m", finish="length"))
    assert ends(lane(), backend) == ['{"broken'] and len(backend.calls) == 1


def test_a_throttled_model_is_left_alone_by_all_its_calls() -> None:
    backend = Told(("429", 0.05, True, 429), GOOD)

    async def main() -> None:
        path = lane()
        first = asyncio.create_task(path.complete(backend, request()))
        while not backend.calls:
            await asyncio.sleep(0)
        await asyncio.gather(first, *(path.complete(backend, request()) for _ in range(3)))

    run(main())
    assert len(backend.calls) == 5
    assert min(backend.calls[1:]) - backend.calls[0] >= 0.05 - 1e-3, "none of them before the server wants one"


def test_a_wait_that_is_too_long_is_no_wait_and_closes_the_way_for_others() -> None:
    backend = Told(("429", 120.0, True, 429))
    first, second = ends(lane(), backend, 2)
    assert str(first) == "429" and len(backend.calls) == 1
    assert "circuit is open for 120.0 s more (the server asked for 120 s)" in str(second)


def test_retries_stop_when_the_budget_is_used_up() -> None:
    backend = Told(*[DOWN, GOOD] * 40)
    path = lane()
    path.budget.left, path.budget.trickle = 2.0, 0.0
    texts = [str(found) for found in ends(path, backend, 5)]
    assert texts.count("yes") >= 3 and "500" in texts, "two retries, then every second call fails"


def test_none_is_retried_where_the_deadline_comes_first() -> None:
    async def main() -> Any:
        soon = request(deadline=time.monotonic() + 5.0)
        return await end(lane().complete(Told(("503", 10.0, True, 503)), soon))

    assert str(run(main())) == "503"


# -- circuit -----------------------------------------------------------------------------------------------------------


def test_an_open_circuit_is_told_at_once_and_nothing_is_sent() -> None:
    backend = Told(CallTimeout("late"))
    found = ends(lane(), backend, IN_A_ROW + 3)
    assert len(backend.calls) == IN_A_ROW
    assert [isinstance(error, Unavailable) for error in found[IN_A_ROW:]] == [True] * 3
    assert "its circuit is open" in str(found[-1]) and not found[-1].retryable


def test_those_who_wait_are_told_too() -> None:
    async def main() -> None:
        backend, path = Told(CallTimeout("late")), lane(concurrency=1)
        calls = [end(path.complete(backend, request())) for _ in range(IN_A_ROW + 20)]
        found = await asyncio.wait_for(asyncio.gather(*calls), 30)
        assert len(backend.calls) == IN_A_ROW
        assert sum("circuit" in str(error) for error in found) == 20
        assert (path.door.running, path.door.waiting) == (0, 0)

    run(main())


def test_one_call_tries_and_its_success_lets_all_in() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        backend, path = Told(*[CallTimeout("late")] * IN_A_ROW, gate), lane()
        for _ in range(IN_A_ROW):
            await end(path.complete(backend, request()))
        while path.refusal():
            await asyncio.sleep(0.005)
        probe = asyncio.create_task(path.complete(backend, request()))
        while not backend.now:
            await asyncio.sleep(0)
        others = await asyncio.gather(*(end(path.complete(backend, request())) for _ in range(5)))
        assert all("another call tries it" in str(error) for error in others) and backend.now == 1
        gate.set()
        assert (await probe).text == "yes"
        assert (await path.complete(backend, request())).text == "yes"

    run(main())


def test_a_probe_that_is_cancelled_gives_its_place_back() -> None:
    async def main() -> None:
        backend, path = Told(*[CallTimeout("late")] * IN_A_ROW, asyncio.Event(), GOOD), lane()
        for _ in range(IN_A_ROW):
            await end(path.complete(backend, request()))
        while path.refusal():
            await asyncio.sleep(0.005)
        probe = asyncio.create_task(path.complete(backend, request()))
        while not backend.now:
            await asyncio.sleep(0)
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        assert (await path.complete(backend, request())).text == "yes"

    run(main())


@pytest.mark.parametrize("says", [Refused("no"), BackendError("401"), ("429", None, True, 429)])
def test_a_server_that_answers_is_there(says: Any) -> None:
    path = lane(retries=0)
    ends(path, Told(says), 3 * IN_A_ROW)
    assert path.refusal() == ""


def test_a_model_of_this_process_has_no_circuit() -> None:
    path = Lane.of(Model(name="l", backend="llama_cpp", model="embedded"))
    ends(path, Told(CallTimeout("slow")), 3 * IN_A_ROW)
    assert path.breaker is None and path.refusal() == ""


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_backend_that_times_itself_is_not_timed_again() -> None:
    class Patient(Told):
        times_itself = True

    async def main() -> str:
        gate = asyncio.Event()
        asyncio.get_running_loop().call_later(0.1, gate.set)
        return (await lane().complete(Patient(gate), request(0.001))).text

    assert run(main()) == "yes"


@pytest.mark.parametrize("itself", [True, False])
def test_the_deadline_holds_in_the_queue_and_in_the_call(itself: bool) -> None:
    class Backend(Told):
        times_itself = itself

    async def main() -> None:
        backend, path = Backend(asyncio.Event()), lane(concurrency=1)
        soon = time.monotonic() + 0.05
        calls = [end(path.complete(backend, request(60.0, deadline=soon))) for _ in range(3)]
        found = await asyncio.wait_for(asyncio.gather(*calls), 30)
        assert [type(error) for error in found] == [CallTimeout] * 3
        assert "deadline" in str(found[0]) and len(backend.calls) == 1
        assert (path.door.running, path.door.waiting, backend.now) == (0, 0, 0)

    run(main())


def test_a_timeout_of_the_backends_own_is_not_taken_for_ours() -> None:
    class Broken(Told):
        async def complete(self, wanted: Request) -> Completion:
            raise TimeoutError("of its own")

    async def main() -> None:
        await lane().complete(Broken(), request(5.0, deadline=time.monotonic() + 5.0))

    with pytest.raises(TimeoutError, match="of its own"):
        run(main())


def test_cancelling_while_it_waits_to_retry_leaves_nothing_behind() -> None:
    async def main() -> None:
        backend, path = Told(("503", 20.0, True, 503)), lane()
        call = asyncio.create_task(path.complete(backend, request()))
        while not backend.calls:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (path.door.running, path.door.waiting) == (0, 0)

    run(main())


# -- tokens ------------------------------------------------------------------------------------------------------------


def test_what_the_fleet_file_says_reaches_the_lane() -> None:
    path = lane(requests_per_minute=5, tokens_per_minute=700, retries=1)
    assert (path.door.requests, path.door.tokens, path.door.concurrency, path.retries) == (5, 700, 4, 1)
    backend = Told(DOWN)
    ends(path, backend)
    assert len(backend.calls) == 2


def test_tokens_are_reserved_for_the_call_and_settled_by_what_it_used() -> None:
    async def main() -> None:
        path, backend = lane(tokens_per_minute=10_000), Told()
        await path.complete(backend, request(max_tokens=5_000))
        bucket = path.door._buckets[1]
        assert bucket is not None and bucket.lacks(9_000, path.door.clock()) == 0.0, "120 tokens were used"
        assert bucket.lacks(10_000, path.door.clock()) > 0.0

    run(main())


def test_calls_that_would_use_too_many_tokens_a_minute_wait() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        path, backend = lane(tokens_per_minute=1_000), Told(gate)
        calls = [asyncio.create_task(path.complete(backend, request(max_tokens=400))) for _ in range(3)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert (backend.now, path.door.waiting) == (2, 1)
        gate.set()  # they used 120 each and give back the rest
        await asyncio.gather(*calls)
        assert len(backend.calls) == 3

    run(main())
