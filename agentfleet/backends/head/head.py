"""The backend for trained heads: one per skill, answers closed single questions in well under a millisecond.

Trains at first use from the skill's own examples, and keeps the result in a cache folder under a key of those
examples, the options and this code's version.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.head.features import GROUPS, terms
from agentfleet.errors import MissingExtra, ModelFileError, Unavailable
from agentfleet.ids import fingerprint

if TYPE_CHECKING:
    from agentfleet.backends.head.fit import Trained
    from agentfleet.schema import Question

VERSION = 1
"""Raise it when features, training or calibration change: cached heads are then trained anew."""
_LONG = 4_000


class Head:
    """A trained classifier for one skill's question."""

    def __init__(self, question: Question, trained: Trained, name: str = "head") -> None:
        self.question = question
        self.trained = trained
        self.name = name

    @classmethod
    def for_skill(
        cls, skill: str, question: Question, examples: Sequence[tuple[str, str]], cache: Path | None = None
    ) -> Head:
        """Load the head of these examples, (what the model would read, option text), or train and store it.

        A cached file that is damaged or was changed is replaced. A folder that cannot be written costs only the
        training next time. Raises MissingExtra when it must train without scikit-learn, and SchemaError when an
        option has too few examples.
        """
        options = [option.text for option in question.options]
        key = fingerprint("head", VERSION, dict(GROUPS), skill, options, [list(pair) for pair in examples])
        path = cache / f"{re.sub(r'[^A-Za-z0-9_-]+', '-', skill)[:60]}-{key[:16]}" if cache is not None else None
        trained = _cached(path, key)
        if trained is None:
            from agentfleet.backends.head.fit import train

            trained = train(examples, options)
            if path is not None:
                _store(path, key, trained)
        return cls(question, trained)

    @property
    def measured(self) -> Mapping[str, Any]:
        """What held-out folds said at training: accuracy, and [share answered, share right] by confidence floor."""
        return self.trained.measured

    @property
    def context(self) -> int | None:
        """No limit: a head reads texts of any length."""
        return None

    def count(self, request: Request) -> int | None:
        """A head has no tokens."""
        return 0

    def distribution(self, text: str) -> dict[str, float]:
        """The calibrated probability of each option, by its text."""
        from agentfleet.backends.head.fit import probabilities

        columns, values = self.trained.features.row(terms(text))
        scores = self.trained.bias.astype(np.float64)
        if len(columns):
            scores = scores + values @ self.trained.weights[columns]
        shares = probabilities(scores, self.trained.temperature, self.trained.floor)
        return {option.text: float(share) for option, share in zip(self.question.options, shares, strict=True)}

    async def complete(self, request: Request) -> Completion:
        """Answer. Raises Unavailable for anything but the closed single question that it was trained for."""
        asked = request.output.questions
        if request.output.kind != "closed" or len(asked) != 1:
            raise Unavailable(f"the head of {request.skill or 'a skill'} answers one closed question, nothing else")
        if [o.text for o in asked[0].options] != [o.text for o in self.question.options]:
            raise Unavailable(f"the head of {request.skill or 'a skill'} was trained for other options")
        began = time.perf_counter()
        text = "\n".join(block.text for block in request.prompt.blocks)
        found = await asyncio.to_thread(self.distribution, text) if len(text) > _LONG else self.distribution(text)
        best = max(self.question.options, key=lambda option: found[option.text])
        return Completion(
            text=json.dumps(best.value),
            model=self.name,
            seconds=time.perf_counter() - began,
            distribution=found,
            option_mass=1.0,
            calibrated=True,
        )

    async def close(self) -> None:
        """Nothing to close."""


def _cached(path: Path | None, key: str) -> Trained | None:
    if path is None or not path.with_suffix(".json").exists():
        return None
    from agentfleet.backends.head.store import load

    try:
        return load(path, key)
    except (ModelFileError, MissingExtra):
        return None


def _store(path: Path, key: str, trained: Trained) -> None:
    from agentfleet.backends.head.store import save

    with contextlib.suppress(OSError, MissingExtra):
        save(path, key, trained)
