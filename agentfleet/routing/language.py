"""Which language a text is in, by its script and its most frequent small words. For rules only, so no library.

Small words (articles, prepositions, pronouns) are the most frequent words of any text and hardly shared between
languages. A text in which too few of them stand has no language here: "" and never a guess.
"""

from __future__ import annotations

import re
from typing import Final

MOST = 4000
"""Characters that are looked at: a language does not change after that."""

LEAST_WORDS: Final = 2
LEAST_SHARE: Final = 0.12
"""How many of the words must be small words of one language, and which share of all words."""

AHEAD: Final = 1.25
"""By what factor the best language must lead: close relatives share many small words."""

_WORD = re.compile(r"[^\W\d_]+")
_SMALL: Final = {
    "en": "the of and to in is that it was for on are with as his they at be this have from or had by not but what all "
    "were we when your can there an which their has would my you me i please",
    "de": "der die das und ist nicht ich ein eine einen zu den mit sich auf für von dem des sie es an werden aus er hat "
    "dass wir ihr mir bei oder um auch nach wird noch wie am bitte habe mein meine",
    "fr": "le la les des et est une un du que qui dans pour pas sur au avec ce il je vous nous mais ou par plus cette "
    "sont mon ma mes votre été je ne se aux bonjour",
    "es": "el la los las de y en que es un una por con para no se del al lo como más pero su sus mi me yo está este esta "
    "muy ha hay usted por favor hola",
    "it": "il lo la gli le di e che è un una per con non si del della al da nel sono ho mi mio mia questo questa anche "
    "ma come più alla dei delle vi ciao",
    "nl": "de het een en van ik te dat is in op niet met voor zijn er maar om hem ook als bij aan mijn nog u wat naar "
    "heb je heeft deze dit wordt kan graag",
    "pt": "o a os as de e em que é um uma para com não se do da no na dos das por mais meu minha está foi eu você ao "
    "mas como ele isso obrigado",
    "pl": "i w na z się nie do to że jest jak o co od po za dla ale mi mnie moje mój czy są tak już przez jego jej być "
    "było proszę dziękuję",
}  # fmt: skip
SMALL: Final = {language: frozenset(words.split()) for language, words in _SMALL.items()}

_SCRIPTS: Final = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af]")),
    ("zh", re.compile("[\u4e00-\u9fff]")),
    ("uk", re.compile("[іїєґІЇЄҐ]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
)
"""In this order: Japanese writes Chinese characters too, Ukrainian most letters of Russian."""

_SCRIPT_SHARE: Final = {"ja": 0.1, "uk": 0.01}
_LETTER = re.compile(r"[^\W\d_]")


def language_of(text: str) -> str:
    """Two letters (ISO 639-1), or "" when nothing speaks clearly for one language.

    Of the languages in one script that are not told apart (Cyrillic: all but Ukrainian are ru; Arabic, Devanagari) the
    most spoken stands for all.
    """
    text = text[:MOST]
    if not text.isascii():
        found = _by_script(text)
        if found:
            return found
    return _by_words(_WORD.findall(text.lower()))


def _by_script(text: str) -> str:
    letters = len(_LETTER.findall(text))
    for language, pattern in _SCRIPTS:
        if letters and len(pattern.findall(text)) > letters * _SCRIPT_SHARE.get(language, 0.3):
            return language
    return ""


def _by_words(words: list[str]) -> str:
    hits = sorted(((sum(word in small for word in words), language) for language, small in SMALL.items()), reverse=True)
    (best, language), (second, _) = hits[0], hits[1]
    clear = best >= max(LEAST_WORDS, LEAST_SHARE * len(words)) and best >= AHEAD * second
    return language if clear else ""
