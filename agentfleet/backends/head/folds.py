"""Held-out folds that hold: texts that nearly repeat each other never stand on both sides. Needs scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

ALIKE = 0.7
"""Cosine of two texts' words and pairs of words from which one counts as a repetition of the other."""

_SEED = 20_11
_BLOCK = 1_000


def repetitions(words: Any) -> Ints:
    """Group number of each text. `words`: sparse matrix, one text a row, each of length one or less."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = []
    other = words.T.tocsr()
    for start in range(0, words.shape[0], _BLOCK):
        near = (words[start : start + _BLOCK] @ other).tocoo()
        kept = near.data >= ALIKE
        pairs.append(np.stack([near.row[kept] + start, near.col[kept]]))
    rows, columns = np.concatenate(pairs, axis=1)
    size = words.shape[0]
    joined = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    groups: Ints = connected_components(joined, directed=False)[1]
    return groups


def deal(groups: Ints, labels: Ints, count: int) -> list[Ints]:
    """`count` folds of whole groups, each with its share of every option; always the same for the same texts.

    Each group goes, in a fixed random order and the biggest first, where its option has the fewest texts so far.
    """
    sizes = np.bincount(groups)
    order = np.random.default_rng(_SEED).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    first = np.zeros(len(sizes), np.int64)
    first[groups[::-1]] = labels[::-1]
    held = np.zeros((int(labels.max()) + 1, count), np.int64)
    place = np.zeros(len(sizes), np.int64)
    for group in order:
        option = first[group]
        place[group] = np.lexsort((held.sum(axis=0), held[option]))[0]
        held[option, place[group]] += sizes[group]
    return [np.flatnonzero(place[groups] == number) for number in range(count)]
