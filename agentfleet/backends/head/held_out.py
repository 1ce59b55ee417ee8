"""What both ways of fitting hand over: the classifier, and what it says of examples that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agentfleet.backends.head.features import Floats
from agentfleet.backends.head.trained import Doubles, Space

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class HeldOut:
    """What is said of texts that were not seen: scores of both classifiers (2 × texts × options), nearness.

    `worn`: the scores of the same texts with a share of their marks gone.
    """

    scores: Doubles
    worn: Doubles
    near: Doubles

    @classmethod
    def nothing(cls, texts: int, options: int) -> HeldOut:
        """To be filled fold by fold."""
        return cls(np.zeros((2, texts, options)), np.zeros((2, texts, options)), np.zeros(texts))


@dataclass(frozen=True)
class Fitted:
    """A classifier before its calibration. `share`: weight of the second classifier; `vectors`: whose, "" for none."""

    held_out: HeldOut
    share: float
    space: Space
    columns: csr_matrix
    weights: Floats
    bias: Floats
    vectors: str
    measured: dict[str, Any]


def blend(scores: Doubles, share: float) -> Doubles:
    """Both classifiers as one."""
    blended: Doubles = scores[0] + share * scores[1]
    return blended
