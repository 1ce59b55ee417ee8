"""Runs a skill: its body says what the model reads, then the ladder climbs; every attempt is recorded as it ends."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json

from agentfleet.backends.backend import Backend, Completion, Request
from agentfleet.errors import BackendError, MissingExtra, PlanError, StepFailed
from agentfleet.fleet.model import Model
from agentfleet.graph.options import UNSET, OnFail
from agentfleet.graph.trace import Ask
from agentfleet.ids import canonical_json
from agentfleet.ledger.records import AttemptRow, NodeRow
from agentfleet.prompt import Prompt
from agentfleet.routing.describe import ANSWER_TOKENS
from agentfleet.routing.dispatch import Ladder
from agentfleet.routing.eligible import context_refusal, deadline_refusal
from agentfleet.routing.ladder import Answer, Call, Climb, Judge, May, Piece, Split, Stuck, Task, climb
from agentfleet.routing.outcome import Attempt, Outcome
from agentfleet.runner import asking
from agentfleet.runtime.events import AttemptMade, Writing
from agentfleet.runtime.judge import made_up, problem_of
from agentfleet.runtime.mailbox import awaited
from agentfleet.runtime.node import Done, Visit, block, call_body
from agentfleet.runtime.parts import Splitter
from agentfleet.runtime.run import Wait
from agentfleet.runtime.steer import Steer
from agentfleet.schema import Output, codec
from agentfleet.verbatim import evidence, narrow


async def run_skill(visit: Visit) -> Done:
    """The value of a skill node. Raises Blocked (waits), StepFailed, StepError."""
    parts = await _body(visit)
    if isinstance(parts, Done):
        problem = await problem_of(visit, parts.value)
        if problem:
            raise StepFailed(
                f"{visit.path}: its body answered, and a check refused: {problem}", (), parts.value, visit.path
            )
        return parts
    try:
        output = _output(visit)
    except PlanError as error:  # no tool can be used with these inputs
        nothing = Output("json", visit.step.returns, {})
        return await _Climb(visit, nothing, [], visit.step.build_prompt(visit.inputs, parts)).run(str(error))
    texts = [part if isinstance(part, str) else codec(type(part)).dump(part) for part in parts]
    narrowed = narrow(output, texts)
    if narrowed.settled and not narrowed.problem:
        return Done(narrowed.value)
    prompt, splitter = visit.step.build_prompt(visit.inputs, parts), Splitter.of(visit.step, parts, texts)
    return await _Climb(visit, narrowed.output, texts, prompt, splitter).run(narrowed.problem)


async def _body(visit: Visit) -> Done | tuple[Any, ...]:
    token = asking.set(True)
    try:
        return Done(await call_body(visit))
    except Ask as ask:
        return ask.parts
    finally:
        asking.reset(token)


def _output(visit: Visit) -> Output:
    if visit.step.kind == "plan":
        from agentfleet.graph.plan import plan_output

        return plan_output(visit.step, visit.inputs)
    assert visit.step.output is not None
    return visit.step.output


@dataclass(slots=True)
class _Climb:
    """Drives one ladder: does its calls, checks and records."""

    visit: Visit
    output: Output
    texts: list[str]
    prompt: Prompt
    splitter: Splitter | None = None
    steer: Steer = field(init=False)

    async def run(self, unanswerable: str) -> Done:
        visit = self.visit
        self.steer = await Steer.of(visit, self.prompt, self.output)
        ladder = self.steer.arranged.ladder
        backends = {} if unanswerable else await self._open(ladder)
        task = Task(
            prompt=self.prompt,
            output=self.output,
            rungs=() if unanswerable else ladder.rungs,
            min_confidence=visit.step.min_confidence,
            climb_on_refusal=bool(visit.step.options.climb_on_refusal),
            empty=() if unanswerable else ladder.empty,
            person=ladder.person,
            prior=tuple(visit.context.prior.get((visit.path, visit.fingerprint), ())),
        )
        end = await self._drive(task, ladder, backends)
        if isinstance(end, Answer):
            attempt = self._with_evidence(end)
            paid = bool(sum(a.cost or 0.0 for a in end.attempts)) or attempt.cost is None
            accepted = attempt_row(visit, attempt)
            return Done(
                end.value,
                attempt.tier,
                attempt.model,
                attempt.outcome.value,
                (*end.attempts[:-1], attempt),
                durable=paid,
                accepted=accepted,
            )
        if unanswerable:
            end = await self._abstained(end, unanswerable)
        return self._give_up(end)

    def _with_evidence(self, end: Answer) -> Attempt:
        """The accepted attempt, which also says where in the input the Verbatim fields of its value stand."""
        found = evidence(self.output, end.value, self.texts)
        if not found:
            return end.attempt
        first = {path: places[0] for path, places in found.items() if places}
        quoted = {path: self.texts[place.part][place.start : place.end] for path, place in first.items()}
        return replace(end.attempt, extra={**end.attempt.extra, "evidence": found, "quoted": quoted})

    async def _open(self, ladder: Ladder) -> dict[tuple[str, str], Backend | str]:
        """The backends of all rungs; a rung whose library is missing is skipped with that reason."""
        opened: dict[tuple[str, str], Backend | str] = {}
        for key, model in ladder.models.items():
            try:
                opened[key] = await self.visit.context.dispatcher.backend(self.visit.step, model)
            except MissingExtra as error:
                opened[key] = str(error)
        return opened

    async def _may(self, wanted: May, ladder: Ladder, backends: dict[tuple[str, str], Backend | str]) -> str | Split:
        key = (wanted.rung.tier, wanted.rung.model)
        model, backend = ladder.models[key], backends[key]
        if isinstance(backend, str):
            return backend
        refusal = deadline_refusal(self.visit.context.ends()) or self.steer.barred(model)
        if refusal:
            return refusal
        request = self._request(model, wanted.prompt, wanted.piece)
        tokens = await self._tokens(backend, request)
        reason = context_refusal(model, tokens, request.max_tokens, backend.context)
        if reason and self.splitter is not None and wanted.piece is None:
            found = await self._split(self.splitter, wanted, model, backend)
            return found if isinstance(found, Split) else f"{reason}; {found}"
        return reason or await self.steer.reserve(model, tokens, request.max_tokens)

    async def _tokens(self, backend: Backend, request: Request) -> int | None:
        try:
            return await self.visit.context.dispatcher.tokens(backend, request)
        except BackendError:  # it cannot even count: the call says why, and is recorded as one
            return None

    async def _split(self, splitter: Splitter, wanted: May, model: Model, backend: Backend) -> Split | str:
        async def count(prompt: Prompt, output: Output) -> int | None:
            return await self._tokens(backend, replace(self._request(model, prompt), output=output))

        limit = model.context or backend.context
        answer = model.max_tokens or ANSWER_TOKENS[splitter.output.kind]
        return await splitter.split(wanted.prompt, (limit or 0) - answer, count)

    def _request(self, model: Model, prompt: Prompt, piece: Piece | None = None, number: int = 0) -> Request:
        context, output = self.visit.context, (piece or self).output
        return Request(
            prompt=prompt,
            output=output,
            skill=self.visit.step.name,
            max_tokens=model.max_tokens or ANSWER_TOKENS[output.kind],
            temperature=model.temperature or 0.0,
            timeout=model.timeout,
            deadline=context.ends(),
            priority=context.turn(),
            run=context.id,
            # By attempt: another question under the same key would get the first one's answer, or an error.
            idempotency_key=f"{context.id}/{self.visit.path}/{self.visit.fingerprint}/{number}",
            params={**model.params, "path": self.visit.path},
            listen=self._listen(model.name) if self.visit.context.listener is not None else None,
        )

    def _listen(self, model: str) -> Callable[[Any], None]:
        """Hands on what a backend tells while it writes, from whatever thread, on the loop of the run."""
        path, emit, data = self.visit.path, self.visit.context.emit, self.output.kind != "text"
        loop, here = asyncio.get_running_loop(), threading.get_ident()

        def told(value: Any) -> None:
            if data and isinstance(value, str):
                value = _so_far(value)
            if threading.get_ident() == here:
                emit(Writing(path, model, value))
                return
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(emit, Writing(path, model, value))

        return told

    async def _drive(
        self, task: Task, ladder: Ladder, backends: dict[tuple[str, str], Backend | str]
    ) -> Answer | Stuck:
        try:
            self.steer.begin()
            return await self._climb(climb(task), ladder, backends)
        finally:
            self.steer.end()

    async def _climb(
        self, steps: Climb, ladder: Ladder, backends: dict[tuple[str, str], Backend | str]
    ) -> Answer | Stuck:
        send: Any = None
        while True:
            try:
                wanted = steps.send(send)
            except StopIteration as stop:
                end: Answer | Stuck = stop.value
                return end
            send = None
            if isinstance(wanted, May):
                send = await self._may(wanted, ladder, backends)
            elif isinstance(wanted, Call):
                send = await self._call(wanted, ladder, backends)
            elif isinstance(wanted, Judge):
                send = await self._problem(wanted)
            else:
                await self._recorded(wanted)

    async def _problem(self, judge: Judge) -> str:
        """What is wrong with a value; of a part only whether it stands there, since checks are about the whole."""
        if judge.piece is not None:
            return made_up(self.visit.step, judge.value, judge.piece.output, judge.piece.texts)
        return await problem_of(self.visit, judge.value, self.output, self.texts)

    async def _call(
        self, call: Call, ladder: Ladder, backends: dict[tuple[str, str], Backend | str]
    ) -> Completion | BackendError:
        key = (call.rung.tier, call.rung.model)
        model, backend = ladder.models[key], backends[key]
        assert not isinstance(backend, str)
        self.visit.context.check()  # nothing is bought for a run that another process took over
        await self._announce(call, model)
        request = self._request(model, call.prompt, call.piece, call.number)
        try:
            completion = await self.visit.context.dispatcher.complete(backend, model, request)
        except BackendError as error:
            self.steer.failed(model, error, request.timeout)
            return error
        self.steer.answered(model, completion)
        return completion

    async def _announce(self, call: Call, model: Model) -> None:
        """A *started* row, so that a call in flight at a kill is counted; on disk first where the call costs money."""
        visit = self.visit
        row = NodeRow(visit.path, visit.fingerprint, "started", kind=visit.step.kind, started=visit.started)
        future = visit.context.commit((row,))
        if model.place != "device":
            await awaited(future)

    async def _recorded(self, attempt: Attempt) -> None:
        """Commit the attempt; what cost money is on disk before the climb goes on.

        The accepted one is left to the node's own transaction: answer and completion are one commit.
        """
        context = self.visit.context
        context.pay(attempt)
        context.emit(AttemptMade(self.visit.path, attempt))
        if attempt.outcome is Outcome.VALID and not attempt.of_part:
            return
        future = context.commit(attempts=(attempt_row(self.visit, attempt),))
        if attempt.cost is None or attempt.cost > 0:
            await awaited(future)

    async def _abstained(self, stuck: Stuck, why: str) -> Stuck:
        attempt = Attempt(len(stuck.attempts) + 1, "", "code", Outcome.ABSTAINED, why)
        await self._recorded(attempt)
        return Stuck(stuck.reason, why, (*stuck.attempts, attempt))

    def _give_up(self, stuck: Stuck) -> Done:
        """What ``on_fail`` says: wait, a default, the best attempt, or raise."""
        visit, wish = self.visit, self.visit.step.options.on_fail
        waits = wish is OnFail.WAIT or (wish is UNSET and stuck.reason != "failed")
        if waits:
            raise block(visit, self._wait(stuck), stuck.attempts)
        if wish is OnFail.BEST and stuck.best_number:
            best = next(a for a in stuck.attempts if a.number == stuck.best_number)
            return Done(stuck.best, best.tier, best.model, best.outcome.value, stuck.attempts)
        if not isinstance(wish, OnFail) and wish is not UNSET:
            outcome = stuck.attempts[-1].outcome.value if stuck.attempts else Outcome.SKIPPED.value
            return Done(wish, "", "default", outcome, stuck.attempts, fallback=True)
        raise StepFailed(
            f"{visit.path}: no model gave an acceptable answer: {stuck.why}", stuck.attempts, stuck.best, visit.path
        )

    def _wait(self, stuck: Stuck) -> Wait:
        step = self.visit.step
        return Wait(
            self.visit.path,
            stuck.reason,
            stuck.why,
            self.prompt.text(),
            dict(self.output.schema if self.output.wide is None else self.output.wide),
            f"{step.module}:{step.qualname}",
            {p.name: json.loads(p.codec.dump(self.visit.inputs[p.name])) for p in step.params if step.kind == "plan"},
        )


def attempt_row(visit: Visit, attempt: Attempt) -> AttemptRow:
    """An attempt as the ledger keeps it."""
    body = canonical_json(attempt.to_json())
    outcome = attempt.outcome.value
    return AttemptRow(visit.path, visit.fingerprint, attempt.number, attempt.model, outcome, attempt.cost, body)


def _so_far(text: str) -> Any:
    """JSON that is being written, its last strings unfinished; None while there is nothing to read."""
    try:
        return from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return None
