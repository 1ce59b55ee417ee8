"""Our decode loop as a model of `outlines`, for those who know outlines' own interface.

``outlines.Generator(OutlinesLlamaCpp(LlamaCpp(...)), Order, backend="llguidance")`` keeps prompts cached, evaluates
forced tokens together and never decodes without its constraint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

from agentfleet.backends.llama_cpp.answer import Answerer
from agentfleet.backends.llama_cpp.decode import Free, Sampling
from agentfleet.backends.llama_cpp.engine import LlamaCpp
from agentfleet.backends.llama_cpp.grammar import compact
from agentfleet.backends.llama_cpp.native import library
from agentfleet.errors import UsageError
from agentfleet.prompt import Message

_outlines: Any = library("outlines.models.llamacpp")

MAX_TOKENS = 512
"""Tokens of an answer, unless ``max_tokens=`` is given."""


class OutlinesLlamaCpp(_outlines.LlamaCpp):  # type: ignore[misc]
    """An outlines model over one of our engines. `engine` stays the caller's to close.

    Generators take ``backend="llguidance"``; other backends raise UsageError. Keyword arguments of a call:
    max_tokens, temperature, seed, top_p, top_k. With no output type the answer is plain text.
    """

    def __init__(self, engine: LlamaCpp) -> None:
        self.engine = engine
        self.model = SimpleNamespace(model=engine.weights.pointer)  # where outlines looks for the vocabulary
        self.type_adapter = _outlines.LlamaCppTypeAdapter(has_chat_template=True)

    @property
    def tokenizer(self) -> NoReturn:
        """Other backends of outlines ask for it, and would decode without a constraint where their parts are missing."""
        raise UsageError(
            'this model decodes under llguidance: write outlines.Generator(model, T, backend="llguidance")'
        )

    def generate(self, model_input: Any, output_type: Any = None, **inference_kwargs: Any) -> str:
        """The answer to one prompt (a str or an outlines Chat). Blocks."""
        return str(self.engine.call(*self._request(model_input, output_type, inference_kwargs)))

    def generate_batch(self, model_input: Sequence[Any], output_type: Any = None, **inference_kwargs: Any) -> list[str]:
        """The answers to several prompts, in their order; they share the start of the prompt in the cache."""
        return [self.generate(one, output_type, **inference_kwargs) for one in model_input]

    def generate_stream(self, model_input: Any, output_type: Any = None, **inference_kwargs: Any) -> Iterator[str]:
        """Not offered: an answer is handed out when it is whole."""
        raise UsageError("this model does not stream; call the generator instead of .stream")

    def _request(self, model_input: Any, output_type: Any, options: dict[str, Any]) -> tuple[list[Message], int, Any]:
        spec = None if output_type is None else _grammar(output_type)
        limit = int(options.pop("max_tokens", None) or MAX_TOKENS)
        how = Sampling.of(float(options.pop("temperature", 0.0)), options)
        unknown = sorted(set(options) - {"seed", "top_p", "top_k"})
        if unknown:
            raise UsageError(f"unknown: {', '.join(unknown)}; a call takes max_tokens, temperature, seed, top_p, top_k")

        def work(model: Answerer, prompt: list[int], cancelled: Callable[[], bool]) -> str:
            rule = Free(model.weights) if spec is None else model.grammars.constraint(spec)
            return model.write(prompt, rule, limit, how, cancelled).text

        return self._messages(model_input), limit, work

    def _messages(self, model_input: Any) -> list[Message]:
        turns = self.type_adapter.format_input(model_input)
        return [Message(turn["role"], turn["content"]) for turn in turns]


def _grammar(processor: Any) -> str:
    """The grammar of an outlines processor of the llguidance backend. Raises UsageError for any other."""
    grammar = getattr(processor, "grammar", None)
    if not isinstance(grammar, str) or not hasattr(processor, "llg_tokenizer"):
        raise UsageError(
            f'{type(processor).__name__} is no constraint that this model can hold to: use backend="llguidance"'
        )
    return compact(grammar)
