"""Steps that the tests of this folder wire: a parcel shop, small enough to keep in mind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel

from agentfleet import ask, classify, extract, step, summarise

Mood = Literal["calm", "angry"]


class Speed(Enum):
    SLOW = "slow"
    FAST = "fast"


class Parcel(BaseModel):
    code: str
    weight: float
    speed: Speed = Speed.SLOW

    @property
    def prefix(self) -> str:
        return self.code[:2]

    def heavier(self, by: float) -> Parcel:
        return Parcel(code=self.code, weight=self.weight + by)


class Letter(BaseModel):
    text: str
    to: str = "sender"


@dataclass
class Crate:
    content: Any


@classify(tier="nano")
def mood(mail: str) -> Mood:
    """How does the sender feel?"""
    return ask(mail)


@extract(tier="small")
def parcel(mail: str) -> Parcel | None:
    """The parcel that the mail is about, if any."""
    return ask(mail)


@extract(tier="small")
def found(mail: str) -> Parcel:
    """The parcel that the mail is about."""
    return ask(mail)


@summarise(tier="small")
def gist(mail: str) -> str:
    """One sentence."""
    return ask(mail)


@step
def words(mail: str) -> list[str]:
    return mail.split()


@step
def length(text: str) -> int:
    return len(text)


@step
def total(numbers: list[int]) -> int:
    return sum(numbers)


@step
def halves(mail: str) -> tuple[str, int]:
    return mail, len(mail)


@step
def post(letter: Letter) -> str:
    return letter.text


@step
def keep(thing: Any) -> str:
    return str(thing)


@step(effect=True)
def ring(text: str) -> str:
    RUNG.append(text)
    return text


RUNG: list[str] = []
