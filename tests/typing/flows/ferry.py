"""A tool from outside, effects in order, and a loop in plain Python inside a step."""

from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter

from agentfleet import ask, extract, graph, step, summarise

T = TypeVar("T")


class Office:
    async def call(self, tool: str, returns: type[T], **arguments: Any) -> T:
        return TypeAdapter(returns).validate_python({"number": 4, "name": arguments["words"]})


office = Office()
LOG: list[str] = []


class Ferry(BaseModel):
    number: int
    name: str


class Slip(BaseModel):
    id: str


@step
async def find_ferry(words: str) -> Ferry:
    return await office.call("find", Ferry, words=words)


@step(effect=True)
async def announce(pier: str, ferry: Ferry) -> Slip:
    LOG.append(f"{pier} {ferry.number}")
    return Slip(id="s")


@step(effect=True)
def archive(slip: Slip) -> None:
    LOG.append(slip.id)


@extract(tier="nano")
def words(message: str) -> str:
    """What to look for."""
    return ask(message)


@summarise(tier="small")
def half(text: str) -> str:
    """Half as long."""
    return ask(text)


@step
def fit(text: str, limit: int) -> str:
    while len(text) > limit:
        text = half(text)
    return text


@graph
def harbour(message: str) -> str:
    ferry = find_ferry(words(message))
    archive(announce("pier 3", ferry))
    return fit(ferry.name, 4)
