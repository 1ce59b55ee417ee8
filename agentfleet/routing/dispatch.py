"""From a step and a fleet to rungs, and from a rung to a completion: keeps backends and lanes, prices calls.

The rule-based first form: tier order, a head below the models where the skill has examples enough. One per process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agentfleet.backends.backend import Backend, Completion, Request
from agentfleet.backends.estimate import estimate_tokens
from agentfleet.fleet.model import Fleet, Model
from agentfleet.fleet.prices import cost
from agentfleet.routing.heads import has_learnt_head, open_head, option_text
from agentfleet.routing.health import Loads
from agentfleet.routing.ladder import Rung
from agentfleet.routing.lane import Lane
from agentfleet.routing.open import open_backend
from agentfleet.routing.watch import Standing, Watch

if TYPE_CHECKING:
    from agentfleet.graph.step import Step

T = TypeVar("T")

HEAD_MIN_PER_OPTION = 20
"""Examples per option from which a classify step gets a head of its own below the models."""

HEAD = "head"
_SCORED = frozenset({"decisions", "head", "llama_cpp", "transformers"})


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs of one step on one fleet, the models behind them, the allowed tiers that are empty."""

    rungs: tuple[Rung, ...]
    models: dict[tuple[str, str], Model]
    empty: tuple[str, ...]
    person: bool


class Dispatcher:
    """Holds the open backends of a fleet. `heads`: folder for trained heads, None to train in memory only."""

    def __init__(self, fleet: Fleet, heads: Path | None = None, backends: dict[str, Backend] | None = None) -> None:
        self.fleet = fleet
        self.heads = heads
        self.watch = Watch()
        self._backends: dict[str, Backend] = dict(backends or {})
        self._lanes: dict[str, Lane] = {}
        self.loads = Loads(self._running)
        self._ladders: dict[tuple[Any, ...], Ladder] = {}
        self._scripted = backends is not None
        self._making: dict[str, asyncio.Future[Any]] = {}
        self._loaded: set[int] = set()

    def ladder(self, step: Step[..., Any]) -> Ladder:
        """The rungs that this step may try, lowest first. Raises FleetError for a tier the fleet does not know."""
        key = (
            step.base_fingerprint,
            step.options.tier or step.tier,
            step.up_to,
            step.options.model,
            step.options.tries,
        )
        found = self._ladders.get(key)
        if found is None:
            found = self._ladders[key] = self._build(step)
        return found

    def _build(self, step: Step[..., Any]) -> Ladder:
        low = step.options.tier or step.tier or self.fleet.tiers[0]
        high = step.up_to or low
        if self.fleet.tier_index(high) < self.fleet.tier_index(low):
            high = low
        allowed = [t for t in (*self.fleet.tiers, "person") if self._between(t, low, high)]
        pairs = [p for p in self.fleet.rungs(low, high, step.options.model) if _answers(p[1], step)]
        models = {(tier, model.name): model for tier, model in pairs}
        rungs = [Rung(tier, model.name, self._tries(step, model)) for tier, model in pairs]
        if self._wants_head(step, allowed):
            rungs.insert(0, Rung(allowed[0], HEAD, 1))
            models[allowed[0], HEAD] = Model(name=HEAD, backend="head", tier=allowed[0])
        filled = {t for m in self.fleet.models if _answers(m, step) for t in m.tiers}
        empty = tuple(t for t in allowed if t != "person" and t not in filled) if not step.options.model else ()
        return Ladder(tuple(rungs), models, empty, "person" in allowed)

    def _between(self, tier: str, low: str, high: str) -> bool:
        index = self.fleet.tier_index
        return index(low) <= index(tier) <= index(high)

    @staticmethod
    def _tries(step: Step[..., Any], model: Model) -> int:
        if step.kind == "classify" and model.backend in _SCORED:
            return 1
        return step.options.tries or 2

    def _wants_head(self, step: Step[..., Any], allowed: Sequence[str]) -> bool:
        if self._scripted or step.kind != "classify" or step.options.model or not allowed:
            return False
        if allowed[0] != self.fleet.tiers[0] or step.output is None or len(step.output.questions) != 1:
            return False
        if step.output.questions[0].name:
            return False
        counts = {option.text: 0 for option in step.output.questions[0].options}
        for example in step.examples:
            text = option_text(step, example.output)
            counts[text] = counts.get(text, 0) + 1
        if min(counts.values(), default=0) >= HEAD_MIN_PER_OPTION:
            return True
        return self.heads is not None and has_learnt_head(step, self.heads)

    async def backend(self, step: Step[..., Any], model: Model) -> Backend:
        """The open backend of a model; a head is one per skill. Raises MissingKey, MissingExtra, ModelFileError."""
        name = f"{HEAD}:{step.base_fingerprint}" if model.backend == "head" else model.name
        found = self._backends.get(name)
        if found is None:
            make = partial(open_head, step, self.heads) if model.backend == "head" else partial(open_backend, model)
            found = self._backends.setdefault(name, await self._once(name, make))
        return found

    async def _once(self, name: str, make: Callable[[], T]) -> T:
        """Call `make` in a thread; who wants the same meanwhile waits for that one."""
        task: asyncio.Future[T] | None = self._making.get(name)
        if task is None:
            task = self._making[name] = asyncio.ensure_future(asyncio.to_thread(make))
            task.add_done_callback(lambda done: self._made(name, done))
        return await asyncio.shield(task)

    def _made(self, name: str, task: asyncio.Future[Any]) -> None:
        del self._making[name]
        if not task.cancelled():
            task.exception()  # who waited for it was told, or is gone

    async def complete(self, backend: Backend, model: Model, request: Request) -> Completion:
        """One answer within the model's limits, retried where that may help, priced; a failure is a BackendError."""
        completion = await self.lane(model).complete(backend, request)
        return replace(completion, cost=cost(model, completion.usage))

    def lane(self, model: Model) -> Lane:
        """What runs and waits at a model, and whether it is asked at all now."""
        found = self._lanes.get(model.name)
        if found is None:
            found = self._lanes[model.name] = Lane.of(model)
        return found

    def standing(self, model: Model) -> Standing:
        """What stands between a request and this model now: its circuit, a pause, calls here and at its endpoint."""
        lane, load = self.lane(model), self.loads.of(model)
        shut, paused, inside = lane.refusal(), lane.door.paused, lane.door.running + lane.door.waiting
        if load is None:
            return Standing(shut, paused, inside)
        return Standing(shut, paused, inside, load.elsewhere(model.name), load.places)

    def _running(self, name: str) -> int:
        lane = self._lanes.get(name)
        return 0 if lane is None else lane.door.running

    async def tokens(self, backend: Backend, request: Request) -> int | None:
        """Tokens of the prompt: exact where the tokenizer is here, else an estimate; None for a head.

        A model of this process is loaded for it, in a thread. Raises ModelFileError, BackendError.
        """
        load = getattr(backend, "load", None)
        if load is not None and id(backend) not in self._loaded:
            await self._once(f"load:{id(backend)}", load)
            self._loaded.add(id(backend))
        counted = backend.count(request)
        if counted is None and backend.context is not None:
            return None
        return counted if counted is not None else estimate_tokens(request.prompt.text())

    async def close(self) -> None:
        """Close every backend."""
        await self.loads.close()
        for backend in self._backends.values():
            await backend.close()
        self._backends.clear()


def _answers(model: Model, step: Step[..., Any]) -> bool:
    """Is this kind of step one that the model can answer at all? A decision model writes no text."""
    return model.backend != "decisions" or step.kind == "classify"
