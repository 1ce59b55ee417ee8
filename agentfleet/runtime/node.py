"""Runs one node: reuse what an earlier process finished, else run it by its kind, validate, record, commit."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agentfleet.errors import AgentfleetError, InputError, RunCancelled, StepError, StepFailed
from agentfleet.graph.options import OnFail
from agentfleet.ids import digest
from agentfleet.labels import PUBLIC, Label
from agentfleet.ledger.records import AttemptRow, NodeRow
from agentfleet.routing.outcome import Attempt
from agentfleet.runtime.context import Blocked, Body, Interrupted, RunContext, bounds, current
from agentfleet.runtime.events import StepFinished, StepStarted
from agentfleet.runtime.mailbox import awaited
from agentfleet.runtime.run import StepRecord, Wait

if TYPE_CHECKING:
    from agentfleet.graph.step import Step

RAISED = (Exception, SystemExit, KeyboardInterrupt)
"""What a user's code may raise: ``sys.exit()`` in a step ends the step, not the loop on which all runs live."""


@dataclass(slots=True)
class Done:
    """What running a node's kind gave. `durable`: wait for the commit before anything may rest on the value.

    `accepted`: the attempt that gave the value, committed together with it.
    """

    value: Any
    tier: str = ""
    model: str = "code"
    outcome: str = "valid"
    attempts: tuple[Attempt, ...] = ()
    label: Label | None = None
    durable: bool = False
    fallback: bool = False
    accepted: AttemptRow | None = None


@dataclass(slots=True)
class Visit:
    """One node being run.

    `labels`: of each input, for a step that holds others. `base`: of the conditions under which it runs at all.
    """

    context: RunContext
    step: Step[..., Any]
    inputs: Mapping[str, Any]
    label: Label
    path: str
    depth: int
    fingerprint: str
    started: float
    labels: Mapping[str, Label] | None = None
    base: Label = PUBLIC


async def run_node(
    context: RunContext,
    step: Step[..., Any],
    inputs: dict[str, Any],
    label: Label,
    path: str,
    depth: int,
    labels: Mapping[str, Label] | None = None,
    base: Label = PUBLIC,
) -> tuple[Any, Label]:
    """Value and label of one node. Raises Blocked, StepFailed, StepError, Interrupted."""
    for param in step.params:
        if param.label is not None:
            label = label.join(param.label)
        if param.name not in inputs:
            inputs[param.name] = param.make_default()
    mark, now = fingerprint(step, inputs, path), time.time()
    visit = Visit(context, step, inputs, label, path, depth, mark, now, labels, base)
    if context.finished:
        row = context.finished.get((path, visit.fingerprint))
        if row is not None:
            return _reuse(visit, row)
    if context.listener is not None:
        context.emit(StepStarted(path))
    try:
        done = await _within_bounds(visit)
    except (Blocked, Interrupted, asyncio.CancelledError):
        raise
    except (StepError, StepFailed) as error:
        done = _instead(visit, error)
    except BaseException as error:
        _record_failure(visit, error)
        raise
    return await _finish(visit, done)


def _instead(visit: Visit, error: StepError | StepFailed) -> Done:
    """What ``on_fail`` puts in the place of a node that failed. Skills have asked it of their ladder already."""
    wish, options = visit.step.options.on_fail, visit.step.options
    attempts, best = (error.attempts, error.best) if isinstance(error, StepFailed) else ((), None)
    if wish is OnFail.WAIT and not visit.step.is_skill:
        raise block(visit, Wait(visit.path, "failed", str(error), "", ANY_VALUE), attempts) from error
    if wish is OnFail.BEST and not visit.step.is_skill and best is not None:
        return Done(best, model="best", outcome="rejected", durable=visit.step.effect)
    if options.has_default:
        return Done(wish, "", "default", "rejected", attempts, fallback=True, durable=visit.step.effect)
    _record_failure(visit, error)
    raise error


ANY_VALUE: dict[str, Any] = {"note": "a value of the type of the step"}
"""Stands for the schema where a person is asked for a value that no skill describes."""


def fingerprint(step: Step[..., Any], inputs: Mapping[str, Any], path: str) -> str:
    """What the node is and what it is given; equal means that a finished one may be reused."""
    parts = [step.base_fingerprint]
    try:
        for param in step.params:
            parts.append(param.codec.dump(inputs[param.name]))
    except Exception as error:
        raise StepError(f"{path}: the value for {param.name} cannot be written as JSON: {error}", path) from error
    return digest("\x00".join(parts))


