"""Closed answers by scoring, whatever runs the model: options as tokens, log probabilities as shares, and their names.

Plain values in and out; no backend's library is imported here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np

from agentfleet.prompt import Block, Prompt
from agentfleet.schema import Question

END: Final = -1
"""Stands for "the model ends its turn" after an option that another option continues."""

V = TypeVar("V")


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


def mass(logs: Sequence[float]) -> float:
    """The share of all answers that begins with any of the options."""
    return float(min(1.0, np.exp(np.asarray(logs)).sum()))


def best(chances: Sequence[float]) -> int:
    """The place of the likeliest option; of equal ones the first."""
    return max(range(len(chances)), key=chances.__getitem__)


def named(question: Question, chances: Sequence[float]) -> dict[str, float]:
    """The distribution by the options' texts."""
    return {option.text: chance for option, chance in zip(question.options, chances, strict=True)}


def without_input(prompt: Prompt) -> Prompt:
    """The same prompt with nothing to read in it: its answer is what a model prefers before it has read anything."""
    return replace(prompt, blocks=tuple(Block(block.name, "") for block in prompt.blocks), notes=())


def remembered(kept: OrderedDict[Hashable, V], key: Hashable, make: Callable[[], V], most: int) -> V:
    """The value of a key, made once and forgotten when `most` others were used since."""
    found = kept.get(key)
    if found is None:
        found = kept[key] = make()
        if len(kept) > most:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return found
