"""A mail in one sentence that says nothing which the mail does not say."""

from __future__ import annotations

import re

from agentfleet import ask, summarise
from agentfleet.text import own_words

LIMIT = 240
"""Characters of a gist; a mail of one short sentence is its own."""

_NUMBER = re.compile(r"\d+(?:[.,:/'-]\d+)*")
_CODE = re.compile(r"\b[A-Za-z]{1,4}-\d{3,}\b")
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
    if len(words) <= LIMIT and len(_ENDS.split(words)) <= 2:
        return words
    return ask(words)


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


@gist.check
def says_no_new_numbers(text: str, email: str) -> None:
    """Every number and order number of the summary stands in the mail."""
    source = own_words(email) if text != "The e-mail is empty." else text
    known = set(_CODE.findall(source)) | {_plain(n) for n in _NUMBER.findall(source)}
    said = [*_CODE.findall(text), *(n for n in _NUMBER.findall(_CODE.sub(" ", text)))]
    strange = [one for one in said if one not in known and _plain(one) not in known]
    if strange:
        raise ValueError(f"the e-mail does not say {', '.join(strange)}; leave it out or copy it exactly")


def _plain(number: str) -> str:
    """A number whatever its marks: 1,299.00 and 1.299,00 and 1299 are one."""
    return re.sub(r"[.,]0{1,2}$", "", number).replace(",", "").replace(".", "").replace("'", "")
