"""What floor 1 calls above itself: a step that is called runs, and only the runtime knows how.

The face (`agentfleet/__init__.py`) hands the runner in. Floor 0.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from agentfleet.errors import UsageError


class Runner(Protocol):
    """The runtime, seen from below. `step` is a graph.step.Step; `inputs` are bound and complete."""

    def call(self, step: Any, inputs: Mapping[str, Any]) -> Any:
        """Run and return the value; inside a running body, as a child node of that run."""
        ...

    def run(self, step: Any, inputs: Mapping[str, Any]) -> Any:
        """Run and return the record (`runtime.run.Run`)."""
        ...

    async def arun(self, step: Any, inputs: Mapping[str, Any]) -> Any:
        """The same, awaited from any event loop."""
        ...

    def stream(self, step: Any, inputs: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Run and yield events (`runtime.events`); the last one carries the record."""
        ...

    def submit(self, step: Any, inputs: Mapping[str, Any]) -> str:
        """Queue a run; return its id after the commit."""
        ...


_make: Callable[[], Runner] | None = None
_runner: Runner | None = None

asking: ContextVar[bool] = ContextVar("agentfleet_asking", default=False)
"""True while a skill's body runs under the runtime: only then may `ask` be called."""


def install(make: Callable[[], Runner]) -> None:
    """Say how the runner is made; it is made at first use, so that importing stays cheap."""
    global _make, _runner
    _make, _runner = make, None


def runner() -> Runner:
    """The runner of this process. Raises UsageError when nothing was installed."""
    global _runner
    if _runner is None:
        if _make is None:
            raise UsageError("no runtime is installed; import agentfleet, not its parts")
        _runner = _make()
    return _runner
