"""The record of a run: value, status, cost, the steps by node path with every attempt, and what it waits for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from agentfleet.errors import RunCancelled, RunFailed, RunWaiting
from agentfleet.labels import Label
from agentfleet.routing.outcome import Attempt, Outcome
from agentfleet.verbatim.held import Span

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Wait:
    """A node that waits. `reason`: person, model or failed (after ``on_fail=OnFail.WAIT``).

    `question`: what was, or would be, shown to a model or person. `schema`: JSON Schema of the answer. `step`:
    "module:qualname". `inputs`: of a planner, as JSON data, since its plan points at them.
    """

    path: str
    reason: str
    why: str
    question: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)
    step: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "reason": self.reason,
            "why": self.why,
            "question": self.question,
            "schema": dict(self.schema),
            "step": self.step,
            "inputs": dict(self.inputs),
        }


class StepRecord(NamedTuple):
    """One node of a run. `tier` "" and `model` "code": Python answered. `cost` in US dollars, `seconds` wall time.

    `state`: done, waiting or failed. `outcome`: that of the accepted (or last) attempt. `reused`: taken from an
    earlier process of the same run. `name`: that of the step, where the record was made in this process.
    """

    path: str
    state: str
    value: Any = None
    tier: str = ""
    model: str = "code"
    outcome: str = "valid"
    attempts: tuple[Attempt, ...] = ()
    cost: float = 0.0
    label: Label = Label()
    seconds: float = 0.0
    waiting: Wait | None = None
    error: str = ""
    kind: str = "step"
    fallback: bool = False
    reused: bool = False
    value_json: str | None = None
    name: str = ""

    @property
    def evidence(self) -> dict[str, list[Span]]:
        """Path of each Verbatim field → where its value stands: (part, start, end).

        `part` counts what the skill gave to ``ask`` from 0, `start` and `end` are characters of its text (of its JSON
        where it is no str). "" is the path of the whole value. Empty where no model's answer was accepted.
        """
        accepted = next((a for a in reversed(self.attempts) if a.outcome is Outcome.VALID), None)
        if accepted is None or self.state != "done" or self.fallback:
            return {}
        found = accepted.extra.get("evidence", {})
        return {path: [Span(*place) for place in places] for path, places in found.items()}

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "value": None if self.value_json is None else json.loads(self.value_json),
            "state": self.state,
            "kind": self.kind,
            "tier": self.tier,
            "model": self.model,
            "outcome": self.outcome,
            "cost": self.cost,
            "attempts": [attempt.to_json() for attempt in self.attempts],
            "evidence": self.evidence,
            "error": self.error,
        }


@dataclass(frozen=True, repr=False)
class Run(Generic[R]):
    """What ``.run`` and ``.arun`` return.

    `result`: the value, or None when there is none yet. `cost`: US dollars of all attempts whose price is known;
    `unpriced`: how many had none. `repeated`: calls that were in flight when an earlier process died.
    """

    id: str
    graph: str
    status: str
    result: R | None = None
    error: str = ""
    steps: Mapping[str, StepRecord] = field(default_factory=dict)
    cost: float = 0.0
    unpriced: int = 0
    repeated: int = 0
    seconds: float = 0.0
    result_json: str | None = None
    cause: BaseException | None = field(default=None, repr=False, compare=False)

    @property
    def value(self) -> R:
        """The value. Raises RunWaiting, RunFailed or RunCancelled when the run has none."""
        if self.status == "done":
            return self.result  # type: ignore[return-value]
        if self.status in ("waiting", "paused"):
            raise RunWaiting(self._waiting_text())
        if self.status == "cancelled":
            raise RunCancelled(f"run {self.id} of {self.graph} was cancelled: {self.error or 'on request'}")
        raise RunFailed(f"run {self.id} of {self.graph} failed: {self.error}") from self.cause

    @property
    def waiting(self) -> list[Wait]:
        """Every node that waits, in the order of the run."""
        return [step.waiting for step in self.steps.values() if step.state == "waiting" and step.waiting is not None]

    @property
    def attempts(self) -> list[tuple[str, Attempt]]:
        """Every attempt of every step, as (path, attempt)."""
        return [(path, attempt) for path, step in self.steps.items() for attempt in step.attempts]

    def _waiting_text(self) -> str:
        if not self.waiting:
            return f"run {self.id} of {self.graph} is {self.status}; agentfleet resume {self.id}"
        first = self.waiting[0]
        how = {
            "person": f"agentfleet answer {self.id} {first.path} JSON",
            "model": f"name a model (fleet file or --frontier) and: agentfleet resume {self.id}",
        }.get(first.reason, f"agentfleet answer {self.id} {first.path} JSON")
        return f"run {self.id} of {self.graph} waits at {first.path} ({first.reason}): {first.why}. To go on: {how}"

    def to_json(self) -> dict[str, Any]:
        """One JSON-able object: run_id, status, value, cost, steps, and the rest."""
        return {
            "run_id": self.id,
            "graph": self.graph,
            "status": self.status,
            "value": None if self.result_json is None else json.loads(self.result_json),
            "cost": self.cost,
            "unpriced": self.unpriced,
            "error": self.error,
            "waiting": [wait.to_json() for wait in self.waiting],
            "steps": {path: step.to_json() for path, step in self.steps.items()},
        }

    def __repr__(self) -> str:
        waits = f", waiting at {', '.join(wait.path for wait in self.waiting)}" if self.waiting else ""
        return f"<Run {self.id} of {self.graph}: {self.status}, {len(self.steps)} steps, {_dollars(self.cost)}{waits}>"

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><td>{escape(p)}</td><td>{escape(s.tier)}</td><td>{escape(s.model)}</td><td>{escape(s.outcome)}</td>"
            f"<td>{len(s.attempts)}</td><td>{escape((s.value_json or '')[:200])}</td></tr>"
            for p, s in self.steps.items()
        )
        head = "<tr><th>step</th><th>tier</th><th>model</th><th>outcome</th><th>attempts</th><th>value</th></tr>"
        title = f"{escape(self.graph)} {escape(self.id)}: {escape(self.status)}, {_dollars(self.cost)}"
        told = self._waiting_text() if self.waiting else self.error
        return f"<p>{title}</p>{f'<p>{escape(told)}</p>' if told else ''}<table>{head}{rows}</table>"


def _dollars(cost: float) -> str:
    return f"${cost:.4f}" if cost else "$0"
