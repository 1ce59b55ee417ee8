"""The protocol that every runtime of models speaks: one request in, one completion out.

A backend knows nothing of ladders, steps or ledgers. One file (or folder) per backend beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from agentfleet.prompt import Prompt
from agentfleet.schema import Output


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. `input_tokens` includes the cached ones; `output_tokens` the reasoning ones."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One call on one rung.

    `skill`: the skill's name, for prefix caches and heads. `max_tokens`: bound of the answer.
    `timeout`: seconds for the call itself, or None. `deadline`: when run or step end, on `time.monotonic`; waiting for
    a turn counts against it. `priority`: low goes first; `run`: whose call it is, for fair turns. `params`: what the
    rung adds (seed, top_p …). `listen`: told the answer as far as it is there, its text or its JSON data, some times a
    second and from any thread, by backends that can.
    """

    prompt: Prompt
    output: Output
    skill: str = ""
    max_tokens: int = 512
    temperature: float = 0.0
    timeout: float | None = None
    deadline: float | None = None
    priority: int = 0
    run: str = ""
    idempotency_key: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    listen: Callable[[Any], None] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back: `text` is JSON for `Output.kind` json and closed (a JSON scalar), else plain text.

    `distribution`: option → probability, normalised over the options (closed answers scored by the model).
    `option_mass`: share of next-token probability that fell on any option. `seconds`: wall time of the call.
    `finish`: length means truncated; refusal means that the model declined. `cost`: US dollars, set by the dispatcher;
    None when the model's price is unknown.
    """

    text: str
    model: str
    finish: Literal["stop", "length", "refusal"] = "stop"
    usage: Usage = Usage()
    seconds: float = 0.0
    distribution: Mapping[str, float] | None = None
    option_mass: float | None = None
    calibrated: bool = False
    cost: float | None = 0.0


def least_certain(named: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The distribution of the least certain field, so that its maximum is the certainty of the whole."""
    name = min(named, key=lambda field: max(named[field].values()))
    return {f"{name}: {text}": share for text, share in named[name].items()}


class Backend(Protocol):
    """`complete` raises Unavailable, CallTimeout or Refused (agentfleet.errors), never an SDK's own error.

    One that has ``times_itself = True`` keeps `Request.timeout` itself, from when a call's turn comes; others are timed.
    """

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer together that one call may hold; None when unknown or unlimited."""
        ...

    def count(self, request: Request) -> int | None:
        """Tokens of the rendered prompt; exact where the tokenizer is here, else None. Must not block long."""
        ...

    async def complete(self, request: Request) -> Completion: ...

    async def close(self) -> None: ...
