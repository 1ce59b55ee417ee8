"""The examples as numbers: what a head learns from, where its texts lie, and which of them nearly repeat each other.

Everything here is the same for both ways of fitting: fit.py (folds) and squares.py (at once).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from agentfleet.backends.head import vectors
from agentfleet.backends.head.features import FULL_MARKS, MARK, Features, Floats, Ints, Terms, terms
from agentfleet.backends.head.folds import repetitions
from agentfleet.backends.head.trained import SKETCH, VECTOR, Doubles, Space
from agentfleet.errors import SchemaError
from agentfleet.ids import digest

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

PLACES = 100
"""Examples of an option that are kept for comparison; more tell strange texts apart no better."""

WORN = 0.25
"""The share of marks that is taken away where a head is to rely on them less: whoever wrote the code that finds them
had these examples in view, so that it finds fewer in the texts to come. Taken in a second copy of each example that
is learnt from, and in what the temperature is fitted on."""


@dataclass(frozen=True)
class Corpus:
    """The examples: terms, static vectors (no columns when there are none), option numbers."""

    found: list[Terms]
    dense: Floats
    labels: Ints
    options: int

    def part(self, rows: Ints) -> Corpus:
        """Some of them."""
        return replace(self, found=[self.found[row] for row in rows], dense=self.dense[rows], labels=self.labels[rows])

    @property
    def marked(self) -> bool:
        """Has any text a mark?"""
        return any(one.marks for one in self.found)

    @cached_property
    def features(self) -> Features:
        """The vocabulary of these texts."""
        return Features.learn(self.found)

    @cached_property
    def columns(self) -> csr_matrix:
        """Texts × columns of that vocabulary."""
        return matrix_of(self.features, self.found)

    def gone(self) -> Doubles:
        """Texts × marks: what `worn` takes away from `columns`."""
        gone = np.zeros((len(self.found), len(self.features.marks)))
        for row, found in enumerate(self.found):
            for mark in found.marks - _worn(found).marks:
                gone[row, self.features.marks[mark] - len(self.features.buckets)] = MARK / FULL_MARKS
        return gone

    def kept(self) -> Ints:
        """The examples that are kept for comparison, option by option, evenly chosen."""
        return np.concatenate([_spread(np.flatnonzero(self.labels == option)) for option in range(self.options)])

    def worn(self) -> Corpus:
        """The same texts with a share of their marks gone, always the same ones."""
        return replace(self, found=[_worn(one) for one in self.found]) if self.marked else self

    def taught(self) -> Corpus:
        """What is learnt from: each text, and where there are marks a worn copy too."""
        if not self.marked:
            return self
        both = [np.concatenate([part, part]) for part in (self.dense, self.labels)]
        return replace(self, found=self.found + self.worn().found, dense=both[0], labels=both[1])


def corpus_of(examples: Sequence[tuple[str, str]], options: Sequence[str], thorough: bool) -> Corpus:
    """From (text, option) pairs; static vectors only where `thorough`. Raises SchemaError for too few of an option."""
    number = {option: index for index, option in enumerate(options)}
    pairs = [(terms(text), number[label]) for text, label in examples if label in number]
    labels = np.array([label for _, label in pairs], np.int64)
    counts = np.bincount(labels, minlength=len(options))
    if len(options) < 2 or counts.min() < 2:
        raise SchemaError(
            f"a head needs two examples or more of each option; it has {dict(zip(options, counts.tolist(), strict=True))}"
        )
    found = [terms for terms, _ in pairs]
    dense = np.zeros((len(found), vectors.SIZE if thorough and vectors.installed() else 0), np.float32)
    if dense.shape[1]:
        dense[:] = [vectors.vector(one.own) for one in found]
    return Corpus(found, dense, labels, len(options))


def _worn(found: Terms) -> Terms:
    kept = (mark for mark in found.marks if int(digest(f"{mark} {found.own}")[:8], 16) >= WORN * 2**32)
    return replace(found, marks=frozenset(kept))


def groups_of(corpus: Corpus) -> Ints:
    """The same number for texts that nearly repeat each other."""
    return repetitions(corpus.columns[:, corpus.features.characters : len(corpus.features.buckets)])


def space_of(features: Features, corpus: Corpus, dense: bool) -> Space:
    """Where these examples lie, with static vectors where `dense`."""
    return Space(features, corpus.dense.mean(axis=0) if dense else np.empty(0, np.float32))


def design_of(space: Space, columns: csr_matrix, corpus: Corpus) -> csr_matrix:
    """The columns, and the static vectors beside them where the space has them."""
    from scipy.sparse import csr_matrix, hstack

    if not len(space.middle):
        return columns
    return hstack([columns, csr_matrix((corpus.dense - space.middle) * np.float32(VECTOR))]).tocsr()


def matrix_of(features: Features, found: Sequence[Terms]) -> csr_matrix:
    """Texts × columns."""
    from scipy.sparse import csr_matrix

    rows = [features.row(one) for one in found]
    starts = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    columns = np.concatenate([columns for columns, _ in rows])
    values = np.concatenate([values for _, values in rows])
    return csr_matrix((values, columns, starts), shape=(len(rows), len(features)))


def places_of(space: Space, columns: csr_matrix, corpus: Corpus) -> tuple[Floats, Ints]:
    """Places of some examples of each option, and where each option's begin. `columns`: theirs first, maybe others'."""
    kept = corpus.kept()
    return placed(space, columns, corpus.dense, kept), np.searchsorted(
        corpus.labels[kept], np.arange(corpus.options + 1)
    )


def _spread(rows: Ints) -> Ints:
    """At most PLACES of them, evenly."""
    return rows if len(rows) <= PLACES else rows[np.linspace(0, len(rows) - 1, PLACES).astype(np.int64)]


def placed(space: Space, columns: csr_matrix, dense: Floats, rows: Ints) -> Floats:
    """The places of some rows: what `Space.place` says of each."""
    sketch = (columns[rows] @ space.signs.astype(np.float32)) * np.float32(SKETCH**-0.5)
    apart = (dense[rows] - space.middle) * np.float32(VECTOR) if len(space.middle) else dense[rows][:, :0]
    whole: Floats = np.concatenate([sketch, apart], axis=1, dtype=np.float32)
    lengths = np.sqrt((whole * whole).sum(axis=1, keepdims=True))
    whole /= np.where(lengths > 0, lengths, np.float32(1))
    return whole
