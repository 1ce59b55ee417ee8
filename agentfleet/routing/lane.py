"""One model's lane: every call to it waits at its door, minds its circuit, is timed, and is retried where that may help.

Retries of SDKs and of instructor are off, so what is sent twice is sent twice by this file.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from agentfleet.backends.backend import Backend, Completion, Request
from agentfleet.backends.estimate import estimate_prompt
from agentfleet.errors import BackendError, CallTimeout, Unavailable
from agentfleet.fleet.model import LOCAL, Model
from agentfleet.routing.breaker import Breaker
from agentfleet.routing.limits import Clock, Door
from agentfleet.routing.retry import MOST_ASKED, RETRIES, THROTTLED, RetryBudget, pause

GRACE = 0.05
"""Seconds after the deadline, so that where the whole run ends with it, the run does and not this call alone."""


@dataclass(slots=True)
class Lane:
    """The state of one model for this process: who runs, who waits, its limits, its circuit, its budget of retries."""

    name: str
    door: Door
    breaker: Breaker | None
    retries: int = RETRIES
    clock: Clock = time.monotonic
    budget: RetryBudget = field(default_factory=RetryBudget)

    @classmethod
    def of(cls, model: Model) -> Lane:
        """The lane of an entry of the fleet. A model of this process has no endpoint, so it has no circuit."""
        door = Door(
            model.name,
            model.concurrency,
            model.requests_per_minute,
            model.tokens_per_minute,
        )
        breaker = None if model.backend in LOCAL else Breaker(model.name)
        return cls(model.name, door, breaker, model.retries)

    def refusal(self) -> str:
        """Why this model is not asked now; "" when it is. For whoever chooses among models."""
        return "" if self.breaker is None else self.breaker.refusal(self.clock())

    async def complete(self, backend: Backend, request: Request) -> Completion:
        """One answer. Raises Unavailable (queue full, circuit open, no retry left), CallTimeout, or what else failed."""
        if request.deadline is None:
            return await self._attempts(backend, request)
        try:
            async with asyncio.timeout(max(0.0, request.deadline - self.clock()) + GRACE) as limit:
                return await self._attempts(backend, request)
        except TimeoutError:
            if not limit.expired():
                raise
            raise CallTimeout(f"{self.name} did not answer before the deadline of the run or step") from None

    async def _attempts(self, backend: Backend, request: Request) -> Completion:
        began, sent = self.clock(), 0
        self.budget.called()
        while True:
            sent += 1
            try:
                return await self._once(backend, request, began)
            except Unavailable as error:
                wait = self._wait(error, sent, request.deadline)
                if wait is None:
                    raise _counted(error, sent) from None
            await asyncio.sleep(wait)

    def _wait(self, error: Unavailable, sent: int, deadline: float | None) -> float | None:
        """Seconds until the next request; None when there is none. A server that throttles is left alone by all calls."""
        now = self.clock()
        wait = pause(error, sent, self.retries, None if deadline is None else deadline - now)
        if error.status == THROTTLED and error.retry_after is not None and error.retry_after <= MOST_ASKED:
            self.door.pause(error.retry_after)
        return wait if wait is not None and self.budget.spend(now) else None

    async def _once(self, backend: Backend, request: Request, began: float) -> Completion:
        self._check()
        tokens = estimate_prompt(request.prompt) + request.max_tokens if self.door.tokens else 0
        await self.door.enter(request.priority, tokens, began, request.run)
        unused: float = tokens
        try:
            self._check()
            unused = 0.0
            completion = await self._watched(backend, request)
            used = completion.usage.input_tokens + completion.usage.output_tokens
            unused = tokens - used if used else 0.0  # a server that does not tell what it used
            return completion
        finally:
            self.door.leave(unused)

    def _check(self) -> None:
        reason = self.refusal()
        if reason:
            raise Unavailable(reason)

    async def _watched(self, backend: Backend, request: Request) -> Completion:
        """The call, and what its end says to the circuit."""
        breaker = self.breaker
        if breaker is None:
            return await self._timed(backend, request)
        probe, heard = breaker.begin(), False
        try:
            completion = await self._timed(backend, request)
            heard = True
            return completion
        except (Unavailable, CallTimeout) as error:
            heard = self._failed(breaker, error, probe)
            raise
        except BackendError:  # it answered, if only that it will not
            heard = True
            raise
        finally:
            if heard:
                breaker.succeeded()
            else:
                breaker.abandoned(probe)

    def _failed(self, breaker: Breaker, error: BackendError, probe: bool) -> bool:
        """Tell the circuit of a failure. True when the model is there all the same: it only throttles."""
        now = self.clock()
        asked = getattr(error, "retry_after", None) or 0.0
        if asked > MOST_ASKED:
            breaker.asked(now, asked, f"the server asked for {asked:.0f} s")
        elif getattr(error, "status", None) == THROTTLED:
            return True
        elif not breaker.failed(now, probe, type(error).__name__.lower()):
            return False
        self.door.turn_away(breaker.refusal(now))
        return False

    async def _timed(self, backend: Backend, request: Request) -> Completion:
        """The call under its own time limit, unless the backend keeps that itself."""
        if request.timeout is None or getattr(backend, "times_itself", False):
            return await backend.complete(request)
        try:
            async with asyncio.timeout(request.timeout) as limit:
                return await backend.complete(request)
        except TimeoutError:
            if not limit.expired():
                raise
            raise CallTimeout(f"{self.name} did not answer within {request.timeout:g} s") from None


def _counted(error: Unavailable, sent: int) -> Unavailable:
    if sent == 1:
        return error
    return Unavailable(f"{error} (after {sent} requests)", error.retry_after, error.retryable, error.status)
