"""Closed answers: every option's own tokens are scored after the prompt, nothing is generated.

An option's score is the sum of the log probabilities of its tokens (not the mean: that favours long options). All
questions and all options go into one evaluation that shares the prompt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from agentfleet.backends.llama_cpp.cache import CHUNK, Cache, Cancelled
from agentfleet.backends.llama_cpp.native import BATCH, Entry, Logits
from agentfleet.backends.options import END, mass
from agentfleet.errors import BackendError


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: the tokens that lead to its answer after the prompt, and the tokens of each option.

    No option may be the beginning of another: see `options.close`.
    """

    stem: Sequence[int]
    options: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Scores:
    """Log probability of each option after the prompt, and how many prompt tokens were still held."""

    logs: tuple[float, ...]
    cached: int

    @property
    def mass(self) -> float:
        """The share of all answers that begins with any of the options."""
        return mass(self.logs)


def total(logits: Logits, scratch: Logits | None = None) -> float:
    """The logarithm of the sum of the exponentials: a token's log probability is its logit less this.

    `scratch`: an array of the same size to work in, because a new one of that size costs more than the sum.
    """
    top = logits.max()
    work = np.subtract(logits, top, out=scratch)
    return float(top) + math.log(np.exp(work, out=work).sum())


def score(
    cache: Cache,
    prompt: Sequence[int],
    asked: Sequence[Asked],
    cancelled: Callable[[], bool],
    pinned: int = 0,
) -> list[Scores]:
    """The scores of each question's options after a prompt. The questions do not see each other's answers.

    Raises BackendError when an option has no token or no room, and Cancelled.
    """
    if any(not option for question in asked for option in question.options):
        raise BackendError("an option without any token cannot be scored")
    cached = cache.keep(prompt, pinned)
    plan = list(_plan(cache, asked, len(prompt)))
    split = len(prompt) - min(len(prompt) - cached, CHUNK)
    if split - cached == 1:  # no lone token: see LEAST
        split += 1
    if cached < split:
        cache.feed(prompt[cached:split], cancelled)
    tail = prompt[split:]
    logs = [np.zeros(len(question.options)) for question in asked]
    for pieces in plan:
        if cancelled():
            raise Cancelled
        _evaluate(cache, tail, pieces)
        for piece in pieces:
            piece.read(cache, tail, logs[piece.number])
        tail = []
    return [Scores(tuple(float(log) for log in found), cached) for found in logs]


@dataclass(slots=True)
class _Piece:
    """Some options of one question, and the rows that they were given in an evaluation."""

    number: int
    asked: Asked
    options: list[int] = field(default_factory=list)
    start: int = -1
    rows: dict[int, int] = field(default_factory=dict)

    @property
    def long(self) -> list[int]:
        """Options of several tokens; those of one token need no evaluation of their own."""
        return [i for i in self.options if len(self.asked.options[i]) > 1]

    def read(self, cache: Cache, tail: Sequence[int], logs: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
        """Add what the last evaluation says of these options."""
        options = self.asked.options
        if self.asked.stem or tail:
            logits = cache.context.logits(self.start)
            read = self.options if self.asked.stem else range(len(options))
            sum_ = total(logits, cache.context.scratch)
            for index in read:
                logs[index] += float(logits[options[index][0]]) - sum_
        for index, row in self.rows.items():
            logs[index] += _continued(cache, row, options[index])


def _plan(cache: Cache, asked: Sequence[Asked], prompt: int) -> Iterator[list[_Piece]]:
    """What goes into each evaluation: as many options as sequences, batch and cache allow."""
    room = min(BATCH - CHUNK, cache.context.size - prompt)
    sequences = cache.context.sequences - 1
    pieces: list[_Piece] = []
    tokens = lines = 0
    for number, question in enumerate(asked):
        piece = None
        for index, option in enumerate(question.options):
            stem = len(question.stem) if piece is None else 0
            need, line = stem + len(option) - 1, (len(option) > 1) + (stem > 0)
            if tokens + need > room or lines + line > sequences:
                if pieces:
                    yield pieces
                pieces, piece, tokens, lines = [], None, 0, 0
                need, line = len(question.stem) + len(option) - 1, (len(option) > 1) + bool(question.stem)
                if need > room:
                    raise BackendError(f"option {index + 1} has {len(option)} tokens; there is room for {room + 1}")
            if piece is None:
                piece = _Piece(number, question)
                pieces.append(piece)
            piece.options.append(index)
            tokens += need
            lines += line
    yield pieces


def _evaluate(cache: Cache, tail: Sequence[int], pieces: Sequence[_Piece]) -> None:
    """Evaluate the end of the prompt, the stems behind it and the options behind these, each in sequences of its own.

    `tail` is empty when the prompt was read before.
    """
    context, base = cache.context, len(cache.held)
    behind, last = _branches(pieces, base + len(tail), len(tail))
    for number in range(1, last):
        context.share(number, base)
    everyone = tuple(range(last))
    entries = [Entry(t, base + i, everyone, wanted=i == len(tail) - 1) for i, t in enumerate(tail)]
    entries += behind
    if entries:
        cache.evaluate(entries, tail)
    for number in range(1, last):
        context.cut(number, 0)


def _branches(pieces: Sequence[_Piece], position: int, row: int) -> tuple[list[Entry], int]:
    """The entries behind the prompt, and the first sequence number that is still free. Tells each piece its rows."""
    entries: list[Entry] = []
    free = 1
    for piece in pieces:
        stem, long = piece.asked.stem, piece.long
        lines = {index: free + i for i, index in enumerate(long)}
        free += len(long)
        own = tuple(lines.values())
        if stem and not own:
            own = (free,)
            free += 1
        entries += [Entry(t, position + i, own, wanted=i == len(stem) - 1) for i, t in enumerate(stem)]
        piece.start = row + len(entries) - 1
        for index, line in lines.items():
            piece.rows[index] = row + len(entries)
            option = piece.asked.options[index][:-1]
            entries += [Entry(t, position + len(stem) + i, (line,), wanted=True) for i, t in enumerate(option)]
    return entries, free


def _continued(cache: Cache, row: int, option: Sequence[int]) -> float:
    """Log probability of an option's tokens after its first."""
    found, scratch = 0.0, cache.context.scratch
    for offset, token in enumerate(option[1:]):
        logits = cache.context.logits(row + offset)
        if token == END:
            found += total(logits[cache.context.weights.ends]) - total(logits, scratch)
        else:
            found += float(logits[token]) - total(logits, scratch)
    return found
