"""May this rung try at all? Label, context and budget are asked before every call; each no has its reason."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from math import ceil

from agentfleet.backends.backend import Usage
from agentfleet.fleet.model import LOCAL, Model
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


def modality_refusal(model: Model, wanted: Sequence[str]) -> str:
    """Why a model cannot read all of the request; "" when it can."""
    missing = [name for name in wanted if name not in model.modalities]
    return f"modality: {model.name} does not read {missing[0]}" if missing else ""


def schema_refusal(model: Model, kind: str) -> str:
    """Why a model cannot give an answer of this kind (closed, text, json); "" when it can."""
    if model.backend in _DECIDES and kind != "closed":
        return f"schema: {model.name} only decides among options, and {kind} is wanted"
    return ""


_DECIDES = frozenset({"head", "decisions"})

_DUST = 1e-9
"""US dollars by which sums of many small numbers may be off."""

UNCOUNTED = 1.5
"""Where the tokenizer is not here, a prompt is estimated; so much of it is set aside, because an estimate may be low."""


def worst_case(model: Model, tokens: int | None, max_tokens: int) -> float | None:
    """US dollars that a call may cost at most; None when the price is unknown."""
    size = max(tokens or 1, 1)
    size = size if model.backend in LOCAL else ceil(size * UNCOUNTED)
    return cost(model, Usage(input_tokens=size, output_tokens=max_tokens))


def budget_refusal(
    model: Model, tokens: int | None, max_tokens: int, left: float | None, of: str = "", allow_unpriced: bool = False
) -> str:
    """Why the money that is left does not cover the worst case of the call; an unknown price is refused.

    `of`: whose money it is, for the reason. What costs nothing is never refused.
    """
    if left is None:
        return ""
    worst = worst_case(model, tokens, max_tokens)
    if worst is None and not allow_unpriced:
        return f"budget: the price of {model.name} is unknown; state it in the fleet file"
    if worst is not None and worst > max(left, 0.0) + _DUST:
        return f"budget: this call may cost ${worst:.4f}, ${max(left, 0):.4f} is left{f' of {of}' if of else ''}"
    return ""


def first_reason(reasons: Iterable[str]) -> str:
    """The first refusal that is not empty; of a generator none after it is looked at."""
    return next((reason for reason in reasons if reason), "")
