"""What a text states that can be looked up: its numbers, sums, dates, times, codes and addresses; and which of them no
source has. So is a summary held to what it sums up.

Nothing is exempt, small counts neither: a wrong 3 mg is as bad as a wrong 300. But a source may say in words what a
summary says in digits (three weeks, zwei Lampen). Numbers that a summary writes in words are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from agentfleet.text import fold
from agentfleet.verbatim.numbers import Mark, marks_in, read_number
from agentfleet.verbatim.words import MONTHS, counts_in

NAMED = 5
"""Strange facts that a message names at most."""

LEAST_OF_CODE, MOST_OF_CODE = 3, 15
"""Digits of a code that may be taken for a number."""

_WORDED = re.compile(
    r"(?<![\w.,])(?P<day>\d{1,2})(?:st|nd|rd|th|er|\.|º)?\s(?:of\s|de\s|di\s|d['’])?(?P<month>[^\W\d_]{3,12})\b\.?"
    r"(?:,?\s(?:de\s|del\s)?(?P<year>\d{4})\b(?![.,]\d))?"
)
_MONTH_FIRST = re.compile(r"(?P<month>[^\W\d_]{3,12})\.?\s(?P<day>\d{1,2})(?:st|nd|rd|th)?(?:,?\s(?P<year>\d{4}))?")
_YEAR_FIRST = re.compile(r"(?P<year>\d{4})\D(?P<month>\d{1,2})\D(?P<day>\d{1,2})")
_YEAR_LAST = re.compile(r"\D*(?P<day>\d{1,2})\D{1,2}(?P<month>\d{1,2})\D{0,2}(?P<year>\d{4}|\d{2})?")
_ORDINAL = re.compile(r"(?P<day>\d+)(?:st|nd|rd|th)")
_SHORT = re.compile(r"(?P<day>0?[1-9]|[12]\d|3[01])\.(?P<month>0[1-9]|1[0-2])")  # 12.03 may be the twelfth of March
_TIME = re.compile(
    r"(?P<hour>\d{1,2})(?:[:.hH](?P<minute>\d{2}))?(?::\d{2}(?:\.\d+)?)?\s?(?P<half>[ap]\.?m|uhr)?", re.I
)
_COUNTED = re.compile(r"(\d+)[-_][^\W\d_]+")  # a 3-year warranty
_LEAD = re.compile(r"^(?:no|nr|num|number|nummer|n[°º]|[#№])\W*(?=\d)", re.IGNORECASE)
_REST = re.compile(r"\d(?:[\d.,'’]*\d)?")


_ITEM = re.compile(r"(?m)^\s*\(?(\d{1,2})[.)]\s+")


class Day(NamedTuple):
    """A date as far as it is told; None for what is not."""

    day: int | None
    month: int | None = None
    year: int | None = None


class Fact(NamedTuple):
    """One statement of a text, with what it means where that can be read: a number, the days or times it may be."""

    text: str
    number: float | None = None
    days: tuple[Day, ...] = ()
    minutes: frozenset[int] = frozenset()


def facts_in(text: str) -> Iterator[Fact]:
    """Every number, date, time, code and address of a text. What two patterns would take is taken once."""
    text = _unnumbered(text)
    worded = [match for match in _WORDED.finditer(text) if fold(match["month"]) in MONTHS]
    for match in worded:
        yield Fact(match.group().rstrip(".,"), days=(_day(match, MONTHS[fold(match["month"])]),))
    text = _blanked(text, [match.span() for match in worded])
    marks = sorted(marks_in(text), key=lambda mark: mark.start)
    for mark in marks:
        yield _fact(mark, text)
    text = _blanked(text, [(mark.start, mark.end) for mark in marks])
    for match in _REST.finditer(text):  # ranges, fractions: what is neither a number of its own nor a code
        yield Fact(match.group(), read_number(match.group()))


def _unnumbered(text: str) -> str:
    """Without the numbers of a list's items: 1, 2, 3 … at the beginning of lines, which state nothing."""
    marks = list(_ITEM.finditer(text))
    in_order = [int(mark[1]) for mark in marks] == list(range(1, len(marks) + 1))
    return _blanked(text, [mark.span(1) for mark in marks]) if len(marks) > 1 and in_order else text