async def _within_bounds(visit: Visit) -> Done:
    """`_by_kind` under the step's own deadline and priority, which hold for all below it too."""
    seconds, priority = visit.step.options.deadline, visit.step.options.priority
    if seconds is None and priority is None:
        return await _by_kind(visit)
    token = bounds.set(bounds.get().within(seconds, priority))
    try:
        # The ladder of a skill minds the deadline call by call, so that each of its attempts is recorded.
        async with asyncio.timeout(None if visit.step.is_skill else seconds) as limit:
            return await _by_kind(visit)
    except TimeoutError:
        if not limit.expired():
            raise
        raise StepFailed(f"{visit.path}: its deadline of {seconds:g} s passed", path=visit.path) from None
    finally:
        bounds.reset(token)


async def _by_kind(visit: Visit) -> Done:
    kind = visit.step.kind
    if kind == "step":
        return await _plain(visit)
    if visit.step.is_skill:
        from agentfleet.runtime.skill import run_skill

        return await run_skill(visit)
    from agentfleet.runtime.composite import run_composite

    return await run_composite(visit, run_node)


async def _plain(visit: Visit) -> Done:
    if visit.step.effect:
        await _announce(visit)
    value = await call_body(visit)
    if visit.step.checks:
        from agentfleet.runtime.judge import problem_of

        problem = await problem_of(visit, value)
        if problem:
            raise StepFailed(f"{visit.path}: a check refused its value: {problem}", (), value, visit.path)
    return Done(value, durable=visit.step.effect)


async def _announce(visit: Visit) -> None:
    """Before an effect begins, all that it rests on and its *started* row are on disk."""
    row = NodeRow(visit.path, visit.fingerprint, "started", kind=visit.step.kind, started=visit.started)
    await awaited(visit.context.commit((row,)))


async def call_body(visit: Visit) -> Any:
    """Run the step's own Python: on the loop when async, else in a thread, with calls in it as children."""
    body = Body(visit.context, visit.path, visit.label, visit.depth + 1)
    token = current.set(body)
    try:
        value = await _called(visit)
        if body.blocked:  # a bare `except:` took the wait or the stop of a child for an error
            raise Interrupted if visit.context.stopping else Blocked
        return value
    except AgentfleetError:
        raise
    except RAISED as error:
        raise user_error(visit, error) from error
    finally:
        current.reset(token)
        visit.label = visit.label.join(body.label)


async def _called(visit: Visit) -> Any:
    if not visit.step.is_async:
        return await visit.context.pools.run(visit.depth, lambda: visit.step.fn(**visit.inputs))
    if visit.depth:
        return await visit.step.fn(**visit.inputs)
    async with visit.context.slots:
        return await visit.step.fn(**visit.inputs)


def user_error(visit: Visit, error: BaseException) -> StepError:
    """The user's exception with the place first: step, file and line where it was raised."""
    frame = error.__traceback__
    where = f"{visit.step.file}:{visit.step.line}"
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == visit.step.file:
            where = f"{visit.step.file}:{frame.tb_lineno}"
        frame = frame.tb_next
    return StepError(f"{visit.path} ({where}) raised {type(error).__name__}: {error}", visit.path)


async def _finish(visit: Visit, done: Done) -> tuple[Any, Label]:
    context, step = visit.context, visit.step
    value, text = done.value, _dump(visit, done)
    if not done.fallback:
        value = _validated(visit, done.value)
    label = done.label or visit.label
    if step.releases is not None and step.kind != "plan":  # a plan carries its inputs: `carry_out` releases the rest
        label = label.lowered(step.releases)
    cost = sum(a.cost or 0.0 for a in done.attempts)
    finished = time.time()
    row = NodeRow(
        visit.path,
        visit.fingerprint,
        "done",
        text,
        done.tier,
        done.model,
        done.outcome,
        label_json(label),
        cost,
        None,
        "fallback" if done.fallback else None,
        step.kind,
        visit.started,
        finished,
    )
    if done.durable or done.accepted is not None:
        future = context.commit((row,), () if done.accepted is None else (done.accepted,))
        if done.durable:
            await awaited(future)
    else:
        context.later(row)
    record = StepRecord(
        visit.path,
        "done",
        value,
        done.tier,
        done.model,
        done.outcome,
        done.attempts,
        cost,
        label,
        finished - visit.started,
        kind=step.kind,
        fallback=done.fallback,
        value_json=text,
        name=step.name,
    )
    note(context, record)
    return value, label


