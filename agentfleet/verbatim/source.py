"""What a skill reads, looked through for the numbers and the pieces that a Verbatim field may hold."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

from pydantic_core import SchemaError as BadPattern
from pydantic_core import SchemaValidator, core_schema

from agentfleet.decoding import weight_of
from agentfleet.errors import SchemaError
from agentfleet.verbatim.folding import WITHOUT_BLANKS, folded, origins
from agentfleet.verbatim.numbers import Mark, marks_in

_START = re.compile(r"(?<!\w)(?<!\w-)\w|[^\w\s]")
_END = re.compile(r"\w(?!-?\w)|[^\w\s]")

_FIRST = re.compile(r"(?<!\w)(?<!\w-)\w|[^\w\s.,;:!?)]")
_LAST = re.compile(r"\w(?!-?\w)|[^\w\s.,;:!?(]|(?<=\b[^\W\d_])\.")

MOST_PIECES = 1_000
"""Pieces of a text up to which they are listed: some 8 ms to compile."""
LONGEST = 80
"""Characters up to which a piece of the source is a candidate for a pattern."""
MAX_TRIES = 400_000
"""Pieces tried against one pattern, fewer for a heavy one; in a longer source the candidates are not listed (the answer
is still checked)."""
LIGHT = 64
"""Single characters that a pattern may ask for at most, repetitions written out, before it counts as heavy."""


class Source:
    """What a skill reads, looked through at most once for numbers and for each pattern."""

    def __init__(self, parts: Sequence[str]) -> None:
        self.parts = tuple(parts)  # nothing reaches from one into the next
        self.matches: dict[str, list[str] | None] = {}
        self.runs: dict[int | None, list[str] | None] = {}

    @cached_property
    def numbers(self) -> list[float]:
        marks = (mark for part in self.marks for mark in part)
        return list(dict.fromkeys(mark.value for mark in marks if mark.kind == "number"))

    @cached_property
    def marks(self) -> list[list[Mark]]:
        """The numbers, codes, dates … of each part."""
        return [marks_in(part) for part in self.parts]

    @cached_property
    def origins(self) -> list[tuple[str, list[tuple[int, int]]]]:
        """Each part folded, and where each of its characters comes from."""
        return [origins(part) for part in self.parts]

    def found_by(self, function: Callable[[str], Iterable[Any]]) -> list[Any]:
        """What a user's function finds in the parts, each value once. Raises SchemaError when it raises."""
        try:
            found = [value for part in self.parts for value in function(part)]
            plain = [int(v) if isinstance(v, float) and v.is_integer() else v for v in found]
            return list({(type(value), value): value for value in plain}.values())
        except Exception as error:
            name = getattr(function, "__qualname__", repr(function))
            raise SchemaError(
                f"{name}, which finds what a Verbatim field may hold, raised {type(error).__name__}: {error}. It must "
                "take a text and return strings or numbers."
            ) from error

    @cached_property
    def folded(self) -> tuple[str, ...]:
        return tuple(folded(part) for part in self.parts)

    @property
    def length(self) -> int:
        """Characters of all parts."""
        return sum(map(len, self.parts))

    def pieces(self, longest: int | None) -> list[str] | None:
        """Every run of whole words of at most `longest` characters, in order; None: too many, or no blanks to tell words.

        With single blanks; a word with hyphens is one. A piece does not end in the comma or full stop after it; that of
        an abbreviation stays.
        """
        if longest not in self.runs:
            self.runs[longest] = self._runs(longest)
        return self.runs[longest]

    def _runs(self, longest: int | None) -> list[str] | None:
        found: dict[str, None] = {}
        for text in self.folded:
            if any(letter >= WITHOUT_BLANKS and letter.isalnum() for letter in text):
                return None
            for piece in _runs(text, len(text) if longest is None else longest):
                found[piece] = None
                if len(found) > MOST_PIECES:
                    return None
        return list(found)

    def matching(self, pattern: str) -> list[str] | None:
        """The pieces of the text that match a pattern whole, longest first at each place; None: cannot be listed."""
        if pattern not in self.matches:
            self.matches[pattern] = self._search(pattern)
        return self.matches[pattern]

    def _search(self, pattern: str) -> list[str] | None:
        """Rust's matcher, which never backtracks, is asked for every piece between word boundaries: a user's pattern
        cannot hang it, as it could hang Python's `re`. What a try costs grows with the pattern, so heavy ones get fewer.
        """
        fits = _whole_match(pattern)
        if fits is None:
            return None
        found: dict[str, None] = {}
        tries = MAX_TRIES // max(1, weight_of(pattern) // LIGHT) ** 2
        for text in self.parts:
            tries -= _collect(text, fits, tries, found)
            if tries < 0:
                return None
        return list(found)


def _collect(text: str, fits: Callable[[str], bool], limit: int, found: dict[str, None]) -> int:
    """Add the pieces of a text that fit. How many were tried; more than `limit` when it gave up."""
    ends = [match.end() for match in _END.finditer(text)]
    after = tries = 0
    for match in _START.finditer(text):
        start = match.start()
        if start < after:
            continue
        first, last = bisect_right(ends, start), bisect_right(ends, start + LONGEST)
        tries += last - first
        if tries > limit:
            break
        end = next((end for end in reversed(ends[first:last]) if fits(text[start:end])), None)
        if end is not None:
            found[_without_stop(text[start:end], fits)] = None
            after = end
    return tries


def _runs(text: str, longest: int) -> Iterator[str]:
    """The runs of whole words of a text, those of each first word together."""
    ends = [match.end() for match in _LAST.finditer(text)]
    for match in _FIRST.finditer(text):
        start = match.start()
        for end in ends[bisect_right(ends, start) : bisect_right(ends, start + longest)]:
            yield text[start:end]


@lru_cache(maxsize=256)
def _whole_match(pattern: str) -> Callable[[str], bool] | None:
    """Does a text match the pattern from end to end? None for a pattern that only Python's `re` understands."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=f"^(?:{pattern})$", strict=True)).isinstance_python
    except BadPattern:
        return None


def _without_stop(piece: str, fits: Callable[[str], bool]) -> str:
    """A match without the full stop or bracket after it, where the pattern can do without."""
    shorter = piece.rstrip(".,;:!?)")
    return shorter if shorter and fits(shorter) else piece