def _blanked(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """A text with blanks at these places, which are in order."""
    pieces, at = [], 0
    for start, end in spans:
        pieces += [text[at:start], " " * (end - start)]
        at = end
    return "".join((*pieces, text[at:]))


def _fact(mark: Mark, text: str) -> Fact:
    plain = text[mark.start : mark.end].rstrip(".,;:!?)")
    if mark.kind == "number":
        short = _SHORT.fullmatch(plain)
        return Fact(plain, mark.value, (_day(short),) if short else ())
    if mark.kind == "date":
        return Fact(plain, days=tuple(_days(plain)))
    if mark.kind == "time" and (match := _TIME.match(text, mark.start)):
        return Fact(match.group().rstrip(), minutes=_minutes(match))
    counted = _COUNTED.fullmatch(plain)
    return Fact(plain, float(counted[1])) if counted else Fact(_LEAD.sub("", plain))


def _day(match: re.Match[str], month: int | None = None) -> Day:
    groups = match.groupdict()
    year = int(groups["year"]) if groups.get("year") else None
    month = month if month is not None else int(groups["month"]) if groups.get("month") else None
    return Day(int(groups["day"]), month, year + 2000 if year is not None and year < 100 else year)


def _days(text: str) -> Iterator[Day]:
    """What a date may mean: 3/4 is the third of April, or the fourth of March."""
    if match := _YEAR_FIRST.match(text) or _ORDINAL.fullmatch(text):
        yield _day(match)
    elif match := _WORDED.match(text) or _MONTH_FIRST.match(text):
        yield _day(match, MONTHS.get(fold(match["month"])))
    elif match := _YEAR_LAST.match(text):
        day = _day(match)
        yield from (day, Day(day.month, day.day, day.year))


def _minutes(match: re.Match[str]) -> frozenset[int]:
    """What a time may mean, in minutes since midnight: 2:00 may be 14:00, 2 pm is."""
    hour, minute, half = int(match["hour"]), int(match["minute"] or 0), (match["half"] or "").lower()
    if half[:1] in ("a", "p"):
        return frozenset({(hour % 12 + (12 if half[0] == "p" else 0)) * 60 + minute})
    return frozenset({hour * 60 + minute} | ({(hour + 12) * 60 + minute} if 0 < hour < 12 else set()))


class Stated:
    """What sources state, looked through once."""

    def __init__(self, sources: Sequence[str]) -> None:
        self.sources = tuple(sources)

    @cached_property
    def facts(self) -> list[Fact]:
        return [fact for source in self.sources for fact in facts_in(source)]

    @cached_property
    def folded(self) -> tuple[str, ...]:
        return tuple(source.casefold() for source in self.sources)

    @cached_property
    def numbers(self) -> set[float]:
        """Every number, long ones of codes too (order 204817), those of dates and times, and counts in words."""
        found = {number for fact in self.facts for number in _numbers(fact)}
        return found.union(*(counts_in(source) for source in self.sources))

    def holds(self, fact: Fact) -> bool:
        """Does a source state this?"""
        if fact.number is not None and any(abs(number - fact.number) < 1e-9 for number in self.numbers):
            return True
        if any(self._holds_day(day) for day in fact.days):
            return True
        if fact.number is not None:
            return False
        if fact.minutes and any(other.minutes & fact.minutes for other in self.facts):
            return True
        spelled = _spelled(fact.text)
        return any(spelled.search(source) for source in self.folded)

    def _holds_day(self, day: Day) -> bool:
        if day.month is None:
            return day.day in self.numbers
        known = [
            other for fact in self.facts for other in fact.days if (other.day, other.month) == (day.day, day.month)
        ]
        return any(
            day.year in (None, other.year) or (other.year is None and day.year in self.numbers) for other in known
        )


def _numbers(fact: Fact) -> Iterator[float]:
    """The numbers that a summary may take from a fact. (49 is none of +49 30 1234567.)"""
    if fact.number is not None:
        yield fact.number
        return
    dated = bool(fact.days or fact.minutes)
    for digits in re.findall(r"\d+", "" if fact.text.startswith(("+", "(")) else fact.text):
        if dated or LEAST_OF_CODE <= len(digits) <= MOST_OF_CODE:
            yield float(digits)
    yield from (float(day.year) for day in fact.days if day.year is not None)


def _spelled(text: str) -> re.Pattern[str]:
    """Finds a code in casefolded text, whatever stands between its letters and digits: AB-1234, ab 1234, AB1234."""
    signs = [re.escape(sign) for sign in text.casefold() if sign.isalnum()]
    return re.compile(r"(?<![^\W_])" + r"[\W_]{0,3}".join(signs) + r"(?![^\W_])")


def unstated(texts: Sequence[str], sources: Sequence[str]) -> str:
    """ "" or a sentence that names what these texts state and no source does."""
    stated: Any = None
    strange: dict[str, None] = {}
    for fact in (fact for text in texts for fact in facts_in(text)):
        stated = stated or Stated(sources)
        if not stated.holds(fact):
            strange[fact.text] = None
    if not strange:
        return ""
    named = ", ".join(repr(text[:80]) for text in list(strange)[:NAMED])
    verb = "does" if len(strange) == 1 else "do"
    return f"{named} {verb} not stand in the input; leave it out, or copy it exactly"
