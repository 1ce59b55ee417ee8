"""Does a graph fit a fleet? Asked once before the first call: tiers, keys, and labels along every edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from agentfleet.errors import FleetError, LabelError
from agentfleet.fleet.config import project_root, resolve_key
from agentfleet.fleet.model import PERSON, Fleet
from agentfleet.labels import LEVELS
from agentfleet.routing.dispatch import Dispatcher
from agentfleet.routing.eligible import clearance

if TYPE_CHECKING:
    from agentfleet.graph.step import Step

_checked: WeakKeyDictionary[Step[..., Any], set[str]] = WeakKeyDictionary()


def check_fit(step: Step[..., Any], fleet: Fleet) -> None:
    """Raises FleetError (tier, model), MissingKey or LabelError. A graph that passed is not asked again."""
    passed = _checked.setdefault(step, set())
    if fleet.digest in passed:
        return
    for problem in tier_problems(step, fleet):
        raise FleetError(problem)
    for model in fleet.models:
        if model.key is not None:
            resolve_key(model)
    for problem in label_problems(step, fleet):
        raise LabelError(problem)
    passed.add(fleet.digest)


def tier_problems(step: Step[..., Any], fleet: Fleet) -> Iterator[str]:
    """One line a step that names a tier or model the fleet does not have."""
    for part in parts(step):
        for tier in (part.options.tier, part.tier, part.up_to):
            if tier is not None:
                try:
                    fleet.tier_index(tier)
                except FleetError as error:
                    yield f"{part.name} ({part.file}:{part.line}): {error}"
        if part.options.model is not None and all(m.name != part.options.model for m in fleet.models):
            names = ", ".join(m.name for m in fleet.models)
            yield f"{part.name}: the fleet has no model {part.options.model!r}; it has: {names}"


def label_problems(step: Step[..., Any], fleet: Fleet) -> list[str]:
    """One line a step whose data may be seen by no rung of its ladder: a model, a head, a person."""
    from agentfleet.graph.check import label_problems as along_edges

    if step.is_skill:  # by itself it is not refused: its rungs are skipped, and its `on_fail` decides
        return []

    dispatcher = Dispatcher(fleet, project_root() / ".agentfleet" / "heads")  # it alone knows where a head comes first

    def sees(part: Step[..., Any]) -> Sequence[tuple[str, str]]:
        ladder = dispatcher.ladder(part)
        asks = [(PERSON, LEVELS[-1])] if ladder.person else []
        return [(model.name, clearance(model)) for model in ladder.models.values()] + asks

    return along_edges(step, sees)


def parts(step: Step[..., Any]) -> Iterator[Step[..., Any]]:
    """The step and all that stand inside it: nodes of subgraphs, inner steps, tools."""
    seen: set[int] = set()
    stack = [step]
    while stack:
        one = stack.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if one.kind == "graph":
            stack += [node.step for node in one.dag.nodes.values()]  # type: ignore[attr-defined]
        if one.inner is not None:
            stack.append(one.inner)
        stack += list(one.tools)
