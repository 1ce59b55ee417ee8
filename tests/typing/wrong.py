"""Wrong uses. Every marked line, and no other, must be an error for each type checker."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from agentfleet import OnFail, Plan, ask, classify, each, extract, graph, plan, repeat, step, summarise, when


class Room(BaseModel):
    number: str
    beds: int = 1


class Guest(BaseModel):
    name: str


Tone = Literal["kind", "rude"]


@classify(tier="nano")
def tone(note: str) -> Tone:
    """How does it sound?"""
    return ask(note)


@extract(tier="small")
def room(note: str) -> Room | None:
    """The room."""
    return ask(note)


@extract(tier="small")
def sure(note: str) -> Room:
    """The room."""
    return ask(note)


@step
async def price(room: Room, nights: int = 1) -> float:
    return 1.0


@step
def length(text: str) -> int:
    return len(text)


@step
def total(sums: list[int]) -> int:
    return sum(sums)


@step
def better(room: Room) -> Room:
    return room


@plan(tier="small", tools=[price])
def arrange(note: str) -> Plan[float]:
    """What to do."""
    return ask(note)


make_room = step(Room)
lengths = each(length)


@graph
def calls(note: str, count: int) -> None:
    length(count)  # wrong: type of an argument
    length(note, note)  # wrong: one argument too many
    length()  # wrong: an argument is missing
    length(txt=note)  # wrong: keyword
    price(note)  # wrong: a text for a model
    price(room(note))  # wrong: may be None
    price(sure(note), nights="2")  # wrong: keyword argument's type
    length(sure(note))  # wrong: a model for a text
    total([length(note), note])  # wrong: a member of a fan-in list
    total(length(note))  # wrong: one value for a list
    sure(note).numbr  # wrong: field  # noqa: B018
    room(note).beds  # wrong: field of an optional  # noqa: B018
    length(sure(note).beds)  # wrong: type of a field
    make_room(number=3)  # wrong: field of a typed constructor
    make_room(numbr="101")  # wrong: unknown field of a typed constructor
    lengths([1, 2])  # wrong: items of each
    lengths(count)  # wrong: each over what is no list
    total(when(tone(note) == "kind", length(note), otherwise=None))  # wrong: one value or None for a list
    length(when(tone(note) == "kind", note, otherwise=None))  # wrong: a branch may be None
    arrange.carry_out(note)  # wrong: no plan
    length(arrange.carry_out(arrange(note)))  # wrong: type of a plan's result
    price(Guest(name=note))  # wrong: another model
    when(tone(note), note, otherwise=note)  # wrong: a condition that is no bool
    when(tone(note) == "kind", note, note)  # wrong: otherwise has a name


@graph
def result(note: str) -> Room:
    return length(note)  # wrong: type of the result


@graph
def maybe(note: str) -> Room:
    return room(note)  # wrong: the result may be None


@extract(tier="small")
def answers(note: str) -> Room:
    """The room."""
    if not note:
        return "none"  # wrong: a body that answers with another type
    return ask(note)


@summarise(teir="small", tier="small")  # wrong: option of a decorator
def short(note: str) -> str:
    """One sentence."""
    return ask(note)


@room.check  # wrong: the value's type in a check
def plausible(found: int, note: str) -> None: ...


@sure.check  # wrong: a check without the inputs
def alone(found: Room) -> None: ...


repeat(length, until=bool, at_most=3)  # wrong: what comes out does not go in
repeat(better, until=lambda found: found.numbr == "", at_most=3)  # wrong: field in until
each(length, at_once="4")  # wrong: type of an option of each
tone.using(teir="large")  # wrong: option
tone.using(on_fail=OnFail.BEST, tries="2")  # wrong: type of an option


def outside(note: str) -> None:
    number: int = length.run(note).value
    text: str = length(note)  # wrong: type of a value
    record: str = length.run(note).value  # wrong: type of a run's value
    spare: Room = sure.using(on_fail="none")(note)  # wrong: a default answer widens the type
    length.arun(note).value  # wrong: arun is awaited  # noqa: B018
    print(number, text, record, spare)
