"""The door of a model: how many at once, how many a minute, who is next, who is turned away, who goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.errors import Unavailable
from agentfleet.routing.limits import AGE, Bucket, Door


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


class Turns:
    """Calls that enter a door in the order given and note when they are let in."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.order: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(
        self, name: str, priority: int = 0, tokens: float = 0, since: float | None = None, of: str = ""
    ) -> None:
        async def enter() -> None:
            await self.door.enter(priority, tokens, since, of)
            self.order.append(name)

        self.tasks[name] = asyncio.create_task(enter())
        await settle()

    async def leave(self, unused: float = 0) -> None:
        self.door.leave(unused)
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# -- the bucket, on a clock that we turn --------------------------------------------------------------------------------


def test_a_bucket_starts_full_and_refills_evenly() -> None:
    bucket = Bucket(60, now=0.0)
    assert bucket.lacks(60, 0.0) == 0.0
    bucket.take(60)
    assert bucket.lacks(1, 0.0) == pytest.approx(1.0)
    assert bucket.lacks(1, 0.5) == pytest.approx(0.5)
    assert bucket.lacks(1, 1.0) == 0.0
    assert bucket.lacks(60, 1000.0) == 0.0 and bucket.lacks(61, 1000.0) == 0.0, "never more than full"


def test_what_is_more_than_a_minutes_worth_waits_for_a_full_bucket_and_is_paid_off_after() -> None:
    bucket = Bucket(100, now=0.0)
    assert bucket.lacks(250, 0.0) == 0.0
    bucket.take(250)
    assert bucket.lacks(1, 0.0) == pytest.approx(151 * 0.6)


def test_what_was_reserved_and_not_used_comes_back() -> None:
    bucket = Bucket(100, now=0.0)
    bucket.take(100)
    bucket.take(-70)
    assert bucket.lacks(70, 0.0) == 0.0 and bucket.lacks(71, 0.0) > 0


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 40)), max_size=60), st.integers(1, 120))
def test_no_bucket_ever_lets_out_more_than_its_size_and_what_flowed_in(
    calls: list[tuple[float, int]], size: int
) -> None:
    bucket, now, taken = Bucket(size, 0.0), 0.0, 0
    for gap, amount in calls:
        now += gap
        if amount <= size and not bucket.lacks(amount, now):
            bucket.take(amount)
            taken += amount
        assert taken <= size + now * size / 60 + 1e-6


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_low_priority_numbers_go_first_and_equals_in_order_of_arrival() -> None:
    async def main() -> list[str]:
        turns = Turns(Door("m", 1))
        await turns.come("running")
        for name, priority in [("a", 5), ("b", 0), ("c", 5), ("d", -1)]:
            await turns.come(name, priority)
        assert turns.door.waiting == 4
        for _ in range(4):
            await turns.leave()
        return turns.order

    assert run(main()) == ["running", "d", "b", "a", "c"]


def test_runs_take_turns() -> None:
    async def main() -> list[str]:
        turns = Turns(Door("m", 1, clock=lambda: 0.0))
        for number in range(5):
            await turns.come(f"big {number}", of="big")
        for name in ("small", "other"):
            await turns.come(name, of=name)
        for _ in range(7):
            await turns.leave()
        await turns.come("small again", of="small")
        assert not turns.door._waits
        return turns.order

    # big 0 was let in at once and big 1 was first in the queue; from then on one of each
    assert run(main()) == ["big 0", "big 1", "small", "other", "big 2", "big 3", "big 4", "small again"]


def test_who_has_waited_long_enough_is_overtaken_by_nobody() -> None:
    now = [1000.0]

    async def main() -> list[str]:
        turns = Turns(Door("m", 1, clock=lambda: now[0]))
        await turns.come("running")
        await turns.come("patient", 3)
        now[0] += 3 * AGE - 1
        await turns.come("urgent")  # a second too early to be behind
        now[0] += 2
        await turns.come("late", 0)
        for _ in range(3):
            await turns.leave()
        return turns.order

    assert run(main()) == ["running", "urgent", "patient", "late"]


def test_a_stream_of_urgent_calls_starves_nobody() -> None:
    now = [0.0]

    async def main() -> int:
        turns = Turns(Door("m", 1, clock=lambda: now[0]))
        await turns.come("running")
        await turns.come("low", 2)
        for number in range(100):
            await turns.come(f"urgent {number}")
            now[0] += 1.0
            await turns.leave()
        return turns.order.index("low")

    assert run(main()) <= 2 * AGE + 2


