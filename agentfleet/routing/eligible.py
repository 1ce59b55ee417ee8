"""May this rung try at all? Label, context and budget are asked before every call; each no has its reason."""

from __future__ import annotations

import time
from collections.abc import Sequence

from agentfleet.backends.backend import Usage
from agentfleet.fleet.model import Model
from agentfleet.fleet.prices import cost
from agentfleet.labels import LOCATION_LIMITS, Label


def clearance(model: Model) -> str:
    """The highest label level that a model may see: the fleet file's word, else by location."""
    return model.sees or LOCATION_LIMITS[model.place]


def label_refusal(model: Model, label: Label) -> str:
    """Why data with this label may not go to this model; "" when it may."""
    limit = clearance(model)
    if not label.within(limit):
        return f"label: the data is {label.level}, and {model.name} ({model.place}) may see up to {limit}"
    if label.regions is not None and model.place != "device" and model.region not in label.regions:
        where = model.region or "an unnamed region"
        return (
            f"label: the data may be in {', '.join(sorted(label.regions)) or 'no region'}, {model.name} is in {where}"
        )
    return ""


def context_refusal(model: Model, tokens: int | None, max_tokens: int, context: int | None) -> str:
    """Why a prompt does not fit; "" when it does or nothing is known."""
    limit = model.context or context
    if tokens is None or limit is None or tokens + max_tokens <= limit:
        return ""
    over = tokens + max_tokens - limit
    return f"context: {tokens} tokens of prompt and {max_tokens} of answer are {over} more than the {limit} of {model.name}"


def deadline_refusal(ends: float | None) -> str:
    """Why it is too late to ask anybody; "" when it is not. `ends`: on `time.monotonic`."""
    return "deadline: it has passed" if ends is not None and time.monotonic() >= ends else ""


def worst_case(model: Model, tokens: int | None, max_tokens: int) -> float | None:
    """US dollars that a call may cost at most; None when the price is unknown."""
    return cost(model, Usage(input_tokens=max(tokens or 1, 1), output_tokens=max_tokens))


def budget_refusal(model: Model, tokens: int | None, max_tokens: int, left: float | None) -> str:
    """Why the money that is left does not cover the worst case of the call; an unknown price is refused."""
    if left is None:
        return ""
    worst = worst_case(model, tokens, max_tokens)
    if worst is None:
        return f"budget: the price of {model.name} is unknown; state it in the fleet file"
    if worst > left:
        return f"budget: this call may cost ${worst:.4f}, ${max(left, 0):.4f} is left"
    return ""


def first_reason(reasons: Sequence[str]) -> str:
    """The first refusal that is not empty."""
    return next((reason for reason in reasons if reason), "")
