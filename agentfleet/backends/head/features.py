"""Text to numbers: TF-IDF of words, of characters, and of marks; numpy and the standard library only.

Three groups, each of length one before its weight: words (1-2-grams), characters (2-5-grams, across words), and
marks: tokens like ``#asks_refund`` by which a skill's body hands facts found by code to its head.
A word or n-gram is known by a hash that numpy computes for all of a text at once: some 60 µs for a short text.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from agentfleet.ids import digest
from agentfleet.text import fold, own_words

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]
_Integer = TypeVar("_Integer", np.int32, np.int64)

WORD, CHARACTER, MARK = 1.0, 1.5, 2.0
"""Weights of the groups. Chosen by cross-validation on the stock intent examples and on banking77's training part."""

SIZES = (2, 3, 4, 5)
"""Lengths of the character n-grams."""

_MARK = re.compile(r"(?<![\w#])#([a-z][a-z0-9_]+)")
_WORD = re.compile(r"\w+")
_DIGITS = re.compile(r"\d+")
_MIN_TEXTS = 2
FULL_MARKS = 3.0
"""Each mark weighs MARK / FULL_MARKS."""

_BASE = 0x9E37_79B9_7F4A_7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_MIX_CHARACTERS = np.uint64(0xBF58_476D_1CE4_E5B9)
_MIX_WORDS = np.uint64(0x94D0_49BB_1331_11EB)
_CHARACTER_BITS, _WORD_BITS = 20, 18
_CHARACTERS = 1 << _CHARACTER_BITS
_BUCKETS = _CHARACTERS + (1 << _WORD_BITS)
_SPACE = 32


@dataclass(frozen=True, slots=True)
class Terms:
    """What stands in a text: `buckets` of its character n-grams, then of its words; `marks` by name; `own` words."""

    buckets: Ints
    characters: int
    marks: frozenset[str]
    own: str


def terms(text: str) -> Terms:
    """The terms of a text, with repetitions. Digits become 0; quoted mail does not count."""
    marks = frozenset(_MARK.findall(text)) if "#" in text else frozenset()
    plain = _MARK.sub(" ", text) if marks else text
    if len(plain.splitlines()) > 1:
        plain = own_words(plain) or plain
    folded = plain.lower() if plain.isascii() else fold(plain)
    words = " ".join(_WORD.findall(_DIGITS.sub("0", folded)))
    if not words:
        return Terms(np.empty(0, np.int64), 0, marks, plain)
    codes = np.frombuffer(f" {words} ".encode("utf-32-le"), np.uint32)
    characters, spans = _hashes(codes)
    buckets = np.concatenate(
        [
            (characters * _MIX_CHARACTERS) >> np.uint64(64 - _CHARACTER_BITS),
            ((spans * _MIX_WORDS) >> np.uint64(64 - _WORD_BITS)) + np.uint64(_CHARACTERS),
        ]
    )
    return Terms(buckets.view(np.int64), len(characters), marks, plain)


