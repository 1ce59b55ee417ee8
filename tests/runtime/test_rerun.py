"""A step that lies inside another can be run anew (needs the change of ledger/leases.py in leases.patch)."""

from __future__ import annotations

from collections.abc import Callable

from agentfleet import Session, ask, each, graph, summarise
from agentfleet.testing import Scripted

Opened = Callable[..., tuple[Session, Scripted]]


@summarise(tier="small")
def gist(text: str) -> str:
    """Gist."""
    return ask(text)


@graph
def nested(text: str) -> str:
    return gist(text)


@graph
def holds(texts: list[str]) -> list[str]:
    return each(nested, key=lambda text: text)(texts)


def test_a_step_inside_a_list_can_be_run_anew(opened: Opened) -> None:
    session, _ = opened({"gist": "old"})
    run = session.run(holds, {"texts": ["a", "b"]})
    session, backend = opened({"gist": "new"})
    again = session.resume(run.id, holds, rerun="each_nested#b/gist")
    assert again.value == ["old", "new"]
    assert [path for path, _ in backend.calls] == ["each_nested#b/gist"]
