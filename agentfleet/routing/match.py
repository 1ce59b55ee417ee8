"""Stage 2 of routing: which models may be asked at all? Each no has its reason; what is asked for here is in eligible.py."""

from __future__ import annotations

from agentfleet.fleet.model import Model
from agentfleet.routing.describe import Description
from agentfleet.routing.eligible import context_refusal, first_reason, label_refusal, modality_refusal, schema_refusal
from agentfleet.routing.purse import Purse


def barred(model: Model, wanted: Description) -> str:
    """Why this model may not be asked whatever the prompt's size: label and region, modality, schema; "" when it may."""
    return first_reason(
        (
            label_refusal(model, wanted.label),
            modality_refusal(model, wanted.modalities),
            schema_refusal(model, wanted.output.kind),
        )
    )


def unfit(
    model: Model, wanted: Description, tokens: int | None, max_tokens: int, context: int | None, purse: Purse
) -> str:
    """Why a prompt of this size may not go to it: context, budget; "" when it may. `context`: what the backend says."""
    size = None if tokens is None else wanted.size(model, tokens)
    return first_reason((context_refusal(model, tokens, max_tokens, context), purse.refusal(model, size, max_tokens)))
