"""The closing lines of ``agentfleet run``: how many were settled, rightly by gold, what waits, what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from agentfleet.cli import render
from agentfleet.cli.gold import is_right, places_of
from agentfleet.fleet.model import PERSON
from agentfleet.runtime.run import Run

Runs = Mapping[int, Run[Any]]


def print_summary(out: Console, step: Any, runs: Runs, unfit: int, gold: Sequence[Mapping[str, Any]]) -> None:
    """Print them. `runs` by the index of their row, `unfit`: rows that were no input, `gold`: by row, may be empty."""
    places = places_of(step) if gold else {}
    judged = {index: run for index, run in runs.items() if places and index < len(gold)}
    right = {index for index, run in judged.items() if is_right(run, gold[index], _known(run, places))}
    out.print("; ".join([*_counts(runs, unfit, right if judged else None), *_effects(step, runs, right, judged)]))
    out.print(_costs(list(runs.values())))
    _what_waits(out, step, runs)


def _known(run: Run[Any], places: Mapping[str, str]) -> dict[str, str]:
    """Where a run can be compared with gold: one without a value only at its steps."""
    return {key: place for key, place in places.items() if run.status == "done" or not place.startswith("value")}


def _counts(runs: Runs, unfit: int, right: set[int] | None) -> list[str]:
    accepted = {index for index, run in runs.items() if run.status == "done"}
    rightly = "" if right is None else f" (right {len(accepted & right)}, wrong {len(accepted - right)})"
    failed = sum(run.status in ("failed", "cancelled") for run in runs.values()) + unfit
    reason = f" ({unfit} of them not fitting the inputs)" if unfit else ""
    return [f"accepted {len(accepted)}{rightly}", render.waiting_text(list(runs.values())), f"failed {failed}{reason}"]


def _effects(step: Any, runs: Runs, right: set[int], judged: Runs) -> list[str]:
    """``refunds 3 (wrong: 0)``: in how many rows each effect of the graph was carried out, also in runs that failed."""
    from agentfleet.routing.fit import parts

    found: dict[str, set[int]] = {part.name: set() for part in parts(step) if part.effect}
    for index, run in runs.items():
        for record in run.steps.values():
            if record.state == "done" and record.name in found:
                found[record.name].add(index)
    wrong = {name: f" (wrong: {len((rows & set(judged)) - right)})" if judged else "" for name, rows in found.items()}
    return [f"{name}s {len(rows)}{wrong[name]}" for name, rows in found.items()]


def _costs(runs: Sequence[Run[Any]]) -> str:
    cost = render.cost_text(sum(run.cost for run in runs), sum(run.unpriced for run in runs))
    estimate = render.always_frontier(runs)
    if not estimate:
        return f"cost {cost}"
    return (
        f"cost {cost}; estimate of always-frontier for the same steps: ${estimate:.3f} (4 characters a token, "
        f"${render.ESTIMATE_IN:g} and ${render.ESTIMATE_OUT:g} per million tokens in and out)"
    )


def _what_waits(out: Console, step: Any, runs: Runs) -> None:
    waiting = next((run for run in runs.values() if run.status == "waiting" and run.waiting), None)
    if waiting is None:
        return
    path = render.safe(waiting.waiting[0].path)
    out.print("to finish what waits:")
    out.print(f"  agentfleet show {waiting.id}      what is asked")
    out.print(f"  agentfleet answer {waiting.id} {path} JSON --resume      answer it yourself")
    if any(_may_ask_a_model(step, run) for run in runs.values()):
        out.print("  agentfleet resume --frontier anthropic:MODEL      or let a model that you name answer what it may")


def _may_ask_a_model(step: Any, run: Run[Any]) -> bool:
    """Does it wait at a step that a model may try, so that naming one can help? Not where only people decide."""
    from agentfleet.routing.fit import parts

    names = {run.steps[wait.path].name for wait in run.waiting if wait.reason != "failed"}
    asking = (part for part in parts(step) if part.is_skill and part.name in names)
    return any((part.options.tier or part.tier) != PERSON for part in asking)
