"""Steers one climb: which rungs in which order, from which money, and what is learnt from its calls for the next.

Here routing (pure functions) meets a run: its budgets, its clock, the watch that all runs of this process share.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from agentfleet.backends.backend import Completion
from agentfleet.errors import BackendError, CallTimeout
from agentfleet.fleet.model import Model
from agentfleet.prompt import Prompt
from agentfleet.routing.arrange import Arrangement, arrange
from agentfleet.routing.describe import Description
from agentfleet.routing.match import barred
from agentfleet.routing.purse import Purse
from agentfleet.runtime.node import Visit
from agentfleet.schema import Output


@dataclass(slots=True)
class Steer:
    """`standing`: the model at which the climb is, so that others see how busy it is; "" for none."""

    visit: Visit
    wanted: Description
    arranged: Arrangement
    purse: Purse = field(default_factory=Purse)
    standing: str = ""

    @classmethod
    async def of(cls, visit: Visit, prompt: Prompt, output: Output) -> Steer:
        """For a visit whose body has said what is asked. Raises FleetError for a tier that the fleet does not know."""
        context, step = visit.context, visit.step
        left = context.seconds_left()
        wanted = Description(step.name, step.kind, context.graph, prompt, output, visit.label, left)
        prior = context.prior.get((visit.path, visit.fingerprint), ())
        paid = sum(attempt.cost or 0.0 for attempt in prior)
        budget = context.dispatcher.fleet.budget
        purse = await context.accounts.purse(budget, context.graph, context.pot, step.options.budget, paid)
        arranged = arrange(context.dispatcher, step, wanted, time.monotonic(), purse.share_left)
        context.dispatcher.loads.refresh(arranged.ladder.models[place] for place in arranged.estimates)
        return cls(visit, wanted, arranged, purse)

    def begin(self) -> None:
        """The climb begins at its first rung."""
        for rung in self.arranged.ladder.rungs[:1]:
            self._stand_at(rung.model)

    def end(self) -> None:
        """The climb has ended, however it did."""
        self._stand_at("")
        if self.purse.held:
            self.purse.release()
            self.visit.context.accounts.changed()

    def barred(self, model: Model) -> str:
        """The climb has come to this model: why it may not be asked whatever the prompt's size, "" when it may."""
        self._stand_at(model.name)
        return barred(model, self.wanted) or self.arranged.avoided(model)

    async def reserve(self, model: Model, tokens: int | None, max_tokens: int) -> str:
        """Set aside what the next call may cost at most, once there is room; why not, "" when it is done.

        `tokens`: of the prompt alone, None when unknown.
        """
        size = None if tokens is None else self.wanted.size(model, tokens)
        await self.visit.context.accounts.room(self.purse, model, size, max_tokens)
        reason = self.purse.refusal(model, size, max_tokens)
        if not reason:
            self.purse.hold(model, size, max_tokens)
        return reason

    def answered(self, model: Model, completion: Completion) -> None:
        """The call ended. Its money is settled at once: a check of the answer may ask models itself, and needs it."""
        self._settle(completion.cost)
        self._saw(model, completion.seconds)
        watch = self.visit.context.dispatcher.watch
        watch.answered(self.visit.step.name, completion.usage.output_tokens)

    def failed(self, model: Model, error: BackendError, timeout: float | None) -> None:
        """The call ended without an answer. One that timed out may have been answered, and billed, all the same."""
        late = isinstance(error, CallTimeout)
        self._settle(None if late else 0.0)
        if late:
            self._saw(model, timeout or model.timeout)

    def _settle(self, cost: float | None) -> None:
        self.purse.settle(cost)
        self.visit.context.accounts.changed()

    def _saw(self, model: Model, seconds: float) -> None:
        watch = self.visit.context.dispatcher.watch
        watch.saw(model.name, self.wanted.output.kind, self.wanted.tokens, seconds, time.monotonic())

    def _stand_at(self, model: str) -> None:
        watch = self.visit.context.dispatcher.watch
        if model:
            watch.enter(model)
        if self.standing:
            watch.leave(self.standing)
        self.standing = model
