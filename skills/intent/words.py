"""What a customer's words speak of: themes of `words.toml` found in a mail, in ten languages.

Plain lookups on folded words: no model, no network. The skill hands the themes to its head as marks, and its checks
read them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache, lru_cache

from agentfleet.stock.skills.intent.lexicon import Lexicon, Sign, Signs, data, sentences

from agentfleet.text import fold, own_words

_WORD = re.compile(r"\w+")
_MONEY = re.compile(
    r"[€$£]|\d[.,]\d\d(?!\d)|\d ?,-|\b(?:eur|euros?|kr|zl|zloty\w*|usd|gbp|chf|pounds?|quid|dollars?|bucks)\b"
)
_ORDER = re.compile(r"\b[a-z]{2}-\d{6}\b")

PAYBACK: tuple[Sign, ...] = (
    (("give", 0), ("money", 5)),
    (("money", 0), ("give", 4), ("bank", 5)),
    (("money", 0), ("back", 3)),
    (("back", 0), ("money", 3)),
    (("put", 0), ("money", 5), ("bank", 8)),
    (("money", 0), ("put", 6), ("bank", 6)),
    (("missing", 0), ("money", 5), ("verb_of_coming", 5)),
    (("money", 0), ("missing", 5), ("verb_of_coming", 3)),
    (("missing", 0), ("verb_of_coming", 3), ("bank", 5)),
    (("missing", 0), ("money", 5), ("bank", 5)),
    (("money", 0), ("missing", 4), ("bank", 5)),
    (("owe", 0), ("money", 4)),
    (("money", 0), ("owe", 4)),
    (("wish", 0), ("mine", 3), ("money", 2)),
)
"""Groups of words.toml that ask for money when they follow each other so closely (words in between)."""


@cache
def _lexicons() -> tuple[Lexicon, Lexicon]:
    found = data()
    return Lexicon({name: entries for name, entries in found.items() if isinstance(entries, list)}), Lexicon(
        found["guards"]
    )


@cache
def _payback() -> Signs:
    return Signs(data()["payback"], PAYBACK)


def themes(text: str) -> dict[str, int]:
    """Theme → number of its different entries, in the writer's own words."""
    return _read(own_words(text)).themes


def guards(text: str) -> frozenset[str]:
    """What the checks look for, found in the whole text, quotes too."""
    return _read(text).guards


def asks_money_back(text: str) -> bool:
    """Does a sentence of the writer's own words ask for money back, here and now?

    Not when the sentence says the contrary, makes it depend on something, or tells that the money has come; nor when
    the mail takes a wish back.
    """
    return _read(own_words(text)).asks


def noticed(text: str) -> str:
    """What code found in a mail, as marks: ``#parcel #where_when #question``. The text's own # are no marks."""
    own = own_words(text)
    read = _read(own)
    marks = [f"#{theme}" for theme in read.themes]
    marks += [f"#{theme}_again" for theme, count in read.themes.items() if count > 1]
    marks += [f"#{theme}_often" for theme, count in read.themes.items() if count > 3]
    marks += [f"#{guard}" for guard in TELLING if guard in read.guards]
    folded = fold(own)
    tests = {"amount": bool(_MONEY.search(folded)), "order_number": bool(_ORDER.search(folded))}
    tests |= {"question": "?" in folded, "exclamation": "!" in folded, "asks_money_back": read.asks}
    marks += [f"#{name}" for name, holds in tests.items() if holds]
    return " ".join([*sorted(marks), f"#{_size(folded)}"])


TELLING = ("money_came", "withdrawn")
"""Guards that tell the head something too."""


@dataclass(frozen=True)
class Reading:
    """A text read once: entries found by theme, guards that were found, whether money is asked back."""

    themes: dict[str, int]
    guards: frozenset[str]
    asks: bool


@lru_cache(maxsize=64)
def _read(text: str) -> Reading:
    about, watching = _lexicons()
    found: set[tuple[str, str]] = set()
    guarded: set[str] = set()
    asks = False
    for words in sentences(text):
        said, held = set(about.find(words)), {theme for theme, _ in watching.find(words)}
        asks = asks or _asks({theme for theme, _ in said}, held, words)
        found |= said
        guarded |= held
    counts = Counter(theme for theme, _ in found)
    return Reading(dict(counts), frozenset(guarded), asks and "withdrawn" not in guarded)


def _asks(said: set[str], held: set[str], words: list[str]) -> bool:
    """Of one sentence: themes and guards in it, and its words."""
    if "condition" in held:
        return False
    if "still_due" in held:
        return True
    came = "money_came" in held and "negation" not in held
    if "not_money_back" in said or came:
        return False
    return "money_back" in said or _payback().show(words)


def _size(folded: str) -> str:
    count = len(_WORD.findall(folded))
    return next(
        (name for limit, name in ((6, "tiny"), (15, "short"), (40, "middling"), (90, "long")) if count < limit),
        "very_long",
    )
