"""Support desk: decide what a mail wants, find its order, sum it up, plan what to do, do it.

Nothing here trusts a model: a refund needs the customer's own words, one order number, one amount and a plan that
uses exactly these. Whatever is unclear waits for somebody who knows better.
"""

from __future__ import annotations

from agentfleet.stock.skills.gist.skill import gist
from agentfleet.stock.skills.intent.skill import intent
from agentfleet.stock.skills.order.skill import order
from agentfleet.stock.skills.resolve.skill import Resolution, resolve

from agentfleet import graph, when

GOLD = {"kind": "intent", "refunded": "value.refunded"}
"""Where the keys of a gold row are found in a run."""


@graph
def support_desk(email: str) -> Resolution:
    """What was done about one e-mail to a shop."""
    kind = intent(email)
    found = when(kind == "refund", order(email), otherwise=None)
    todo = resolve(kind, found, gist(email))
    return resolve.carry_out(todo)
