"""The other readout of a closed answer: the options are listed under letters, and the letters' logits are read.

Flat in the number and the length of the options, but small models prefer some letters whatever these stand for: so the
list is shown in several orders and the shares are averaged. A rung asks for it with ``params = { readout = "letters" }``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from agentfleet.backends import options
from agentfleet.backends.llama_cpp.cache import Cache
from agentfleet.backends.llama_cpp.score import Asked, score
from agentfleet.errors import BackendError
from agentfleet.prompt import Message, Prompt, escape
from agentfleet.schema import Question

READOUTS: Final = ("options", "letters")
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ORDERS: Final = 4
"""Orders in which the list is shown at most; each costs an evaluation of the list."""


@dataclass(frozen=True, slots=True)
class Read:
    """Shares of a question's options, the option mass, and how many prompt tokens were still held."""

    shares: list[float]
    mass: float
    cached: int


def readout_of(wanted: object) -> str:
    """ "options" or "letters". Raises BackendError for anything else that a fleet file may say."""
    if wanted is None:
        return READOUTS[0]
    if wanted not in READOUTS:
        raise BackendError(f"params.readout is {wanted!r}; it is one of {', '.join(READOUTS)}")
    return str(wanted)


def read_letters(
    cache: Cache,
    tokens_of: Callable[[str | list[Message]], list[int]],
    prompt: Prompt,
    questions: Sequence[Question],
    cancelled: Callable[[], bool],
    pinned: int,
) -> list[Read]:
    """What a model thinks of each question. Raises BackendError when there are too many options, and Cancelled.

    `tokens_of`: a letter's tokens, or those of rendered messages.
    """
    return [_read(cache, tokens_of, prompt, question, cancelled, pinned) for question in questions]


def _read(
    cache: Cache,
    tokens_of: Callable[[str | list[Message]], list[int]],
    prompt: Prompt,
    question: Question,
    cancelled: Callable[[], bool],
    pinned: int,
) -> Read:
    letters = _letters(tokens_of, question)
    count = len(question.options)
    shares, mass, cached = [0.0] * count, 0.0, -1
    turns = sorted({round(turn * count / min(count, ORDERS)) for turn in range(min(count, ORDERS))})
    for turn in turns:
        order = [(place + turn) % count for place in range(count)]
        tokens = tokens_of(_listed(prompt, question, order))
        (scores,) = score(cache, tokens, (Asked((), letters),), cancelled, pinned)
        for place, share in zip(order, options.shares(scores.logs), strict=True):
            shares[place] += share / len(turns)
        mass += scores.mass / len(turns)
        cached = scores.cached if cached < 0 else cached
    return Read(shares, mass, cached)


def _letters(tokens_of: Callable[[str | list[Message]], list[int]], question: Question) -> list[list[int]]:
    if len(question.options) > len(LETTERS):
        raise BackendError(f"{len(question.options)} options have no letters; ask with params.readout = 'options'")
    found = [tokens_of(letter) for letter in LETTERS[: len(question.options)]]
    if any(len(tokens) != 1 for tokens in found):
        raise BackendError("this model writes letters in several tokens; ask with params.readout = 'options'")
    return found


def _listed(prompt: Prompt, question: Question, order: Sequence[int]) -> list[Message]:
    """The prompt, and below what there is to read the options in this order."""
    *before, last = prompt.messages()
    about = f"Which is right for {question.name}?" if question.name else "Which is right?"
    lines = [f"{LETTERS[place]}. {escape(question.options[index].text)}" for place, index in enumerate(order)]
    asked = "\n".join([last.content, "", f"{about} Answer with its letter alone.", *lines])
    return [*before, Message("user", asked)]
