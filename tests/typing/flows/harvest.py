"""A harvest: one subgraph per field report, then a merge."""

from typing import Literal

from pydantic import BaseModel

from agentfleet import ask, classify, each, extract, graph, step, when


class Report(BaseModel):
    field: str
    text: str


class Yield(BaseModel):
    crop: str
    tons: float


class Season(BaseModel):
    unit: str
    yields: list[Yield]


@classify(tier="nano")
def usable(text: str) -> Literal["numbers", "talk"]:
    """Are there numbers in it?"""
    return ask(text)


@extract(tier="small")
def harvest(text: str, unit: str = "t") -> Yield:
    """Crop and amount."""
    return ask(f"unit: {unit}", text)


@graph
def one_report(report: Report, unit: str) -> Yield | None:
    return when(usable(report.text) == "numbers", harvest(report.text, unit=unit), otherwise=None)


@step
def merge(found: list[Yield | None], unit: str) -> Season:
    return Season(unit=unit, yields=[one for one in found if one is not None])


all_reports = each(one_report, at_once=3, key=lambda report: report.field)


@graph
def season(reports: list[Report], unit: str = "t") -> Season:
    return merge(all_reports(reports, unit), unit)
