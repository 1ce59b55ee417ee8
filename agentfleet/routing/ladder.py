"""The climb of one step over its rungs, as a generator without I/O (the way httpx writes its auth flows).

It yields a `May` and is sent why the rung may not try ("" when it may, a `Split` when it may in parts), a `Call` and is
sent a Completion or a BackendError, a `Judge` and is sent the problem that the checks found ("" for none). It ends with
an `Answer` or a `Stuck`. Sync, async, replay and tests drive the same core.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from agentfleet.backends.backend import Completion, Usage
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
class Piece:
    """One part of an input that is too long: its `number` from 1 `of` so many, what is shown and what is wanted.

    `texts`: what its answer must stand in.
    """

    number: int
    of: int
    prompt: Prompt
    output: Output
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """The answers to all parts put together: `text` as a model would have written it, `problem` where they contradict
    each other; or the `prompt` that is asked now in the place of the one that was too long.
    """

    text: str = ""
    problem: str = ""
    prompt: Prompt | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """A prompt that is too long, in parts. `join` gets the value of each by its number; it misses those who abstained."""

    pieces: tuple[Piece, ...]
    join: Callable[[Mapping[int, Any]], Joined]


@dataclass(frozen=True, slots=True)
class May:
    """May this rung try with this prompt? Send back why not, "" when it may; a `Split` if it may only in parts."""

    rung: Rung
    prompt: Prompt
    piece: Piece | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """Ask this rung. `number` counts the step's attempts from 1, those of earlier processes included."""

    rung: Rung
    prompt: Prompt
    number: int
    piece: Piece | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """Run the step's checks on a value (of a part: does it stand there?); send back the problem, "" for none."""

    value: Any
    piece: Piece | None = None


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
Send: TypeAlias = Completion | BackendError | str | Split
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
        return sum(a.outcome is not Outcome.SKIPPED and not a.of_part for a in self.attempts)

    def hand_up(self, last: Attempt) -> None:
        """What a rung that is done with leaves for the next: its answer as evidence, or that it refused."""
        self.refused = last.outcome is Outcome.REFUSED
        if last.outcome in REASK:
            self.evidence.append(Note("evidence", last.answer, last.problem))

    def recall(self) -> None:
        """Take up the best value of an earlier process again."""
        for attempt in self.task.prior:
            if attempt.outcome in (Outcome.REJECTED, Outcome.UNSURE) and not attempt.of_part:
                try:
                    self.best, self.best_number = self.task.output.parse(attempt.answer), attempt.number
                except Invalid:  # what is wanted has changed since
                    continue

    def add(self, attempt: Attempt) -> Attempt:
        self.attempts.append(attempt)
        return attempt

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
    return [a for a in tried if a.outcome not in _UNAVAILABLE and a.outcome is not Outcome.SKIPPED and not a.of_part]


def _try_rung(rung: Rung, state: _State) -> Generator[Yield | Attempt, Any, Answer | None]:
    before = _lasting(rung, state.task.prior)
    notes = [*state.evidence, *(Note("re-ask", a.answer, a.problem) for a in before)]
    base = state.task.prompt
    for _ in range(rung.tries - len(before)):
        if state.calls() >= state.task.max_attempts:
            return None
        reply = yield May(rung, base.with_notes(notes))
        while isinstance(reply, Split):
            joined = yield from _ask_parts(rung, reply, state)
            if joined is None or joined.prompt is None:
                return None if joined is None else (yield from _whole(rung, joined, len(reply.pieces), state))
            base = joined.prompt
            reply = yield May(rung, base.with_notes(notes))
        if reply:
            yield state.add(Attempt(len(state.attempts) + 1, rung.tier, rung.model, Outcome.SKIPPED, reply))
            return None
        call = Call(rung, base.with_notes(notes), len(state.attempts) + 1)
        attempt, value = yield from _assess(call, (yield call), state)
        yield state.add(attempt)
        if attempt.outcome is Outcome.VALID:
            return Answer(value, attempt, tuple(state.attempts))
        if attempt.outcome not in REASK:
            break
        notes.append(Note("re-ask", attempt.answer, attempt.problem))
    state.hand_up(state.attempts[-1])
    return None


# -- in parts ----------------------------------------------------------------------------------------------------------


def _ask_parts(rung: Rung, split: Split, state: _State) -> Generator[Yield | Attempt, Any, Joined | None]:
    """All parts, one after the other; None when one of them got no acceptable answer, and so the whole has none."""
    values: dict[int, Any] = {}
    for piece in split.pieces:
        known = _known_before(rung, piece, state.task.prior)
        last, value = known if known is not None else (yield from _ask_part(rung, piece, state))
        if last.outcome not in (Outcome.VALID, Outcome.ABSTAINED):
            problem = f"part {piece.number} of {piece.of}: {last.problem}"
            failed = replace(last, number=len(state.attempts) + 1, problem=problem, extra={"parts": piece.of})
            yield state.add(replace(failed, usage=Usage(), cost=0.0, seconds=0.0))
            state.hand_up(state.attempts[-1])
            return None
        if last.outcome is Outcome.VALID:
            values[piece.number] = value
    return split.join(values)


