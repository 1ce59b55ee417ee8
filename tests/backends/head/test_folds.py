"""Folds: near repetitions stay together, every option has its share, and the same texts give the same folds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from agentfleet.backends.head.folds import deal, repetitions


def test_repetitions_are_found_through_others() -> None:
    rows = np.array([[1, 0, 0], [0.8, 0.6, 0], [0.28, 0.96, 0], [0, 0, 1]])
    groups = repetitions(csr_matrix(rows))  # 0-1 and 1-2 are alike, 0-2 are not
    assert groups[0] == groups[1] == groups[2] != groups[3]


def test_repetitions_across_blocks() -> None:
    rows = csr_matrix(np.eye(1500)[[*range(1500), 0]])
    groups = repetitions(rows)
    assert groups[0] == groups[1500] and len(set(groups.tolist())) == 1500


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=12, max_size=80), st.integers(2, 5))
def test_a_group_is_never_on_both_sides(pairs: list[tuple[int, int]], count: int) -> None:
    groups = np.unique([group for group, _ in pairs], return_inverse=True)[1].astype(np.int64)
    labels = np.array([label for _, label in pairs], np.int64)
    folds = deal(groups, labels, count)
    assert sorted(np.concatenate(folds).tolist()) == list(range(len(pairs)))
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(pairs)), fold)
        assert not set(groups[fold].tolist()) & set(groups[rest].tolist())


def test_single_texts_are_dealt_out_evenly() -> None:
    labels = np.repeat([0, 1, 2], [20, 10, 5])
    folds = deal(np.arange(35), labels, 5)
    assert [np.bincount(labels[fold], minlength=3).tolist() for fold in folds] == [[4, 2, 1]] * 5
    again = deal(np.arange(35), labels, 5)
    assert all(np.array_equal(a, b) for a, b in zip(folds, again, strict=True))
