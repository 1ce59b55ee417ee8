"""Which order a mail is about, and for what sum: only what the customer's own words say, and only when unmistakable."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, Field

from agentfleet import Verbatim, ask, extract
from agentfleet.text import own_words

CEILING = 10_000
"""Amounts above it need a second look by a person."""

_ORDER = re.compile(r"(?<![\w-])[A-Z]{2}-\d{6}(?![\w-])")
_LIKE_ORDER = re.compile(r"(?<![\w-])[A-Za-z]{1,4}\s?[-–_/]\s?\d{4,9}(?![\w-])")
_SIGN = (
    r"€|\$|£|(?:EUR|USD|GBP|CHF|PLN|SEK|DKK|NOK|CZK|euros?|kr|zł|zl|dollars?|pounds?|quid|bucks|franken|zloty\w*)\b\.?"
)
_NUMBER = r"\d{1,3}(?:[.,'\u00a0\u202f ]\d{3})+(?:[.,]\d{1,2})?|\d+(?:[.,]\d{1,2})?"
_EDGE = r"(?<![\w.,-])"
_AMOUNT = re.compile(
    rf"(?:{_SIGN})\s?(?P<after>{_NUMBER})(?![\w%])"
    rf"|{_EDGE}(?P<before>{_NUMBER})(?:,-|\.-|,–)?\s?(?:{_SIGN})"
    rf"|{_EDGE}(?P<bare>(?:\d{{1,3}}(?:[.,]\d{{3}})+|\d+)[.,]\d{{2}})(?![\w.,]*\d|\s?%|\s?(?:kg|g|m|cm|mm|l|ml|h|km|uhr|am|pm)\b)",
    re.IGNORECASE,
)


def order_numbers(text: str) -> list[str]:
    """The different order numbers of a text, in order."""
    return list(dict.fromkeys(_ORDER.findall(text)))


def misspelt(text: str) -> list[str]:
    """What looks like an order number and is none."""
    return [found for found in _LIKE_ORDER.findall(text) if not _ORDER.fullmatch(found)]


def amounts(text: str) -> list[float]:
    """The different sums of money of a text: numbers with a currency, or with two decimals."""
    found = (
        match["after"] or match["before"] or match["bare"] for match in _AMOUNT.finditer(_LIKE_ORDER.sub(" ", text))
    )
    return list(dict.fromkeys(_value(number) for number in found))


def _value(number: str) -> float:
    """1.299,00 and 1,299.00 and 1'250 and 49,90 as numbers: the last mark with one or two digits is the decimal one."""
    decimals = re.search(r"[.,](\d{1,2})$", number)
    whole = number[: decimals.start()] if decimals else number
    return float(re.sub(r"\D", "", whole) + "." + (decimals.group(1) if decimals else "0"))


class Order(BaseModel):
    """An order: `order_id` like AB-123456, `amount` in the currency of the mail."""

    order_id: Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{6}$"), Verbatim()]
    amount: Annotated[float, Field(ge=0), Verbatim(amounts)]


@extract(tier="small", up_to="person")
def order(email: str) -> Order | None:
    """The order that this e-mail is about: its number (two capital letters, a hyphen, six digits) and the amount.

    Copy both from the customer's own words. null when the e-mail does not name both.
    """
    words = own_words(email)
    if not order_numbers(words) or not amounts(words):
        return None
    return ask(words)


@order.check
def is_unmistakable(found: Order | None, email: str) -> None:
    """One number and one sum in the customer's own words, and these; else a stronger reader must decide."""
    words = own_words(email)
    numbers, sums = order_numbers(words), amounts(words)
    if not numbers or not sums:
        if found is not None:
            raise ValueError("the customer's own words do not name both an order number and an amount; answer null")
        return
    if len(numbers) > 1 or misspelt(words):
        raise ValueError(
            f"more than one order number: {', '.join([*numbers, *misspelt(words)])}; which one is meant is unclear"
        )
    if len(sums) > 1:
        raise ValueError(f"more than one amount: {', '.join(f'{s:g}' for s in sums)}; which one is meant is unclear")
    if found is None or found.order_id != numbers[0] or found.amount != sums[0]:
        raise ValueError(f"the e-mail names order {numbers[0]} and the amount {sums[0]:g}; answer with these")


@order.check
def amount_is_plausible(found: Order | None, email: str) -> None:
    """Large and empty sums are for people."""
    if found is not None and not 0 < found.amount <= CEILING:
        raise ValueError(
            f"an amount of {found.amount:g} needs a second look by a person (0 to {CEILING} are paid at once)"
        )
