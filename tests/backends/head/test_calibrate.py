"""The head that puts its errors last is taken, unless held-out texts speak against it."""

from __future__ import annotations

import numpy as np

from agentfleet.backends.head.calibrate import least_loss, surest

LABELS = np.zeros(40, np.int64)
"""The first option is right each time: a text's score of it, against nothing for the other, says all."""


def scores(*first: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    column = np.resize(np.array(first), len(LABELS))
    return np.stack([column, np.zeros_like(column)], axis=1)


EARLY = scores(2.0, 2.0, 2.0, -3.0)
"""Wrong where it is surest."""
LATE = scores(2.0, 3.0, 2.0, -1.0)


def test_errors_where_it_is_surest_count_most() -> None:
    assert surest([EARLY, LATE], LABELS) == 1
    assert surest([LATE, EARLY], LABELS) == 0


def test_the_first_of_equals_is_taken() -> None:
    assert surest([LATE, LATE * 2], LABELS) == 0  # the same at another temperature


def test_a_clearly_worse_loss_bars() -> None:
    silent = scores(0.03, 0.03, 0.02, 0.01)  # no error at all, but hardly a word
    certain = scores(9.0, 9.0, 9.0, -0.1)
    assert least_loss(certain, LABELS) < least_loss(silent, LABELS)
    assert surest([certain, silent], LABELS) == 0
