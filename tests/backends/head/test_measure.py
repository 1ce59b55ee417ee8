"""Measures against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from agentfleet.backends.head.measure import Judged, wilson

JUDGED = Judged(
    np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6], [0.55, 0.45]]),
    np.array([0, 1, 1, 1, 0]),
)


def test_accuracy_and_share_answered() -> None:
    assert JUDGED.accuracy == 0.8
    assert JUDGED.at(0.7) == (0.6, pytest.approx(2 / 3))
    assert JUDGED.at(0.95) == (0.0, None)


def test_the_floor_that_keeps_a_promise() -> None:
    assert JUDGED.floor_for(0.8) == 0.55
    assert JUDGED.floor_for(1.0) == 0.9
    assert Judged(np.array([[0.9, 0.1]]), np.array([1])).floor_for(0.5) is None


def test_calibration() -> None:
    sure = Judged(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))
    assert sure.ece() == pytest.approx(0)
    assert sure.brier() == pytest.approx((3 * 2 * 0.25**2 + 2 * 0.75**2) / 4)
    assert Judged(np.array([[1.0, 0.0]] * 4), np.array([0, 0, 1, 1])).ece() == pytest.approx(0.5)


def test_intervals() -> None:
    low, high = wilson(50, 100)
    assert (low, high) == (pytest.approx(0.404, abs=1e-3), pytest.approx(0.596, abs=1e-3))
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(48, 48)[1] == 1.0 and wilson(0, 48)[0] == 0.0
