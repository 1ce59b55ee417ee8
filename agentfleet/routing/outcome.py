"""How one attempt on one rung ended, and what the ladder may do after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from agentfleet.backends.backend import Usage


class Outcome(StrEnum):
    """The words of the design; stored in the ledger by value."""

    VALID = "valid"
    INVALID = "invalid"
    REJECTED = "rejected"
    UNSURE = "unsure"
    ABSTAINED = "abstained"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"


REASK = frozenset({Outcome.INVALID, Outcome.REJECTED})
"""Outcomes after which the same rung may be asked again, with the message."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call on one rung (or the reason why there was none), as the run shows it and the ledger keeps it.

    `cost`: US dollars, None when the model's price is unknown. `seconds`: wall time. `problem`: why it was not
    accepted. `prompt`: messages shown; `answer`: raw text. `confidence`: greatest option probability. `extra`: `part`
    and `parts` where a long input was put in parts; `evidence` and `quoted` of the accepted answer.
    """

    number: int
    tier: str
    model: str
    outcome: Outcome
    problem: str = ""
    answer: str = ""
    prompt: tuple[Mapping[str, str], ...] = ()
    usage: Usage = Usage()
    cost: float | None = 0.0
    seconds: float = 0.0
    confidence: float | None = None
    calibrated: bool = False
    distribution: Mapping[str, float] | None = None
    option_mass: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def of_part(self) -> bool:
        """Was only one part of the input asked about?"""
        return "part" in self.extra

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        data["outcome"] = self.outcome.value
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Attempt:
        fields = {**data, "outcome": Outcome(data["outcome"]), "usage": Usage(**data.get("usage", {}))}
        fields["prompt"] = tuple(fields.get("prompt", ()))
        return cls(**fields)
