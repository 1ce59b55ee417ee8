"""What a skill reads, looked through for the numbers and the pieces that a Verbatim field may hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache

from pydantic_core import SchemaError as BadPattern
from pydantic_core import SchemaValidator, core_schema

from agentfleet.decoding import weight_of
from agentfleet.verbatim.numbers import numbers_in

_START = re.compile(r"(?<!\w)(?<!\w-)\w|[^\w\s]")
_END = re.compile(r"\w(?!-?\w)|[^\w\s]")

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
        self.text = "\n".join(parts)
        self.matches: dict[str, list[str] | None] = {}

    @cached_property
    def numbers(self) -> list[float]:
        return numbers_in(self.text)

    @cached_property
    def folded(self) -> str:
        return folded(self.text)

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
        ends = [match.end() for match in _END.finditer(self.text)]
        found: dict[str, None] = {}
        first, after, tries = 0, 0, 0
        limit = MAX_TRIES // max(1, weight_of(pattern) // LIGHT) ** 2
        for match in _START.finditer(self.text):
            start = match.start()
            if start < after:
                continue
            while first < len(ends) and ends[first] <= start:
                first += 1
            last = first
            while last < len(ends) and ends[last] <= start + LONGEST:
                last += 1
            tries += last - first
            if tries > limit:
                return None
            end = next((end for end in reversed(ends[first:last]) if fits(self.text[start:end])), None)
            if end is not None:
                found[_without_stop(self.text[start:end], fits)] = None
                after = end
        return list(found)


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


def folded(text: str) -> str:
    """A text with one form for each letter and single blanks, so that line breaks and accents written in two do not count."""
    return " ".join(unicodedata.normalize("NFC", text).split())
