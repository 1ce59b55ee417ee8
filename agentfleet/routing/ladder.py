"""The climb of one step over its rungs, as a generator without I/O (the way httpx writes its auth flows).

It yields a `May` and is sent why the rung may not try ("" when it may), a `Call` and is sent a Completion or a
BackendError, a `Judge` and is sent the problem that the checks found ("" for none). It ends with an `Answer` or a
`Stuck`. Sync, async, replay and tests drive the same core.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from agentfleet.backends.backend import Completion
from agentfleet.errors import BackendError, CallTimeout, Refused
from agentfleet.prompt import Note, Prompt
from agentfleet.routing.outcome import REASK, Attempt, Outcome
from agentfleet.schema import ABSTAINED, Invalid, Output

MAX_ATTEMPTS = 8
"""Calls per step over all rungs, unless the task says otherwise."""

_UNAVAILABLE = frozenset({Outcome.UNAVAILABLE, Outcome.TIMEOUT})


@dataclass(frozen=True, slots=True)
class Rung:
    """One level that a step may try: `tries` calls at most. A scored or trained rung gives one answer: tries 1."""

    tier: str
    model: str
    tries: int = 2


@dataclass(frozen=True, slots=True)
class May:
    """May this rung try with this prompt? Send back why not, "" when it may."""

    rung: Rung
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Call:
    """Ask this rung. `number` counts the step's attempts from 1, those of earlier processes included."""

    rung: Rung
    prompt: Prompt
    number: int


@dataclass(frozen=True, slots=True)
class Judge:
    """Run the step's checks on a value; send back the problem, "" when there is none."""

    value: Any


