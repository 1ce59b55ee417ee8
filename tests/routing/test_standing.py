"""The chooser knows how a model stands: its circuit, a pause that its server asked for, the calls that wait there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from servers.protocol import ProtocolServer, error, good

from agentfleet import Fleet, Label, Model, ask, graph, summarise
from agentfleet.prompt import Prompt
from agentfleet.routing.arrange import arrange
from agentfleet.routing.breaker import IN_A_ROW, Breaker
from agentfleet.routing.choose import Estimate, estimate, order
from agentfleet.routing.describe import Description
from agentfleet.routing.dispatch import Dispatcher
from agentfleet.routing.explain import RungReport, explain
from agentfleet.routing.lane import Lane
from agentfleet.routing.limits import Door
from agentfleet.routing.purse import Purse
from agentfleet.routing.watch import Standing, Watch
from agentfleet.runtime.session import Session
from agentfleet.schema import output_of


@summarise(tier="large", up_to="frontier")
def gist(mail: str) -> str:
    """One sentence."""
    return ask(mail)


@graph
def desk(mail: str) -> str:
    return gist(mail)


WANTED = Description("gist", "summarise", "desk", Prompt("Sum up.", ()), output_of(str, where="gist"))


def model(name: str, url: str = "http://127.0.0.1:1/v1", tier: str = "large", **more: Any) -> Model:
    return Model(name=name, backend="openai", model="m", base_url=url, tier=tier, **more)


def timed(standing: Standing, seconds: float | None = 2.0, busy: int = 0, concurrency: int = 2) -> Estimate:
    """The estimate of a model that took so long, with so many climbs at it."""
    watch = Watch(busy={"a": busy})
    if seconds is not None:
        watch.saw("a", WANTED.output.kind, WANTED.tokens, seconds, 0.0)
    return estimate(model("a", concurrency=concurrency), WANTED, watch, 0.0, standing=standing)


class Turned:
    """A dispatcher of three models whose lanes run on a clock that we turn."""

    def __init__(self) -> None:
        self.now = 100.0
        self.dispatcher = Dispatcher(Fleet([model("a"), model("b"), model("c", tier="frontier")]))
        for entry in self.dispatcher.fleet.models:
            lane = Lane(entry.name, Door(entry.name, 8, clock=self.clock), Breaker(entry.name, 1.0), clock=self.clock)
            self.dispatcher._lanes[entry.name] = lane

    def clock(self) -> float:
        return self.now

    def lane(self, name: str) -> Lane:
        return self.dispatcher._lanes[name]

    def order(self) -> list[str]:
        return [rung.model for rung in arrange(self.dispatcher, gist, WANTED, self.now).ladder.rungs]

    def explained(self) -> dict[str, RungReport]:
        told = asyncio.run(explain(self.dispatcher, gist, {"mail": "Hello."}, Label(), "desk", Purse()))
        return {rung.model: rung for rung in told.rungs}


def test_a_pause_counts_until_it_is_over() -> None:
    assert (timed(Standing(paused=5.0)).seconds, timed(Standing(paused=5.0)).slow) == (7.0, 7.0)
    untimed = timed(Standing(paused=5.0), None)
    assert (untimed.seconds, untimed.wait) == (None, 5.0)
    idle = timed(Standing(), 3.0)
    assert order([untimed, idle], "fastest") == [1, 0]
    assert order([untimed, idle], "cheapest", deadline=4.0) == [1, 0]
    assert order([timed(Standing(paused=0.5), None), idle], "fastest") == [0, 1]


def test_calls_at_the_door_and_at_the_endpoint_stand_ahead() -> None:
    assert timed(Standing(inside=3)).seconds == 2.0 + 2 / 2 * 2.0
    assert timed(Standing(inside=3), busy=3).seconds == timed(Standing(inside=3)).seconds, "the same calls"
    assert timed(Standing(inside=1, elsewhere=2)).seconds == timed(Standing(inside=3)).seconds
    assert timed(Standing(elsewhere=2, places=1)).seconds == 2.0 + 2 * 2.0, "it serves one at a time"
    assert timed(Standing(elsewhere=2, places=64)).seconds == timed(Standing(elsewhere=2)).seconds


def test_a_model_whose_circuit_is_open_is_last_whatever_it_promises() -> None:
    shut, slow = timed(Standing(shut="a: its circuit is open"), 0.1), timed(Standing(), 60.0)
    for objective in ("cheapest", "fastest", "best"):
        assert order([shut, slow], objective, deadline=1.0) == [1, 0]


def test_the_ladder_turns_from_a_paused_model_and_back_to_it() -> None:
    turned = Turned()
    assert turned.order() == ["a", "b", "c"]
    turned.lane("a").door.pause(12.0)
    assert turned.order() == ["b", "a", "c"]
    turned.now += 12.0
    assert turned.order() == ["a", "b", "c"]


def test_the_ladder_turns_from_an_open_circuit_and_back_to_it_when_it_may_be_tried() -> None:
    turned = Turned()
    breaker = turned.lane("a").breaker
    assert breaker is not None
    for _ in range(IN_A_ROW):
        breaker.failed(turned.now, False, "unavailable")
    assert turned.order() == ["b", "a", "c"], "last in its tier, not in the fleet"
    assert breaker.until is not None
    turned.now = breaker.until
    assert turned.order() == ["a", "b", "c"]
    breaker.begin()
    assert turned.order() == ["b", "a", "c"], "another call tries it"


def test_calls_that_wait_at_a_door_are_seen() -> None:
    async def main() -> list[str]:
        turned = Turned()
        await turned.lane("a").door.enter()
        assert turned.dispatcher.standing(turned.dispatcher.fleet.models[0]) == Standing(inside=1)
        return turned.order()

    assert asyncio.run(main()) == ["b", "a", "c"]


def test_what_keeps_a_model_back_is_explained() -> None:
    turned = Turned()
    assert turned.explained()["a"].why == "cheapest of 2"
    turned.lane("a").door.pause(11.2)
    told = turned.explained()
    assert (told["a"].why, told["a"].asked) == ("cheapest is b; paused for 12 s by the server", "if needed")
    assert told["b"].why == "cheapest of 2"
    for _ in range(IN_A_ROW):
        turned.lane("a").breaker.failed(turned.now, False, "unavailable")  # type: ignore[union-attr]
        turned.lane("c").breaker.failed(turned.now, False, "unavailable")  # type: ignore[union-attr]
    told = turned.explained()
    assert told["a"].why == "cheapest is b; circuit open"
    assert told["c"].why == "the only model of tier frontier; circuit open"
    assert told["a"].to_json()["estimate"]["standing"]["shut"].startswith("a: its circuit is open for")


# -- whole runs --------------------------------------------------------------------------------------------------------


def asked(run: Any) -> list[tuple[str, str]]:
    return [(attempt.model, attempt.outcome.value) for _, attempt in run.attempts]


@pytest.mark.server
def test_the_next_run_goes_to_the_other_model_while_a_server_wants_to_be_left_alone(session: Any) -> None:
    with ProtocolServer(error(429, retry_after="5")) as throttled, ProtocolServer(good("A parcel.")) as fine:
        one = session(model("a", throttled.base_url, retries=0), model("b", fine.base_url))
        runs = [one.run(desk, {"mail": f"{number}"}) for number in range(2)]
    assert [asked(run) for run in runs] == [[("a", "unavailable"), ("b", "valid")], [("b", "valid")]]
    assert (len(throttled.seen), len(fine.seen)) == (1, 2)


@pytest.mark.server
def test_a_run_that_waits_at_a_throttled_server_holds_up_no_other(session: Any) -> None:
    async def main(one: Session, throttled: ProtocolServer) -> Any:
        door = one.dispatcher.lane(one.fleet.models[0]).door
        first = asyncio.create_task(one.arun(desk, {"mail": "first"}))
        while not door.paused:
            await asyncio.sleep(0.005)
        second = await one.arun(desk, {"mail": "second"})
        assert not first.done()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        return second

    with ProtocolServer(error(429, retry_after="30")) as throttled, ProtocolServer(good("A parcel.")) as fine:
        one = session(model("a", throttled.base_url), model("b", fine.base_url))
        second = asyncio.run(main(one, throttled))
    assert asked(second) == [("b", "valid")] and len(throttled.seen) == 1
