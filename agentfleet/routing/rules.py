"""Applies the rules of a fleet file to a request. The first rule that fits is the one; the others are not looked at."""

from __future__ import annotations

from collections.abc import Sequence

from agentfleet.fleet.rules import Rule, When
from agentfleet.labels import LEVELS
from agentfleet.routing.describe import Description


def rule_for(rules: Sequence[Rule], wanted: Description) -> Rule | None:
    """The first rule that fits, None when none does."""
    return next((rule for rule in rules if misfit(rule.when, wanted) == ""), None)


def misfit(when: When, wanted: Description) -> str:
    """What does not fit, in the words of the file ("kind is classify"); "" when all does."""
    stated = {
        "kind": (when.kind, wanted.kind),
        "step": (when.step, wanted.step),
        "graph": (when.graph, wanted.graph),
    }
    for key, (names, found) in stated.items():
        if names and found not in names:
            return f"{key} is {found}"
    if when.label is not None and LEVELS.index(wanted.label.level) < LEVELS.index(when.label):
        return f"label is {wanted.label.level}"
    return _by_text(when, wanted)


def _by_text(when: When, wanted: Description) -> str:
    """What has to be found out by reading comes last."""
    if when.min_tokens is not None and wanted.tokens < when.min_tokens:
        return f"the prompt has about {wanted.tokens} tokens"
    if when.max_tokens is not None and wanted.tokens > when.max_tokens:
        return f"the prompt has about {wanted.tokens} tokens"
    missing = [name for name in when.signals if name not in wanted.signals]
    if missing:
        return f"no signal {missing[0]}"
    if when.language and wanted.language not in when.language:
        return f"language is {wanted.language or 'unclear'}"
    return ""
