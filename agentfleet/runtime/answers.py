"""A person's answer, checked against the type of the step that waits before it is recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from agentfleet.errors import InputError
from agentfleet.schema import Invalid


def checked_answer(step: Any | None, text: str, waiting: Mapping[str, Any], path: str) -> str:
    """JSON text of the answer. Raises InputError that shows what is wanted."""
    try:
        if step is None or step.kind == "plan":
            return json.dumps(_plain(text, waiting))
        if step.output is not None:
            return str(step.codec.dump(step.output.parse(text)))
        return str(step.codec.dump(step.codec.load(text)))
    except (Invalid, ValidationError, ValueError) as error:
        wanted = json.dumps(waiting.get("schema", {}))[:400]
        raise InputError(f"the answer for {path} does not fit: {error}. Wanted: {wanted}. Got: {text[:200]}") from error


def _plain(text: str, waiting: Mapping[str, Any]) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        if text in waiting.get("schema", {}).get("enum", ()):
            return text
        raise
