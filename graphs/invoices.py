"""Invoices: sort documents, read each invoice, add up. One subgraph per document, then a merge."""

from __future__ import annotations

import re
from typing import Literal

from agentfleet.stock.skills.invoice.skill import Invoice, invoice, printed_totals
from pydantic import BaseModel

from agentfleet import ask, classify, each, graph, step, when

_INVOICE = re.compile(r"(?i)\b(?:invoice|rechnung|facture|factura|fattura|fatura|factuur|faktura)\b")


class Document(BaseModel):
    """A file's name and text."""

    name: str
    text: str


class Books(BaseModel):
    """All invoices of a batch. `doubtful`: numbers that occur more than once."""

    currency: str
    invoices: list[Invoice]
    total: float
    doubtful: list[str]


@classify(tier="nano", up_to="person")
def doc_type(text: str) -> Literal["invoice", "letter"]:
    """Is this document an invoice, or a letter or anything else?"""
    if not _INVOICE.search(text):
        return "letter"
    if printed_totals(text):
        return "invoice"
    return ask(text)


@graph
def one_document(doc: Document, currency: str) -> Invoice | None:
    """The invoice in a document, None when it is none."""
    return when(doc_type(doc.text) == "invoice", invoice(doc.text, currency=currency), otherwise=None)


@step
def add_up(found: list[Invoice | None], currency: str) -> Books:
    """The sum; an invoice that was handed in twice counts once and is named."""
    kept: dict[str, Invoice] = {}
    doubtful: list[str] = []
    for one in found:
        if one is None:
            continue
        if one.number in kept:
            doubtful.append(one.number)
        kept.setdefault(one.number, one)
    total = round(sum(one.total for one in kept.values()), 2)
    return Books(currency=currency, invoices=list(kept.values()), total=total, doubtful=list(dict.fromkeys(doubtful)))


read_all = each(one_document, at_once=4)


@graph
def invoices(docs: list[Document], currency: str = "EUR") -> Books:
    """Number and total of every invoice among the documents, and their sum."""
    return add_up(read_all(docs, currency), currency)
