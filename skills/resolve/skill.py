"""What to do about a mail: a plan over two tools. What must not go wrong is checked by code."""

from __future__ import annotations

from typing import Annotated

from agentfleet.stock.skills.intent.skill import Kind
from agentfleet.stock.skills.order.skill import Order
from pydantic import BaseModel

from agentfleet import ByReference, Plan, ask, plan, step

_STEP = '{"steps":[{"id":"s1","tool":"%s","with":{"%s":{"ref":"%s"}}}],"result":"s1"}'
_REFUND = _STEP % ("refund", "order", "found")
_REPLY = _STEP % ("reply", "about", "about")


class Resolution(BaseModel):
    """What was done: `text` for the record, `refunded` in the currency of the order."""

    text: str
    refunded: float = 0


@step(effect=True)
async def refund(order: Annotated[Order, ByReference()]) -> Resolution:
    """Pay the amount of an order back to the customer."""
    return Resolution(text=f"refunded {order.amount:.2f} for {order.order_id}", refunded=order.amount)


@step
def reply(about: Annotated[str, ByReference()]) -> Resolution:
    """Put an answer to the customer on the list of replies; no money moves."""
    return Resolution(text=f"reply to: {about}")


@plan(tier="small", up_to="person", tools=[refund, reply], at_most=1)
def resolve(kind: Kind, found: Order | None, about: str) -> Plan[Resolution]:
    """Plan what to do for a customer. `kind` is what the customer wants, `found` the order, `about` a summary.

    When kind is refund and an order was found: one step, refund, with order pointing at found.
    In every other case: one step, reply, with about pointing at about.
    """
    return ask(kind, found, about, _rule(kind, found))


def _rule(kind: Kind, found: Order | None) -> str:
    """The rule of the house for this case, so that a small model need not work it out; the checks hold it to it."""
    if kind == "refund" and found is not None:
        return f"Money back was asked for and the order is known. Use the tool refund: {_REFUND}"
    return f"Use the tool reply: {_REPLY}"


@resolve.check
def refunds_what_was_asked_for(todo: Plan[Resolution], kind: Kind, found: Order | None, about: str) -> None:
    """Exactly one refund, of the found order and its amount, when one was asked for; else none."""
    wanted = kind == "refund" and found is not None
    if todo.count(refund) and not wanted:
        raise ValueError(f"no refund: none was asked for, or no order was found; answer {_REPLY}")
    if wanted and todo.count(refund) != 1:
        raise ValueError(f"money back was asked for and the order is known; answer {_REFUND}")


@resolve.check
def replies_once(todo: Plan[Resolution], kind: Kind, found: Order | None, about: str) -> None:
    """Without a refund: one reply, about the summary."""
    if todo.count(refund):
        return
    if todo.count(reply) != 1:
        raise ValueError(f"use reply exactly once; answer {_REPLY}")
    if [use for use in todo.uses(reply, "about") if use != about]:
        raise ValueError(f"the reply is about the summary; answer {_REPLY}")
