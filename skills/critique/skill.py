"""Judges a text against its sources: a score and the one most useful change."""

from __future__ import annotations

from pydantic import BaseModel, Field

from agentfleet import ask, extract

PASS = 8
"""The score from which a text needs no further change."""


class Review(BaseModel):
    """`score` from 0 (useless) to 10 (nothing to change); `advice`: one change, or empty."""

    score: int = Field(ge=0, le=10)
    advice: str = Field(max_length=400)


@extract(tier="small", up_to="frontier")
def critique(text: str, sources: list[str]) -> Review:
    """Judge whether the text answers its question from these sources only.

    score: 0 to 10. advice: the one most useful change, in one sentence; empty when nothing is to be changed.
    """
    if not text.strip():
        return Review(score=0, advice="The text is empty; write one.")
    return ask(text, *sources)


@critique.check
def low_scores_say_why(found: Review, text: str, sources: list[str]) -> None:
    """A low score without advice helps nobody."""
    if found.score < PASS and not found.advice.strip():
        raise ValueError(f"a score of {found.score} needs advice: say the one most useful change")