def _hashes(codes: NDArray[np.uint32]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hashes of all character n-grams, and of all words and pairs of words, of text between single blanks.

    The sum of code × base^place over a stretch, divided by base^start (modulo 2^64), depends on its letters alone.
    """
    powers, inverses = _powers(len(codes).bit_length())
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * powers[: len(codes)], out=sums[1:])
    grams = [(sums[size:] - sums[:-size]) * inverses[: len(sums) - size] for size in SIZES if size < len(sums)]
    blanks = np.flatnonzero(codes == _SPACE)
    starts, ends = blanks[:-1] + 1, blanks[1:]
    starts, ends = np.concatenate([starts, starts[:-1]]), np.concatenate([ends, ends[1:]])
    return np.concatenate(grams), (sums[ends] - sums[starts]) * inverses[starts]


@functools.lru_cache(maxsize=24)
def _powers(bits: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """base^n and base^-n modulo 2^64 for n below 2^bits."""
    found = []
    for factor in (_BASE, _INVERSE):
        steps = np.full(1 << bits, factor, np.uint64)
        steps[0] = 1
        found.append(np.cumprod(steps))
    return found[0], found[1]


class Features:
    """The vocabulary with its weights. Columns: character n-grams, words, then marks.

    Terms that no example (or only one) holds have no column, yet count in the length of a text: a text full of
    unknown words stays near the middle, where a head is unsure.
    """

    def __init__(self, buckets: Ints, idf: Floats, unknown_idf: float, marks: Sequence[str]) -> None:
        if len(buckets) != len(idf):
            raise ValueError(f"{len(buckets)} terms but {len(idf)} weights")
        self.buckets, self.idf, self.unknown_idf = buckets, idf, unknown_idf
        self.marks = {name: len(buckets) + index for index, name in enumerate(marks)}
        self.characters = int(np.searchsorted(buckets, _CHARACTERS))
        self._column = np.full(_BUCKETS, -1, np.int32)
        self._column[buckets] = np.arange(len(buckets))

    def __len__(self) -> int:
        return len(self.buckets) + len(self.marks)

    @classmethod
    def learn(cls, texts: Sequence[Terms]) -> Features:
        """From the terms of the examples: a term gets a column when at least two texts (one, for marks) hold it."""
        seen = np.zeros(_BUCKETS, np.int64)
        for found in texts:
            seen[_counted(found.buckets.copy())[0]] += 1
        kept = np.flatnonzero(seen >= _MIN_TEXTS)
        idf = np.log((1 + len(texts)) / (1 + seen[kept])) + 1
        marks = Counter(mark for found in texts for mark in found.marks)
        return cls(kept, idf.astype(np.float32), math.log(1 + len(texts)) + 1, sorted(marks))

    def row(self, found: Terms) -> tuple[NDArray[np.int32], Floats]:
        """Columns and values of one text."""
        columns = self._column[found.buckets]
        unknown = columns < 0
        apart = int(np.count_nonzero(unknown[: found.characters]))
        columns, times = _counted(columns[~unknown])
        values = self.idf[columns] * (1 + np.log(times, dtype=np.float32))
        cut = int(np.searchsorted(columns, self.characters))
        self._scale(values[:cut], apart, CHARACTER)
        self._scale(values[cut:], int(np.count_nonzero(unknown)) - apart, WORD)
        known = [self.marks[mark] for mark in found.marks if mark in self.marks]
        if not known:
            return columns, values
        weight = np.full(len(known), MARK / FULL_MARKS, np.float32)
        return np.concatenate([columns, np.array(known, columns.dtype)]), np.concatenate([values, weight])

    def _scale(self, values: Floats, unknown: int, weight: float) -> None:
        """To the length `weight`, in place; unknown terms count in the length."""
        length = math.sqrt(float(values @ values) + unknown * self.unknown_idf**2)
        if length:
            values *= weight / length

    def names(self) -> NDArray[np.uint64]:
        """A number for each column that depends on its term alone."""
        marks = [int(digest(name)[:15], 16) for name in self.marks]
        return np.concatenate([self.buckets.astype(np.uint64), np.array(marks, np.uint64)])

    def to_json(self) -> dict[str, Any]:
        return {"marks": list(self.marks), "unknown_idf": self.unknown_idf}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], buckets: Ints, idf: Floats) -> Features:
        """Raises ValueError when the vocabulary does not fit the weights."""
        return cls(buckets, idf, float(data["unknown_idf"]), data["marks"])


def _counted(columns: NDArray[_Integer]) -> tuple[NDArray[_Integer], Floats]:
    """Each column once, in order, and how often it stood there."""
    columns.sort()
    first = np.ones(len(columns) + 1, np.bool_)
    np.not_equal(columns[1:], columns[:-1], out=first[1:-1])
    edges = np.flatnonzero(first)
    return columns[edges[:-1]], (edges[1:] - edges[:-1]).astype(np.float32)
