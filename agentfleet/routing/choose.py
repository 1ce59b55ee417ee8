"""Stage 3 of routing: of models that may all answer, which is asked first? Pure functions over estimates.

cheapest: the cheapest that meets the deadline. fastest: the least predicted seconds. best: the greatest declared quality.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from agentfleet.backends.backend import Usage
from agentfleet.fleet.model import Model
from agentfleet.fleet.prices import cost
from agentfleet.fleet.rules import Objective
from agentfleet.routing.describe import Description
from agentfleet.routing.watch import IDLE, Standing, Watch

PRESSED = 0.2
"""Share of a budget that is left, below which every objective turns to cheapest."""

_NEVER = float("inf")
Key: TypeAlias = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a call is expected to be. `cost`: US dollars, None: price unknown. `seconds`: median with its wait in the
    queue, `slow`: 95th percentile, both None when the model was not timed lately. `quality`: as declared, else None.
    `ahead`: climbs that stand at the model, those of other processes where its endpoint tells. `wait`: seconds until its
    turn, as far as they are known; part of the other two. `standing`: how the model stands now.
    """

    tokens: int
    answer_tokens: int
    cost: float | None
    seconds: float | None
    slow: float | None
    quality: float | None
    ahead: int = 0
    wait: float = 0.0
    standing: Standing = IDLE

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def estimate(
    model: Model, wanted: Description, watch: Watch, now: float, tokens: int | None = None, standing: Standing = IDLE
) -> Estimate:
    """What asking this model would be. `tokens`: of the prompt if it was counted. `now`: of the watch's clock."""
    size = wanted.size(model, tokens)
    bound = model.max_tokens or wanted.answer_tokens
    answer = watch.answer_tokens(wanted.step, bound)
    ahead = max(watch.busy.get(model.name, 0), standing.inside) + standing.elsewhere
    seen = watch.seconds(model.name, wanted.output.kind, wanted.tokens, now)
    seconds, slow, wait = None, None, standing.paused
    if seen is not None:
        places = min(model.concurrency, standing.places or model.concurrency)
        wait += max(0, ahead + 1 - places) / places * seen[0]
        seconds, slow = seen[0] + wait, seen[1] + wait
    price = cost(model, Usage(input_tokens=max(size, 1), output_tokens=answer))
    return Estimate(size, answer, price, seconds, slow, model.quality.get(wanted.kind), ahead, wait, standing)


def order(estimates: Sequence[Estimate], objective: Objective, deadline: float | None = None) -> list[int]:
    """The places of the estimates, the one to ask first in front. What is equal stays in the order given.

    `deadline`: seconds; a model that will probably miss it stands behind all that will not. A model that was not timed
    lately is taken to be fast while nobody stands at it, so that one request tries it, and slow while somebody does.
    One whose circuit is open stands behind all others.
    """
    keys = {"cheapest": _cheapest, "fastest": _fastest, "best": _best}[objective]

    def key(place: int) -> tuple[Any, ...]:
        one = estimates[place]
        return (one.standing.shut != "", _late(one, deadline), *keys(one))

    return sorted(range(len(estimates)), key=key)


def pressed(objective: Objective, share_left: float | None) -> Objective:
    """The objective, or cheapest when little of a budget is left."""
    return "cheapest" if share_left is not None and share_left < PRESSED else objective


def _cheapest(one: Estimate) -> Key:
    return (_price(one), -(one.quality or 0.0), _pace(one))


def _fastest(one: Estimate) -> Key:
    return (_pace(one), _price(one), -(one.quality or 0.0))


def _best(one: Estimate) -> Key:
    return (-(one.quality or 0.0), _price(one), _pace(one))


def _price(one: Estimate) -> float:
    """An unknown price is no low one."""
    return _NEVER if one.cost is None else one.cost


def _pace(one: Estimate) -> float:
    return _untimed(one) if one.seconds is None else one.seconds


def _untimed(one: Estimate) -> float:
    return one.wait if one.ahead == 0 else _NEVER


def _late(one: Estimate, deadline: float | None) -> Key:
    """(0,) in time; (1, seconds) too late, by how much: when all are, the least late is first."""
    if deadline is None:
        return (0.0,)
    slow = _untimed(one) if one.slow is None else one.slow
    return (0.0,) if slow <= deadline else (1.0, slow)
