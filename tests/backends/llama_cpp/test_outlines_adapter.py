"""outlines' own generators drive our loop, and only under llguidance."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import outlines
import pytest
from pydantic import BaseModel, Field

from agentfleet.backends.llama_cpp import LlamaCpp
from agentfleet.backends.llama_cpp.grammar import compact, grammar_of
from agentfleet.backends.llama_cpp.outlines_adapter import OutlinesLlamaCpp
from agentfleet.errors import UsageError

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.filterwarnings("ignore:llama_token_get_attr:DeprecationWarning"),  # llguidance's own bridge
]
generator: Any = outlines.Generator


class Order(BaseModel):
    item: Annotated[str, Field(max_length=10)]
    pieces: Annotated[int, Field(ge=1, le=9)]


@pytest.fixture(scope="module")
def model(engine: LlamaCpp) -> OutlinesLlamaCpp:
    return OutlinesLlamaCpp(engine)


def test_a_generator_of_a_type(model: OutlinesLlamaCpp) -> None:
    generate = generator(model, Order, backend="llguidance")
    text = generate("Two pans, please. Answer in JSON.")
    Order.model_validate_json(text)
    assert "\n" not in text
    assert '": ' not in text


def test_a_batch(model: OutlinesLlamaCpp) -> None:
    generate = generator(model, Order, backend="llguidance")
    for text in generate.batch(["Two pans.", "A pot."]):
        Order.model_validate_json(text)


def test_other_terms(model: OutlinesLlamaCpp) -> None:
    assert generator(model, Literal["yes", "no"], backend="llguidance")("Is the sky blue?") in ("yes", "no")
    digits = generator(model, outlines.types.regex("[0-9]{3}"), backend="llguidance")("A number?")
    assert len(digits) == 3
    assert digits.isdigit()
    assert generator(model)("Say hi.", max_tokens=4)


@pytest.mark.parametrize("backend", [None, "outlines_core"])
def test_a_backend_that_may_lose_its_constraint_is_refused(model: OutlinesLlamaCpp, backend: str | None) -> None:
    with pytest.raises(UsageError, match='backend="llguidance"'):
        generator(model, Order, backend=backend)


def test_a_foreign_processor_is_refused(model: OutlinesLlamaCpp) -> None:
    with pytest.raises(UsageError, match="is no constraint"):
        model.generate("hi", object())


def test_unknown_arguments_and_streaming_are_refused(model: OutlinesLlamaCpp) -> None:
    with pytest.raises(UsageError, match="mirostat"):
        model.generate("hi", None, mirostat=2)
    with pytest.raises(UsageError, match="does not stream"):
        model.generate_stream("hi")


def test_what_we_read_from_a_processor_is_still_there(model: OutlinesLlamaCpp) -> None:
    """`grammar` and `llg_tokenizer` are undocumented attributes of outlines' processors."""
    import llguidance
    from outlines.backends import get_json_schema_logits_processor

    processor = get_json_schema_logits_processor("llguidance", model, '{"type":"boolean"}')
    matcher = llguidance.LLMatcher(processor.llg_tokenizer, processor.grammar)
    assert not matcher.is_error()
    assert '"whitespace_flexible": false' in compact(processor.grammar)


def test_grammars_of_terms() -> None:
    assert "whitespace_flexible" in grammar_of(Order)
    assert "lark_grammar" in grammar_of(Literal["a", "b"])
    assert compact('start: "a"') == 'start: "a"'
