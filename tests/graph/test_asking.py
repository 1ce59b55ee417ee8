"""Which steps of a graph may ask a model, where they stand, and how sensitive what they read may be."""

from __future__ import annotations

from typing import Annotated

from agentfleet import Label, ask, each, graph, step, summarise
from agentfleet.graph.check import asking


@summarise(tier="small")
def gist(text: str) -> str:
    """Sum up."""
    return ask(text)


@step(releases="public")
def cleaned(text: str) -> str:
    return text.replace("secret", "")


@step
def joined(texts: list[str]) -> str:
    return " ".join(texts)


@graph
def inner(text: str) -> str:
    return gist(text)


@graph
def outer(text: Annotated[str, Label("restricted")], parts: list[str]) -> str:
    first = gist.using(name="of_all")(text)
    second = inner(cleaned(text))
    return joined([first, second, joined.using(name="rest")(each(gist)(parts))])


def test_paths_steps_and_labels() -> None:
    found = asking(outer)
    assert {path: label.level for path, (_, label) in found.items()} == {
        "of_all": "restricted",
        "inner/gist": "public",
        "each_gist/gist": "internal",
    }
    assert {step.name for step, _ in found.values()} == {"gist"}
    assert found["of_all"][0].node_name == "of_all"


def test_a_step_by_itself() -> None:
    assert list(asking(gist)) == ["gist"]
    assert asking(cleaned) == {}
