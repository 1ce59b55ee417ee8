"""A person in the middle: leave is granted by somebody, later, maybe elsewhere."""

from typing import Literal

from pydantic import BaseModel

from agentfleet import ask, classify, extract, graph, step, when


class Leave(BaseModel):
    who: str
    days: int


@extract(tier="small")
def leave(mail: str) -> Leave:
    """Who wants how many days?"""
    return ask(mail)


@classify(tier="person")
def granted(wanted: Leave) -> Literal["yes", "no"]:
    """May they go?"""
    if wanted.days < 2:
        return "yes"
    return ask(wanted)


@step(effect=True)
async def enter(wanted: Leave) -> str:
    return f"{wanted.who}: {wanted.days}"


@graph
def ask_for_leave(mail: str) -> str:
    wanted = leave(mail)
    return when(granted(wanted) == "yes", enter(wanted), otherwise="not this time")
