"""From a step and a fleet to rungs, and from a rung to a completion: what waits, what counts, what is opened when."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Literal

import pytest

from agentfleet import Fleet, Model, ask, classify, summarise
from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.errors import BackendError, CallTimeout, FleetError
from agentfleet.prompt import Block, Prompt
from agentfleet.routing.dispatch import Dispatcher
from agentfleet.routing.open import open_backend
from agentfleet.schema import output_of

TEXT = output_of(str, where="test")


def request(timeout: float | None = 5.0) -> Request:
    return Request(Prompt("Say it.", (Block("text", "x"),)), TEXT, timeout=timeout)


class Slow:
    """A model that answers when it is let, and knows on which thread it was loaded."""

    context = 100

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = 0
        self.most = 0
        self.now = 0
        self.loaded_on: list[str] = []

    def load(self) -> None:
        self.loaded_on.append(threading.current_thread().name)

    def count(self, wanted: Request) -> int | None:
        assert self.loaded_on, "counting loads nothing: the dispatcher has it loaded before"
        return 7

    async def complete(self, wanted: Request) -> Completion:
        self.begun += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.go.wait()
        finally:
            self.now -= 1
        return Completion("text", "slow", usage=Usage(1_000_000, 100_000))

    async def close(self) -> None:
        return None


MODEL = Model(name="m", backend="scripted", tier="small", concurrency=2)
LOCAL = Model(name="local", backend="llama_cpp", model="embedded")


def test_waiting_for_a_turn_does_not_count_against_the_time_of_a_call() -> None:
    """The second waits behind the first for longer than it may take itself; then it takes no time at all."""

    async def main() -> None:
        backend = Slow()
        alone = MODEL.model_copy(update={"concurrency": 1})
        dispatcher = Dispatcher(Fleet([alone]), backends={"m": backend})
        first = asyncio.create_task(dispatcher.complete(backend, alone, request(None)))
        while not backend.begun:
            await asyncio.sleep(0)
        second = asyncio.create_task(dispatcher.complete(backend, alone, request(0.01)))
        asyncio.get_running_loop().call_later(0.1, backend.go.set)
        assert (await first).text == (await second).text == "text"

    asyncio.run(main())


def test_no_more_calls_than_a_model_takes() -> None:
    async def main() -> int:
        backend = Slow()
        dispatcher = Dispatcher(Fleet([MODEL]), backends={"m": backend})
        calls = [asyncio.create_task(dispatcher.complete(backend, MODEL, request())) for _ in range(5)]
        while backend.begun < 2:
            await asyncio.sleep(0)
        backend.go.set()
        await asyncio.gather(*calls)
        assert backend.begun == 5
        return backend.most

    assert asyncio.run(main()) == 2


def test_a_call_that_takes_too_long_is_a_timeout_and_leaves_room_for_the_next() -> None:
    async def main() -> None:
        backend = Slow()
        dispatcher = Dispatcher(Fleet([MODEL]), backends={"m": backend})
        for _ in range(3):
            with pytest.raises(CallTimeout, match=r"m did not answer within 0\.01 s"):
                await dispatcher.complete(backend, MODEL, request(0.01))
        assert backend.now == 0
        backend.go.set()
        assert (await dispatcher.complete(backend, MODEL, request(None))).text == "text"

    asyncio.run(main())


def test_local_models_take_one_call_at_a_time_so_that_the_queue_is_here() -> None:
    assert Model(name="x", backend="llama_cpp").concurrency == 1
    assert Model(name="x", backend="openai", model="y").concurrency > 1


@pytest.mark.parametrize(
    ("price", "cost"),
    [({"input": 2.0, "output": 10.0}, 3.0), (None, 0.0)],
)
def test_a_completion_is_priced(price: dict[str, float] | None, cost: float) -> None:
    async def main() -> None:
        backend = Slow()
        backend.go.set()
        model = Model(name="m", backend="scripted", tier="small", price=price)
        dispatcher = Dispatcher(Fleet([model]), backends={"m": backend})
        assert (await dispatcher.complete(backend, model, request())).cost == pytest.approx(cost)

    asyncio.run(main())


def test_a_model_is_loaded_once_and_never_on_the_loop() -> None:
    async def main() -> None:
        backend = Slow()
        dispatcher = Dispatcher(Fleet([MODEL]), backends={"m": backend})
        counted = await asyncio.gather(*(dispatcher.tokens(backend, request()) for _ in range(5)))
        assert counted == [7] * 5 and await dispatcher.tokens(backend, request()) == 7
        assert len(backend.loaded_on) == 1
        assert backend.loaded_on[0] != threading.current_thread().name

    asyncio.run(main())


def test_a_load_that_fails_tells_everybody_and_is_tried_again() -> None:
    class Broken(Slow):
        def load(self) -> None:
            super().load()
            if len(self.loaded_on) == 1:
                raise BackendError("the file is in use")

    async def main() -> None:
        backend = Broken()
        dispatcher = Dispatcher(Fleet([MODEL]), backends={"m": backend})
        both = [dispatcher.tokens(backend, request()) for _ in range(2)]
        ends = await asyncio.gather(*both, return_exceptions=True)
        assert [type(end) for end in ends] == [BackendError, BackendError]
        assert await dispatcher.tokens(backend, request()) == 7

    asyncio.run(main())


def test_who_goes_away_while_a_model_loads_takes_it_from_nobody() -> None:
    class Gated(Slow):
        gate = threading.Event()

        def load(self) -> None:
            self.gate.wait(10)
            super().load()

    async def main() -> None:
        backend = Gated()
        dispatcher = Dispatcher(Fleet([MODEL]), backends={"m": backend})
        first, second = (asyncio.create_task(dispatcher.tokens(backend, request())) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        backend.gate.set()
        assert await second == 7 and len(backend.loaded_on) == 1

    asyncio.run(main())


@summarise(tier="small")
def gist(text: str) -> str:
    """Gist."""
    return ask(text)


@pytest.mark.real_model
def test_a_local_model_is_opened_once_and_loaded_when_it_is_first_needed() -> None:
    async def main() -> None:
        dispatcher = Dispatcher(Fleet([LOCAL]))
        found: list[Any] = await asyncio.gather(*(dispatcher.backend(gist, LOCAL) for _ in range(4)))
        assert len({id(one) for one in found}) == 1 and found[0]._loaded is None
        counted = await asyncio.gather(*(dispatcher.tokens(one, request()) for one in found))
        assert len(set(counted)) == 1 and counted[0] and found[0]._loaded is not None
        await dispatcher.close()

    asyncio.run(main())


# -- rungs -------------------------------------------------------------------------------------------------------------

NANO = Model(name="n", backend="scripted", tier="nano")
BOTH = Model(name="b", backend="scripted", tier=("small", "large"))
FRONTIER = Model(name="f", backend="scripted", tier="frontier")


@summarise(tier="nano", up_to="frontier")
def climbs(text: str) -> str:
    """Climbs."""
    return ask(text)


@classify(tier="large", up_to="person")
def ends_at_a_person(text: str) -> Literal["a", "b"]:
    """Which?"""
    return ask(text)


def rungs(step: Any, *models: Model) -> list[tuple[str, str]]:
    return [(rung.tier, rung.model) for rung in Dispatcher(Fleet(models)).ladder(step).rungs]


def test_rungs_go_up_and_a_model_stands_there_once() -> None:
    assert rungs(climbs, FRONTIER, BOTH, NANO) == [("nano", "n"), ("small", "b"), ("frontier", "f")]
    assert rungs(climbs.using(tier="large"), FRONTIER, BOTH, NANO) == [("large", "b"), ("frontier", "f")]
    assert rungs(gist, FRONTIER, BOTH, NANO) == [("small", "b")], "without up_to only its own tier"
    assert rungs(climbs.using(model="f"), FRONTIER, BOTH, NANO) == [("frontier", "f")]
    assert rungs(gist.using(tier="frontier"), FRONTIER, NANO) == [("frontier", "f")]


def test_empty_tiers_and_people_are_told() -> None:
    ladder = Dispatcher(Fleet([NANO])).ladder(ends_at_a_person)
    assert (ladder.rungs, ladder.empty, ladder.person) == ((), ("large", "frontier"), True)
    assert Dispatcher(Fleet([NANO])).ladder(climbs).empty == ("small", "large", "frontier")
    assert Dispatcher(Fleet([NANO])).ladder(climbs.using(model="n")).empty == ()


def test_an_unknown_tier_offers_the_nearest() -> None:
    with pytest.raises(FleetError, match="'frontier'"):
        Dispatcher(Fleet([NANO])).ladder(gist.using(tier="frontir"))


def test_tries_are_those_of_the_step_and_a_scored_answer_is_asked_once() -> None:
    local = Model(name="l", backend="llama_cpp", tier="large")
    for step, model, tries in [
        (gist, BOTH, 2),
        (gist.using(tries=5), BOTH, 5),
        (ends_at_a_person, BOTH, 2),
        (ends_at_a_person.using(tries=5), local, 1),
    ]:
        (rung,) = Dispatcher(Fleet([model])).ladder(step).rungs
        assert rung.tries == tries


# -- opening -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["many", "0", "-2", "1.5"])
def test_threads_that_are_no_number_name_the_variable(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AGENTFLEET_THREADS", value)
    with pytest.raises(FleetError, match=f"AGENTFLEET_THREADS is '{value}'; write a whole number"):
        open_backend(LOCAL)


def test_threads_of_the_fleet_file_name_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLEET_THREADS", "many")
    with pytest.raises(FleetError, match=r"model 'local': params\.threads is 'all'"):
        open_backend(LOCAL.model_copy(update={"params": {"threads": "all"}}))


def test_a_backend_that_no_fleet_file_opens() -> None:
    with pytest.raises(FleetError, match="'replay' cannot be opened"):
        open_backend(Model(name="r", backend="replay"))
