"""Closed answers: every option's own tokens are scored after the prompt, nothing is generated.

An option's score is the sum of the log probabilities of its tokens (not the mean: that favours long options), all
options in one evaluation that shares the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agentfleet.backends.llama_cpp.decode import CHUNK, Cache, Cancelled
from agentfleet.backends.llama_cpp.native import BATCH, Entry, Logits
from agentfleet.errors import BackendError

END: Final = -1
"""Stands for "the model ends its turn" after an option that another option continues."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Log probability of each option after the prompt, and how many prompt tokens were still held."""

    logs: tuple[float, ...]
    cached: int

    @property
    def mass(self) -> float:
        """The share of all answers that begins with any of the options."""
        return float(min(1.0, np.exp(np.asarray(self.logs)).sum()))


def close(options: Sequence[Sequence[int]]) -> list[list[int]]:
    """Options such that none begins another: one that does must be followed by the end of the turn."""
    begun = {tuple(o[:size]) for o in options for size in range(1, len(o))}
    return [[*option, END] if tuple(option) in begun else list(option) for option in options]


def shares(logs: Sequence[float], baseline: Sequence[float] | None = None) -> list[float]:
    """Probabilities normalised over the options. `baseline`: log probabilities when there is nothing to read."""
    values = np.asarray(logs, dtype=np.float64)
    if baseline is not None:
        values = values - np.asarray(baseline)
    weights = np.exp(values - values.max())
    return [float(w) for w in weights / weights.sum()]


def score(
    cache: Cache, prompt: Sequence[int], options: Sequence[Sequence[int]], cancelled: Callable[[], bool]
) -> Scores:
    """Score options (none of them the beginning of another, see `close`) after a prompt."""
    if any(not option for option in options):
        raise BackendError("an option without any token cannot be scored")
    cached = cache.keep(prompt)
    groups = list(_groups(cache, options, len(prompt)))
    last = min(len(prompt) - cached, CHUNK)
    tail = prompt[len(prompt) - last :]
    if cached + last < len(prompt):
        cache.feed(prompt[cached : len(prompt) - last], cancelled)
    logs = np.zeros(len(options))
    for group in groups:
        if cancelled():
            raise Cancelled
        rows = _evaluate(cache, tail, [options[i] for i in group])
        if tail:
            start = _log_probabilities(cache.context.logits(len(tail) - 1))
            logs += [start[option[0]] for option in options]
        for index, row in zip(group, rows, strict=True):
            logs[index] += _continued(cache, row, options[index])
        tail = []
    return Scores(tuple(float(log) for log in logs), cached)


def _groups(cache: Cache, options: Sequence[Sequence[int]], prompt: int) -> Iterable[list[int]]:
    """Options that go into one evaluation: as many as sequences, batch and cache allow."""
    room = min(BATCH - CHUNK, cache.context.size - prompt)
    group: list[int] = []
    used = 0
    for index, option in enumerate(options):
        need = len(option) - 1
        if need > room:
            raise BackendError(f"option {index + 1} has {len(option)} tokens; there is room for {room + 1}")
        if group and (used + need > room or len(group) >= cache.context.sequences - 1):
            yield group
            group, used = [], 0
        group.append(index)
        used += need
    yield group


def _evaluate(cache: Cache, tail: Sequence[int], options: Sequence[Sequence[int]]) -> list[int]:
    """Evaluate the end of the prompt with all options behind it, each in a sequence of its own.

    Returns the row of each option's first token. `tail` is empty when the prompt was read before.
    """
    context, base = cache.context, len(cache.held)
    numbers = [number for number, option in enumerate(options, 1) if len(option) > 1]
    for number in numbers:
        context.share(number, base)
    both = (0, *numbers)
    entries = [Entry(t, base + i, both, wanted=i == len(tail) - 1) for i, t in enumerate(tail)]
    rows = []
    for number, option in enumerate(options, 1):
        rows.append(len(entries))
        entries += [Entry(t, base + len(tail) + i, (number,), wanted=True) for i, t in enumerate(option[:-1])]
    if entries:
        cache.evaluate(entries, tail)
    for number in numbers:
        context.cut(number, 0)
    return rows


def _continued(cache: Cache, row: int, option: Sequence[int]) -> float:
    """Log probability of an option's tokens after its first."""
    total = 0.0
    for offset, token in enumerate(option[1:]):
        logs = _log_probabilities(cache.context.logits(row + offset))
        if token == END:
            total += float(np.logaddexp.reduce(logs[cache.context.weights.ends]))
        else:
            total += float(logs[token])
    return total


def _log_probabilities(logits: Logits) -> NDArray[np.float64]:
    values = logits.astype(np.float64)
    values -= values.max()
    values -= np.log(np.exp(values).sum())
    return values
