"""A person's answer, checked against the type of the step that waits before it is recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from agentfleet.errors import InputError
from agentfleet.schema import ABSTAINED, Invalid, Output


def checked_answer(step: Any | None, text: str, waiting: Mapping[str, Any], path: str) -> str:
    """JSON text of the answer. Raises InputError that shows what is wanted."""
    try:
        if step is None:
            return json.dumps(_plain(text, waiting))
        if step.kind == "plan":
            return str(step.codec.dump(_planned(step, text, waiting)))
        if step.output is not None:
            return str(step.codec.dump(_parsed(step.output, text)))
        return str(step.codec.dump(step.codec.load(text)))
    except (Invalid, ValidationError, ValueError) as error:
        wanted = json.dumps(waiting.get("schema", {}))[:400]
        raise InputError(f"the answer for {path} does not fit: {error}. Wanted: {wanted}. Got: {text[:200]}") from error


def _parsed(output: Output, text: str) -> Any:
    if output.kind == "text":
        with suppress(ValueError):  # JSON text, or the words as they are
            found = json.loads(text)
            text = found if isinstance(found, str) else text
    value = output.parse(text)
    if value is ABSTAINED:
        raise Invalid("a person does not abstain; leave the step waiting, or give a value")
    return value


def _planned(step: Any, text: str, waiting: Mapping[str, Any]) -> Any:
    """The plan with the inputs that it may point at, checked as one that a model wrote."""
    from agentfleet.graph.plan import plan_output

    given = waiting.get("inputs", {})
    inputs = {p.name: p.codec.load(json.dumps(given[p.name])) for p in step.params if p.name in given}
    return plan_output(step, inputs).parse(text)


def _plain(text: str, waiting: Mapping[str, Any]) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        if text in waiting.get("schema", {}).get("enum", ()):
            return text
        raise
