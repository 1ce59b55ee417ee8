"""Takes known secrets out of everything that is about to be written to the ledger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from agentfleet.ledger.records import AttemptRow, Batch, Finish, NodeRow

MARK = "[secret]"
Row = TypeVar("Row", NodeRow, AttemptRow)


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
        finish=None if finish is None else _finish(finish, secrets),
    )


def _row(row: Row, secrets: Sequence[str]) -> Row:
    if not any(secret in part for part in row if isinstance(part, str) for secret in secrets):
        return row
    parts: list[Any] = [redacted_text(part, secrets) if isinstance(part, str) else part for part in row]
    return type(row)(*parts)


def _finish(finish: Finish, secrets: Sequence[str]) -> Finish:
    texts = [None if text is None else redacted_text(text, secrets) for text in (finish.value, finish.error)]
    return Finish(finish.status, *texts)
