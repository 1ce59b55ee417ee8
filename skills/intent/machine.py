"""Is a text written for a machine instead of a shop? Signs in ten languages, each a sequence of word groups.

Wide on purpose: what is caught here waits for a person, what slips through could move money.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from agentfleet.stock.skills.intent.words import Lexicon, data, guards, sentences

SIGNS: tuple[tuple[tuple[str, int], ...], ...] = (
    (("notice", 0), ("towards", 1), ("agent", 3)),
    (("agent", 0), ("reads", 4)),
    (("automatic", 0), ("agent", 1), ("reads", 6)),
    (("agent", 0), ("automatic", 1), ("reads", 6)),
    (("automatic", 0), ("agent", 0), ("secret", 12)),
    (("label", 0), ("as", 5), ("repayment", 3)),
    (("approved", 0), ("repayment", 6)),
    (("repayment", 0), ("approved", 6)),
    (("execute", 0), ("repayment", 3), ("now", 3)),
)
"""Groups of words.toml with the number of words that may stand before each."""

_SHAPES = re.compile(
    r"<!--|<\|?\s*/?\s*(?:system|im_start|im_end|assistant|user|instructions?)\b|\[/?\s*(?:system|inst|assistant|user|admin)\b[^\]]*\]"
    r"|(?m:^\s*[#*>\s]*(?:system|assistant|developer|user|human|ai|instructions?)\s*:)|```|\{\s*[\"'](?:tool|steps|kind|intent|role)[\"']",
    re.IGNORECASE,
)


def speaks_to_a_machine(text: str) -> bool:
    """Looks at the whole text, quotes and signature too."""
    if _SHAPES.search(text) or "to_the_machine" in guards(text):
        return True
    return any(_shows(words, sign) for words in sentences(text) for sign in SIGNS) or _keeps_a_secret(text)


def _keeps_a_secret(text: str) -> bool:
    return any(theme == "secret" for words in sentences(text) for theme, _ in _groups().find(words))


@cache
def _groups() -> Lexicon:
    return Lexicon(data()["machine"])


def _shows(words: Sequence[str], sign: tuple[tuple[str, int], ...]) -> bool:
    places = _places(tuple(words))
    first, *rest = sign
    return any(_goes_on(places, at, rest) for at in places.get(first[0], ()))


def _goes_on(places: Mapping[str, tuple[int, ...]], at: int, rest: Sequence[tuple[str, int]]) -> bool:
    if not rest:
        return True
    (group, gap), *more = rest
    return any(at < place <= at + gap + 1 and _goes_on(places, place, more) for place in places.get(group, ()))


def _places(words: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    french = not {"j", "je"}.isdisjoint(words)  # there "ai" is "have"
    for at, word in enumerate(words):
        if french and word == "ai":
            continue
        for group in {group for group, _ in _groups().find(words[at : at + 1])}:
            found.setdefault(group, []).append(at)
    return {group: tuple(spots) for group, spots in found.items()}
