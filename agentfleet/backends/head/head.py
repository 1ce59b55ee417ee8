"""The backend for trained heads: one per skill, answers closed single questions in well under a millisecond.

Trains at first use from the skill's own examples, and keeps the result in a cache folder under a key of those
examples, the options and the code. What `agentfleet learn head` put there for the same key goes first.
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

from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.head.store import key_of, load, save
from agentfleet.errors import MissingExtra, ModelFileError, Unavailable
from agentfleet.ids import fingerprint

if TYPE_CHECKING:
    from agentfleet.backends.head.measure import Judged
    from agentfleet.backends.head.trained import Trained
    from agentfleet.schema import Question

_LONG = 4_000

Examples = Sequence[tuple[str, str]]


class Head:
    """A trained classifier for one skill's question."""

    def __init__(self, question: Question, trained: Trained, name: str = "head") -> None:
        self.question = question
        self.trained = trained
        self.name = name

    @classmethod
    def for_skill(cls, skill: str, question: Question, examples: Examples, cache: Path | None = None) -> Head:
        """Load the head of these examples, (what the model would read, option text), or train and store it.

        A cached file that is damaged or was changed is replaced. A folder that cannot be written costs only the
        training next time. Raises MissingExtra when it must train without scikit-learn, and SchemaError when an
        option has too few examples.
        """
        key = key_of(skill, _texts(question), examples)
        path = cache / f"{_file(skill)}-{key[:16]}" if cache is not None else None
        trained = _cached(learnt_path(cache, skill), key) if cache is not None else None
        trained = trained or (_cached(path, key) if path is not None else None)
        if trained is None:
            from agentfleet.backends.head.fit import train

            trained = train(examples, _texts(question))
            if path is not None:
                with contextlib.suppress(OSError, MissingExtra):
                    save(path, key, trained)
        return cls(question, trained)

    @staticmethod
    def is_learnt(skill: str, question: Question, examples: Examples, cache: Path) -> bool:
        """Did `agentfleet learn head` make one here that still fits the skill's examples, options and the code?"""
        return _cached(learnt_path(cache, skill), key_of(skill, _texts(question), examples)) is not None

    @classmethod
    def learn(
        cls, skill: str, question: Question, examples: Examples, more: Examples, cache: Path
    ) -> tuple[Head, Judged]:
        """Train on `examples` and `more`, store it where `for_skill` of the same `examples` looks first.

        Also gives what the held-out folds said of each. Raises SchemaError for too few examples, MissingExtra, OSError.
        """
        from agentfleet.backends.head.fit import train_and_judge

        trained, judged = train_and_judge([*examples, *more], _texts(question))
        key = key_of(skill, _texts(question), examples)
        save(learnt_path(cache, skill), key, trained, fingerprint([list(pair) for pair in more]))
        return cls(question, trained), judged

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
        """The calibrated probability of each option, by its text; near even for a text unlike all examples."""
        shares = self.trained.distribution(text)[0]
        return {option.text: float(share) for option, share in zip(self.question.options, shares, strict=True)}

    def doubt(self, text: str) -> float:
        """How far the text is doubted to be of the kind that the examples are, 0 to 1. Already in `distribution`."""
        return self.trained.distribution(text)[1]

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


def learnt_path(cache: Path, skill: str) -> Path:
    """Where `agentfleet learn head` puts the head of a skill (without the endings)."""
    return cache / f"{_file(skill)}-learnt"


def _file(skill: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", skill)[:60]


def _texts(question: Question) -> list[str]:
    return [option.text for option in question.options]


def _cached(path: Path, key: str) -> Trained | None:
    if not (path.parent / f"{path.name}.json").exists():
        return None
    try:
        return load(path, key)
    except (ModelFileError, MissingExtra):
        return None
