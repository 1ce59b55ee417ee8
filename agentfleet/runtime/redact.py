"""Takes known secrets out of everything that is about to be written to the ledger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from agentfleet.ledger.records import Batch

MARK = "[secret]"
Row = TypeVar("Row")


def secrets_as_json(secrets: Sequence[str]) -> tuple[str, ...]:
    """The secrets as they may stand in JSON text: plain, and escaped."""
    return tuple(dict.fromkeys(form for s in secrets for form in (s, json.dumps(s)[1:-1])))


def redacted_text(text: str, secrets: Sequence[str]) -> str:
    """The text with every secret replaced by ``[secret]``."""
    for secret in secrets:
        text = text.replace(secret, MARK)
    return text


def redacted(batch: Batch, secrets: Sequence[str]) -> Batch:
    """The batch, rebuilt only where a secret stands in one of its texts."""
    finish = batch.finish
    return replace(
        batch,
        nodes=tuple(_row(row, secrets) for row in batch.nodes),
        attempts=tuple(_row(row, secrets) for row in batch.attempts),
        finish=None if finish is None else _row(finish, secrets),
    )


def _row(row: Row, secrets: Sequence[str]) -> Row:
    changes: dict[str, Any] = {}
    for field in fields(row):  # type: ignore[arg-type]
        value = getattr(row, field.name)
        if isinstance(value, str) and any(secret in value for secret in secrets):
            changes[field.name] = redacted_text(value, secrets)
    return replace(row, **changes) if changes else row  # type: ignore[type-var]
