"""Payments with a person in the middle: small ones pass by rule, the others wait for an answer from anywhere."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from agentfleet import Verbatim, ask, classify, extract, graph, step, when

BY_RULE = 50
"""Below this amount nobody is asked."""


class Payment(BaseModel):
    """`to`: the payee as written; `amount` in the currency of the mail."""

    to: Annotated[str, Field(min_length=2, max_length=80), Verbatim()]
    amount: Annotated[float, Field(gt=0), Verbatim()]


@extract(tier="small", up_to="person")
def payment(email: str) -> Payment:
    """Who is to be paid how much? Copy both from the e-mail."""
    return ask(email)


@classify(tier="person")
def approval(wanted: Payment) -> Literal["approve", "reject"]:
    """May this be paid?"""
    if wanted.amount < BY_RULE:
        return "approve"
    return ask(wanted)


@step(effect=True)
async def pay(wanted: Payment) -> str:
    """Hand the payment to the bank (here: say so)."""
    return f"paid {wanted.amount:.2f} to {wanted.to}"


@graph
def pay_with_approval(email: str) -> str:
    """Pay what an e-mail asks for, once it is approved."""
    wanted = payment(email)
    return when(approval(wanted) == "approve", pay(wanted), otherwise="rejected")
