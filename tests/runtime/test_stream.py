"""A run event by event: in order, ended by RunFinished; who stops listening stops the run."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from agentfleet import Fleet, Model, Session, ask, extract, graph, step, summarise
from agentfleet.errors import LabelError, Unavailable
from agentfleet.ledger.sqlite import SQLiteLedger
from agentfleet.runtime.events import (
    AttemptMade,
    Event,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    Writing,
)
from agentfleet.testing import Scripted, scripted

Opened = Callable[..., tuple[Session, Scripted]]
BEGUN = threading.Event()


@summarise(tier="small")
def gist(text: str) -> str:
    """Gist."""
    return ask(text)


@gist.check
def is_short(value: str, text: str) -> None:
    if len(value) > 5:
        raise ValueError("too long")


@step
async def shout(text: str) -> str:
    return text.upper()


@graph
def loud(text: str) -> str:
    return shout(gist(text))


@step
async def forever(text: str) -> str:
    BEGUN.set()
    await asyncio.Event().wait()
    return text


@graph
def endless(text: str) -> str:
    return forever(gist(text))


def brief(event: Event) -> tuple[Any, ...]:
    if isinstance(event, AttemptMade):
        return "attempt", event.path, event.attempt.outcome.value
    if isinstance(event, StepFinished):
        return "finished", event.path, event.step.state
    return type(event).__name__, getattr(event, "path", "")


async def listen(session: Session, graph: Any, text: str = "x") -> list[Event]:
    return [event async for event in session.stream(graph, {"text": text})]


def test_events_come_in_order_and_the_record_last(opened: Opened) -> None:
    session, _ = opened({"gist": ["much too long", "short"]})
    events = asyncio.run(listen(session, loud))
    assert [brief(event) for event in events] == [
        ("RunStarted", ""),
        ("StepStarted", "gist"),
        ("attempt", "gist", "rejected"),
        ("attempt", "gist", "valid"),
        ("finished", "gist", "done"),
        ("StepStarted", "shout"),
        ("finished", "shout", "done"),
        ("RunFinished", ""),
    ]
    last = events[-1]
    assert isinstance(last, RunFinished) and last.run.value == "SHORT"
    assert session.read(last.run.id).status == "done", "what is told has been committed"


def test_a_run_that_waits_or_fails_ends_with_its_record_too(opened: Opened) -> None:
    session, _ = opened({"gist": [Unavailable("down"), "toolong", "toolong"]})
    for status in ("waiting", "failed"):
        events = asyncio.run(listen(session, loud))
        assert isinstance(events[-1], RunFinished) and events[-1].run.status == status
        finished = [event for event in events if isinstance(event, StepFinished)]
        assert [event.step.state for event in finished] == [status]


def test_the_face_streams_too() -> None:
    async def main() -> list[str]:
        return [type(event).__name__ async for event in loud.stream("x")]

    with scripted({"gist": "short"}):
        names = asyncio.run(main())
    assert names[0] == "RunStarted" and names[-1] == "RunFinished"


def test_closing_the_stream_early_cancels_the_run(opened: Opened) -> None:
    session, _ = opened({"gist": "short"})
    BEGUN.clear()

    async def main() -> str:
        events = session.stream(endless, {"text": "x"})
        run_id = ""
        async for event in events:
            if isinstance(event, RunStarted):
                run_id = event.run_id
            if event == StepStarted("forever"):
                break
        await asyncio.to_thread(BEGUN.wait)
        await events.aclose()  # type: ignore[attr-defined]
        return run_id

    run_id = asyncio.run(main())
    while run_id in session._active:
        threading.Event().wait(0.005)
    kept = session.read(run_id)
    assert kept.status == "cancelled" and kept.steps["gist"].value == "short"


def test_a_run_that_cannot_begin_raises_where_it_is_read(opened: Opened) -> None:
    tight = Model(name="tight", backend="scripted", tier="small", sees="public")
    session, _ = opened({"gist": "short"}, [tight])
    with pytest.raises(LabelError):
        asyncio.run(listen(session, loud))


def test_a_key_whose_run_is_done_gives_its_record(opened: Opened) -> None:
    session, backend = opened({"gist": "short"})
    keyed = loud.using(key="k")
    first = session.run(keyed, {"text": "x"})
    events = asyncio.run(listen(session, keyed))
    assert [type(event) for event in events] == [RunStarted, RunFinished]
    assert isinstance(events[-1], RunFinished)
    assert (events[-1].run.id, events[-1].run.value, len(backend.calls)) == (first.id, "SHORT", 1)


def test_a_key_whose_run_waits_goes_on_and_is_heard(opened: Opened) -> None:
    session, _ = opened({"gist": [Unavailable("down"), "short"]})
    keyed = loud.using(key="k")
    assert session.run(keyed, {"text": "x"}).status == "waiting"
    names = [type(event).__name__ for event in asyncio.run(listen(session, keyed))]
    assert names[0] == "RunStarted" and "AttemptMade" in names and names[-1] == "RunFinished"


@pytest.mark.real_model
def test_a_local_model_is_heard_while_it_writes(tmp_path: Path) -> None:
    fleet = Fleet([Model(name="smol", backend="llama_cpp", model="embedded", tier="small")])

    class Note(BaseModel):
        text: Annotated[str, Field(max_length=200)]

    @extract(tier="small")
    def note(mail: str) -> Note:
        """Copy the mail's text."""
        return ask(mail)

    @graph
    def noted(text: str) -> Note:
        return note(text)

    session = Session(fleet, SQLiteLedger(tmp_path / "l.sqlite"), tmp_path)
    try:
        events = asyncio.run(listen(session, noted, "The kettle that I bought here in May no longer boils any water."))
    finally:
        session.close()
    heard = [event for event in events if isinstance(event, Writing)]
    (done,) = [event for event in events if isinstance(event, AttemptMade)]
    assert heard and {event.path for event in heard} == {"note"}
    final = json.loads(done.attempt.answer)["text"]
    assert all(final.startswith((event.value or {}).get("text", "")) for event in heard)
    assert events.index(heard[-1]) < events.index(done)
