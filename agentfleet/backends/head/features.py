"""Text to numbers: TF-IDF of words, of characters, and of marks; numpy and the standard library only.

Three groups, each of length one before its weight: words (1-2-grams), characters within words (2-5-grams), and
marks: tokens like ``#asks_refund`` by which a skill's body hands facts found by code to its head.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentfleet.text import fold, own_words

Floats: TypeAlias = NDArray[np.float32]

GROUPS: Mapping[str, float] = {"word": 1.0, "char": 1.5, "mark": 2.0}
"""The groups and their weights. Chosen by cross-validation on the stock intent examples."""

_MARK = re.compile(r"(?<![\w#])#([a-z][a-z0-9_]+)")
_WORD = re.compile(r"\w+")
_DIGITS = re.compile(r"\d+")
_MIN_TEXTS = 2
_SIZES = range(2, 6)
_FULL_MARKS = 3.0


def terms(text: str) -> dict[str, Counter[str]]:
    """The terms of a text by group, with how often each occurs. Digits become 0; quoted mail does not count."""
    marks = Counter(_MARK.findall(text))
    plain = _MARK.sub(" ", text)
    words = _WORD.findall(_DIGITS.sub("0", fold(own_words(plain) or plain)))
    pairs = Counter(words)
    pairs.update(f"{a} {b}" for a, b in itertools.pairwise(words))
    return {"word": pairs, "char": _characters(words), "mark": marks}


def _characters(words: Iterable[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for word, times in Counter(words).items():
        padded = f" {word} "
        for size in _SIZES:
            for start in range(max(1, len(padded) - size + 1)):
                found[padded[start : start + size]] += times
    return found


@dataclass(frozen=True)
class Features:
    """The vocabulary with its weights. A term's key is its group's first letter, a colon, the term.

    Terms that no example (or only one) holds have no column, yet count in the length of a text: a text full of
    unknown words stays near the middle, where a head is unsure.
    """

    columns: dict[str, int]
    idf: Floats
    unknown_idf: float

    @classmethod
    def learn(cls, texts: Sequence[Mapping[str, Counter[str]]]) -> Features:
        """From the terms of the examples: a term gets a column when at least two texts (one, for marks) hold it."""
        seen: Counter[str] = Counter()
        for groups in texts:
            for group, found in groups.items():
                seen.update(f"{group[0]}:{term}" for term in found)
        kept = sorted(key for key, count in seen.items() if count >= _MIN_TEXTS or key[0] == "m")
        total = len(texts)
        idf = np.array([math.log((1 + total) / (1 + seen[key])) + 1 for key in kept], np.float32)
        return cls({key: index for index, key in enumerate(kept)}, idf, math.log(1 + total) + 1)

    def row(self, groups: Mapping[str, Counter[str]]) -> tuple[NDArray[np.int64], Floats]:
        """Columns and values of one text."""
        columns: list[int] = []
        values: list[float] = []
        for group, found in groups.items():
            at, weights, length = self._weigh(group, found)
            scale = GROUPS[group] / length if length else 0.0
            columns += at
            values += [weight * scale for weight in weights]
        return np.array(columns, np.int64), np.array(values, np.float32)

    def _weigh(self, group: str, found: Counter[str]) -> tuple[list[int], list[float], float]:
        at: list[int] = []
        weights: list[float] = []
        square = 0.0
        mark = group == "mark"
        for term, times in found.items():
            column = self.columns.get(f"{group[0]}:{term}", -1)
            if mark:
                weight = 1.0 if column >= 0 else 0.0
            else:
                weight = (1 + math.log(times)) * (self.unknown_idf if column < 0 else float(self.idf[column]))
            square += weight * weight
            if column >= 0:
                at.append(column)
                weights.append(weight)
        return at, weights, _FULL_MARKS if mark else math.sqrt(square)

    def to_json(self) -> dict[str, Any]:
        return {"terms": list(self.columns), "unknown_idf": self.unknown_idf}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], idf: Floats) -> Features:
        """Raises ValueError when the vocabulary does not fit the weights."""
        names = data["terms"]
        columns = {name: index for index, name in enumerate(names)}
        if len(columns) != len(idf):
            raise ValueError(f"{len(columns)} terms but {len(idf)} weights")
        return cls(columns, idf, float(data["unknown_idf"]))
