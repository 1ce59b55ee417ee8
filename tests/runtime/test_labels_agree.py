"""The check before a run and the labels of the run agree: what the one lets pass, the other never has to skip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfleet import Fleet, Label, Model, Session, ask, each, graph, repeat, step, summarise, when
from agentfleet.errors import LabelError
from agentfleet.labels import LEVELS
from agentfleet.ledger.open import open_ledger
from agentfleet.testing import Scripted

Public = Annotated[str, Label("public")]
Secret = Annotated[str, Label("restricted")]
KINDS = ["asks", "decides", "asks", "decides", "redacts", "pairs", "inside", "listed", "rounds"]


@summarise(tier="small")
def probe(text: str) -> str:
    """Probe."""
    return ask(text)


@step(releases="public")
def redact(text: str) -> str:
    return text[:1]


@step
def pair(one: str, other: str) -> str:
    return one + other


@step
def listed(one: str, other: str) -> list[str]:
    return [one, other]


@step
def last(texts: list[str]) -> str:
    return texts[-1]


@graph
def inside(one: str, other: str) -> str:
    asked = probe(one)
    return when(asked == "q", pair(asked, probe.using(name="again")(other)), otherwise=redact(other))


@graph
def pass_on(one: str, other: str) -> str:
    return pair(probe(one), redact(other))


over = each(pass_on, key=lambda text: "k")
rounds = repeat(pass_on, until=lambda text: len(text) > 6, at_most=2)
Op = tuple[str, int, int, int]


def made(program: Sequence[Op]) -> Any:
    """A graph of its own for every program; each op may use all values before it."""

    def build(a: Public, b: str, c: Secret) -> list[str]:
        values: list[Any] = [a, b, c]
        unread: dict[int, None] = {}
        for number, (kind, *places) in enumerate(program):
            at = [place % len(values) for place in places]
            x, y, z = (values[place] for place in at)
            name = f"n{number}"
            if kind == "asks":
                new, used = probe.using(name=name)(x), at[:1]
            elif kind == "redacts":
                new, used = redact.using(name=name)(x), at[:1]
            elif kind == "pairs":
                new, used = pair.using(name=name)(x, y), at[:2]
            elif kind == "decides":
                new, used = when(x == "q", y, otherwise=z), at
            elif kind == "inside":
                new, used = inside.using(name=name)(x, y), at[:2]
            elif kind == "listed":
                items = listed.using(name=f"{name}_items")(x, y)
                new, used = last.using(name=f"{name}_last")(over.using(name=name)(items, z)), at
            else:
                new, used = rounds.using(name=name)(x, y), at[:2]
            for place in used:
                unread.pop(place, None)
            unread[len(values)] = None
            values.append(new)
        return [values[place] for place in unread] or [a]

    return graph(build)


@settings(max_examples=250, deadline=None)
@given(
    program=st.lists(st.tuples(st.sampled_from(KINDS), *[st.integers(0, 5)] * 3), min_size=2, max_size=6),
    limit=st.sampled_from(LEVELS[:-1]),
    texts=st.tuples(*[st.sampled_from(["q", "q", "long text"])] * 3),
)
def test_what_is_let_pass_is_never_skipped(program: list[Op], limit: str, texts: tuple[str, ...]) -> None:
    wanted = made(program)
    backend = Scripted({"probe": texts[0]})
    model = Model(name="m", backend="scripted", tier="small", sees=limit)
    session = Session(Fleet([model]), open_ledger(":memory:", Path.cwd()), Path.cwd(), backends={"m": backend})
    try:
        run = session.run(wanted, dict(zip("abc", texts, strict=True)))
    except LabelError:
        return
    finally:
        session.close()
    assert run.status == "done", run.error
    assert all(s.label.within(limit) for s in run.steps.values() if s.kind == "summarise")


def test_the_programs_reach_both_ends() -> None:
    """So that the property above cannot hold by refusing everything, or nothing."""
    model = Model(name="m", backend="scripted", tier="small", sees="internal")
    session = Session(
        Fleet([model]), open_ledger(":memory:", Path.cwd()), Path.cwd(), backends={"m": Scripted({"probe": "q"})}
    )
    given_: dict[str, Any] = {"a": "x", "b": "y", "c": "z"}
    fine = [("redacts", 2, 0, 0), ("inside", 0, 3, 0), ("listed", 0, 1, 2), ("decides", 3, 4, 5), ("rounds", 0, 2, 0)]
    assert session.run(made(fine), given_).status == "done"
    for refused in ([("asks", 2, 0, 0)], [("asks", 0, 0, 0), ("decides", 2, 3, 1)], [("inside", 1, 2, 0)]):
        with pytest.raises(LabelError):
            session.run(made(refused), given_)
    session.close()
