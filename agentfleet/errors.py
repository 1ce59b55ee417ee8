"""Every error that agentfleet raises on purpose. Each says what is wrong, where, and what to do.

Floor 0: imports nothing from the rest of the package.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

__all__ = [
    "AgentfleetError",
    "BackendError",
    "CallTimeout",
    "FleetError",
    "InputError",
    "LabelError",
    "LedgerBusy",
    "LedgerError",
    "LedgerFull",
    "LedgerTooNew",
    "MissingExtra",
    "MissingKey",
    "ModelFileError",
    "PlanError",
    "Refused",
    "RunCancelled",
    "RunFailed",
    "RunWaiting",
    "SchemaError",
    "StaleEpoch",
    "StepError",
    "StepFailed",
    "TraceError",
    "Unavailable",
    "UnknownName",
    "UsageError",
    "nearest",
]


class AgentfleetError(Exception):
    """Base of all of them: `except AgentfleetError` catches what this package raises on purpose."""


class TraceError(AgentfleetError):
    """A graph or step is written in a way that cannot mean what it says. Raised when it is decorated."""


class SchemaError(AgentfleetError):
    """A type cannot be turned into a bounded JSON Schema that a model can be held to."""


class InputError(AgentfleetError):
    """Values given to a step or graph do not fit its signature. `problems` holds one line a field."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class UsageError(AgentfleetError):
    """An API was called in a way that cannot work here, e.g. a blocking call inside an event loop."""


class UnknownName(AgentfleetError):
    """No graph, step, model, tier or run of that name; the message offers the nearest one."""


class FleetError(AgentfleetError):
    """The fleet file (or the environment over it) is wrong; names the file and the key or line."""


class MissingKey(FleetError):
    """A model needs an API key whose environment variable is absent or empty. Never holds the key."""


class MissingExtra(AgentfleetError):
    """An optional dependency is not installed; names the extra that brings it."""


class ModelFileError(AgentfleetError):
    """A weights file is absent, truncated, or not of the format that its backend reads."""


class LabelError(AgentfleetError):
    """Data would reach a model or place that its label forbids."""


class PlanError(AgentfleetError, ValueError):
    """A plan names a tool, argument or reference that it may not. A ValueError, so a ladder re-asks."""


class LedgerError(AgentfleetError):
    """The ledger cannot be read or written."""


class LedgerTooNew(LedgerError):
    """The ledger was written by a newer agentfleet than this one."""


class LedgerFull(LedgerError):
    """The disk has no room for the ledger. What was committed before stands."""


class LedgerBusy(LedgerError):
    """Another process holds the ledger, or owns this run and is still alive."""


class StaleEpoch(LedgerError):
    """Another owner took the run over; this one may commit nothing more."""


class BackendError(AgentfleetError):
    """A call to a model failed. Carries no key and no header."""


class Unavailable(BackendError):
    """The model cannot be reached, is overloaded or answered with a server error.

    `retry_after`: seconds the server asked to wait, or None. `retryable`: may the same request be sent again?
    `status`: of HTTP, where there was an answer.
    """

    def __init__(
        self, message: str, retry_after: float | None = None, retryable: bool = False, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.retryable = retryable
        self.status = status


class CallTimeout(BackendError):
    """The model did not answer within the time that the call had."""


class Refused(BackendError):
    """The provider or model declined to answer for reasons of policy."""


class StepError(AgentfleetError):
    """A step's own Python raised. `__cause__` is the user's exception; `path` the node."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class StepFailed(AgentfleetError):
    """No rung of a step's ladder gave an acceptable answer.

    `attempts`: every attempt in order. `best`: the best value that was parsed though not accepted, or None.
    """

    def __init__(self, message: str, attempts: Sequence[Any] = (), best: Any = None, path: str = "") -> None:
        super().__init__(message)
        self.attempts = tuple(attempts)
        self.best = best
        self.path = path


class RunFailed(AgentfleetError):
    """`run.value` of a run that failed: the message names the node, `__cause__` is the first failure."""


class RunWaiting(AgentfleetError):
    """`run.value` of a run that waits for a person, a model or time: the message says for what."""


class RunCancelled(AgentfleetError):
    """`run.value` of a run that was cancelled or ran past its deadline."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The tail of a message about an unknown name: ``"; did you mean 'order'?"`` or the list of known names."""
    names = sorted(set(known))
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""
