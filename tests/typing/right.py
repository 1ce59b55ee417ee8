"""Right uses in every corner of the API. No checker may complain about a line of this file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, Field

from agentfleet import (
    ByReference,
    Fleet,
    Label,
    Model,
    OnFail,
    Plan,
    Verbatim,
    ask,
    classify,
    each,
    extract,
    graph,
    plan,
    repeat,
    step,
    summarise,
    when,
)


class Room(BaseModel):
    number: Annotated[str, Field(pattern=r"^\d{3}$"), Verbatim()]
    beds: int = 1


class Wish(Enum):
    BOOK = "book"
    CANCEL = "cancel"


@dataclass
class Bill:
    room: Room
    total: float


class Span(NamedTuple):
    first: str
    nights: int


Tone = Literal["kind", "rude"]


@classify(tier="nano", up_to="frontier", min_confidence=0.7, examples=[({"note": "hello"}, "kind")])
def tone(note: str) -> Tone:
    """How does it sound?"""
    return ask(note)


@classify(tier="nano")
def wish(note: str) -> Wish | None:
    """What is wanted?"""
    return ask(note)


@extract(tier="small", prompt="The room that is meant.")
def room(note: str, hint: str = "") -> Room | None:
    return ask(note, hint)


@room.check
def has_beds(found: Room | None, note: str, hint: str = "") -> None:
    if found is not None and found.beds < 1:
        raise ValueError("a room has a bed")


@summarise(tier="small", releases="internal")
def gist(note: Annotated[str, Label("confidential")]) -> str:
    """One sentence."""
    return ask(note)


@step
async def price(room: Room, nights: int) -> float:
    await asyncio.sleep(0)
    return 50.0 * room.beds * nights


@step(effect=True)
def book(number: Annotated[str, ByReference()], nights: int = 1) -> str:
    return f"{number} for {nights}"


@step(effect=True, releases="public")
async def tell(text: str) -> str:
    return text


@step
def span(note: str) -> Span:
    return Span("mon", 2)


@step
def pair(note: str) -> tuple[str, int]:
    return note, 1


@step
def total(sums: Sequence[float]) -> float:
    return sum(sums)


@step
def anybody(room: Room | None) -> str:
    return "nobody" if room is None else room.number


make_bill = step(Bill)
make_room = step(Room)


@plan(tier="small", up_to="large", tools=[book, tell], at_most=3)
def arrange(note: str, room: Room | None) -> Plan[str]:
    """What to do."""
    return ask(note, room)


@arrange.check
def books_once(todo: Plan[str], note: str, room: Room | None) -> None:
    if todo.count(book) > 1 or len(todo.steps) > 2:
        raise ValueError("book once")


@graph
def reception(note: str, nights: int = 1) -> str:
    found = when(wish(note) == Wish.BOOK, room(note), otherwise=None)
    answer = arrange.carry_out(arrange(note, found))
    tell(gist(note))
    return when((tone(note) == "kind") & (nights > 1), answer, otherwise="no")


@graph
def bill(note: str) -> Bill:
    first, nights = pair(note)
    when_from = span(first)
    double = make_room(number="101", beds=2)
    sums = [price(double, nights), price.using(name="other")(double, when_from.nights)]
    return make_bill(double, total(sums))


prices = each(price, at_once=4)
bills = each(bill)


@step
def shorter(text: str, limit: int) -> str:
    return text[:limit]


shrink = repeat(shorter, until=lambda text: len(text) < 3, at_most=3)


@graph
def many(notes: list[str], rooms: list[Room], limit: int) -> list[float]:
    tell(shrink(notes[0], limit))
    made = bills(notes)
    tell.using(name="second")(anybody(made[0].room))
    return prices(rooms, 3)


def outside() -> None:
    fleet = Fleet([Model(name="m", backend="llama_cpp")])
    text: str = reception("a note", nights=2)
    run = reception.using(fleet=fleet, budget=0.1, deadline=3.0).run(note="a note")
    value: str = run.value
    spare: Room | str | None = room.using(on_fail="none")("note")
    kept: Room | None = room.using(on_fail=OnFail.BEST, tries=2, tier="large")("note", "hint")
    sums: list[float] = prices([Room(number="101")], 2)
    shown: str = tone.prompt(note="hello") + bill.draw() + bill.to_json()
    print(text, value, spare, kept, sums, shown, run.status, run.cost, run.steps["tone"].attempts)


async def awaited() -> str:
    run = await bill.arun("note")
    number: str = run.value.room.number
    async for event in reception.stream("a note"):
        print(event)
    return number
