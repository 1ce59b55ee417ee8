"""A mail in one sentence that says nothing which the mail does not say."""

from __future__ import annotations

import re

from agentfleet.stock.skills.intent.words import themes

from agentfleet import ask, summarise
from agentfleet.text import own_words

LIMIT = 240
"""Characters of a gist."""
LONG = 1_200
"""Characters up to which the mail's own most telling sentence is its gist, and no model is asked."""

_ENDS = re.compile(r"[.!?]+\s+(?=\S)")
_GREETING = re.compile(
    r"^(?:(?:subject|betreff|objet|asunto|oggetto|assunto|onderwerp|temat|ämne|emne)\s*:[^\n]*|"
    r"(?:hi|hello|hey|dear|hallo|liebe|lieber|sehr|guten|bonjour|salut|madame|hola|buenas|buenos|estimad\w*|ciao|salve|"
    r"buongiorno|gentil\w*|olá|bom|boa|beste|geachte|dzień|witam|szanown\w*|hej)\b[^\n.!?]{0,40}[,:!])\s*\n",
    re.IGNORECASE,
)


@summarise(tier="small", up_to="frontier")
def gist(email: str) -> str:
    """Say in one short sentence what the customer wants. Use only what the e-mail says, with its own numbers."""
    words = _core(own_words(email))
    if not words:
        return "The e-mail is empty."
    told = _most_telling(words) if len(words) <= LONG else ""
    return told or ask(words)


def _most_telling(words: str) -> str:
    """The sentence that speaks of most themes; of equals the first. "" when it is too long to stand for the mail."""
    if len(words) <= LIMIT and len(_ENDS.findall(words)) <= 1:
        return words
    return max((s for s in _sentences(words) if len(s) <= LIMIT), key=_weight, default="")


def _sentences(words: str) -> list[str]:
    starts = [0, *(match.end() for match in _ENDS.finditer(words)), len(words)]
    return [words[a:b].strip() for a, b in zip(starts, starts[1:], strict=False) if words[a:b].strip()]


def _weight(sentence: str) -> int:
    return int(sum(themes(sentence).values())) + ("?" in sentence)


def _core(words: str) -> str:
    """The text in one line, without subject and greeting."""
    for _ in range(2):
        words = _GREETING.sub("", words.lstrip() + "\n", count=1)
    return " ".join(words.split())


@gist.check
def is_short(text: str, email: str) -> None:
    """One sentence, not empty, not a page."""
    plain = text.strip()
    if not plain:
        raise ValueError("the summary is empty; write one sentence")
    if len(plain) > LIMIT:
        raise ValueError(f"the summary has {len(plain)} characters; write one sentence of at most {LIMIT}")
    if len(_ENDS.split(plain)) > 3:
        raise ValueError("write one sentence, not several")
