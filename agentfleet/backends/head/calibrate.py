"""How sure a head may be: the temperature at which what it said of held-out texts is true as often as it claims."""

from __future__ import annotations

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
    return min(float(_losses(scores, labels, t, 1e-6).mean()) for t in _TEMPERATURES[::4])


def _losses(scores: Doubles, labels: Ints, temperature: float, uniform: Any) -> NDArray[np.float64]:
    chosen = probabilities(scores, temperature, uniform)[np.arange(len(labels)), labels]
    return -np.log(np.maximum(chosen, 1e-12))
