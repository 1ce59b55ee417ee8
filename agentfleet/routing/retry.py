"""May a failed request be sent again, and when? Back-off with full jitter, `Retry-After`, and a budget of retries.

The only place that repeats a request for reasons of transport. What is wrong with an answer is the ladder's business.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from agentfleet.errors import BackendError, Unavailable

RETRIES = 2
"""Requests after the first one, where the fleet file does not say otherwise."""

FIRST = 0.5
"""Seconds: the longest pause before the first retry. It doubles with each."""

LONGEST = 8.0
"""Seconds: the longest pause that is our own choice."""

MOST_ASKED = 30.0
"""Seconds of `Retry-After` that are waited for; a server that asks for more counts as unavailable."""

THROTTLED = 429


def pause(
    error: BackendError, done: int, retries: int, left: float | None, chance: float | None = None
) -> float | None:
    """Seconds to wait before the same request again; None: do not.

    `done`: requests sent so far. `left`: seconds until the deadline. `chance`: 0 to 1, drawn when None.
    """
    if not isinstance(error, Unavailable) or not error.retryable or done > retries:
        return None
    draw = random.random() if chance is None else chance
    wait = draw * min(LONGEST, FIRST * 2.0 ** (done - 1))
    if error.retry_after is not None:
        if error.retry_after > MOST_ASKED:
            return None
        wait = error.retry_after + draw * FIRST  # not all of them in the same moment
    return None if left is not None and wait >= left else wait


@dataclass(slots=True)
class RetryBudget:
    """A share of the recent calls may be retried, and a few beside, so that a storm cannot feed itself.

    `share`: retries for each call. `floor`: retries that there are after a quiet time. `most`: that can be saved up.
    `trickle`: retries a second by which an empty budget comes back to its floor.
    """

    share: float = 0.1
    floor: float = 10.0
    most: float = 50.0
    trickle: float = 0.1
    left: float = field(default=-1.0)
    _at: float | None = None

    def __post_init__(self) -> None:
        if self.left < 0:
            self.left = self.floor

    def called(self) -> None:
        """A call began."""
        self.left = min(self.most, self.left + self.share)

    def spend(self, now: float) -> bool:
        """Take one retry. False when there is none left."""
        if self._at is not None and self.left < self.floor:
            self.left = min(self.floor, self.left + (now - self._at) * self.trickle)
        self._at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True
