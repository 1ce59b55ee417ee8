"""Training: logistic regression on the user's own examples, with probabilities calibrated on held-out folds.

The only file here that needs scikit-learn. It works in the space that the examples span (never more dimensions than
examples), so that cross-validation costs little: about half a second for 500 examples on one core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agentfleet.backends.head.features import Features, Floats, terms
from agentfleet.errors import MissingExtra, SchemaError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FOLDS = 5
PENALTIES = (0.3, 1.0, 3.0, 10.0)
CAUTION = 1.2
"""The fitted temperature is raised by this factor: held-out folds are still kinder than the next month's mail."""
SEED = 20_11

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Trained:
    """A linear classifier: `weights` columns × options, `temperature` from held-out folds, `floor` mixed in.

    `measured`: what the held-out folds said, calibrated: accuracy, and share answered and right at some floors.
    """

    features: Features
    weights: Floats
    bias: Floats
    temperature: float
    floor: float
    measured: dict[str, Any]


def train(examples: Sequence[tuple[str, str]], options: Sequence[str]) -> Trained:
    """Train on (text, option) pairs. Raises SchemaError when an option has fewer than two examples."""
    known = set(options)
    pairs = [(text, label) for text, label in examples if label in known]
    labels = np.array([list(options).index(label) for _, label in pairs], np.int64)
    counts = np.bincount(labels, minlength=len(options))
    if len(options) < 2 or counts.min() < 2:
        raise SchemaError(
            f"a head needs two examples or more of each option; it has {dict(zip(options, counts.tolist(), strict=True))}"
        )
    found = [terms(text) for text, _ in pairs]
    features = Features.learn(found)
    matrix = _matrix(features, found)
    basis, points = _span(matrix)
    penalty, held_out = _cross_validate(points, labels, int(min(FOLDS, counts.min())))
    temperature = _temperature(held_out, labels) * CAUTION
    floor = min(0.2, len(options) / len(pairs))
    model = _fit(points, labels, penalty)
    weights = matrix.T @ (basis @ _per_option(model.coef_).T)
    return Trained(
        features,
        np.asarray(weights, np.float32),
        np.asarray(_per_option(model.intercept_[:, None])[:, 0], np.float32),
        temperature,
        floor,
        {"examples": len(pairs), "penalty": penalty, **measure(probabilities(held_out, temperature, floor), labels)},
    )


def probabilities(scores: Doubles, temperature: float, floor: float) -> Doubles:
    """Scores to probabilities: softmax at a temperature, mixed with `floor` of the uniform distribution."""
    scaled = scores / temperature
    scaled = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    share: Doubles = scaled / scaled.sum(axis=-1, keepdims=True)
    mixed: Doubles = (1 - floor) * share + floor / scores.shape[-1]
    return mixed


def measure(held_out: Doubles, labels: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy, and for some floors [share answered, share of those right]."""
    right = held_out.argmax(axis=1) == labels
    sure = held_out.max(axis=1)
    at = {}
    for floor in (0.5, 0.7, 0.8, 0.9):
        kept = sure >= floor
        at[str(floor)] = [round(float(kept.mean()), 3), round(float(right[kept].mean()), 3) if kept.any() else None]
    return {"accuracy": round(float(right.mean()), 3), "at": at}


def _matrix(features: Features, found: Sequence[Any]) -> csr_matrix:
    from scipy.sparse import csr_matrix

    rows = [features.row(groups) for groups in found]
    starts = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    columns = np.concatenate([columns for columns, _ in rows])
    values = np.concatenate([values for _, values in rows]).astype(np.float64)
    return csr_matrix((values, columns, starts), shape=(len(rows), len(features.columns)))


def _span(matrix: csr_matrix) -> tuple[Doubles, Doubles]:
    """(basis, points): the examples as points in the space they span; ``matrix.T @ basis`` leads back to columns."""
    gram = np.asarray((matrix @ matrix.T).todense())
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-8 * max(1.0, float(values[-1]))
    length = np.sqrt(values[kept])
    return vectors[:, kept] / length, vectors[:, kept] * length


def _cross_validate(points: Doubles, labels: NDArray[np.int64], folds: int) -> tuple[float, Doubles]:
    """The penalty with the best held-out likelihood (each at its own temperature), and its held-out scores."""
    best: tuple[float, float, Doubles] | None = None
    parts = _folds(labels, folds)
    for penalty in PENALTIES:
        scores = np.zeros((len(labels), int(labels.max()) + 1))
        for held in parts:
            rest = np.setdiff1d(np.arange(len(labels)), held)
            model = _fit(points[rest], labels[rest], penalty)
            scores[held] = points[held] @ _per_option(model.coef_).T + _per_option(model.intercept_[:, None])[:, 0]
        loss = _loss(scores, labels, _temperature(scores, labels))
        if best is None or loss < best[0] - 1e-4:
            best = (loss, penalty, scores)
    assert best is not None
    return best[1], best[2]


def _folds(labels: NDArray[np.int64], folds: int) -> list[NDArray[np.int64]]:
    """Stratified and always the same: each option's examples are dealt out in a fixed random order."""
    order = np.random.default_rng(SEED).permutation(len(labels))
    dealt = order[np.argsort(labels[order], kind="stable")]
    return [np.sort(dealt[start::folds]) for start in range(folds)]


def _fit(points: Doubles, labels: NDArray[np.int64], penalty: float) -> Any:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtra(
            "training a head needs scikit-learn, which is not installed: pip install 'agentfleet[train]'"
        ) from error
    return LogisticRegression(C=penalty, class_weight="balanced", max_iter=300, tol=1e-3).fit(points, labels)


def _per_option(values: Doubles) -> Doubles:
    """scikit-learn gives one row for two options; we always have one row each."""
    return np.concatenate([-values, values]) / 2 if len(values) == 1 else values


def _temperature(scores: Doubles, labels: NDArray[np.int64]) -> float:
    """The temperature with the best likelihood; at least 1/4, at most 8."""
    candidates = np.exp(np.linspace(np.log(0.25), np.log(8), 80))
    return float(min(candidates, key=lambda t: _loss(scores, labels, float(t))))


def _loss(scores: Doubles, labels: NDArray[np.int64], temperature: float) -> float:
    chosen = probabilities(scores, temperature, 1e-6)[np.arange(len(labels)), labels]
    return float(-np.log(chosen).mean())
