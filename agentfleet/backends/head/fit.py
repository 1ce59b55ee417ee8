"""Training: two linear classifiers on the user's own examples, as one, with probabilities calibrated on held-out folds.

Logistic regression and a linear support vector machine are added up in
one matrix, so that the second costs a decision nothing. Everything, the vocabulary too, is learnt anew in each fold.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from agentfleet.backends.head import vectors
from agentfleet.backends.head.calibrate import least_loss, temperature_of
from agentfleet.backends.head.corpus import (
    Corpus,
    corpus_of,
    design_of,
    groups_of,
    matrix_of,
    placed,
    places_of,
    space_of,
)
from agentfleet.backends.head.features import Floats, Ints
from agentfleet.backends.head.folds import deal
from agentfleet.backends.head.held_out import Fitted, HeldOut, blend
from agentfleet.backends.head.measure import Judged
from agentfleet.backends.head.solve import Points, logistic, support
from agentfleet.backends.head.squares import MOST_EXAMPLES, MOST_OPTIONS, fit_at_once
from agentfleet.backends.head.trained import DOUBTFUL, Doubles, Doubt, Space, Trained, mixed, probabilities

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FOLDS, MANY_FOLDS = 5, 10
"""Folds of few examples, and of many: what learns from nine tenths errs hardly more than the head itself, so that the
confidence at which a promise is kept is set no higher than it must be."""

PENALTIES = (1.0, 3.0, 10.0)
SHARES = (0.0, 1.0, 2.0, 4.0)
"""Candidates for the weight of the second classifier beside the first."""

FEW = 2_000
ENOUGH = 2
"""Up to so many examples all folds choose among the candidates; of more, two of ten say enough."""

BETTER = 0.02
"""By which part static vectors must lower the held-out loss to be used: they cost 33 MB and 20 µs a text."""


@dataclass(frozen=True)
class Plan:
    """What cross-validation chooses: static vectors or not, the penalty, the share of the second classifier."""

    dense: bool
    penalty: float
    share: float = 0.0


def train(examples: Sequence[tuple[str, str]], options: Sequence[str]) -> Trained:
    """Train on (text, option) pairs, quickly. Raises SchemaError when an option has fewer than two examples.

    One plan for all: static vectors and other penalties are tried by `train_and_judge` alone.
    """
    corpus = corpus_of(examples, options, False)
    if corpus.options <= MOST_OPTIONS and len(corpus.labels) <= MOST_EXAMPLES:
        return _calibrated(corpus, fit_at_once(corpus, groups_of(corpus)))[0]
    return _calibrated(corpus, _in_folds(corpus, False))[0]


def train_and_judge(examples: Sequence[tuple[str, str]], options: Sequence[str]) -> tuple[Trained, Judged]:
    """The same with the best plan, and what the held-out folds said of each example whose option is known."""
    corpus = corpus_of(examples, options, True)
    return _calibrated(corpus, _in_folds(corpus, True))


def _calibrated(corpus: Corpus, fitted: Fitted) -> tuple[Trained, Judged]:
    held_out = fitted.held_out
    floor = min(0.2, corpus.options / len(corpus.labels))
    near = np.sort(held_out.near)[: int(len(held_out.near) * DOUBTFUL)].astype(np.float32)
    doubt = 1 - np.searchsorted(near, held_out.near.astype(np.float32), side="right") / max(1, len(near))
    uniform = mixed(floor, doubt if len(near) else doubt * 0)[:, None]
    temperature = temperature_of(blend(held_out.worn, fitted.share), corpus.labels, uniform)
    judged = Judged(probabilities(blend(held_out.scores, fitted.share), temperature, uniform), corpus.labels)
    places, starts = places_of(fitted.space, fitted.columns, corpus)
    measured = {"examples": len(corpus.labels), **fitted.measured, **judged.summary()}
    head = Trained(
        fitted.space,
        fitted.weights,
        fitted.bias,
        temperature,
        floor,
        Doubt(places, starts, near),
        fitted.vectors,
        measured,
    )
    return head, judged


def _in_folds(corpus: Corpus, thorough: bool) -> Fitted:
    count = MANY_FOLDS if thorough and len(corpus.labels) > FEW else FOLDS
    folds = deal(groups_of(corpus), corpus.labels, int(min(count, np.bincount(corpus.labels).min())))
    plan, held_out = _choose(corpus, folds, thorough)
    measured = {"penalty": plan.penalty, "second": plan.share}
    name = vectors.installed() if plan.dense else ""
    return Fitted(held_out, plan.share, *_fit(corpus, plan), name, measured)


# -- choosing ----------------------------------------------------------------------------------------------------------


def _choose(corpus: Corpus, parts: list[Ints], thorough: bool) -> tuple[Plan, HeldOut]:
    """The plan with the best held-out likelihood (each at its own temperature), and what its folds said."""
    if not thorough:
        plan = Plan(False, PENALTIES[1])
        return _with_share(corpus, plan, _hold_out(corpus, (Fold(corpus, held) for held in parts), plan))
    used = [Fold(corpus, held) for held in (parts if len(corpus.labels) <= FEW else parts[:ENOUGH])]
    first = Plan(False, PENALTIES[1])
    loss = _loss_of(corpus, used, first)
    if corpus.dense.shape[1]:
        other = _loss_of(corpus, used, replace(first, dense=True))
        if other < loss * (1 - BETTER):
            first, loss = replace(first, dense=True), other
    losses = {first.penalty: loss}
    for penalty in PENALTIES:
        if penalty not in losses:
            losses[penalty] = _loss_of(corpus, used, replace(first, penalty=penalty))
    plan = replace(first, penalty=min(losses, key=lambda penalty: losses[penalty]))
    others = (Fold(corpus, held) for held in parts[len(used) :])
    return _with_share(corpus, plan, _hold_out(corpus, itertools.chain(used, others), plan))


def _with_share(corpus: Corpus, plan: Plan, held_out: HeldOut) -> tuple[Plan, HeldOut]:
    share = min(SHARES, key=lambda share: least_loss(blend(held_out.worn, share), corpus.labels))
    return replace(plan, share=share), held_out


class Fold:
    """One fold: what is held out, and all else as seen with or without static vectors (made once each)."""

    def __init__(self, corpus: Corpus, held: Ints) -> None:
        self.held = held
        self.rest = corpus.part(np.setdiff1d(np.arange(len(corpus.labels)), held))
        self.fresh = corpus.part(held)
        self.taught = self.rest.taught()
        self._features = self.rest.features
        self._parts = [(part, matrix_of(self._features, part.found)) for part in (self.taught, self.fresh)]
        if self.fresh.marked:
            worn = self.fresh.worn()
            self._parts.append((worn, matrix_of(self._features, worn.found)))
        self._seen: dict[bool, tuple[Space, Points, list[csr_matrix]]] = {}

    def seen(self, dense: bool) -> tuple[Space, Points, list[csr_matrix]]:
        """The space, what is learnt from in it, the held-out texts in it (whole, and worn if they have marks)."""
        if dense not in self._seen:
            space = space_of(self._features, self.rest, dense)
            known, *unknown = (design_of(space, columns, part) for part, columns in self._parts)
            self._seen[dense] = space, Points.of(known), unknown
        return self._seen[dense]

    def nearness(self, space: Space, options: Ints) -> Doubles:
        """How near each held-out text is to the nearest example of the option that it was given."""
        places, starts = places_of(space, self._parts[0][1], self.rest)
        doubt = Doubt(places, starts, np.empty(0, np.float32))
        own = placed(space, self._parts[1][1], self.fresh.dense, np.arange(len(self.held)))
        return np.array([doubt.nearest(place, int(option)) for place, option in zip(own, options, strict=True)])


def _loss_of(corpus: Corpus, folds: Sequence[Fold], plan: Plan) -> float:
    rows = np.concatenate([fold.held for fold in folds])
    return least_loss(_hold_out(corpus, folds, plan, second=False).worn[0][rows], corpus.labels[rows])


def _hold_out(corpus: Corpus, folds: Iterable[Fold], plan: Plan, second: bool = True) -> HeldOut:
    """Scores and nearness of each text of these folds by a classifier of all other texts; zeros elsewhere."""
    found = HeldOut.nothing(len(corpus.labels), corpus.options)
    for fold in folds:
        space, known, unknown = fold.seen(plan.dense)
        for number, kind in enumerate((logistic, support) if second else (logistic,)):
            weights, bias = kind(known, fold.taught.labels, plan.penalty)
            found.scores[number, fold.held] = unknown[0] @ weights + bias
            found.worn[number, fold.held] = unknown[-1] @ weights + bias
        if second:
            found.near[fold.held] = fold.nearness(space, found.scores[0, fold.held].argmax(axis=1))
    return found


# -- fitting -----------------------------------------------------------------------------------------------------------


def _fit(corpus: Corpus, plan: Plan) -> tuple[Space, csr_matrix, Floats, Floats]:
    space = space_of(corpus.features, corpus, plan.dense)
    taught = corpus.taught()
    columns = matrix_of(space.features, taught.found)
    points = Points.of(design_of(space, columns, taught))
    weights, bias = logistic(points, taught.labels, plan.penalty)
    if plan.share:
        more, other = support(points, taught.labels, plan.penalty)
        weights, bias = weights + plan.share * more, bias + plan.share * other
    return space, columns, weights.astype(np.float32), bias.astype(np.float32)
