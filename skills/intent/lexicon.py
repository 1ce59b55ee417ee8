"""Looking words up: entries of `words.toml` in folded sentences, alone or as groups that follow each other.

Plain lookups: no model, no network. What they mean stands in words.py and machine.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from agentfleet.text import fold

SUM = "0sum"
"""Stands in a sentence for a sum of money: a number with a currency, or with two decimals."""

_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"[!?;]+|[.…]+(?=\s+[^\sa-zà-ÿ]|\s*$)|\n\s*\n|\n(?=\s*[-*•])")
_CURRENCY = (
    r"(?:r?[$]|[€£₹¥]|(?<![^\W\d_])(?:eur|euros?|usd|gbp|chf|fr|rs|inr|kr|kronor|kroner|sek|dkk|nok|pln|zl|zloty\w*|czk"
    r"|pounds?|quid|dollars?|bucks|rupees|pesos|reais|real|franken|eurot?)(?![^\W\d_])\.?)"
)
_NUMBER = r"\d+(?:[.,' \u00a0\u202f]\d{3})*(?:[.,]\d{1,2})?(?:,-|\.-|,–|\.–)?"
_SUM = re.compile(
    rf"{_CURRENCY}\s?{_NUMBER}|(?<![\w.,-]){_NUMBER}\s?{_CURRENCY}|(?<![\w.,-])\d{{1,5}}[.,]\d\d(?![\w.,]*\d|\s?%)"
)
_GAPS = {"~": 4, "+": 8}


@cache
def data() -> dict[str, Any]:
    """What `words.toml` says: themes at the top, tables for the checks below."""
    import tomllib  # not at the top: who only draws or checks the graph needs no words

    return tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))


def sentences(text: str) -> list[list[str]]:
    """The folded words of each sentence, sums of money as one word (`SUM`)."""
    parts = (_SUM.sub(f" {SUM} ", fold(part)) for part in _SENTENCE.split(text))
    return [words for part in parts if (words := _WORD.findall(part))]


@dataclass(frozen=True, slots=True)
class Piece:
    """One word of an entry: its stem, whether more letters may follow, how many words may stand before it."""

    stem: str
    open: bool
    gap: int

    def fits(self, word: str) -> bool:
        return word.startswith(self.stem) if self.open else word == self.stem


class Lexicon:
    """Entries by theme, found by their first word."""

    def __init__(self, themes: dict[str, list[str]]) -> None:
        self.whole: dict[str, list[tuple[str, str, tuple[Piece, ...]]]] = {}
        self.stems: dict[str, list[tuple[str, str, tuple[Piece, ...]]]] = {}
        for theme, entries in themes.items():
            for entry in entries:
                pieces = tuple(_pieces(entry))
                table = self.stems if pieces[0].open else self.whole
                table.setdefault(pieces[0].stem, []).append((theme, entry, pieces[1:]))
        self.longest = max((len(stem) for stem in self.stems), default=0)
        self.starting = lru_cache(maxsize=8192)(self._starting)  # words repeat themselves

    def find(self, words: Sequence[str]) -> Iterator[tuple[str, str]]:
        """(theme, entry) of every entry that stands in the words of one sentence."""
        for at, word in enumerate(words):
            for theme, entry, rest in self.starting(word):
                if not rest or _follows(rest, words, at + 1):
                    yield theme, entry

    def _starting(self, word: str) -> list[tuple[str, str, tuple[Piece, ...]]]:
        found = list(self.whole.get(word, ()))
        for length in range(1, min(len(word), self.longest) + 1):
            found += self.stems.get(word[:length], ())
        return found


def _pieces(entry: str) -> Iterator[Piece]:
    gap = 0
    for token in entry.split():
        if token in _GAPS:
            gap = _GAPS[token]
            continue
        yield Piece(token.rstrip("*"), token.endswith("*"), gap)
        gap = 0


def _follows(rest: tuple[Piece, ...], words: Sequence[str], at: int) -> bool:
    first, more = rest[0], rest[1:]
    for start in range(at, min(at + first.gap + 1, len(words))):
        if first.fits(words[start]) and (not more or _follows(more, words, start + 1)):
            return True
    return False


Sign = tuple[tuple[str, int], ...]


class Signs:
    """Groups of one-word entries, and the sequences of them that count."""

    def __init__(self, groups: dict[str, list[str]], signs: Sequence[Sign]) -> None:
        self.groups = Lexicon(groups)
        self.signs = signs

    def show(self, words: Sequence[str]) -> bool:
        """Does one of the signs stand in the words of one sentence?"""
        places = self._places(words)
        return any(
            _goes_on(places, at, rest) for (first, _), *rest in self.signs if first in places for at in places[first]
        )

    def _places(self, words: Sequence[str]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for at, word in enumerate(words):
            for group in {group for group, _, rest in self.groups.starting(word) if not rest}:
                found.setdefault(group, []).append(at)
        return found


def _goes_on(places: Mapping[str, Sequence[int]], at: int, rest: Sequence[tuple[str, int]]) -> bool:
    if not rest:
        return True
    (group, gap), *more = rest
    return any(at < place <= at + gap + 1 and _goes_on(places, place, more) for place in places.get(group, ()))
