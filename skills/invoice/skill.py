"""The fields of an invoice, copied from its text; a total that the text does not hold is refused."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, Field

from agentfleet import Verbatim, ask, extract

_LABEL = r"(?:total|amount\s+due|balance\s+due|gesamt\w*|summe|rechnungsbetrag|endbetrag|zahlbetrag|montant|importe|totale|totaal|razem|do\s+zap[łl]aty|att\s+betala|i\s+alt)"
_TOTAL = re.compile(rf"(?im)^.*\b{_LABEL}\b[^\n\d]*(?P<sum>\d[\d.,' \u00a0]*\d|\d)")
_NOT_TOTAL = re.compile(
    r"(?i)sub\W?total|zwischensumme|net\b|netto|sous.total|subtotal|\bvat\b|mwst|\btva\b|\biva\b|\bbtw\b"
)


class Invoice(BaseModel):
    """`number` as printed; `total` with tax, in the currency of the document."""

    number: Annotated[str, Field(min_length=1, max_length=40), Verbatim()]
    total: Annotated[float, Field(ge=0), Verbatim()]


@extract(tier="small", up_to="person")
def invoice(text: str, currency: str = "EUR") -> Invoice:
    """The number of this invoice and its total including tax. Copy both from the text."""
    return ask(text, f"currency: {currency}")


@invoice.check
def number_has_a_digit(found: Invoice, text: str, currency: str = "EUR") -> None:
    """A number without any digit is a heading."""
    if not any(c.isdigit() for c in found.number):
        raise ValueError(f"{found.number!r} is no invoice number; copy the number that stands after 'invoice no.'")


@invoice.check
def total_is_the_printed_one(found: Invoice, text: str, currency: str = "EUR") -> None:
    """Where lines are labelled as totals, the total is one of theirs."""
    printed = printed_totals(text)
    if printed and found.total not in printed:
        shown = " or ".join(f"{value:g}" for value in printed)
        raise ValueError(f"the total is printed as {shown}, not {found.total:g}")


def printed_totals(text: str) -> list[float]:
    """The sums in lines that are labelled as a total with tax."""
    found = []
    for match in _TOTAL.finditer(text):
        if not _NOT_TOTAL.search(match.group(0)):
            found.append(_value(match["sum"]))
    return found


def _value(number: str) -> float:
    decimals = re.search(r"[.,](\d{1,2})$", number)
    whole = number[: decimals.start()] if decimals else number
    return float(re.sub(r"\D", "", whole) + "." + (decimals.group(1) if decimals else "0"))
