"""Several answers written at once: each in a sequence of its own, one evaluation for the next tokens of all.

Tokens of answers go first, prompts share what is left of the evaluation, the oldest first. What fails in one answer does
not touch the others. Who else is written moves logits slightly, so only answers written alone repeat to the token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from agentfleet.backends.llama_cpp.cache import CHUNK, LEAST, Cache, Cancelled, common
from agentfleet.backends.llama_cpp.decode import Writer
from agentfleet.backends.llama_cpp.native import Entry
from agentfleet.errors import BackendError

AT_ONCE: Final = 8
"""Answers at most."""


@dataclass(slots=True, eq=False)
class Line:
    """One of the answers. `finish` is told the error, or None when the writer is over; it must not raise."""

    prompt: Sequence[int]
    writer: Writer
    cancelled: Callable[[], bool]
    finish: Callable[[Exception | None], None]
    number: int = 0
    position: int = 0
    pending: list[int] = field(default_factory=list)

    @property
    def need(self) -> int:
        """Places in the cache that it may come to need."""
        return len(self.prompt) - self.writer.written.cached + self.writer.limit


class Together:
    """The answers that are written now, over the cache of one model. Sequence 0 holds what their prompts share."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.lines: list[Line] = []
        self._free = list(range(1, min(AT_ONCE, cache.context.sequences - 1) + 1))

    def has_room(self, tokens: int) -> bool:
        """Can an answer be begun that needs so many tokens, its prompt included?"""
        used = len(self.cache.held) + sum(line.need for line in self.lines)
        return bool(self._free) and used + tokens <= self.cache.context.size

    def add(self, line: Line, pinned: int) -> None:
        """Begin an answer for which there is room. `pinned`: tokens at the start of the prompt that its skill shares.

        Raises what reading this start raises, and BackendError when the constraint does not hold.
        """
        if not self.lines:
            kept = self.cache.keep(line.prompt, pinned)
            if kept < pinned:
                self.cache.feed(line.prompt[kept:pinned], line.cancelled)
        shared = line.writer.written.cached = common(self.cache.held, line.prompt, len(line.prompt) - LEAST)
        line.pending = [*line.prompt[shared:], *line.writer.forced()]
        line.number, line.position = self._free.pop(), shared
        if shared:
            self.cache.context.share(line.number, shared)
        self.lines.append(line)
        if line.writer.over:
            self._end(line, None)

    def step(self) -> None:
        """One evaluation for all. Never raises: each answer is told of its own failure."""
        for line in [line for line in self.lines if line.cancelled()]:
            self._end(line, Cancelled())
        entries: list[Entry] = []
        rows: list[tuple[Line, int]] = []
        for line in sorted(self.lines, key=lambda line: len(line.pending) > CHUNK):
            chunk = line.pending[: max(1, CHUNK + len(self.lines) - len(entries))]
            last = len(chunk) == len(line.pending)
            entries += [
                Entry(token, line.position + i, (line.number,), wanted=last and i == len(chunk) - 1)
                for i, token in enumerate(chunk)
            ]
            line.position += len(chunk)
            line.pending = line.pending[len(chunk) :]
            if last:
                rows.append((line, len(entries) - 1))
        if entries:
            self._evaluate(entries, rows)

    def _evaluate(self, entries: Sequence[Entry], rows: Sequence[tuple[Line, int]]) -> None:
        try:
            self.cache.evaluate(entries, ())
        except BackendError as error:  # the context is empty now
            for line in list(self.lines):
                self._end(line, error)
            return
        for line, row in rows:
            try:
                token = line.writer.choose(self.cache.context.logits(row))
                line.pending = [token, *line.writer.forced()]
            except Exception as error:
                self._end(line, error)
                continue
            if line.writer.over:
                self._end(line, None)

    def _end(self, line: Line, error: Exception | None) -> None:
        self.lines.remove(line)
        self.cache.context.cut(line.number, 0)
        self._free.append(line.number)
        line.finish(error)
