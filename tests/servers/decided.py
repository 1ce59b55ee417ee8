"""A ticket to decide, and how a server answers it in both protocols of decision models."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Literal

from pydantic import BaseModel
from servers.plain import Said

ONE, TWO = "/v1/systemone", "/v1/decisions"


class Level(IntEnum):
    harmless = 0
    bad = 1
    terrible = 2


class Ticket(BaseModel):
    urgent: bool
    team: Literal["billing", "travel"] | None
    level: Level


ANSWERS_ONE = {
    "urgent": {"type": "noul", "noul": 0.8},
    "team": {
        "type": "choice",
        "choice": "billing",
        "probabilities": {"billing": 0.6, "travel": 0.1, "none of these": 0.3},
        "confidence": 0.4,
    },
    "level": {"type": "score", "score": 1.6, "legend": {}, "probabilities": {"0": 0.1, "1": 0.2, "2": 0.7}},
}
ANSWERS_TWO = [
    {"type": "predicate", "name": "urgent", "probability": 0.8},
    {
        "type": "choice",
        "name": "team",
        "choice": "billing",
        "confidence": 0.4,
        "probabilities": [
            {"value": "billing", "probability": 0.6},
            {"value": "none of these", "probability": 0.3},
            {"value": "travel", "probability": 0.1},
        ],
    },
    {
        "type": "score",
        "name": "level",
        "score": 1.6,
        "probabilities": [
            {"value": 0, "label": "harmless", "probability": 0.1},
            {"value": 1, "label": "bad", "probability": 0.2},
            {"value": 2, "label": "terrible", "probability": 0.7},
        ],
    },
]
USAGE = {"input_tokens": 86, "output_tokens": 0}


def replies(one: Any = None, two: Any = None) -> dict[str, Said]:
    return {
        ONE: Said({"model": "jev-1", "answers": ANSWERS_ONE if one is None else one, "usage": USAGE}),
        TWO: Said({"model": "jev-1", "answers": ANSWERS_TWO if two is None else two, "usage": USAGE}),
    }
