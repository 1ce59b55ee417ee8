"""Fitting a linear classifier with scikit-learn, which only this file imports.

Few examples are fitted in the space that they span (never more dimensions than examples), where it costs little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agentfleet.errors import MissingExtra

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

SPANNED = 1_200
"""Up to so many examples fits work in the space that the examples span; more are cheaper as sparse columns."""


@dataclass(frozen=True)
class Points:
    """A design (examples × columns), and where there are few examples the space they span.

    `points` are the examples in that space: the rows of the Cholesky factor of their inner products.
    """

    design: csr_matrix
    spanned: bool
    points: Any

    @classmethod
    def of(cls, design: csr_matrix) -> Points:
        """Span the space of these examples, if they are few."""
        if design.shape[0] > SPANNED:
            return cls(design, False, design)
        kernel = products(design)
        kernel[np.diag_indices_from(kernel)] += _RIDGE
        return cls(design, True, np.linalg.cholesky(kernel))

    def fitted(self, model: Any, labels: Ints) -> tuple[Doubles, Doubles]:
        """Fit; the weights (columns × options) and the bias."""
        model.fit(self.points, labels)
        weights = _per_option(model.coef_).T
        if self.spanned:
            from scipy.linalg import solve_triangular

            weights = self.design.T @ solve_triangular(self.points, weights, trans="T", lower=True)
        return weights, _per_option(np.asarray(model.intercept_)[:, None])[:, 0]


_RIDGE = 1e-5
"""Added to each example's product with itself (about 5): texts that repeat each other leave no factor otherwise."""

_COMMON = 25
"""Columns that stand in more examples than this are multiplied as one dense block, the rest as sparse ones."""


def products(design: csr_matrix) -> Doubles:
    """Inner products of all examples with each other."""
    columns = design.tocsc()
    common = np.diff(columns.indptr) > _COMMON
    block = columns[:, common].toarray()
    rare = columns[:, ~common].tocsr()
    found: Doubles = (block @ block.T).astype(np.float64) + (rare @ rare.T).toarray()
    return found


def logistic(points: Points, labels: Ints, penalty: float) -> tuple[Doubles, Doubles]:
    """Weights (columns × options) and bias of logistic regression."""
    model = _linear_models()[0]
    return points.fitted(model(C=penalty, class_weight="balanced", max_iter=200, tol=1e-3), labels)


def support(points: Points, labels: Ints, penalty: float) -> tuple[Doubles, Doubles]:
    """The same of a linear support vector machine, one against the rest."""
    model = _linear_models()[1]
    return points.fitted(model(C=penalty / 10, class_weight="balanced", tol=1e-2, random_state=0), labels)


def _linear_models() -> tuple[Any, Any]:
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise MissingExtra(
            "training a head needs scikit-learn, which is not installed: pip install 'agentfleet[train]'"
        ) from error
    return LogisticRegression, LinearSVC


def _per_option(values: Doubles) -> Doubles:
    """scikit-learn gives one row for two options; we always have one row each."""
    return np.concatenate([-values, values]) / 2 if len(values) == 1 else values
