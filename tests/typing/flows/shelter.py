"""An animal shelter: decide, extract, plan with tools, check what must not go wrong."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from agentfleet import ByReference, Plan, Verbatim, ask, classify, extract, graph, plan, step, summarise, when


class Animal(BaseModel):
    tag: Annotated[str, Field(pattern=r"^T-\d{4}$"), Verbatim()]
    kilos: Annotated[float, Field(ge=0), Verbatim()]


class Visit(BaseModel):
    text: str
    fee: float = 0


Reason = Literal["adopt", "return", "ask"]


@classify(tier="nano", up_to="frontier", min_confidence=0.8)
def reason(letter: str) -> Reason:
    """Why does the person write?"""
    return ask(letter)


@extract(tier="small", up_to="frontier")
def animal(letter: str) -> Animal | None:
    """The animal that is meant, if its tag stands there."""
    return ask(letter)


@animal.check
def light_enough(found: Animal | None, letter: str) -> None:
    if found is not None and found.kilos > 900:
        raise ValueError("no animal here weighs that much")


@summarise(tier="small")
def gist(letter: str) -> str:
    """One sentence."""
    return ask(letter)


@step(effect=True)
async def reserve(tag: Annotated[str, ByReference()], kilos: Annotated[float, ByReference()]) -> Visit:
    return Visit(text=f"reserved {tag}", fee=kilos * 2)


@step
def write(about: str) -> Visit:
    return Visit(text=f"thank you for: {about}")


@plan(tier="small", up_to="frontier", tools=[reserve, write])
def decide(why: Reason, found: Animal | None, about: str) -> Plan[Visit]:
    """Which tools to use."""
    return ask(why, found, about)


@decide.check
def reserve_only_adoptions(todo: Plan[Visit], why: Reason, found: Animal | None, about: str) -> None:
    if todo.count(reserve) > (why == "adopt"):
        raise ValueError("reserve once, and only for adoption")


@graph
def shelter(letter: str) -> Visit:
    why = reason(letter)
    found = when(why == "adopt", animal(letter), otherwise=None)
    return decide.carry_out(decide(why, found, gist(letter)))
