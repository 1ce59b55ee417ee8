"""A skill on the embedded SmolLM2: no key, no network. Needs the extra `local`.

What must not go wrong is not left to a weak model: the number has to stand in the mail, letter for letter.

$ python examples/quickstart.py
'QX-204871', answered by small smollm2, cost $0
None, answered by code
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from agentfleet import Verbatim, ask, extract, graph, step


class Ticket(BaseModel):
    """Two capital letters, a hyphen, six digits; only as it stands in the mail."""

    number: Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{6}$"), Verbatim()]


@extract(tier="small")
def ticket(mail: str) -> Ticket | None:
    """The ticket that the mail is about, if it names one."""
    return ask(mail)


@step
def number_of(found: Ticket | None) -> str | None:
    """Plain Python: no model is asked."""
    return None if found is None else found.number


@graph
def read(mail: str) -> str | None:
    """Traced once, when this file is imported; run as often as you like."""
    return number_of(ticket(mail))


if __name__ == "__main__":
    for mail in ("My ticket QX-204871 has been open for a week.", "The printer on the second floor is on fire."):
        run = read.run(mail=mail)
        by = run.steps["ticket"]
        who = f"{by.tier} {by.model}".strip()
        print(f"{run.value!r}, answered by {who}" + (f", cost ${run.cost:g}" if by.attempts else ""))
