"""No path decodes without its constraint: take it away, and there is an error, never free text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import BaseModel, Field

from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.llama_cpp import LlamaCpp, native
from agentfleet.backends.llama_cpp.answer import Answerer
from agentfleet.backends.llama_cpp.decode import Free
from agentfleet.backends.llama_cpp.grammar import Constraint, Grammars
from agentfleet.backends.llama_cpp.numbers import bound_numbers
from agentfleet.errors import BackendError, MissingExtra
from agentfleet.schema import Output

pytestmark = pytest.mark.real_model
Ask = Callable[..., Completion]


class Name(BaseModel):
    name: Annotated[str, Field(max_length=8)]


def test_a_lost_constraint_is_an_error(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Grammars, "of_schema", lambda self, schema: None)
    with pytest.raises(BackendError, match="the constraint of this answer is missing"):
        ask("hi", Name)


def test_free_text_in_place_of_json_is_an_error(ask: Ask, monkeypatch: pytest.MonkeyPatch, engine: LlamaCpp) -> None:
    monkeypatch.setattr(Grammars, "of_schema", lambda self, schema: Free(engine.weights))
    with pytest.raises(BackendError, match="the constraint was lost"):
        ask("Say yes.", Name, instruction="Answer with one word.", max_tokens=200)


def test_a_mask_that_does_nothing_is_an_error(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Constraint, "masked", lambda self, logits: logits)
    monkeypatch.setattr(Constraint, "forced", lambda self: [])
    with pytest.raises(BackendError, match="left its grammar"):
        ask("Say yes.", Name, instruction="Answer with one word.")


def test_after_a_broken_constraint_the_engine_still_works(ask: Ask) -> None:
    Name.model_validate_json(ask("hi", Name).text)


def test_without_llguidance_there_is_no_model(
    engine: LlamaCpp, request_for: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import import_module as real

    def broken(name: str) -> Any:
        if name.startswith("llguidance"):
            raise ImportError("libllguidance.so: cannot open shared object file")
        return real(name)

    monkeypatch.setattr(native, "import_module", broken)
    backend = LlamaCpp(engine.path, "broken", context=512)
    with pytest.raises(MissingExtra, match=r"agentfleet\[local\]"):
        backend.call([], 1, lambda *_: None)
    backend.shut()


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"type": "string", "pattern": "(?=x)y"}, {"not": {}}])
def test_a_schema_that_cannot_be_held_to_is_an_error(
    engine: LlamaCpp, request_for: Callable[..., Request], schema: dict[str, Any]
) -> None:
    import asyncio
    from dataclasses import replace

    request = replace(request_for("hi", str), output=Output("json", dict, schema))
    with pytest.raises(BackendError):
        asyncio.run(engine.complete(request))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number"},
        {"type": ["number", "null"], "minimum": 0, "maximum": 99},
        {"type": "number", "minimum": 1e-5, "maximum": 0.01},
        {"type": "integer"},
        {"type": "integer", "minimum": 10**18},
        {"anyOf": [{"type": "number", "multipleOf": 0.01}, {"const": 7}]},
        {"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "number"}}, "maxItems": 2},
    ],
)
def test_no_number_goes_on_for_ever(engine: LlamaCpp, schema: dict[str, Any]) -> None:
    bounded = bound_numbers(schema)
    digits = engine.weights.tokens("7", special=False)[0]

    def work(model: Answerer, prompt: list[int], cancelled: Callable[[], bool]) -> int:
        rule = model.grammars.of_schema(schema)
        taken = 0
        blank = np.zeros(model.weights.size, np.float32)
        while taken < 40 and not rule.done and rule.masked(blank)[digits] == 0:
            rule.take(digits)
            taken += 1
        return taken

    assert bounded.keys() >= schema.keys()
    assert engine.call([], 1, work) < 40
