"""How soon a message wants an answer."""

from __future__ import annotations

from typing import Literal

from agentfleet import ask, classify
from agentfleet.text import own_words

Urgency = Literal["low", "normal", "high"]


@classify(tier="nano", up_to="frontier", min_confidence=0.7)
def urgency(message: str) -> Urgency:
    """How soon does this message want an answer?

    high: today or sooner, or there is danger or a standstill. normal: within days. low: whenever, or never.
    """
    return ask(own_words(message))
