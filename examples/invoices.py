"""One skill on each document of a list, four at once, then a merge in plain Python. The model is scripted.

$ python examples/invoices.py
170.50 EUR
each_invoice#rent.txt/invoice: number='R-77' total=149.0
each_invoice#hello.txt/invoice: None
each_invoice#tea.txt/invoice: number='T-12' total=21.5
"""

from __future__ import annotations

from pydantic import BaseModel

from agentfleet import ask, each, extract, graph, step
from agentfleet.testing import scripted


class Document(BaseModel):
    """A file's name and text."""

    name: str
    text: str


class Invoice(BaseModel):
    """What is read from one document."""

    number: str
    total: float


@extract(tier="small")
def invoice(doc: Document) -> Invoice | None:
    """Number and total."""
    return ask(doc.text) if "total" in doc.text else None  # what code can tell, no model is asked


@step
def add_up(found: list[Invoice | None], currency: str) -> str:
    """The sum as text."""
    return f"{sum(one.total for one in found if one is not None):.2f} {currency}"


@graph
def books(docs: list[Document], currency: str = "EUR") -> str:
    """The paths of its steps carry each document's name, as `key` says."""
    return add_up(each(invoice, at_once=4, key=lambda doc: doc.name)(docs), currency)


if __name__ == "__main__":
    texts = {"rent.txt": "no. R-77, total 149.00", "hello.txt": "Dear all,", "tea.txt": "no. T-12, total 21.50"}
    docs = [Document(name=name, text=text) for name, text in texts.items()]
    answers = {"rent.txt": Invoice(number="R-77", total=149), "tea.txt": Invoice(number="T-12", total=21.5)}
    with scripted({f"each_invoice#{name}/invoice": answer for name, answer in answers.items()}):
        run = books.run(docs=docs)
    print(run.value)
    for doc in docs:
        path = f"each_invoice#{doc.name}/invoice"
        print(f"{path}: {run.steps[path].value}")