@dataclass(frozen=True, slots=True)
class Task:
    """What one step wants. `prior`: attempts already recorded.

    `empty`: allowed tiers in which the fleet has no model. `person`: may a person be asked at the end?
    """

    prompt: Prompt
    output: Output
    rungs: tuple[Rung, ...]
    min_confidence: float | None = None
    climb_on_refusal: bool = False
    max_attempts: int = MAX_ATTEMPTS
    empty: tuple[str, ...] = ()
    person: bool = False
    prior: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An accepted value, with the attempt that gave it."""

    value: Any
    attempt: Attempt
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Stuck:
    """No rung gave an acceptable value. `reason`: person, model (wait for one) or failed. `best`: the last value that
    was parsed though not accepted; `best_number`: of its attempt, 0 when there is none.
    """

    reason: str
    why: str
    attempts: tuple[Attempt, ...]
    best: Any = None
    best_number: int = 0


Yield: TypeAlias = May | Call | Judge
Send: TypeAlias = Completion | BackendError | str
Climb: TypeAlias = Generator[Yield | Attempt, Any, Answer | Stuck]


@dataclass
class _State:
    """What the climb has seen so far."""

    task: Task
    attempts: list[Attempt] = field(default_factory=list)
    evidence: list[Note] = field(default_factory=list)
    best: Any = None
    best_number: int = 0
    refused: bool = False

    def calls(self) -> int:
        return sum(a.outcome is not Outcome.SKIPPED for a in self.attempts)

    def hand_up(self, last: Attempt) -> None:
        """What a rung that is done with leaves for the next: its answer as evidence, or that it refused."""
        self.refused = last.outcome is Outcome.REFUSED
        if last.outcome in REASK:
            self.evidence.append(Note("evidence", last.answer, last.problem))

    def recall(self) -> None:
        """Take up the best value of an earlier process again."""
        for attempt in self.task.prior:
            if attempt.outcome in (Outcome.REJECTED, Outcome.UNSURE):
                try:
                    self.best, self.best_number = self.task.output.parse(attempt.answer), attempt.number
                except Invalid:  # what is wanted has changed since
                    continue

    def stuck(self) -> Stuck:
        reason, why = _verdict(self)
        return Stuck(reason, why, tuple(self.attempts), self.best, self.best_number)


def climb(task: Task) -> Climb:
    """Try the rungs in order. Yields each finished `Attempt` too, so that the driver can record it at once."""
    state = _State(task, list(task.prior))
    state.recall()
    for rung in task.rungs:
        if state.calls() >= task.max_attempts:
            break
        if _settled_before(rung, task.prior):
            state.hand_up(_lasting(rung, task.prior)[-1])
            if state.refused and not task.climb_on_refusal:
                break
            continue
        answer = yield from _try_rung(rung, state)
        if answer is not None:
            return answer
        if state.refused and not task.climb_on_refusal:
            break
    return state.stuck()


def _settled_before(rung: Rung, prior: Sequence[Attempt]) -> bool:
    """Was this rung already tried to its end by an earlier process? Outages and skips are worth another try."""
    lasting = _lasting(rung, prior)
    return bool(lasting) and (lasting[-1].outcome not in REASK or len(lasting) >= rung.tries)


def _lasting(rung: Rung, prior: Sequence[Attempt]) -> list[Attempt]:
    tried = [a for a in prior if (a.tier, a.model) == (rung.tier, rung.model)]
    return [a for a in tried if a.outcome not in _UNAVAILABLE and a.outcome is not Outcome.SKIPPED]


def _try_rung(rung: Rung, state: _State) -> Generator[Yield | Attempt, Any, Answer | None]:
    before = _lasting(rung, state.task.prior)
    notes = [*state.evidence, *(Note("re-ask", a.answer, a.problem) for a in before)]
    for _ in range(rung.tries - len(before)):
        if state.calls() >= state.task.max_attempts:
            return None
        prompt = state.task.prompt.with_notes(notes)
        reason = yield May(rung, prompt)
        if reason:
            skipped = Attempt(len(state.attempts) + 1, rung.tier, rung.model, Outcome.SKIPPED, reason)
            state.attempts.append(skipped)
            yield skipped
            return None
        call = Call(rung, prompt, len(state.attempts) + 1)
        reply = yield call
        attempt, value = yield from _assess(call, reply, state)
        state.attempts.append(attempt)
        yield attempt
        if attempt.outcome is Outcome.VALID:
            return Answer(value, attempt, tuple(state.attempts))
        if attempt.outcome not in REASK:
            break
        notes.append(Note("re-ask", attempt.answer, attempt.problem))
    state.hand_up(state.attempts[-1])
    return None


def _assess(call: Call, reply: Send, state: _State) -> Generator[Yield | Attempt, Any, tuple[Attempt, Any]]:
    """Turn what came back into an attempt; asks for the checks when the answer parses and is sure enough."""
    if isinstance(reply, BackendError):
        return _failed(call, reply), None
    assert isinstance(reply, Completion)
    if reply.finish == "refusal":
        return _attempt(call, reply, Outcome.REFUSED, "the model declined to answer"), None
    if reply.finish == "length":
        return _attempt(call, reply, Outcome.TRUNCATED, "the answer was cut at its token limit"), None
    try:
        value = state.task.output.parse(reply.text)
    except Invalid as error:
        return _attempt(call, reply, Outcome.INVALID, str(error)), None
    if value is ABSTAINED:
        return _attempt(call, reply, Outcome.ABSTAINED, "the model abstained"), None
    state.best, state.best_number = value, call.number
    confidence = _confidence(reply)
    floor = state.task.min_confidence
    if floor is not None and confidence is not None and confidence < floor:
        mark = "" if reply.calibrated else ", uncalibrated"
        return _attempt(call, reply, Outcome.UNSURE, f"confidence {confidence:.2f} is below {floor}{mark}"), value
    problem = yield Judge(value)
    return _attempt(call, reply, Outcome.REJECTED if problem else Outcome.VALID, problem), value


def _confidence(reply: Completion) -> float | None:
    return max(reply.distribution.values()) if reply.distribution else None


def _failed(call: Call, error: BackendError) -> Attempt:
    outcome = Outcome.UNAVAILABLE
    if isinstance(error, CallTimeout):
        outcome = Outcome.TIMEOUT
    elif isinstance(error, Refused):
        outcome = Outcome.REFUSED
    shown = tuple({"role": m.role, "content": m.content} for m in call.prompt.messages())
    return Attempt(call.number, call.rung.tier, call.rung.model, outcome, str(error), prompt=shown)


def _attempt(call: Call, reply: Completion, outcome: Outcome, problem: str) -> Attempt:
    return Attempt(
        number=call.number,
        tier=call.rung.tier,
        model=call.rung.model,
        outcome=outcome,
        problem=problem,
        answer=reply.text,
        prompt=tuple({"role": m.role, "content": m.content} for m in call.prompt.messages()),
        usage=reply.usage,
        cost=reply.cost,
        seconds=reply.seconds,
        confidence=_confidence(reply),
        calibrated=reply.calibrated,
        distribution=reply.distribution,
        option_mass=reply.option_mass,
    )


def _verdict(state: _State) -> tuple[str, str]:
    """Wait for a person, wait for a model, or fail; and the sentence that says why."""
    history = "; ".join(f"{a.model}: {a.outcome.value} ({a.problem})" for a in state.attempts)
    none = f"no model in tier {' or '.join(state.task.empty)}" if state.task.empty else ""
    if state.refused and not state.task.climb_on_refusal:
        return "failed", history
    if state.task.person:
        return "person", history or (
            none and f"{none}, so a person is asked"
        ) or "a person is asked by design (tier person)"
    if none:
        return "model", f"{none}; {history}" if history else none
    last: dict[tuple[str, str], Outcome] = {(a.tier, a.model): a.outcome for a in state.attempts}
    if any(outcome in _UNAVAILABLE for outcome in last.values()):
        return "model", history
    return "failed", history or "no model may be asked"
