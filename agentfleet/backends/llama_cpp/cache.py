"""What a context holds of earlier prompts, so that the next one pays only for what is new.

Sequence 0 holds the last prompt. The start that all prompts of a skill share is put away when another skill's turn
comes, and brought back by a copy; the least recently used of these starts go first when their memory is full.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from agentfleet.backends.llama_cpp.native import Context, Entry, Logits, State
from agentfleet.errors import BackendError

CHUNK: Final = 40
"""Tokens of a prompt between two looks at the cancel flag (about 100 ms of the embedded model on two cores)."""


LEAST: Final = 2
"""Tokens of a prompt that are evaluated together at the least: a lone one goes another way through the weights, and its
logits differ (by up to 0.7 for the embedded model), while splits of several are bit-identical."""


class Cancelled(Exception):
    """Nobody waits for this answer any more. Never leaves this package."""


class Prefixes:
    """Evaluated starts of prompts, by their tokens. `budget`: bytes of all of them together."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.used = 0
        self._states: OrderedDict[tuple[int, ...], State] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, tokens: tuple[int, ...]) -> bool:
        return tokens in self._states

    def put(self, tokens: tuple[int, ...], state: State) -> None:
        """Keep a start; one that is larger than the budget is not kept."""
        if state.nbytes > self.budget or tokens in self._states:
            return
        self._states[tokens] = state
        self.used += state.nbytes
        while self.used > self.budget:
            self.used -= self._states.popitem(last=False)[1].nbytes

    def longest(self, prompt: Sequence[int]) -> tuple[int, ...]:
        """The start that shares most with a prompt, or ()."""
        best = max(self._states, key=lambda held: common(held, prompt, len(prompt)), default=())
        return best if common(best, prompt, len(prompt)) else ()

    def take(self, tokens: tuple[int, ...]) -> State:
        """The state of a start that is here; it counts as used now."""
        self._states.move_to_end(tokens)
        return self._states[tokens]

    def drop(self, tokens: tuple[int, ...]) -> None:
        """Forget a start."""
        self.used -= self._states.pop(tokens).nbytes


class Cache:
    """Sequence 0 of a context and the starts that were put away. `budget`: bytes for these; 0 keeps none."""

    def __init__(self, context: Context, budget: int = 0) -> None:
        self.context = context
        self.prefixes = Prefixes(budget)
        self.held: list[int] = []
        self._pinned = 0

    def keep(self, prompt: Sequence[int], pinned: int = 0) -> int:
        """Forget all but the longest common start with `prompt` (all but `LEAST` at most); how many tokens that is.

        `pinned`: tokens at the start of the prompt that belong to its skill.
        """
        shared = common(self.held, prompt, len(prompt) - LEAST)
        if shared < max(self._pinned, pinned):
            self._put_away()
            shared = self._bring_back(prompt, min(shared, len(self.held)))
        self._pinned = pinned
        if shared == 0 or (shared < len(self.held) and not self.context.cut(0, shared)):
            self.reset()  # some kinds of model cannot forget a part
            self._pinned = pinned
            return 0
        del self.held[shared:]
        return shared

    def _put_away(self) -> None:
        """Put away the start of the skill whose prompt is held."""
        start = tuple(self.held[: self._pinned])
        if not start or len(start) < self._pinned or start in self.prefixes or not self.prefixes.budget:
            return
        if len(self.held) > len(start) and not self.context.cut(0, len(start)):
            self.reset()
            return
        del self.held[len(start) :]
        self.prefixes.put(start, self.context.save())

    def _bring_back(self, prompt: Sequence[int], shared: int) -> int:
        """Bring back the best start if it is longer than what is shared now; how much is shared then."""
        best = self.prefixes.longest(prompt)
        found = common(best, prompt, len(prompt) - LEAST)
        if found <= shared:
            return shared
        self.reset()
        if not self.context.restore(self.prefixes.take(best)):
            self.prefixes.drop(best)
            self.reset()
            return 0
        self.held = list(best)
        return found

    def feed(self, tokens: Sequence[int], cancelled: Callable[[], bool]) -> Logits:
        """Evaluate tokens after what is held; the logits after the last one (a view until the next call)."""
        start = size = 0
        while start < len(tokens):
            if cancelled():
                raise Cancelled
            size = chunk_of(len(tokens) - start)
            chunk = tokens[start : start + size]
            start += size
            try:
                self.context.extend(chunk, len(self.held), wanted=start == len(tokens))
            except BackendError:
                self._lost()
                raise
            self.held += chunk
        return self.context.logits(size - 1)

    def evaluate(self, entries: Sequence[Entry], held: Sequence[int]) -> None:
        """One evaluation after which sequence 0 holds `held` more."""
        try:
            self.context.evaluate(entries)
        except BackendError:
            self._lost()
            raise
        self.held += held

    def _lost(self) -> None:
        """A failed evaluation leaves the context empty."""
        self.held.clear()
        self._pinned = 0

    def reset(self) -> None:
        """Forget everything but what was put away."""
        self.context.clear()
        self._lost()


def chunk_of(left: int) -> int:
    """How many of so many tokens to evaluate next: never so that a lone one is left."""
    return CHUNK - 1 if left == CHUNK + 1 else min(left, CHUNK)


def common(left: Sequence[int], right: Sequence[int], limit: int) -> int:
    """Length of the common start, at most `limit`."""
    limit = min(limit, len(left), len(right))
    for index in range(limit):
        if left[index] != right[index]:
            return index
    return max(limit, 0)
