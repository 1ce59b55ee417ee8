"""One small graph for each document of a list, four at once, then a merge in plain Python. The model is scripted.

$ python examples/invoices.py
170.50 EUR
each_one_document#rent.txt/invoice: R-77
each_one_document#tea.txt/invoice: T-12
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from agentfleet import ask, classify, each, extract, graph, step, when
from agentfleet.testing import scripted

Document = tuple[str, str]  # name, text


class Invoice(BaseModel):
    """What is read from one document."""

    number: str
    total: float


@classify(tier="nano")
def kind(text: str) -> Literal["invoice", "letter"]:
    """Is this an invoice?"""
    return ask(text) if "total" in text else "letter"  # what code can tell, no model is asked


@extract(tier="small")
def invoice(text: str) -> Invoice:
    """Number and total."""
    return ask(text)


@graph
def one_document(doc: Document) -> Invoice | None:
    """The invoice, None when it is none: `invoice` runs only if it is wanted."""
    return when(kind(doc[1]) == "invoice", invoice(doc[1]), otherwise=None)


@step
def add_up(found: list[Invoice | None], currency: str) -> str:
    """The sum as text."""
    return f"{sum(one.total for one in found if one is not None):.2f} {currency}"


@graph
def books(docs: list[Document], currency: str = "EUR") -> str:
    """Its steps' paths carry the document's name, as `key` says."""
    return add_up(each(one_document, at_once=4, key=lambda doc: doc[0])(docs), currency)


if __name__ == "__main__":
    docs = [("rent.txt", "no. R-77, total 149.00"), ("hello.txt", "Dear all,"), ("tea.txt", "no. T-12, total 21.50")]
    read = {"rent.txt": Invoice(number="R-77", total=149), "tea.txt": Invoice(number="T-12", total=21.5)}
    with scripted({"kind": "invoice", **{f"each_one_document#{name}/invoice": one for name, one in read.items()}}):
        run = books.run(docs=docs)
    print(run.value)
    for path in sorted(path for path in run.steps if path.endswith("/invoice")):
        print(f"{path}: {run.steps[path].value.number}")
