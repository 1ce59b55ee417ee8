"""How one use of a step is to be run: its name in the graph, tier, budget, and what happens when every rung fails.

Options never stand among a step's inputs; they come through ``step.using(...)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, Final, Literal, TypedDict

from agentfleet.errors import UsageError

_NAME = re.compile(r"[A-Za-z_][\w.\-]*")


class Unset(Enum):
    """The type of `UNSET`, which marks an option that nobody set (None may be a value)."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Final[Literal[Unset.UNSET]] = Unset.UNSET


class OnFail(Enum):
    """What a step does when no allowed rung gave an acceptable answer; any other value is the default answer.

    RAISE: the node fails. BEST: the best answer that was parsed is taken, marked. WAIT: the node waits for a person.
    """

    RAISE = "raise"
    BEST = "best"
    WAIT = "wait"


class Chosen(TypedDict, total=False):
    """The options that ``using`` takes beside `on_fail`, for type checkers. Meanings and units: `Options`."""

    name: str
    tier: str
    model: str
    fleet: Any
    key: str
    priority: int
    deadline: float
    budget: float
    tries: int
    climb_on_refusal: bool
    queue: str
    delay: float
    objective: Literal["cheapest", "fastest", "best"]


@dataclass(frozen=True, slots=True)
class Options:
    """What ``using`` set. `deadline`: seconds; `budget`: US dollars; `tries`: attempts per rung; `delay`: seconds.

    `objective`: which model of a tier is asked first: the cheapest that meets the deadline (default), fastest, best.
    """

    name: str | None = None
    tier: str | None = None
    model: str | None = None
    fleet: Any = None
    key: str | None = None
    priority: int | None = None
    deadline: float | None = None
    budget: float | None = None
    tries: int | None = None
    climb_on_refusal: bool | None = None
    on_fail: Any = UNSET
    queue: str | None = None
    delay: float | None = None
    objective: Literal["cheapest", "fastest", "best"] | None = None

    @property
    def has_default(self) -> bool:
        """Was a default answer given as `on_fail`?"""
        return self.on_fail is not UNSET and not isinstance(self.on_fail, OnFail)

    def merged(self, changes: dict[str, Any], step: str) -> Options:
        """These options with others over them. Raises UsageError for a value that cannot be meant."""
        known = {f.name for f in fields(Options)}
        for name, value in changes.items():
            if name not in known:
                raise UsageError(f"{step}.using has no option {name!r}; it has {', '.join(sorted(known))}")
            problem = _problem(name, value)
            if problem:
                raise UsageError(f"{step}.using({name}={value!r}): {problem}")
        return replace(self, **changes)


def _problem(name: str, value: Any) -> str:
    if name in ("tier", "model", "key", "queue") and not (isinstance(value, str) and value):
        return "write a text that is not empty"
    if name == "name" and not (isinstance(value, str) and _NAME.fullmatch(value)):
        return "a name starts with a letter and holds letters, digits, _ - and . only (paths are made of names)"
    if name == "tries" and (type(value) is not int or value < 1):
        return "write a whole number of attempts per rung, 1 or more"
    if name == "priority" and type(value) is not int:
        return "write a whole number; low runs first"
    if name in ("deadline", "budget", "delay") and (type(value) not in (int, float) or not value >= 0):
        return f"write a number of {'US dollars' if name == 'budget' else 'seconds'}, 0 or more"
    if name == "objective" and value not in ("cheapest", "fastest", "best"):
        return "write cheapest, fastest or best"
    if name == "climb_on_refusal" and type(value) is not bool:
        return "write True or False"
    return ""
