"""The decode loop: a prompt goes in, tokens come out one by one, each allowed by a rule.

The start of the prompt that the cache still holds is not evaluated again; what a grammar forces is evaluated in one go.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

from agentfleet.backends.llama_cpp.cache import Cache
from agentfleet.backends.llama_cpp.grammar import Constraint
from agentfleet.backends.llama_cpp.native import Logits, Weights
from agentfleet.backends.llama_cpp.score import total
from agentfleet.errors import BackendError


class Free:
    """The rule of plain text: anything, until the model ends its turn."""

    def __init__(self, weights: Weights) -> None:
        self._ends = frozenset(weights.ends)
        self.done = False
        self.complete = True

    def forced(self) -> list[int]:
        return []

    def pick(self, logits: Logits) -> int:
        """Write the likeliest token."""
        best = int(logits.argmax())
        self.done = best in self._ends
        return best

    def masked(self, logits: Logits) -> Logits:
        return logits

    def take(self, token: int) -> None:
        self.done = token in self._ends


BEAT: Final = 0.1
"""Seconds between two looks at an answer that is being written."""

Tell: TypeAlias = Callable[[Sequence[int]], None]

Rule: TypeAlias = Free | Constraint
"""What may come next. Only plain text is decoded under `Free`."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is chosen. Temperature 0: always the likeliest. `seed` None: another one each time.

    `shares`: also note how probable each token was, which costs about 0.1 ms a token.
    """

    temperature: float = 0.0
    seed: int | None = None
    top_p: float = 1.0
    top_k: int = 0
    shares: bool = False

    @classmethod
    def of(cls, temperature: float, params: Mapping[str, Any]) -> Sampling:
        """From a request's temperature and parameters (seed, top_p, top_k, field_shares)."""
        seed = params.get("seed")
        top_p, top_k = float(params.get("top_p") or 1.0), int(params.get("top_k") or 0)
        shares = params.get("field_shares") is True
        return cls(temperature, None if seed is None else int(seed), top_p, top_k, shares)


@dataclass(slots=True)
class Written:
    """What a decode gave. `finish` is length when the answer was cut off. `cached`: prompt tokens not evaluated.

    `logs`: of each token the logarithm of its probability, if asked for; 0 for those that the grammar forced.
    `sampled`: how many were not forced.
    """

    tokens: list[int] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)
    finish: str = "length"
    cached: int = 0
    sampled: int = 0


class Writer:
    """One answer while it is written. Raises BackendError when there is no rule, or when it is broken or lost.

    `limit`: tokens at most. `scratch`: see `score.total`. `tell`: called with the tokens so far, every `BEAT` seconds.
    """

    def __init__(
        self, rule: Rule, limit: int, how: Sampling, scratch: Logits | None = None, tell: Tell | None = None
    ) -> None:
        if not isinstance(rule, (Free, Constraint)):
            raise BackendError(f"the constraint of this answer is missing ({rule!r}): refusing to decode without one")
        self.rule = rule
        self.limit = limit
        self.how = how
        self.written = Written()
        self.over = False
        self._scratch = scratch
        self._pick = _picker(rule, how)
        self._tell = tell
        self._told = 0.0

    def forced(self) -> list[int]:
        """Write what must come next, and say what of it is to be evaluated. Afterwards it may be `over`."""
        rule, written = self.rule, self.written
        forced = rule.forced()
        if forced:
            room = self.limit - len(written.tokens)
            written.tokens += forced[:room]
            written.logs += [0.0] * min(room, len(forced))
            if len(forced) > room:  # the rule took all of it, but there is no room to write it
                self.over = True
                return forced
        if rule.done or len(written.tokens) >= self.limit:
            self.over = True
            written.finish = "stop" if rule.done else "length"
            if rule.done and not rule.complete:
                raise BackendError("the grammar came to its end before the answer was whole")
        return forced

    def choose(self, logits: Logits) -> int:
        """Write the next token."""
        token = self._pick(logits)
        if self.how.shares:
            self.written.logs.append(float(logits[token]) - total(logits, self._scratch))
        self.written.tokens.append(token)
        self.written.sampled += 1
        if self._tell is not None and (now := time.monotonic()) - self._told >= BEAT:
            self._told = now
            self._tell(self.written.tokens)
        return token


def decode(
    cache: Cache, prompt: Sequence[int], writer: Writer, cancelled: Callable[[], bool], pinned: int = 0
) -> Written:
    """Write an answer after a prompt. Raises Cancelled or BackendError.

    `pinned`: tokens at the start of the prompt that all prompts of its skill share.
    """
    writer.written.cached = cache.keep(prompt, pinned)
    pending = [*prompt[writer.written.cached :], *writer.forced()]
    while not writer.over:
        token = writer.choose(cache.feed(pending, cancelled))
        pending = [token, *writer.forced()]
    return writer.written


def _picker(rule: Rule, how: Sampling) -> Callable[[Logits], int]:
    """Chooses a token and lets the rule take it."""
    if how.temperature <= 0:
        return rule.pick
    random = np.random.default_rng(how.seed)

    def drawn(logits: Logits) -> int:
        token = _drawn(rule.masked(logits), how, random)
        rule.take(token)
        return token

    return drawn


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


def text_of(weights: Weights, written: Written) -> str:
    """The text of the tokens. A character that was cut in two at the end is left out."""
    raw = b"".join(weights.piece(token) for token in written.tokens)
    if written.finish == "length":
        return raw.decode("utf-8", "ignore") if _cut(raw) else raw.decode("utf-8", "replace")
    return raw.decode("utf-8", "replace")


def text_so_far(weights: Weights, tokens: Sequence[int]) -> str:
    """The text of an answer that is not over: a character that is not whole yet is left out."""
    return b"".join(weights.piece(token) for token in tokens).decode("utf-8", "ignore")


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
