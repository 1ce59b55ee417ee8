"""Which language a text is written in: answered by a head, in well under a millisecond."""

from __future__ import annotations

from typing import Literal

from agentfleet import ask, classify

Language = Literal["en", "de", "fr", "es", "it", "pt", "nl", "pl"]


@classify(tier="nano", up_to="frontier", min_confidence=0.7)
def language(text: str) -> Language:
    """The language of this text, as its ISO 639-1 code."""
    return ask(text)


@language.check
def has_words(code: Language, text: str) -> None:
    """Numbers and signs are in no language."""
    if not any(c.isalpha() for c in text):
        raise ValueError("the text has no words, so no language")
