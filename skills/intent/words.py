"""What a customer's words speak of: themes of `words.toml` found in a mail, in ten languages.

Plain lookups on folded words: no model, no network. The skill hands the themes to its head as marks, and its checks
read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from agentfleet.text import fold, own_words

_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"[!?;]+|[.…]+(?=\s+[^\sa-zà-ÿ]|\s*$)|\n\s*\n|\n(?=\s*[-*•])")
_MONEY = re.compile(
    r"[€$£]|\d[.,]\d\d(?!\d)|\d ?,-|\b(?:eur|euros?|kr|zl|zloty\w*|usd|gbp|chf|pounds?|quid|dollars?|bucks)\b"
)
_ORDER = re.compile(r"\b[a-z]{2}-\d{6}\b")
_GAPS = {"~": 4, "+": 8}


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

    def find(self, words: Sequence[str]) -> Iterator[tuple[str, str]]:
        """(theme, entry) of every entry that stands in the words of one sentence."""
        for at, word in enumerate(words):
            for theme, entry, rest in self._starting(word):
                if _follows(rest, words, at + 1):
                    yield theme, entry

    def _starting(self, word: str) -> Iterator[tuple[str, str, tuple[Piece, ...]]]:
        yield from self.whole.get(word, ())
        for length in range(1, min(len(word), self.longest) + 1):
            yield from self.stems.get(word[:length], ())


def _pieces(entry: str) -> Iterator[Piece]:
    gap = 0
    for token in entry.split():
        if token in _GAPS:
            gap = _GAPS[token]
            continue
        yield Piece(token.rstrip("*"), token.endswith("*"), gap)
        gap = 0


def _follows(rest: tuple[Piece, ...], words: Sequence[str], at: int) -> bool:
    if not rest:
        return True
    return any(
        rest[0].fits(words[start]) and _follows(rest[1:], words, start + 1)
        for start in range(at, min(at + rest[0].gap + 1, len(words)))
    )


@cache
def data() -> dict[str, Any]:
    """What `words.toml` says: themes at the top, tables for the checks below."""
    import tomllib  # not at the top: who only draws or checks the graph needs no words

    return tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))


@cache
def _lexicons() -> tuple[Lexicon, Lexicon]:
    found = data()
    return Lexicon({name: entries for name, entries in found.items() if isinstance(entries, list)}), Lexicon(
        found["guards"]
    )


def sentences(text: str) -> list[list[str]]:
    """The folded words of each sentence."""
    return [words for part in _SENTENCE.split(text) if (words := _WORD.findall(fold(part)))]


def themes(text: str) -> dict[str, int]:
    """Theme → number of its different entries, in the writer's own words."""
    return _count(_lexicons()[0], own_words(text))


def guards(text: str) -> dict[str, int]:
    """The same for what the checks look for, in the whole text, quotes too."""
    return _count(_lexicons()[1], text)


def _count(lexicon: Lexicon, text: str) -> dict[str, int]:
    found = {hit for words in sentences(text) for hit in lexicon.find(words)}
    counts: dict[str, int] = {}
    for theme, _ in found:
        counts[theme] = counts.get(theme, 0) + 1
    return counts


def asks_money_back(text: str) -> bool:
    """Does a sentence of the writer's own words ask for money back, here and now?

    Not when the sentence says the contrary, makes it depend on something, or tells that the money has come.
    """
    return any(_asks(words) for words in sentences(own_words(text)))


def _asks(words: Sequence[str]) -> bool:
    said, held = ({theme for theme, _ in lexicon.find(words)} for lexicon in _lexicons())
    if "only_if" in held:
        return False
    if "still_due" in held:
        return True
    came = "money_came" in held and "negation" not in held
    return "money_back" in said and "not_money_back" not in said and not came


def noticed(text: str) -> str:
    """What code found in a mail, as marks: ``#parcel #where_when #question``. The text's own # are no marks."""
    own = own_words(text)
    counts = themes(text)
    marks = [f"#{theme}" for theme in counts]
    marks += [f"#{theme}_again" for theme, count in counts.items() if count > 1]
    marks += [f"#{theme}_often" for theme, count in counts.items() if count > 3]
    folded = fold(own)
    tests = {"amount": bool(_MONEY.search(folded)), "order_number": bool(_ORDER.search(folded))}
    tests |= {"question": "?" in folded, "exclamation": "!" in folded, "asks_money_back": asks_money_back(text)}
    marks += [f"#{name}" for name, holds in tests.items() if holds]
    return " ".join([*sorted(marks), f"#{_size(folded)}"])


def _size(folded: str) -> str:
    count = len(_WORD.findall(folded))
    return next(
        (name for limit, name in ((6, "tiny"), (15, "short"), (40, "middling"), (90, "long")) if count < limit),
        "very_long",
    )