def _ask_part(rung: Rung, piece: Piece, state: _State) -> Generator[Yield | Attempt, Any, tuple[Attempt, Any]]:
    """The last attempt at a part, and its value. One that may not be tried is no attempt of its own."""
    notes: list[Note] = []
    while True:
        prompt, number = piece.prompt.with_notes(notes), len(state.attempts) + 1
        reason = yield May(rung, prompt, piece)
        if reason:
            return Attempt(number, rung.tier, rung.model, Outcome.SKIPPED, str(reason)), None
        call = Call(rung, prompt, number, piece)
        attempt, value = yield from _assess(call, (yield call), state)
        yield state.add(attempt)
        notes.append(Note("re-ask", attempt.answer, attempt.problem))
        if attempt.outcome not in REASK or len(notes) >= rung.tries:
            return attempt, value


def _known_before(rung: Rung, piece: Piece, prior: Sequence[Attempt]) -> tuple[Attempt, Any] | None:
    """What an earlier process was told about a part, if it was the very same one: no part is paid for twice."""
    shown = _messages(piece.prompt)
    for attempt in prior:
        if attempt.of_part and (attempt.tier, attempt.model) == (rung.tier, rung.model) and attempt.prompt == shown:
            if attempt.outcome is Outcome.ABSTAINED:
                return attempt, None
            if attempt.outcome is Outcome.VALID:
                return attempt, piece.output.parse(attempt.answer)
    return None


def _whole(rung: Rung, joined: Joined, parts: int, state: _State) -> Generator[Yield | Attempt, Any, Answer | None]:
    """The attempt of the whole, which no call of its own has made."""
    call = Call(rung, state.task.prompt, len(state.attempts) + 1)
    reply = Completion(joined.text, rung.model)
    if joined.problem:
        attempt, value = _attempt(call, reply, Outcome.REJECTED, joined.problem), None
    else:
        attempt, value = yield from _assess(call, reply, state)
    attempt = replace(attempt, prompt=(), extra={"parts": parts})
    yield state.add(attempt)
    if attempt.outcome is Outcome.VALID:
        return Answer(value, attempt, tuple(state.attempts))
    state.hand_up(attempt)
    return None


# -- what came back ----------------------------------------------------------------------------------------------------


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
        value = (call.piece or state.task).output.parse(reply.text)
    except Invalid as error:
        return _attempt(call, reply, Outcome.INVALID, str(error)), None
    if value is ABSTAINED:
        return _attempt(call, reply, Outcome.ABSTAINED, "the model abstained"), None
    if call.piece is None:
        state.best, state.best_number = value, call.number
    confidence = _confidence(reply)
    floor = state.task.min_confidence
    if floor is not None and confidence is not None and confidence < floor:
        mark = "" if reply.calibrated else ", uncalibrated"
        return _attempt(call, reply, Outcome.UNSURE, f"confidence {confidence:.2f} is below {floor}{mark}"), value
    problem = yield Judge(value, call.piece)
    return _attempt(call, reply, Outcome.REJECTED if problem else Outcome.VALID, problem), value


def _confidence(reply: Completion) -> float | None:
    return max(reply.distribution.values()) if reply.distribution else None


def _failed(call: Call, error: BackendError) -> Attempt:
    outcome = Outcome.UNAVAILABLE
    if isinstance(error, CallTimeout):
        outcome = Outcome.TIMEOUT
    elif isinstance(error, Refused):
        outcome = Outcome.REFUSED
    rung, shown = call.rung, _messages(call.prompt)
    return Attempt(call.number, rung.tier, rung.model, outcome, str(error), prompt=shown, extra=_place(call))


def _messages(prompt: Prompt) -> tuple[dict[str, str], ...]:
    return tuple({"role": m.role, "content": m.content} for m in prompt.messages())


def _place(call: Call) -> dict[str, int]:
    return {"part": call.piece.number, "parts": call.piece.of} if call.piece else {}


def _attempt(call: Call, reply: Completion, outcome: Outcome, problem: str) -> Attempt:
    return Attempt(
        number=call.number,
        tier=call.rung.tier,
        model=call.rung.model,
        outcome=outcome,
        problem=problem,
        answer=reply.text,
        prompt=_messages(call.prompt),
        usage=reply.usage,
        cost=reply.cost,
        seconds=reply.seconds,
        confidence=_confidence(reply),
        calibrated=reply.calibrated,
        distribution=reply.distribution,
        option_mass=reply.option_mass,
        extra=_place(call),
    )


def _verdict(state: _State) -> tuple[str, str]:
    """Wait for a person, wait for a model, or fail; and the sentence that says why."""
    told = [a for a in state.attempts if not a.of_part]
    history = "; ".join(f"{a.model}: {a.outcome.value} ({a.problem})" for a in told)
    none = f"no model in tier {' or '.join(state.task.empty)}" if state.task.empty else ""
    if state.refused and not state.task.climb_on_refusal:
        return "failed", history
    if state.task.person:
        return "person", history or (
            none and f"{none}, so a person is asked"
        ) or "a person is asked by design (tier person)"
    if none:
        return "model", f"{none}; {history}" if history else none
    last: dict[tuple[str, str], Outcome] = {(a.tier, a.model): a.outcome for a in told}
    if any(outcome in _UNAVAILABLE for outcome in last.values()):
        return "model", history
    return "failed", history or "no model may be asked"
