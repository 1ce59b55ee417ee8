"""How good a set of distributions is: accuracy with its interval, share answered at a promise, calibration. numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

FLOORS = (0.5, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Judged:
    """Distributions (cases × options) over cases whose `labels` (option numbers) are known."""

    shares: Doubles
    labels: Ints

    @property
    def answers(self) -> Ints:
        """The option that is given for each case."""
        found: Ints = self.shares.argmax(axis=1)
        return found

    @property
    def right(self) -> NDArray[np.bool_]:
        """Is it the right one?"""
        found: NDArray[np.bool_] = self.answers == self.labels
        return found

    @property
    def confidence(self) -> Doubles:
        """The greatest share of each case."""
        found: Doubles = self.shares.max(axis=1)
        return found

    @property
    def accuracy(self) -> float:
        """Share of the cases that are right, answered or not."""
        return float(self.right.mean())

    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy (Wilson)."""
        return wilson(int(self.right.sum()), len(self.labels))

    def at(self, floor: float) -> tuple[float, float | None]:
        """Share answered with a confidence of `floor` or more, and the share right among them (None for none)."""
        kept = self.confidence >= floor
        return float(kept.mean()), float(self.right[kept].mean()) if kept.any() else None

    def floor_for(self, promise: float) -> float | None:
        """The least confidence from which the share right is `promise` or more; None when there is none."""
        order = np.argsort(-self.confidence, kind="stable")
        right = np.cumsum(self.right[order]) / np.arange(1, len(order) + 1)
        enough = np.flatnonzero(right >= promise)
        return float(self.confidence[order[enough[-1]]]) if len(enough) else None

    def ece(self, bins: int = 15) -> float:
        """Expected calibration error: mean distance of confidence and share right, in `bins` equal steps."""
        place = np.minimum((self.confidence * bins).astype(np.int64), bins - 1)
        gaps = np.bincount(place, self.confidence - self.right, minlength=bins)
        return float(np.abs(gaps).sum() / len(self.labels))

    def brier(self) -> float:
        """Mean squared distance to the truth over all options, 0 to 2."""
        truth = np.zeros_like(self.shares)
        truth[np.arange(len(self.labels)), self.labels] = 1
        return float(((self.shares - truth) ** 2).sum(axis=1).mean())

    def summary(self) -> dict[str, Any]:
        """For a head's record: accuracy, ECE, and [share answered, share right] at some floors."""
        at = {str(floor): [None if part is None else round(part, 3) for part in self.at(floor)] for floor in FLOORS}
        return {"accuracy": round(self.accuracy, 3), "ece": round(self.ece(), 3), "at": at}


def wilson(right: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share; (0, 1) for no cases."""
    if not total:
        return 0.0, 1.0
    share, square = right / total, z * z / total
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / total + square / total / 4) / (1 + square)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
