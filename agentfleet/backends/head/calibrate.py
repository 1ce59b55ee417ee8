"""How sure a head may be: the temperature at which what it said of held-out texts is true as often as it claims.

And which of several heads is surest where it is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentfleet.backends.head.features import Ints
from agentfleet.backends.head.trained import Doubles, probabilities


def temperature_of(scores: Doubles, labels: Ints, uniform: Any) -> float:
    """The most cautious temperature that the held-out folds do not speak against.

    That is the highest whose loss is within one standard error of the best one's: held-out folds of few examples are
    kinder than the next month's mail, those of many know better.
    """
    losses = np.array([_losses(scores, labels, t, uniform) for t in _TEMPERATURES])
    best = int(losses.mean(axis=1).argmin())
    worse = losses - losses[best]
    error = worse.std(axis=1) / np.sqrt(len(labels))
    return float(_TEMPERATURES[np.flatnonzero(worse.mean(axis=1) <= error)[-1]])


_TEMPERATURES = np.exp(np.linspace(np.log(0.1), np.log(8), 100))


def least_loss(scores: Doubles, labels: Ints) -> float:
    """The mean loss at the best temperature."""
    return float(_at_best(scores, labels)[0].mean())


def surest(found: Sequence[Doubles], labels: Ints) -> int:
    """The number of the scores that put their errors last, of those that held-out folds do not speak against.

    A head answers what it is surest of, so the mean share wrong among its surest 1, 2, … texts counts; the loss only
    bars what is more than one standard error worse than the best.
    """
    fitted = [_at_best(scores, labels) for scores in found]
    best = min(fitted, key=lambda one: float(one[0].mean()))[0]
    worse = [losses - best for losses, _ in fitted]
    error = [float(one.std()) / len(labels) ** 0.5 for one in worse]
    open_ = [number for number, one in enumerate(worse) if one.mean() <= error[number]]
    return min(open_, key=lambda number: _risk(fitted[number][1], labels))


def _risk(shares: Doubles, labels: Ints) -> float:
    order = np.argsort(-shares.max(axis=1), kind="stable")
    wrong = np.cumsum((shares.argmax(axis=1) != labels)[order])
    return float((wrong / np.arange(1, len(wrong) + 1)).mean())


def _at_best(scores: Doubles, labels: Ints) -> tuple[NDArray[np.float64], Doubles]:
    """Each text's loss at the best temperature, and the shares there."""
    losses = {float(t): _losses(scores, labels, t, 1e-6) for t in _TEMPERATURES[::4]}
    best = min(losses, key=lambda t: float(losses[t].mean()))
    return losses[best], probabilities(scores, best, 1e-6)


def _losses(scores: Doubles, labels: Ints, temperature: float, uniform: Any) -> NDArray[np.float64]:
    chosen = probabilities(scores, temperature, uniform)[np.arange(len(labels)), labels]
    return -np.log(np.maximum(chosen, 1e-12))
