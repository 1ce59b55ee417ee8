"""Which models a graph may ask, and whether they are there: known before a run begins, so that it does not begin."""

from __future__ import annotations

from typing import Any

from agentfleet.errors import MissingExtra
from agentfleet.fleet.model import Fleet, Model
from agentfleet.routing.fit import check_fit, parts


def asked_models(step: Any, fleet: Fleet) -> list[Model]:
    """The models on the ladders of all skills inside a graph, each once.

    Raises what keeps the graph from running on this fleet: FleetError, MissingKey, LabelError, ModelFileError.
    """
    from agentfleet.routing.open import open_backend

    fleet = step.options.fleet or fleet
    check_fit(step, fleet)
    found: dict[str, Model] = {}
    for part in parts(step):
        if part.is_skill:
            low = part.options.tier or part.tier or fleet.tiers[0]
            found.update((m.name, m) for _, m in fleet.rungs(low, part.up_to or low, part.options.model))
    for model in found.values():
        if model.backend == "llama_cpp":
            try:
                open_backend(model)  # looks at the file's head; the weights are loaded at the first call
            except MissingExtra:  # then its rungs are skipped
                continue
    return list(found.values())


def runs_at_once(fleet: Fleet) -> int:
    """One run after the other where a single machine does all the work: the first row comes sooner, and so do all."""
    return 1 if all(model.backend == "llama_cpp" for model in fleet.models) else 4
