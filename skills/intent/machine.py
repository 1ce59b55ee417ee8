"""Is a text written for a machine instead of a shop? Signs in ten languages, each a sequence of word groups.

Wide on purpose: what is caught here waits for a person, what slips through could move money.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from agentfleet.stock.skills.intent.lexicon import Sign, Signs, data, sentences
from agentfleet.stock.skills.intent.words import guards

SIGNS: tuple[Sign, ...] = (
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
    return any(_signs().show(_read(words)) or _keeps_a_secret(words) for words in sentences(text))


def _keeps_a_secret(words: Sequence[str]) -> bool:
    return any(group == "secret" for group, _ in _signs().groups.find(words))


@cache
def _signs() -> Signs:
    return Signs(data()["machine"], SIGNS)


def _read(words: Sequence[str]) -> Sequence[str]:
    """French "j'ai" is "I have", and no artificial intelligence."""
    french = not {"j", "je"}.isdisjoint(words)
    return ["" if word == "ai" else word for word in words] if french else words
