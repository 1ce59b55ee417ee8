"""Two branches with different labels that join."""

from typing import Annotated, TypeVar

from pydantic import BaseModel

from agentfleet import Label, ask, extract, graph, step, summarise

T = TypeVar("T")
Open = Annotated[T, Label("public")]
Closed = Annotated[T, Label("restricted", trusted=False)]


class Finding(BaseModel):
    organ: str


@summarise(tier="frontier")
def handbook(topic: str) -> str:
    """What does the handbook say?"""
    return ask(topic)


@extract(tier="small")
def finding(chart: str) -> Finding:
    """The finding in the chart."""
    return ask(chart)


@step(releases="internal")
def strip(found: Finding) -> str:
    return found.organ.lower()


@summarise(tier="large")
def letter(rule: str, organ: str) -> str:
    """A letter to the colleague."""
    return ask(rule, organ)


@graph
def clinic(topic: Open[str], chart: Closed[str]) -> str:
    return letter(handbook(topic), strip(finding(chart)))
