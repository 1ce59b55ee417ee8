"""Plain-text helpers for what people write: their own words without quoted mail, and folding for comparison.

Shared by heads and by skills that read mail. Standard library only. Floor 0.
"""

from __future__ import annotations

import re
import unicodedata

_QUOTED = re.compile(r"^\s*(?:>|\|\s)")
_WROTE = re.compile(
    r"(?:wrote|schrieb\w*|a écrit|ha escrito|escribió|ha scritto|escreveu|schreef|napisał\w*|skrev|"
    r"napsal\w*|kirjoitti|написал\w*)\b[^\n]{0,120}:\s*$",
    re.IGNORECASE,
)
_STARTS_WROTE = re.compile(r"^\s*(?:on|am|le|el|il|em|op|w dniu|dnia|den|dne)\b.*(?:\d|@)", re.IGNORECASE)
_FORWARDED = re.compile(
    r"^\s*(?:-{2,}|_{5,}|={5,})\s*(?:(?:original|forwarded|begin|ursprüngliche|weitergeleitete|message|mensaje|"
    r"messaggio|mensagem|oorspronkelijk|doorgestuurd|oryginalna|przekazan|ursprungligt|vidarebefordrat|"
    r"oprindelig|videresendt).*)$",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"^\s*\*?(?:from|sent|to|date|von|gesendet|an|de|envoyé|enviado|para|da|inviato|van|verzonden|od|wysłano|från|"
    r"skickat|fra|sendt)\s*:\*?\s+\S",
    re.IGNORECASE,
)
_SPECIAL = str.maketrans({"ß": "ss", "ł": "l", "ø": "o", "æ": "ae", "œ": "oe", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")


def own_words(text: str) -> str:
    """What the writer wrote: without quoted lines, signature, and the earlier mail that stands below a reply.

    A line of two hyphens opens the signature (RFC 3676).

    A line "On … wrote:" ends the own words only when quoted lines or nothing of the writer's follow; lines that
    start with ">" are dropped wherever they stand, so that answers between quotes are kept.
    """
    kept: list[str] = []
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if line.rstrip() == "--" or _FORWARDED.match(line) or _is_header_block(lines, index):
            break
        if _QUOTED.match(line):
            continue
        opening = _opening_of_quote(lines, index)
        if opening == "rest":
            break
        if opening == "line":
            continue
        kept.append(line)
    return "\n".join(kept).strip()


def _opening_of_quote(lines: list[str], index: int) -> str:
    """ "line": this line only introduces quoted lines. "rest": all below is an earlier mail. Else ""."""
    line = lines[index]
    if not _WROTE.search(line):
        following = lines[index + 1] if index + 1 < len(lines) else ""
        if not (_STARTS_WROTE.match(line) and _WROTE.search(following) and not _QUOTED.match(following)):
            return ""
    after = [other for other in lines[index + 1 :] if other.strip()]
    if any(_QUOTED.match(other) for other in after):
        return "line"
    return "rest" if _STARTS_WROTE.match(line) or "@" in line else ""


def _is_header_block(lines: list[str], index: int) -> bool:
    """Two or more mail headers in a row, not at the very top: an earlier mail begins."""
    if not any(line.strip() for line in lines[:index]) or index + 1 >= len(lines):
        return False
    return bool(_HEADER.match(lines[index]) and _HEADER.match(lines[index + 1]))


def fold(text: str) -> str:
    """Lower case, without accents and invisible characters, compatibility forms resolved: for looking words up."""
    plain = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).lower().translate(_SPECIAL)
    if plain.isascii():
        return plain
    return "".join(c for c in unicodedata.normalize("NFD", plain) if not unicodedata.combining(c))
