"""Data labels: how sensitive a value is, whether its source is trusted, in which regions it may be.

The label of a value is the join of its inputs' labels. Floor 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agentfleet.errors import LabelError, nearest

LEVELS = ("public", "internal", "confidential", "restricted")
"""From least to most sensitive. A value without a label is ``internal``."""

LOCATION_LIMITS = {"device": "restricted", "private": "confidential", "cloud": "internal"}
"""The highest level that a model at a location may see, unless the fleet file says otherwise."""


@dataclass(frozen=True, slots=True)
class Label:
    """Marks an input: ``record: Annotated[str, Label("restricted")]``.

    `level`: one of `LEVELS`. `trusted`: False for text from outside that may carry instructions.
    `regions`: where the value may be processed; None means anywhere.
    Raises LabelError for an unknown level.
    """

    level: str = "internal"
    trusted: bool = True
    regions: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise LabelError(f"unknown label level {self.level!r}{nearest(self.level, LEVELS)}")
        if self.regions is not None and not isinstance(self.regions, frozenset):
            object.__setattr__(self, "regions", frozenset(self.regions))

    def join(self, other: Label) -> Label:
        """The least label that is at least as strict as both (commutative, associative, idempotent)."""
        if self is other:
            return self
        level = max(self.level, other.level, key=LEVELS.index)
        regions = self.regions if other.regions is None else other.regions
        if self.regions is not None and other.regions is not None:
            regions = self.regions & other.regions
        return Label(level, self.trusted and other.trusted, regions)

    def within(self, level: str) -> bool:
        """May something cleared for `level` see this?"""
        return LEVELS.index(self.level) <= LEVELS.index(level)

    def lowered(self, level: str) -> Label:
        """The label after a step with ``releases=level`` has removed what was sensitive."""
        return Label(min(self.level, level, key=LEVELS.index), self.trusted, self.regions)

    def to_json(self) -> dict[str, Any]:
        regions = None if self.regions is None else sorted(self.regions)
        return {"level": self.level, "trusted": self.trusted, "regions": regions}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Label:
        regions = data.get("regions")
        return cls(data["level"], data.get("trusted", True), None if regions is None else frozenset(regions))


INTERNAL = Label("internal")
PUBLIC = Label("public")


def join_all(labels: Iterable[Label], start: Label = PUBLIC) -> Label:
    """The join of many labels; `start` for none."""
    result = start
    for label in labels:
        result = result.join(label)
    return result
