"""What this process has seen of its models: how long calls took, how long answers were, who is busy. Forgets what is old.

One per dispatcher, used from its event loop alone. It measures nothing itself: it is told, and is asked for quantiles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

KEPT = 16
"""Calls that are remembered of one model for one kind and size of request."""

AGE = 300.0
"""Seconds after which a call says nothing any more: what was slow may be fast again, and is tried anew."""

FEW = 3
"""With fewer calls of that size, all calls of that model and kind are asked."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands between a request and one model at this moment. `shut`: why its circuit lets nobody through, "" when it
    does. `paused`: seconds that its server wants to be left alone. `inside`: calls of this process that run or wait there,
    `elsewhere`: those of others. `places`: calls that its endpoint serves at once, None when it does not tell.
    """

    shut: str = ""
    paused: float = 0.0
    inside: int = 0
    elsewhere: int = 0
    places: int | None = None


IDLE = Standing()


@dataclass(slots=True)
class Watch:
    """`busy`: climbs that stand at a model now, whether their call is queued, running or being judged."""

    busy: dict[str, int] = field(default_factory=dict)
    _times: dict[tuple[str, str], dict[int, deque[tuple[float, float]]]] = field(default_factory=dict)
    _answers: dict[str, deque[int]] = field(default_factory=dict)

    def saw(self, model: str, kind: str, tokens: int, seconds: float, now: float) -> None:
        """A call of `model` for an answer of this kind ended, well or by its time limit. `now`: any clock, in seconds."""
        sizes = self._times.setdefault((model, kind), {})
        sizes.setdefault(_size(tokens), deque(maxlen=KEPT)).append((now, seconds))

    def answered(self, step: str, tokens: int) -> None:
        """An answer of this step was so many tokens long; 0: it was not told."""
        if tokens:
            self._answers.setdefault(step, deque(maxlen=KEPT)).append(tokens)

    def answer_tokens(self, step: str, bound: int) -> int:
        """How long an answer of this step usually is: the median so far, else its bound."""
        seen = self._answers.get(step)
        return min(bound, round(_quantile(seen, 0.5))) if seen else bound

    def seconds(self, model: str, kind: str, tokens: int, now: float) -> tuple[float, float] | None:
        """Median and 95th percentile of the calls of this kind and size, None when none was seen lately."""
        sizes = self._times.get((model, kind))
        if not sizes:
            return None
        near = [s for when, s in sizes.get(_size(tokens), ()) if now - when <= AGE]
        if len(near) < FEW:
            near = [s for calls in sizes.values() for when, s in calls if now - when <= AGE]
        return (_quantile(near, 0.5), _quantile(near, 0.95)) if near else None

    def enter(self, model: str) -> None:
        """A climb stands at this model from now on."""
        self.busy[model] = self.busy.get(model, 0) + 1

    def leave(self, model: str) -> None:
        """It does no longer."""
        self.busy[model] -= 1


def _size(tokens: int) -> int:
    """Powers of two: calls of 1000 and 1900 tokens are alike."""
    return tokens.bit_length()


def _quantile(values: Iterable[float], share: float) -> float:
    """Linear between its neighbours; `values` is not empty."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
