"""The numbers of a text as people write them, and not the digits of its codes, dates, times, phones and addresses.

Careful on purpose: a number that is left out makes a step abstain, a piece of an order number makes it wrong.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final, Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["code", "date", "time", "phone", "number"]

_BLANK = " \u00a0\u2009\u202f"
_MONTH = (
    r"(?:[Jj]an(?:uary?|vier)?|[Ff]eb(?:ruary?)?|[Ff]évrier|[Mm]ar(?:ch|s)|Mar|[Mm]ärz|[Aa]pr(?:il)?|[Aa]vril|May|[Mm]ai"
    r"|[Jj]un[ei]?|[Jj]uin|[Jj]ul[yi]?|[Jj]uillet|[Aa]ug(?:ust)?|[Aa]oût|[Ss]ept?(?:ember|embre)?|[Oo][ck]t(?:ober)?"
    r"|[Oo]ctobre|[Nn]ov(?:ember|embre)?|[Dd]e[cz](?:ember)?|[Dd]écembre)\b\.?"
)
_AT = r"(?<!\w)(?<!\d[.,'’])"  # not inside a longer number: 49.12 May holds no 12 May
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_MONEY = r"(?i:eur|usd|gbp|chf|sek|dkk|nok|pln|zł|kr|fr|rs|[€$£¥])"
_CODES = (
    r"\b\w{1,20}://\S+|\bwww\.\S+|(?<![\w.+\-])[\w.+\-]{1,64}@[\w\-]+\.[\w.\-]+",
    r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b",  # accounts
    rf"{_AT}\d{{4}}(?:[ \-]\d{{4}}){{2,4}}\b",  # cards
    rf"{_AT}(?!\d{{1,3}}(?:\.\d{{3}})+(?![.\d]))\d{{1,3}}(?:\.\d{{1,3}}){{3}}\b",  # machines on the net
    r"[#№]\s?\d(?:[\w\-/.]*\w)?|\b[Nn][°º]\s?\d+\b",
    rf"\b(?:[Nn]o|[Nn]r|[Nn]um|[Nn]umber|[Nn]ummer)\b\.?:?\s?\d{{4,}}\b(?![.,][\d\-–—]|\s?{_MONEY})",
)
_DATES = (
    rf"{_AT}\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}(?:[T ]\d{{1,2}}:\d{{2}})?",
    rf"{_AT}\d{{1,2}}(?P<mark>[-/.])[ ]?\d{{1,2}}(?P=mark)[ ]?(?:\d{{4}}|\d{{2}})\b",
    rf"{_AT}{_DAY}(?:st|nd|rd|th|er|\.)?\s(?:of\s|de\s)?{_MONTH}(?:,?\s(?:de\s)?\d{{4}}\b(?![.,]\d))?",
    rf"\b{_MONTH}\s{_DAY}(?:st|nd|rd|th)?\b(?![.,'’]\d)(?:,?\s\d{{4}}\b(?![.,]\d))?",
    r"\b(?:[Aa]m|[Vv]om|[Bb]is|[Zz]um|[Aa]b|[Dd]en)\s\d{1,2}\.[ ]?(?:0?[1-9]|1[0-2])\.(?!\d)",
    rf"{_AT}\d+(?:st|nd|rd|th)\b",
)
_TIMES = (
    rf"{_AT}\d{{1,2}}:\d{{2}}(?::\d{{2}}(?:\.\d+)?)?",
    rf"{_AT}\d{{1,2}}[Hh]\d{{2}}\b",
    rf"{_AT}\d{{1,2}}(?:[.:]\d{{2}})?\s?(?:[Uu]hr\b|[ap]\.?m\b|[AP]M\b|o['’]clock\b)",
)
_PHONES = (
    r"\+\d[\d \-/()]{6,}\d",
    rf"{_AT}(?<!\d[{_BLANK}])\(?0\d{{1,4}}\)?[ /\-]\d[\d \-/]{{4,}}\d",
    rf"\(\d{{3}}\)\s?\d{{3}}[.\-]\d{{4}}\b|{_AT}\d{{3}}([.\-])\d{{3}}\1\d{{4}}\b",
)
_KINDS: Final[tuple[tuple[Kind, tuple[str, ...]], ...]] = (
    ("code", _CODES),
    ("date", _DATES),
    ("time", _TIMES),
    ("phone", _PHONES),
)
_NOISE = tuple((kind, re.compile(pattern)) for kind, patterns in _KINDS for pattern in patterns)
_CURRENCY = re.compile(rf"(?<![A-Za-z]){_MONEY}\.?(?=\d)|(?<=\d){_MONEY}(?!\w)|(?<=\d[.,][-–—]){_MONEY}")
_MIXED = re.compile(r"\b[A-Za-z]+[-_#]?\d[\w\-]*|\b\d+[-_][A-Za-z]\w*|\b\d+[^\W\d_]+\d\w*")
_BEFORE = r"(?<![\w.,:/\-+])(?<!\w['’])[-−]?"
_NUMBER = re.compile(
    rf"{_BEFORE}(?!0\d)\d{{1,3}}(?:[{_BLANK}.,'’]\d{{3}})+(?:[.,](?:\d{{1,2}}|[-–—]))?(?!\d)(?![.,'’]\d)(?!\w*[-/:]\d)"
    rf"|{_BEFORE}(?!0\d)\d{{1,12}}(?:[.,](?:\d+|[-–—]))?(?!\d)(?![.,]\d)(?!\w*[-/:]\d)"
)


class Mark(NamedTuple):
    """What stands at `start` to `end` of a text, in characters; `value` of a number."""

    kind: Kind
    start: int
    end: int
    value: float = 0.0


def marks_in(text: str) -> list[Mark]:
    """The codes, dates, times, phones and numbers of a text; none overlaps another."""
    found: list[Mark] = []

    def cover(kind: Kind, match: re.Match[str]) -> str:
        found.append(Mark(kind, match.start(), match.end()))
        return "\n" * len(match.group())  # so that places stay what they are

    for kind, pattern in _NOISE:
        text = pattern.sub(partial(cover, kind), text)
    text = _CURRENCY.sub(lambda match: "\n" * len(match.group()), text)
    text = _MIXED.sub(partial(cover, "code"), text)
    for match in _NUMBER.finditer(text):
        number = read_number(match.group())
        if number is not None:
            found.append(Mark("number", match.start(), match.end(), number))
    return found


def numbers_in(text: str) -> list[float]:
    """The numbers that stand in a text, in order, without repeats: 49.90, 49,90, 1.299,00, 1,299.00, 1'250.-, 1 250,00.

    Digits of codes (`AB-1234`, `#1234`, `no. 1234`, `0123`), dates, times, accounts, phones and addresses are left out.
    """
    return list(dict.fromkeys(mark.value for mark in marks_in(text) if mark.kind == "number"))


def read_number(text: str) -> float | None:
    """A number as people write it; the last separator with one or two digits behind it is the decimal one.

    None for what is no number.
    """
    plain = re.sub(rf"[{_BLANK}'’]", "", text).replace("−", "-")
    plain = re.sub(r"[.,][-–—]$", "", plain)
    last = max(plain.rfind("."), plain.rfind(","))
    if last >= 0:
        separator, tail = plain[last], plain[last + 1 :]
        thousands = len(tail) == 3 and re.fullmatch(r"-?\d{1,3}([.,]\d{3})+", plain) is not None
        if thousands and not plain.lstrip("-").startswith(("0.", "0,")):
            plain = plain.replace(".", "").replace(",", "")
        else:
            other = "," if separator == "." else "."
            plain = plain[:last].replace(other, "").replace(separator, "") + "." + tail
    try:
        return float(plain)
    except ValueError:
        return None
