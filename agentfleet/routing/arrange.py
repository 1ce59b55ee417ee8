"""Puts the stages together: the ladder of one request, after the fleet's rules, each tier in the order of the objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from agentfleet.fleet.model import Fleet, Model
from agentfleet.fleet.rules import Objective, Rule
from agentfleet.routing.choose import Estimate, estimate, order, pressed
from agentfleet.routing.describe import Description
from agentfleet.routing.dispatch import HEAD, Dispatcher, Ladder
from agentfleet.routing.ladder import Rung
from agentfleet.routing.rules import rule_for

if TYPE_CHECKING:
    from agentfleet.graph.step import Step

Place = tuple[str, str]
"""(tier, model) of a rung."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The ladder of one request. `rule`: the one that applied. `estimates`: of the rungs that had to be compared."""

    ladder: Ladder
    objective: Objective
    rule: Rule | None = None
    estimates: Mapping[Place, Estimate] = field(default_factory=dict)

    def avoided(self, model: Model) -> str:
        """Why the rule leaves this model out; "" when it does not."""
        out = self.rule is not None and model.name in self.rule.then.avoid
        return f"rule: {model.name} is left out ({self.rule})" if out else ""


def arrange(
    dispatcher: Dispatcher, step: Step[..., Any], wanted: Description, now: float, share_left: float | None = None
) -> Arrangement:
    """The rungs that this request may try, in order. `now`: seconds of a monotonic clock. `share_left`: of its budget.

    A model that the code names (``using(model=...)``) stays: rules say what is usual, code what is meant here.
    """
    pinned = step.options.model is not None
    rule = None if pinned or not dispatcher.fleet.rules else rule_for(dispatcher.fleet.rules, wanted)
    moved = step if rule is None else _moved(step, rule, dispatcher.fleet)
    ladder = dispatcher.ladder(moved)
    stated = step.options.objective or (rule.then.objective if rule else None) or "cheapest"
    objective = pressed(stated, share_left)
    if not _has_choice(ladder):
        return Arrangement(ladder, objective, rule)
    estimates = {
        place: estimate(model, wanted, dispatcher.watch, now, standing=dispatcher.standing(model))
        for place, model in ladder.models.items()
        if model.backend != HEAD
    }
    rungs = _ordered(ladder, estimates, objective, wanted.deadline)
    return Arrangement(replace(ladder, rungs=rungs), objective, rule, estimates)


def _moved(step: Step[..., Any], rule: Rule, fleet: Fleet) -> Step[..., Any]:
    """The step as the rule wants it: on one model, or begun at another tier, though never above its own `up_to`."""
    if rule.then.model is not None:
        return step.using(model=rule.then.model)
    if rule.then.tier is None:
        return step
    tier = rule.then.tier
    if step.up_to is not None and fleet.tier_index(tier) > fleet.tier_index(step.up_to):
        tier = step.up_to
    return step.using(tier=tier)


def _has_choice(ladder: Ladder) -> bool:
    """Do two models stand in one tier? Heads come first whatever the objective: they cost nothing and take no time."""
    tiers = [rung.tier for rung in ladder.rungs if rung.model != HEAD]
    return len(set(tiers)) < len(tiers)


def _ordered(
    ladder: Ladder, estimates: Mapping[Place, Estimate], objective: Objective, deadline: float | None
) -> tuple[Rung, ...]:
    found: list[Rung] = []
    for _, group in groupby(ladder.rungs, key=lambda rung: rung.tier):
        rungs = list(group)
        found += [rung for rung in rungs if rung.model == HEAD]
        others = [rung for rung in rungs if rung.model != HEAD]
        places = order([estimates[rung.tier, rung.model] for rung in others], objective, deadline)
        found += [others[place] for place in places]
    return tuple(found)
