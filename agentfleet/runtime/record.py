"""From rows of the ledger to the record of a run, for `show`, `runs` and a run that ended in another process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agentfleet.labels import Label
from agentfleet.ledger.records import NodeRow, Record
from agentfleet.routing.outcome import Attempt
from agentfleet.runtime.run import Run, StepRecord, Wait

if TYPE_CHECKING:
    from agentfleet.graph.step import Step


def run_of(record: Record, step: Step[..., Any] | None) -> Run[Any]:
    """The record as a `Run`. Values are plain JSON data; the result is of the step's type when `step` is given."""
    attempts: dict[tuple[str, str], list[Attempt]] = {}
    for row in record.attempts:
        attempts.setdefault((row.path, row.fingerprint), []).append(Attempt.from_json(json.loads(row.body)))
    steps = {node.path: _step(node, tuple(attempts.get((node.path, node.fingerprint), ()))) for node in record.nodes}
    run = record.run
    result = None if run.value is None else json.loads(run.value)
    if step is not None and run.value is not None:
        result = step.codec.load(run.value)
    return Run(
        id=run.id, graph=run.graph, status=run.status, result=result, error=_message(run.error), steps=steps,
        cost=run.cost, unpriced=run.unpriced, repeated=run.repeated, seconds=max(run.updated - run.created, 0.0),
        result_json=run.value,
    )  # fmt: skip


def _step(node: NodeRow, attempts: tuple[Attempt, ...]) -> StepRecord:
    waiting = None
    if node.state == "waiting" and node.waiting:
        waiting = Wait(**json.loads(node.waiting))
    return StepRecord(
        path=node.path, state=node.state, value=None if node.value is None else json.loads(node.value),
        tier=node.tier, model=node.model, outcome=node.outcome, attempts=attempts, cost=node.cost,
        label=Label() if node.label == "{}" else Label.from_json(json.loads(node.label)),
        seconds=max(node.finished - node.started, 0.0), waiting=waiting, error=_message(node.error), kind=node.kind,
        fallback=node.waiting == "fallback", reused=True, value_json=node.value,
    )  # fmt: skip


def _message(error: str | None) -> str:
    return "" if not error else str(json.loads(error).get("message", error))
