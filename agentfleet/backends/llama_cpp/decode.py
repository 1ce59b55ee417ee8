"""The decode loop: a prompt goes in, tokens come out one by one, each allowed by a rule.

The start of the prompt that the cache still holds is not evaluated again; what a grammar forces is evaluated in one go.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

from agentfleet.backends.llama_cpp.grammar import Constraint
from agentfleet.backends.llama_cpp.native import Context, Entry, Logits, Weights
from agentfleet.errors import BackendError

CHUNK: Final = 128
"""Tokens of a prompt between two looks at the cancel flag."""


class Cancelled(Exception):
    """Nobody waits for this answer any more. Never leaves this package."""


class Free:
    """The rule of plain text: anything, until the model ends its turn."""

    def __init__(self, weights: Weights) -> None:
        self._ends = frozenset(weights.ends)
        self.done = False
        self.complete = True

    def forced(self) -> list[int]:
        return []

    def allows(self, token: int) -> bool:
        return True

    def masked(self, logits: Logits) -> Logits:
        return logits

    def take(self, token: int) -> None:
        self.done = token in self._ends


Rule: TypeAlias = Free | Constraint
"""What may come next. Only plain text is decoded under `Free`."""


class Cache:
    """What sequence 0 of a context holds, so that the next prompt pays only for what is new."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.held: list[int] = []

    def keep(self, prompt: Sequence[int]) -> int:
        """Forget all but the longest common start with `prompt` (never all of it); how many tokens that is."""
        shared = common(self.held, prompt, len(prompt) - 1)
        if shared == 0 or not self.context.cut(0, shared):
            self.reset()  # some kinds of model cannot forget a part
            return 0
        del self.held[shared:]
        return shared

    def feed(self, tokens: Sequence[int], cancelled: Callable[[], bool]) -> Logits:
        """Evaluate tokens after what is held; the logits after the last one (a view until the next call)."""
        for start in range(0, len(tokens), CHUNK):
            if cancelled():
                raise Cancelled
            chunk = tokens[start : start + CHUNK]
            last = start + len(chunk) == len(tokens)
            self.evaluate(
                [
                    Entry(token, len(self.held) + i, wanted=last and i == len(chunk) - 1)
                    for i, token in enumerate(chunk)
                ],
                chunk,
            )
        return self.context.logits((len(tokens) - 1) % CHUNK)

    def evaluate(self, entries: Sequence[Entry], held: Sequence[int]) -> None:
        """One evaluation after which sequence 0 holds `held` more."""
        try:
            self.context.evaluate(entries)
        except BackendError:
            self.held.clear()  # the context is empty now
            raise
        self.held += held

    def reset(self) -> None:
        """Forget everything."""
        self.context.clear()
        self.held.clear()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is chosen. Temperature 0: always the likeliest. `seed` None: another one each time."""

    temperature: float = 0.0
    seed: int | None = None
    top_p: float = 1.0
    top_k: int = 0

    @classmethod
    def of(cls, temperature: float, params: Mapping[str, Any]) -> Sampling:
        """From a request's temperature and parameters (seed, top_p, top_k)."""
        seed = params.get("seed")
        top_p, top_k = float(params.get("top_p") or 1.0), int(params.get("top_k") or 0)
        return cls(temperature, None if seed is None else int(seed), top_p, top_k)


@dataclass(slots=True)
class Written:
    """What a decode gave. `finish` is length when the answer was cut off. `cached`: prompt tokens not evaluated."""

    tokens: list[int] = field(default_factory=list)
    finish: str = "length"
    cached: int = 0


def decode(
    cache: Cache, prompt: Sequence[int], rule: Rule, limit: int, how: Sampling, cancelled: Callable[[], bool]
) -> Written:
    """Write up to `limit` tokens after a prompt. Raises Cancelled, or BackendError when the rule is broken or lost."""
    if not isinstance(rule, (Free, Constraint)):
        raise BackendError(f"the constraint of this answer is missing ({rule!r}): refusing to decode without one")
    written = Written(cached=cache.keep(prompt))
    pick = _picker(rule, how)
    pending = list(prompt[written.cached :])
    while True:
        forced = rule.forced()[: limit - len(written.tokens)]
        written.tokens += forced
        pending += forced
        if rule.done or len(written.tokens) >= limit:
            break
        token = pick(cache.feed(pending, cancelled))
        rule.take(token)
        written.tokens.append(token)
        pending = [token]
    written.finish = "stop" if rule.done else "length"
    if rule.done and not rule.complete:
        raise BackendError("the grammar came to its end before the answer was whole")
    return written


def _picker(rule: Rule, how: Sampling) -> Callable[[Logits], int]:
    if how.temperature <= 0:
        return lambda logits: _likeliest(logits, rule)
    random = np.random.default_rng(how.seed)
    return lambda logits: _drawn(rule.masked(logits), how, random)


def _likeliest(logits: Logits, rule: Rule) -> int:
    """The mask costs more than to ask whether the likeliest of all tokens is allowed, and mostly it is."""
    best = int(logits.argmax())
    return best if rule.allows(best) else int(rule.masked(logits).argmax())


def _drawn(logits: Logits, how: Sampling, random: np.random.Generator) -> int:
    order = np.argsort(-logits, kind="stable")
    if how.top_k > 0:
        order = order[: how.top_k]
    scaled = logits[order].astype(np.float64) / how.temperature
    weights = np.exp(scaled - scaled[0])
    weights /= weights.sum()
    if how.top_p < 1:
        kept = int(np.searchsorted(np.cumsum(weights), how.top_p)) + 1
        order, weights = order[:kept], weights[:kept] / weights[:kept].sum()
    return int(order[random.choice(len(order), p=weights)])


def common(left: Sequence[int], right: Sequence[int], limit: int) -> int:
    """Length of the common start, at most `limit`."""
    limit = min(limit, len(left), len(right))
    for index in range(limit):
        if left[index] != right[index]:
            return index
    return max(limit, 0)


def text_of(weights: Weights, written: Written) -> str:
    """The text of the tokens. A character that was cut in two at the end is left out."""
    raw = b"".join(weights.piece(token) for token in written.tokens)
    if written.finish == "length":
        return raw.decode("utf-8", "ignore") if _cut(raw) else raw.decode("utf-8", "replace")
    return raw.decode("utf-8", "replace")


def _cut(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


def whole_json(text: str) -> None:
    """The last look at a constrained answer. Raises BackendError when it is no JSON, so that the constraint was lost."""
    try:
        json.loads(text)
    except ValueError as error:
        raise BackendError(f"a constrained answer is no JSON ({error}): the constraint was lost") from None
