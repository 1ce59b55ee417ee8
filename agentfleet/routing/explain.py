"""Why a request would go where it goes: every rung in order, taken or not and why, with its estimate. No model is asked.

What is decided here is decided by the same functions as in a run (arrange.py, match.py); this only writes it down.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from agentfleet.backends.backend import Backend, Request
from agentfleet.errors import AgentfleetError, BackendError
from agentfleet.fleet.model import PERSON, Model
from agentfleet.fleet.rules import Rule
from agentfleet.graph.trace import Ask
from agentfleet.labels import Label
from agentfleet.prompt import Prompt
from agentfleet.routing.arrange import Arrangement, arrange
from agentfleet.routing.choose import Estimate, estimate
from agentfleet.routing.describe import Description
from agentfleet.routing.dispatch import HEAD, Dispatcher
from agentfleet.routing.eligible import first_reason
from agentfleet.routing.match import barred, unfit
from agentfleet.routing.purse import Purse
from agentfleet.routing.rules import misfit
from agentfleet.runner import asking
from agentfleet.schema import Output, codec
from agentfleet.verbatim import narrow

if TYPE_CHECKING:
    from agentfleet.graph.step import Step

FIRST, LATER, NO = "first", "if needed", "no"


@dataclass(frozen=True, slots=True)
class RungReport:
    """One rung. `asked`: first, if needed, or no. `exact`: were the tokens counted by the model's own tokenizer?"""

    tier: str
    model: str
    asked: str
    why: str
    estimate: Estimate | None = None
    exact: bool = False

    def to_json(self) -> dict[str, Any]:
        found = None if self.estimate is None else self.estimate.to_json()
        return {
            "tier": self.tier, "model": self.model, "asked": self.asked, "why": self.why, "estimate": found,
            "tokens_are": "exact" if self.exact else "estimated",
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would happen to one request. `settled`: the answer that code gives by itself (JSON), so that no model is
    asked. `rules`: each rule of the fleet, and why it does not fit ("": it does; None: an earlier one applied).
    """

    step: str
    wanted: Description | None = None
    settled: str | None = None
    objective: str = ""
    rule: Rule | None = None
    rules: Sequence[tuple[Rule, str | None]] = ()
    rungs: Sequence[RungReport] = ()
    left: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "request": None if self.wanted is None else self.wanted.to_json(),
            "settled": self.settled,
            "objective": self.objective,
            "rule": None if self.rule is None else str(self.rule),
            "rules": [{"rule": str(rule), "fits": why == "", "why": why} for rule, why in self.rules],
            "rungs": [rung.to_json() for rung in self.rungs],
            "budget_left": self.left,
        }


async def explain(
    dispatcher: Dispatcher, step: Step[..., Any], inputs: Mapping[str, Any], label: Label, graph: str, purse: Purse
) -> Explanation:
    """What a run of `graph` would do with this step and these inputs, as the models are loaded and known now.

    Raises what the step's body raises; FleetError for a tier or model that the fleet does not have; PlanError.
    """
    token = asking.set(True)
    try:
        value = step.fn(**inputs)
        value = await value if inspect.isawaitable(value) else value
        return Explanation(step.name, settled=codec(type(value)).dump(value))
    except Ask as asked:
        parts = asked.parts
    finally:
        asking.reset(token)
    texts = [part if isinstance(part, str) else codec(type(part)).dump(part) for part in parts]
    narrowed = narrow(_output(step, inputs), texts)
    if narrowed.settled and not narrowed.problem:
        return Explanation(step.name, settled=narrowed.output.dump(narrowed.value))
    prompt = step.build_prompt(inputs, parts)
    wanted = Description(step.name, step.kind, graph, prompt, narrowed.output, label, step.options.deadline)
    return await _Explained(dispatcher, step, wanted, prompt, purse).whole(narrowed.problem)


def _output(step: Step[..., Any], inputs: Mapping[str, Any]) -> Output:
    if step.kind == "plan":
        from agentfleet.graph.plan import plan_output

        return plan_output(step, inputs)
    assert step.output is not None
    return step.output


@dataclass(slots=True)
class _Explained:
    dispatcher: Dispatcher
    step: Step[..., Any]
    wanted: Description
    prompt: Prompt
    purse: Purse

    async def whole(self, unanswerable: str) -> Explanation:
        now = time.monotonic()
        found = arrange(self.dispatcher, self.step, self.wanted, now, self.purse.share_left)
        rungs = [] if unanswerable else await self._rungs(found, now)
        rungs += self._rest(found, unanswerable, rungs)
        pot = self.purse.tightest
        left = f"${max(pot.left or 0.0, 0.0):.4f} of {pot.name}" if pot is not None else ""
        return Explanation(
            self.step.name, self.wanted, None, found.objective, found.rule, self._rules(found), rungs, left
        )

    async def _rungs(self, found: Arrangement, now: float) -> list[RungReport]:
        reports: list[RungReport] = []
        for rung in found.ladder.rungs:
            model = found.ladder.models[rung.tier, rung.model]
            refusal, tokens = await self._refusal(model, found)
            guess = None if model.backend == HEAD else self._guess(model, now, tokens)
            first = not refusal and all(report.asked == NO for report in reports)
            asked = NO if refusal else FIRST if first else LATER
            why = refusal or "; ".join(filter(None, (self._place(rung.tier, rung.model, found), _state(guess))))
            reports.append(RungReport(rung.tier, rung.model, asked, why, guess, tokens is not None))
        return reports

    def _guess(self, model: Model, now: float, tokens: int | None) -> Estimate:
        standing = self.dispatcher.standing(model)
        return estimate(model, self.wanted, self.dispatcher.watch, now, tokens, standing)

    async def _refusal(self, model: Model, found: Arrangement) -> tuple[str, int | None]:
        """Why not, "" for a rung that may try; and the tokens of the prompt where they are counted exactly."""
        refusal = barred(model, self.wanted) or found.avoided(model)
        if refusal:
            return refusal, None
        try:
            backend = await self.dispatcher.backend(self.step, model)
        except AgentfleetError as error:
            return str(error), None
        bound = model.max_tokens or self.wanted.answer_tokens
        request = Request(self.prompt, self.wanted.output, self.step.name, bound)
        tokens = await self._tokens(backend, request)
        exact = tokens if backend.count(request) is not None else None
        return unfit(model, self.wanted, tokens, bound, backend.context, self.purse), exact

    async def _tokens(self, backend: Backend, request: Request) -> int | None:
        try:
            return await self.dispatcher.tokens(backend, request)
        except BackendError:
            return None

    def _place(self, tier: str, name: str, found: Arrangement) -> str:
        """Why it stands where it stands in its tier."""
        if name == HEAD:
            return "trained on the examples of this step"
        beside = [rung.model for rung in found.ladder.rungs if rung.tier == tier and rung.model != HEAD]
        if self.step.options.model:
            return "named in the code"
        if found.rule is not None and found.rule.then.model == name:
            return f"rule: {found.rule}"
        if len(beside) < 2:
            return f"the only model of tier {tier}"
        return f"{found.objective} of {len(beside)}" if beside[0] == name else f"{found.objective} is {beside[0]}"

    def _rest(self, found: Arrangement, unanswerable: str, rungs: Sequence[RungReport]) -> list[RungReport]:
        """Tiers without models, and the person at the end."""
        rest = [] if unanswerable else [
            RungReport(tier, "–", NO, "the fleet has no model in this tier") for tier in found.ladder.empty
        ]  # fmt: skip
        if found.ladder.person:
            first = all(report.asked == NO for report in rungs)
            why = unanswerable or "waits for an answer of a person"
            rest.append(RungReport(PERSON, "–", FIRST if first else LATER, why))
        return rest

    def _rules(self, found: Arrangement) -> list[tuple[Rule, str | None]]:
        told: list[tuple[Rule, str | None]] = []
        for rule in self.dispatcher.fleet.rules:
            pinned = self.step.options.model is not None
            after = pinned or any(why == "" for _, why in told)
            told.append((rule, None if after else first_reason((misfit(rule.when, self.wanted),))))
        return told


def _state(guess: Estimate | None) -> str:
    """What keeps requests from the model just now; "" for nothing."""
    if guess is None:
        return ""
    standing = guess.standing
    if standing.shut:
        return "circuit open"
    if standing.paused:
        return f"paused for {ceil(standing.paused)} s by the server"
    return f"calls of others at its server: {standing.elsewhere}" if standing.elsewhere else ""
