"""The graphs that `overhead.py` measures, by size. No imports, so that the peers' interpreter can read it too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

CHAIN = 100
"""Steps one after the other."""
FAN = 100
"""Steps side by side, between one before and one after them."""
DIAMOND = 4
"""The same in a diamond: six steps in all."""
RUNS = 1000
"""Diamonds that run at once."""

Shapes = dict[str, Callable[[], Awaitable[Any]]]


def steps_of(shape: str) -> int:
    """How many steps one measurement of a shape runs."""
    return {"chain": CHAIN, "fan": FAN + 2, "diamonds": RUNS * (DIAMOND + 2)}[shape]
