"""The door of one model: how many calls at once, how many requests and tokens a minute, and who goes in next.

Knows nothing of backends; a call enters, runs, and leaves. One event loop a door.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from agentfleet.errors import Unavailable

AGE = 10.0
"""Seconds of waiting that make up for one class of priority, so that nobody waits for ever."""

SHARE = 1.0
"""Seconds by which each call of a run that waits already puts off the next one of the same run: so runs take turns, and
one that asks a thousand things at once does not keep another's first question waiting."""

MOST_WAITING = 10_000
"""Calls that may wait for one model; one more is turned away at once."""

_TINY = 1e-9

Clock = Callable[[], float]


class Bucket:
    """So many a minute, refilled evenly: the rule by which the providers themselves count.

    Our own, because limiters from elsewhere serve strictly in order of arrival and take nothing back: a call reserves
    the tokens that it may use, and what it did not use is returned.
    """

    def __init__(self, per_minute: float, now: float) -> None:
        self.size = float(per_minute)
        self.level = self.size
        self._at = now

    def lacks(self, amount: float, now: float) -> float:
        """Seconds until there is room for `amount`; more than fits at all waits for a full bucket."""
        self.level = min(self.size, self.level + (now - self._at) * self.size / 60)
        self._at = now
        missing = min(amount, self.size) - self.level
        return missing * 60 / self.size if missing > _TINY else 0.0

    def take(self, amount: float) -> None:
        """Use up; a negative amount gives back. May go below zero: then others wait the longer."""
        self.level = min(self.size, self.level - amount)


@dataclass(slots=True, eq=False)
class _Waiter:
    turn: tuple[float, int]
    tokens: float
    run: str
    future: asyncio.Future[None]

    def __lt__(self, other: _Waiter) -> bool:
        return self.turn < other.turn


@dataclass(slots=True)
class Door:
    """Lets calls of one model in. `requests` and `tokens`: per minute, None for no limit. `most`: that may wait."""

    name: str
    concurrency: int
    requests: int | None = None
    tokens: int | None = None
    most: int = MOST_WAITING
    clock: Clock = time.monotonic
    running: int = 0
    _buckets: tuple[Bucket | None, Bucket | None] = (None, None)
    _shut: float = 0.0
    _queue: list[_Waiter] = field(default_factory=list)
    _waits: Counter[str] = field(default_factory=Counter)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        now = self.clock()
        self._shut = now
        per_minute = (self.requests, self.tokens)
        self._buckets = tuple(None if rate is None else Bucket(rate, now) for rate in per_minute)  # type: ignore[assignment]

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return len(self._queue)

    @property
    def paused(self) -> float:
        """Seconds for which the server wants nobody let in."""
        return max(0.0, self._shut - self.clock())

    async def enter(self, priority: int = 0, tokens: float = 0, since: float | None = None, run: str = "") -> None:
        """Wait for a turn. `priority`: low goes first. `tokens`: that the call may use. `since`: when it began to wait.

        `run`: whose call it is; calls of one run that wait together take turns with those of others.

        Raises Unavailable when too many wait. Whoever came in calls `leave`; whoever is cancelled is out of the queue.
        """
        now = self.clock()
        if not self._queue and self.running < self.concurrency and not self._delay(tokens, now):
            self._admit(tokens)
            return
        if len(self._queue) >= self.most:
            raise Unavailable(f"{self.name}: {len(self._queue)} calls wait for it already, and no more may")
        # All of them age alike, so the order of two never changes: a class is worth AGE seconds of arrival.
        arrived = (now if since is None else since) + priority * AGE
        turn = (arrived + (self._waits[run] * SHARE if run else 0.0), next(self._numbers))
        waiter = _Waiter(turn, tokens, run, asyncio.get_running_loop().create_future())
        heapq.heappush(self._queue, waiter)
        self._waits[run] += 1
        try:
            self._next()
            await waiter.future
        except asyncio.CancelledError:
            self._give_up(waiter)
            raise
        finally:
            self._waits[run] -= 1
            if not self._waits[run]:
                del self._waits[run]

    def leave(self, unused: float = 0) -> None:
        """A call is over. `unused`: tokens that it reserved and did not use, negative for what it used beyond."""
        self.running -= 1
        bucket = self._buckets[1]
        if unused and bucket is not None:
            bucket.take(-unused)
        if self._queue:
            self._next()

    def pause(self, seconds: float) -> None:
        """Let nobody in for so long: the server asked for it."""
        self._shut = max(self._shut, self.clock() + seconds)

    def turn_away(self, reason: str) -> None:
        """Whoever waits gets Unavailable at once."""
        queue, self._queue = self._queue, []
        for waiter in queue:
            if not waiter.future.done():
                waiter.future.set_exception(Unavailable(reason))

    def _delay(self, tokens: float, now: float) -> float:
        """Seconds until limits and pauses let the next call in."""
        requests, budget = self._buckets
        delay = max(0.0, self._shut - now)
        if requests is not None:
            delay = max(delay, requests.lacks(1, now))
        return delay if budget is None else max(delay, budget.lacks(tokens, now))

    def _admit(self, tokens: float) -> None:
        self.running += 1
        for bucket, amount in zip(self._buckets, (1, tokens), strict=True):
            if bucket is not None:
                bucket.take(amount)

    def _next(self) -> None:
        """Let in who may go in now; see to it that this is asked again when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue and self.running < self.concurrency:
            first = self._queue[0]
            if not first.future.done():
                delay = self._delay(first.tokens, self.clock())
                if delay:
                    self._timer = asyncio.get_running_loop().call_later(delay, self._next)
                    return
                self._admit(first.tokens)
                first.future.set_result(None)
            heapq.heappop(self._queue)

    def _give_up(self, waiter: _Waiter) -> None:
        if not waiter.future.cancelled():
            if waiter.future.exception() is None:  # let in and cancelled in the same breath
                self.leave(waiter.tokens)
            return
        with suppress(ValueError):
            self._queue.remove(waiter)
            heapq.heapify(self._queue)
        self._next()
