"""Fitting at once: what is said to have been unseen is what a classifier fitted without those examples says."""

from __future__ import annotations

import numpy as np
import pytest

from agentfleet.backends.head import squares
from agentfleet.backends.head.corpus import corpus_of, groups_of, matrix_of
from agentfleet.backends.head.features import Features
from agentfleet.backends.head.fit import train

THINGS = ["kettle", "lamp", "chair", "rug", "clock", "tent", "mirror", "vase", "desk", "sofa"]
SAID = {
    "refund": "I want the money for my {} back, please pay",
    "delivery": "where is the parcel with the {}, it has not come",
    "other": "do you sell a {} in green as well",
}
EXAMPLES = [
    (said.format(thing) + " #asked" * (option == "refund"), option) for option, said in SAID.items() for thing in THINGS
]


def test_leaving_out_is_the_same_as_fitting_without() -> None:
    corpus = corpus_of(EXAMPLES, list(SAID), False)
    columns = matrix_of(Features.learn(corpus.found), corpus.found).toarray().astype(np.float64)
    kernel, labels = columns @ columns.T, corpus.labels
    groups = np.array([0, 0, 0, *range(1, len(labels) - 2)])
    wanted = squares._wanted(labels, 3)
    inverse = squares._inverse(kernel.copy(), labels)
    said = wanted - squares._left_out(inverse, inverse @ wanted, squares._blocks(groups))
    counts = np.bincount(labels)
    penalty = squares.PENALTY * counts[labels] * 3 / len(labels)
    for left_out in (groups == 0, groups == 9, groups == groups[-1]):
        rest = ~left_out
        share = np.linalg.solve(kernel[np.ix_(rest, rest)] + 1 + np.diag(penalty[rest]), wanted[rest])
        assert np.allclose(said[left_out], (kernel[np.ix_(left_out, rest)] + 1) @ share)


def test_texts_that_repeat_each_other_are_left_out_together() -> None:
    twice = [*EXAMPLES, *EXAMPLES]
    corpus = corpus_of(twice, list(SAID), False)
    groups = groups_of(corpus)
    assert (groups[: len(EXAMPLES)] == groups[len(EXAMPLES) :]).all()
    held_out = squares.fit_at_once(corpus, groups).held_out
    assert held_out.near.max() < 0.999, "a text's own repetition is no neighbour"


def test_worn_scores_rely_less_on_marks() -> None:
    corpus = corpus_of(EXAMPLES, list(SAID), False)
    held_out = squares.fit_at_once(corpus, groups_of(corpus)).held_out
    refunds = corpus.labels == 0
    assert held_out.worn[0, refunds, 0].sum() < held_out.scores[0, refunds, 0].sum()
    assert np.allclose(held_out.worn[0, ~refunds], held_out.scores[0, ~refunds], atol=1e-5)


@pytest.mark.parametrize(("most", "how"), [(12, "squares"), (2, None)])
def test_many_options_are_fitted_in_folds(most: int, how: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentfleet.backends.head.fit.MOST_OPTIONS", most)
    head = train(EXAMPLES, list(SAID))
    assert head.measured.get("fitted") == how
    assert head.measured["accuracy"] > 0.9
    shares, _ = head.distribution("my money for the carpet back, please")
    assert int(shares.argmax()) == 0