def _validated(visit: Visit, value: Any) -> Any:
    try:
        return visit.step.codec.check(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise StepError(
            f"{visit.path}: {visit.step.name} is declared to return {type_name(visit.step.returns)}, but returned "
            f"{type(value).__name__}{' at ' + place if place else ''}: {first['msg']}",
            visit.path,
        ) from error


def _dump(visit: Visit, done: Done) -> str:
    try:
        if done.fallback:
            from agentfleet.schema import codec

            return codec(type(done.value)).dump(done.value) if done.value is not None else "null"
        return visit.step.codec.dump(done.value)
    except Exception as error:
        _validated(visit, done.value)
        raise StepError(f"{visit.path}: its value cannot be written as JSON: {error}", visit.path) from error


def type_name(annotation: Any) -> str:
    """A type for people."""
    return getattr(annotation, "__name__", None) or str(annotation).replace("typing.", "")


_labels: dict[Label, str] = {}


def label_json(label: Label) -> str:
    """The JSON text of a label, made once per label."""
    text = _labels.get(label)
    if text is None:
        text = _labels[label] = json.dumps(label.to_json())
    return text


def _reuse(visit: Visit, row: NodeRow) -> tuple[Any, Label]:
    """A node that an earlier process committed: its value is loaded, nothing is called."""
    fallback = row.waiting == "fallback"
    text = row.value if row.value is not None else "null"
    if fallback and row.model == "default":
        value = visit.step.options.on_fail
    else:
        try:
            value = visit.step.codec.load(text)
        except ValidationError as error:
            raise InputError(
                f"{visit.path}: the recorded value does not fit {type_name(visit.step.returns)}: {text}"
            ) from error
    label = Label.from_json(json.loads(row.label)) if row.label != "{}" else visit.label
    attempts = tuple(visit.context.prior.get((visit.path, visit.fingerprint), ()))
    record = StepRecord(
        visit.path, "done", value, row.tier, row.model, row.outcome or "valid", attempts, row.cost, label,
        max(row.finished - row.started, 0.0), kind=row.kind, fallback=fallback, reused=True, value_json=text,
        name=visit.step.name,
    )  # fmt: skip
    note(visit.context, record)
    return value, label


def block(visit: Visit, wait: Wait, attempts: tuple[Attempt, ...]) -> Blocked:
    """Record that the node waits; the caller raises what this returns."""
    row = NodeRow(
        visit.path, visit.fingerprint, "waiting", label=label_json(visit.label), kind=visit.step.kind,
        waiting=json.dumps(wait.to_json()), started=visit.started, finished=time.time(),
        cost=sum(a.cost or 0.0 for a in attempts), outcome=attempts[-1].outcome.value if attempts else "",
    )  # fmt: skip
    visit.context.commit((row,))
    record = StepRecord(
        visit.path, "waiting", None, "", "", row.outcome, attempts, row.cost, visit.label,
        row.finished - row.started, wait, kind=visit.step.kind, name=visit.step.name,
    )  # fmt: skip
    note(visit.context, record)
    return Blocked()


def _record_failure(visit: Visit, error: BaseException) -> None:
    attempts = error.attempts if isinstance(error, StepFailed) else ()
    if visit.path in visit.context.records or isinstance(error, RunCancelled):
        return
    text = str(error)
    row = NodeRow(
        visit.path, visit.fingerprint, "failed", label=label_json(visit.label), kind=visit.step.kind,
        error=json.dumps({"type": type(error).__name__, "message": text}), started=visit.started,
        finished=time.time(), cost=sum(a.cost or 0.0 for a in attempts),
        outcome=attempts[-1].outcome.value if attempts else "",
    )  # fmt: skip
    visit.context.commit((row,))
    record = StepRecord(
        visit.path, "failed", None, "", "", row.outcome, attempts, row.cost, visit.label,
        row.finished - row.started, error=text, kind=visit.step.kind, name=visit.step.name,
    )  # fmt: skip
    note(visit.context, record)


def note(context: RunContext, record: StepRecord) -> None:
    """Keep the record and tell whoever listens."""
    context.records[record.path] = record
    if context.listener is not None:
        context.emit(StepFinished(record.path, record))


def moved(visit: Visit, **changes: Any) -> Visit:
    """A copy of a visit, for the parts of a composite node."""
    return replace(visit, **changes)