def test_one_that_is_tried_again_keeps_its_place() -> None:
    async def main() -> list[str]:
        turns = Turns(Door("m", 1))
        since = turns.door.clock()
        await turns.come("running")
        await turns.come("later")
        await turns.come("again", since=since)
        await turns.leave()
        await turns.leave()
        return turns.order

    assert run(main()) == ["running", "again", "later"]


def test_a_full_queue_turns_away_at_once_and_says_why() -> None:
    async def main() -> None:
        turns = Turns(Door("m", 1, most=2))
        for name in ("running", "a", "b"):
            await turns.come(name)
        with pytest.raises(Unavailable, match="m: 2 calls wait for it already") as caught:
            await turns.door.enter()
        assert not caught.value.retryable
        await turns.leave()
        await turns.come("c")
        assert turns.door.waiting == 2, "there is room again"
        for task in turns.tasks.values():
            task.cancel()

    run(main())


def test_who_is_cancelled_is_out_of_the_queue_and_holds_nobody_up() -> None:
    async def main() -> None:
        turns = Turns(Door("m", 1))
        for name in ("running", "a", "b"):
            await turns.come(name)
        turns.tasks["a"].cancel()
        await settle()
        assert turns.door.waiting == 1
        await turns.leave()
        assert turns.order == ["running", "b"] and turns.door.running == 1

    run(main())


def test_who_is_cancelled_in_the_moment_of_being_let_in_gives_the_place_back() -> None:
    async def main() -> None:
        turns = Turns(Door("m", 1, tokens=100))
        await turns.come("running", tokens=50)
        await turns.come("a", tokens=40)
        turns.door.leave()
        turns.tasks["a"].cancel()  # its future is set, its task has not run yet
        await settle()
        assert (turns.door.running, turns.door.waiting) == (0, 0) and turns.order == ["running"]
        await turns.come("b", tokens=50)
        assert turns.order == ["running", "b"], "the tokens came back with the place"

    run(main())


def test_a_big_call_at_the_head_is_not_overtaken_and_frees_the_way_when_it_goes() -> None:
    now = [0.0]

    async def main() -> None:
        turns = Turns(Door("m", 8, tokens=100, clock=lambda: now[0]))
        await turns.come("first", tokens=80)
        await turns.come("big", tokens=90)
        await turns.come("small", tokens=10)
        assert turns.order == ["first"]
        turns.tasks["big"].cancel()
        await settle()
        assert turns.order == ["first", "small"]

    run(main())


def test_requests_a_minute_are_kept_whatever_the_timers_do() -> None:
    """1200 a minute: 1200 at once, then one each 50 ms."""

    async def main() -> None:
        door = Door("m", 10_000, requests=1200)
        began, counted = door.clock(), 0

        async def one() -> None:
            nonlocal counted
            await door.enter()
            counted += 1
            assert counted <= 1200 + (door.clock() - began) * 20 + 1e-6

        await asyncio.gather(*(one() for _ in range(1206)))
        assert counted == 1206

    run(main())


def test_a_pause_lets_nobody_in_until_it_is_over() -> None:
    async def main() -> None:
        turns = Turns(Door("m", 4))
        turns.door.pause(0.05)
        await turns.come("a")
        await turns.come("b")
        assert turns.order == []
        await asyncio.gather(*turns.tasks.values())
        assert turns.order == ["a", "b"]

    run(main())


def test_whoever_waits_can_be_sent_away() -> None:
    async def main() -> None:
        turns = Turns(Door("m", 1))
        for name in ("running", "a", "b"):
            await turns.come(name)
        turns.door.turn_away("m: closed")
        ends = await asyncio.gather(turns.tasks["a"], turns.tasks["b"], return_exceptions=True)
        assert [str(end) for end in ends] == ["m: closed"] * 2 and turns.door.waiting == 0
        await turns.leave()
        await turns.come("c")
        assert turns.order == ["running", "c"]

    run(main())


@given(st.lists(st.sampled_from(["come", "leave", "cancel"]), max_size=40), st.integers(1, 3))
def test_places_are_neither_lost_nor_made(moves: list[str], places: int) -> None:
    async def main() -> None:
        turns = Turns(Door("m", places))
        for number, move in enumerate(moves):
            if move == "come":
                await turns.come(f"{number}", number % 3)
            elif move == "leave" and turns.door.running:
                await turns.leave()
            elif move == "cancel" and turns.tasks:
                turns.tasks[sorted(turns.tasks)[number % len(turns.tasks)]].cancel()
                await settle()
            assert turns.door.running <= places
            assert turns.door.running == places or not turns.door.waiting, "nobody waits beside a free place"
        for task in turns.tasks.values():
            task.cancel()

    run(main())
