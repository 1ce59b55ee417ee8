"""A trained head as numbers: from a text to a calibrated distribution. numpy only; some 0.1 ms for a short text.

The scores are linear. How far a text lies from the examples of the option that it seems to be is looked up in a
sketch of them (random signs), and what lies farther than all but a few held-out texts is doubted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentfleet.backends.head.features import Features, Floats, Ints, Terms, terms
from agentfleet.backends.head.vectors import SIZE, vector

Doubles = NDArray[np.float64]

VECTOR = 2.0
"""Weight of the static vectors beside the groups of `features`."""

SKETCH = 128
"""Signs by which a text's TF-IDF is summed up for comparison with the examples."""

DOUBTFUL = 0.05
"""The share of texts of the head's own kind that are doubted at all; the last of them wholly."""

_MIX = np.uint64(0xFF51_AFD7_ED55_8CCD)


@dataclass(frozen=True)
class Space:
    """Where texts lie: TF-IDF columns, and static vectors around `middle` where the head uses them (else empty)."""

    features: Features
    middle: Floats

    @cached_property
    def signs(self) -> NDArray[np.int8]:
        """Columns × SKETCH signs, made from the terms' own hashes: the same in every process."""
        numbers = np.arange(1, SKETCH // 64 + 1, dtype=np.uint64) << np.uint64(32)
        mixed = self.features.names()[:, None] + numbers
        for shift in (33, 29, 32):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * _MIX
        bits = np.unpackbits(mixed.view(np.uint8), axis=1)
        return bits.astype(np.int8) * np.int8(2) - np.int8(1)

    def dense(self, found: Terms) -> Floats:
        """The static vector from the middle, weighted; empty for a head without."""
        if not len(self.middle):
            return self.middle
        return (vector(found.own) - self.middle) * np.float32(VECTOR)

    def place(self, columns: NDArray[np.int32], values: Floats, dense: Floats) -> Floats:
        """A direction (length one) by which texts are compared."""
        sketch = (values @ self.signs[columns].astype(np.float32)) * np.float32(SKETCH**-0.5)
        whole: Floats = np.concatenate([sketch, dense]) if len(dense) else sketch
        length = float(whole @ whole) ** 0.5
        if length:
            whole /= np.float32(length)
        return whole


@dataclass(frozen=True)
class Doubt:
    """`places` of the examples, option by option (`starts`: where each begins, and the end of the last).

    `near`: cosines to the nearest example of the seeming option that the doubtful share of held-out texts had, rising.
    """

    places: Floats
    starts: Ints
    near: Floats

    def nearest(self, place: Floats, option: int) -> float:
        """Cosine to the nearest example of an option; -1 when it has none."""
        own = self.places[self.starts[option] : self.starts[option + 1]]
        return float((own @ place).max()) if len(own) else -1.0

    def share(self, near: float) -> float:
        """0: as near as texts of this kind are; 1: farther off than any held-out text."""
        if not len(self.near):
            return 0.0
        return 1 - int(np.searchsorted(self.near, near, side="right")) / len(self.near)


@dataclass(frozen=True)
class Trained:
    """A linear classifier: `weights` columns × options, then static vector × options; `floor` and doubt mixed in.

    `vectors`: name and version of the static vectors, "" for none. `measured`: what the held-out folds said.
    """

    space: Space
    weights: Floats
    bias: Floats
    temperature: float
    floor: float
    doubt: Doubt
    vectors: str
    measured: dict[str, Any]

    def __post_init__(self) -> None:
        rows = len(self.space.features) + len(self.space.middle)
        if self.weights.shape != (rows, len(self.bias)) or len(self.doubt.starts) != len(self.bias) + 1:
            raise ValueError("its parts do not fit together")
        if len(self.space.middle) not in (0, SIZE):
            raise ValueError(f"static vectors have {SIZE} numbers, not {len(self.space.middle)}")

    def distribution(self, text: str) -> tuple[Doubles, float]:
        """Calibrated probabilities of the options, and how far the text is doubted to be of the head's kind, 0 to 1."""
        found = terms(text)
        columns, values = self.space.features.row(found)
        dense = self.space.dense(found)
        scores = self.bias + values @ self.weights[columns]
        if len(dense):
            scores = scores + dense @ self.weights[len(self.space.features) :]
        option = int(scores.argmax())
        doubt = self.doubt.share(self.doubt.nearest(self.space.place(columns, values, dense), option))
        return probabilities(scores.astype(np.float64), self.temperature, mixed(self.floor, doubt)), doubt


def mixed(floor: float, doubt: Any) -> Any:
    """The share of the uniform distribution: `floor` always, and what is doubted of the rest.

    Never all of it, so that the likeliest option stays the likeliest.
    """
    return floor + (1 - floor) * 0.98 * doubt


def probabilities(scores: Doubles, temperature: float, uniform: Any) -> Doubles:
    """Scores to probabilities: softmax at a temperature, mixed with a share of the uniform distribution."""
    scaled = scores / temperature
    scaled = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    share: Doubles = scaled / scaled.sum(axis=-1, keepdims=True)
    blend: Doubles = (1 - uniform) * share + uniform / scores.shape[-1]
    return blend
