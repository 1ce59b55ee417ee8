"""Text compared whatever its line breaks and the way its accents are written, and the places in it that were compared."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

WITHOUT_BLANKS = "\u0e00"
"""From here on stand the scripts that write without blanks, roughly."""


def folded(text: str) -> str:
    """A text with one form for each letter and single blanks, so that line breaks and accents written in two do not count."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def places_of(piece: str, text: str) -> Iterator[tuple[int, int]]:
    """Where a piece stands in a text as whole words. (Scripts that write without blanks have no such bounds.)"""
    at = text.find(piece) if piece else -1
    while at >= 0:
        end = at + len(piece)
        if not _one_word(text[at - 1 : at], piece[0]) and not _one_word(piece[-1], text[end : end + 1]):
            yield at, end
        at = text.find(piece, at + 1)


def _one_word(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum() and max(left, right) < WITHOUT_BLANKS


def origins(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The folded text, and for each of its characters where in the text itself it comes from (start, end)."""
    signs: list[str] = []
    spans: list[tuple[int, int]] = []
    for start, end in _clusters(text):
        for sign in unicodedata.normalize("NFC", text[start:end]):
            if not sign.isspace():
                signs.append(sign)
                spans.append((start, end))
            elif signs and signs[-1] != " ":
                signs.append(" ")
                spans.append((start, end))
    if signs and signs[-1] == " ":
        signs.pop()
        spans.pop()
    return "".join(signs), spans


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """The shortest pieces of a text that are normalised each for itself."""
    if unicodedata.is_normalized("NFC", text):
        yield from ((at, at + 1) for at in range(len(text)))
        return
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or _stands_apart(text[start:end], text[end]):
            yield start, end
            start = end


def _stands_apart(left: str, sign: str) -> bool:
    """Does a character not change with what stands before it? (A letter and its accent do.)"""
    if unicodedata.combining(sign):
        return False
    return sign.isascii() or unicodedata.normalize("NFC", left + sign) == (
        unicodedata.normalize("NFC", left) + unicodedata.normalize("NFC", sign)
    )
