"""Training: two linear classifiers on the user's own examples, as one, with probabilities calibrated on held-out folds.

Logistic regression and a linear support vector machine are added up in
one matrix, so that the second costs a decision nothing. Everything, the vocabulary too, is learnt anew in each fold.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agentfleet.backends.head import vectors
from agentfleet.backends.head.features import Features, Floats, Ints, Terms, terms
from agentfleet.backends.head.folds import deal, repetitions
from agentfleet.backends.head.measure import Judged
from agentfleet.backends.head.solve import Points, logistic, support
from agentfleet.backends.head.trained import DOUBTFUL, VECTOR, Doubles, Doubt, Space, Trained, mixed, probabilities
from agentfleet.errors import SchemaError
from agentfleet.ids import digest

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FOLDS = 5
PENALTIES = (1.0, 3.0, 10.0)
SHARES = (0.0, 1.0, 2.0, 4.0)
"""Candidates for the weight of the second classifier beside the first."""

FEW = 2_000
"""Up to so many examples all folds choose among the candidates; of more, one fold says enough."""

PLACES = 100
"""Examples of an option that are kept for comparison; more tell strange texts apart no better."""

BETTER = 0.02
"""By which part static vectors must lower the held-out loss to be used: they cost 33 MB and 20 µs a text."""


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

    def worn(self) -> Corpus:
        """The same texts with a share of their marks gone, always the same ones."""
        return replace(self, found=[_worn(one) for one in self.found]) if self.marked else self

    def taught(self) -> Corpus:
        """What is learnt from: each text, and where there are marks a worn copy too."""
        if not self.marked:
            return self
        both = [np.concatenate([part, part]) for part in (self.dense, self.labels)]
        return replace(self, found=self.found + self.worn().found, dense=both[0], labels=both[1])


@dataclass(frozen=True)
class Plan:
    """What cross-validation chooses: static vectors or not, the penalty, the share of the second classifier."""

    dense: bool
    penalty: float
    share: float = 0.0


@dataclass(frozen=True)
class HeldOut:
    """What folds said of texts that they had not seen: scores of both classifiers (2 × texts × options), nearness.

    `worn`: the scores of the same texts with a share of their marks gone.
    """

    scores: Doubles
    worn: Doubles
    near: Doubles

    @classmethod
    def nothing(cls, texts: int, options: int) -> HeldOut:
        """To be filled fold by fold."""
        return cls(np.zeros((2, texts, options)), np.zeros((2, texts, options)), np.zeros(texts))


def _blend(scores: Doubles, share: float) -> Doubles:
    blended: Doubles = scores[0] + share * scores[1]
    return blended


def train(examples: Sequence[tuple[str, str]], options: Sequence[str]) -> Trained:
    """Train on (text, option) pairs, quickly. Raises SchemaError when an option has fewer than two examples.

    One plan for all: static vectors and other penalties are tried by `train_and_judge` alone.
    """
    return train_and_judge(examples, options, thorough=False)[0]


def train_and_judge(
    examples: Sequence[tuple[str, str]], options: Sequence[str], thorough: bool = True
) -> tuple[Trained, Judged]:
    """The same with the best plan, and what the held-out folds said of each example whose option is known."""
    corpus = _corpus(examples, options, thorough)
    folds = deal(_groups(corpus), corpus.labels, int(min(FOLDS, np.bincount(corpus.labels).min())))
    plan, held_out = _choose(corpus, folds, thorough)
    floor = min(0.2, corpus.options / len(corpus.labels))
    near = np.sort(held_out.near)[: int(len(held_out.near) * DOUBTFUL)].astype(np.float32)
    doubt = 1 - np.searchsorted(near, held_out.near.astype(np.float32), side="right") / max(1, len(near))
    uniform = mixed(floor, doubt if len(near) else doubt * 0)[:, None]
    temperature = _temperature(_blend(held_out.worn, plan.share), corpus.labels, uniform)
    judged = Judged(probabilities(_blend(held_out.scores, plan.share), temperature, uniform), corpus.labels)
    space, columns, weights, bias = _fit(corpus, plan)
    places, starts = _places(space, columns, corpus)
    measured = {"examples": len(corpus.labels), "penalty": plan.penalty, "second": plan.share, **judged.summary()}
    name = vectors.installed() if plan.dense else ""
    return Trained(space, weights, bias, temperature, floor, Doubt(places, starts, near), name, measured), judged


def _corpus(examples: Sequence[tuple[str, str]], options: Sequence[str], thorough: bool) -> Corpus:
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


def _groups(corpus: Corpus) -> Ints:
    features = Features.learn(corpus.found)
    return repetitions(_matrix(features, corpus.found)[:, features.characters : len(features.buckets)])


# -- choosing ----------------------------------------------------------------------------------------------------------


def _choose(corpus: Corpus, parts: list[Ints], thorough: bool) -> tuple[Plan, HeldOut]:
    """The plan with the best held-out likelihood (each at its own temperature), and what its folds said."""
    if not thorough:
        plan = Plan(False, PENALTIES[1])
        return _with_share(corpus, plan, _hold_out(corpus, (Fold(corpus, held) for held in parts), plan))
    used = [Fold(corpus, held) for held in (parts if len(corpus.labels) <= FEW else parts[:1])]
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
    share = min(SHARES, key=lambda share: _least_loss(_blend(held_out.worn, share), corpus.labels))
    return replace(plan, share=share), held_out


class Fold:
    """One fold: what is held out, and all else as seen with or without static vectors (made once each)."""

    def __init__(self, corpus: Corpus, held: Ints) -> None:
        self.held = held
        self.rest = corpus.part(np.setdiff1d(np.arange(len(corpus.labels)), held))
        self.fresh = corpus.part(held)
        self.taught = self.rest.taught()
        self._features = Features.learn(self.rest.found)
        self._parts = [(part, _matrix(self._features, part.found)) for part in (self.taught, self.fresh)]
        if self.fresh.marked:
            worn = self.fresh.worn()
            self._parts.append((worn, _matrix(self._features, worn.found)))
        self._seen: dict[bool, tuple[Space, Points, list[csr_matrix]]] = {}

    def seen(self, dense: bool) -> tuple[Space, Points, list[csr_matrix]]:
        """The space, what is learnt from in it, the held-out texts in it (whole, and worn if they have marks)."""
        if dense not in self._seen:
            space = _space(self._features, self.rest, dense)
            known, *unknown = (_design(space, columns, part) for part, columns in self._parts)
            self._seen[dense] = space, Points.of(known), unknown
        return self._seen[dense]

    def nearness(self, space: Space, options: Ints) -> Doubles:
        """How near each held-out text is to the nearest example of the option that it was given."""
        places, starts = _places(space, self._parts[0][1], self.rest)
        doubt = Doubt(places, starts, np.empty(0, np.float32))
        own = _placed(space, self._parts[1][1], self.fresh.dense, np.arange(len(self.held)))
        return np.array([doubt.nearest(place, int(option)) for place, option in zip(own, options, strict=True)])


def _loss_of(corpus: Corpus, folds: Sequence[Fold], plan: Plan) -> float:
    rows = np.concatenate([fold.held for fold in folds])
    return _least_loss(_hold_out(corpus, folds, plan, second=False).worn[0][rows], corpus.labels[rows])


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
    space = _space(Features.learn(corpus.found), corpus, plan.dense)
    taught = corpus.taught()
    columns = _matrix(space.features, taught.found)
    points = Points.of(_design(space, columns, taught))
    weights, bias = logistic(points, taught.labels, plan.penalty)
    if plan.share:
        more, other = support(points, taught.labels, plan.penalty)
        weights, bias = weights + plan.share * more, bias + plan.share * other
    return space, columns, weights.astype(np.float32), bias.astype(np.float32)


def _space(features: Features, corpus: Corpus, dense: bool) -> Space:
    return Space(features, corpus.dense.mean(axis=0) if dense else np.empty(0, np.float32))


def _design(space: Space, columns: csr_matrix, corpus: Corpus) -> csr_matrix:
    from scipy.sparse import csr_matrix, hstack

    if not len(space.middle):
        return columns
    return hstack([columns, csr_matrix((corpus.dense - space.middle) * np.float32(VECTOR))]).tocsr()


def _matrix(features: Features, found: Sequence[Terms]) -> csr_matrix:
    from scipy.sparse import csr_matrix

    rows = [features.row(one) for one in found]
    starts = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    columns = np.concatenate([columns for columns, _ in rows])
    values = np.concatenate([values for _, values in rows])
    return csr_matrix((values, columns, starts), shape=(len(rows), len(features)))


def _places(space: Space, columns: csr_matrix, corpus: Corpus) -> tuple[Floats, Ints]:
    """Places of some examples of each option, and where each option's begin. `columns`: theirs first, maybe others'."""
    kept = np.concatenate([_spread(np.flatnonzero(corpus.labels == option)) for option in range(corpus.options)])
    return _placed(space, columns, corpus.dense, kept), np.searchsorted(
        corpus.labels[kept], np.arange(corpus.options + 1)
    )


def _spread(rows: Ints) -> Ints:
    """At most PLACES of them, evenly."""
    return rows if len(rows) <= PLACES else rows[np.linspace(0, len(rows) - 1, PLACES).astype(np.int64)]


def _placed(space: Space, columns: csr_matrix, dense: Floats, rows: Ints) -> Floats:
    apart = (dense - space.middle) * np.float32(VECTOR) if len(space.middle) else np.empty((len(dense), 0), np.float32)
    spans = [(row, slice(columns.indptr[row], columns.indptr[row + 1])) for row in rows]
    return np.array([space.place(columns.indices[s], columns.data[s], apart[row]) for row, s in spans], np.float32)


# -- calibration -------------------------------------------------------------------------------------------------------


def _temperature(scores: Doubles, labels: Ints, uniform: Any) -> float:
    """The most cautious temperature that the held-out folds do not speak against.

    That is the highest whose loss is within one standard error of the best one's: held-out folds of few examples are
    kinder than the next month's mail, those of many know better.
    """
    losses = np.array([_losses(scores, labels, t, uniform) for t in _TEMPERATURES])
    best = int(losses.mean(axis=1).argmin())
    worse = losses - losses[best]
    error = worse.std(axis=1) / np.sqrt(len(labels))
    return float(_TEMPERATURES[np.flatnonzero(worse.mean(axis=1) <= error)[-1]])


_TEMPERATURES = np.exp(np.linspace(np.log(0.1), np.log(8), 100))


def _least_loss(scores: Doubles, labels: Ints) -> float:
    return min(float(_losses(scores, labels, t, 1e-6).mean()) for t in _TEMPERATURES[::4])


def _losses(scores: Doubles, labels: Ints, temperature: float, uniform: Any) -> NDArray[np.float64]:
    chosen = probabilities(scores, temperature, uniform)[np.arange(len(labels)), labels]
    return -np.log(np.maximum(chosen, 1e-12))
