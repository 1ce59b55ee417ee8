"""agentfleet: agent workflows that use the right model for each step.

This is the face: everything a user needs, loaded at first use so that importing stays cheap. It stands above all
floors and hands the runtime to the floor that calls it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from agentfleet import runner as _runner

if TYPE_CHECKING:
    from agentfleet.errors import (
        AgentfleetError,
        FleetError,
        InputError,
        RunFailed,
        RunWaiting,
        StepError,
        StepFailed,
        TraceError,
    )
    from agentfleet.fleet.model import Fleet, Model
    from agentfleet.graph.decorators import classify, extract, graph, plan, step, summarise
    from agentfleet.graph.options import OnFail
    from agentfleet.graph.plan import Plan
    from agentfleet.graph.step import Graph, Planner, Step
    from agentfleet.graph.trace import ask
    from agentfleet.graph.wire import each, repeat, when
    from agentfleet.labels import Label
    from agentfleet.markers import Abstain, ByReference, Verbatim
    from agentfleet.routing.outcome import Attempt, Outcome
    from agentfleet.runtime.run import Run, Wait
    from agentfleet.runtime.session import Session

__all__ = [
    "Abstain",
    "AgentfleetError",
    "Attempt",
    "ByReference",
    "Fleet",
    "FleetError",
    "Graph",
    "InputError",
    "Label",
    "Model",
    "OnFail",
    "Outcome",
    "Plan",
    "Planner",
    "Run",
    "RunFailed",
    "RunWaiting",
    "Session",
    "Step",
    "StepError",
    "StepFailed",
    "TraceError",
    "Verbatim",
    "Wait",
    "ask",
    "classify",
    "each",
    "extract",
    "graph",
    "plan",
    "repeat",
    "step",
    "summarise",
    "when",
]

__version__ = "0.1.0"

_ERRORS = (
    "AgentfleetError",
    "FleetError",
    "InputError",
    "RunFailed",
    "RunWaiting",
    "StepError",
    "StepFailed",
    "TraceError",
)
_PLACES = {
    "errors": _ERRORS,
    "fleet.model": ("Fleet", "Model"),
    "graph.decorators": ("classify", "extract", "graph", "plan", "step", "summarise"),
    "graph.options": ("OnFail",),
    "graph.plan": ("Plan",),
    "graph.step": ("Graph", "Planner", "Step"),
    "graph.trace": ("ask",),
    "graph.wire": ("each", "repeat", "when"),
    "labels": ("Label",),
    "markers": ("Abstain", "ByReference", "Verbatim"),
    "routing.outcome": ("Attempt", "Outcome"),
    "runtime.run": ("Run", "Wait"),
    "runtime.session": ("Session",),
}
_HOME = {name: f"agentfleet.{module}" for module, names in _PLACES.items() for name in names}


def _make_runner() -> _runner.Runner:
    from agentfleet.runtime.runner import LocalRunner

    return LocalRunner()


_runner.install(_make_runner)


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'agentfleet' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


class _Face(ModuleType):
    """`graph` is the decorator here, though importing the room `agentfleet.graph` would put the room in its place."""

    @property
    def graph(self) -> Any:
        from agentfleet.graph.decorators import graph

        return graph

    @graph.setter
    def graph(self, room: ModuleType) -> None:
        """The import system offers the room; it stays reachable by ``from agentfleet.graph import …``."""


sys.modules[__name__].__class__ = _Face


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
