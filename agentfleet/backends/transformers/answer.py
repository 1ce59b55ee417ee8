"""Requests in, completions out, for one loaded model: JSON under a grammar, closed answers scored, plain text.

What is not text is held to its schema by outlines' processor, and looked at again afterwards: there is no answer
without its constraint.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, Final

from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.backends.llama_cpp.chat import Chat
from agentfleet.backends.llama_cpp.grammar import grammar_of_schema
from agentfleet.backends.options import best, close, mass, named, remembered, shares, without_input
from agentfleet.backends.transformers.weights import How, Weights, library
from agentfleet.errors import BackendError
from agentfleet.prompt import Prompt
from agentfleet.schema import Question

KEPT: Final = 256
"""Grammars, and answers to an empty input, that are kept."""

Prompts = Sequence[Sequence[int]]
Flag = Callable[[], bool]


class Answerer:
    """One loaded model; for its owner thread."""

    def __init__(self, weights: Weights, chat: Chat, name: str) -> None:
        self.weights = weights
        self.chat = chat
        self.name = name
        self._tokenizer: Any = None
        self._specs: OrderedDict[Hashable, str] = OrderedDict()
        self._empty: OrderedDict[Hashable, list[float]] = OrderedDict()

    def key(self, request: Request) -> tuple[Any, ...] | None:
        """Requests of one key can be decoded together; None: this one stands alone."""
        if request.output.kind == "closed":
            return None
        schema = "" if request.output.kind == "text" else json.dumps(request.output.schema)
        return schema, request.max_tokens, how_of(request)

    def answer(self, requests: Sequence[Request], prompts: Prompts, cancelled: Flag) -> list[Completion]:
        """The completions of requests that have one key. Raises BackendError."""
        started = time.perf_counter()
        if requests[0].output.kind == "closed":
            found = [self._closed(requests[0], list(prompts[0]))]
        else:
            found = self._written(requests, prompts, cancelled)
        return [replace(one, seconds=time.perf_counter() - started) for one in found]

    def _written(self, requests: Sequence[Request], prompts: Prompts, cancelled: Flag) -> list[Completion]:
        first = requests[0]
        spec = "" if first.output.kind == "text" else self._spec(json.dumps(first.output.schema))
        processor = self._processor(spec) if spec else None
        rows = self.weights.write(prompts, first.max_tokens, how_of(first), processor, cancelled)
        if cancelled():
            raise BackendError(f"{self.name}: the call was cancelled or the model closed")
        found = []
        for prompt, row in zip(prompts, rows, strict=True):
            whole = self._whole(spec, row.tokens) if spec else row.ended
            usage = Usage(len(prompt), len(row.tokens))
            found.append(Completion(self.weights.text(row.tokens), self.name, "stop" if whole else "length", usage))
        return found

    def _spec(self, schema: str) -> str:
        def made() -> str:
            spec = grammar_of_schema(schema)
            self._matcher(spec)
            return spec

        return remembered(self._specs, schema, made, KEPT)

    def _matcher(self, spec: str) -> Any:
        if self._tokenizer is None:
            self._tokenizer = library("llguidance.hf").from_tokenizer(
                self.weights.tokenizer, self.weights.size, eos_token=self.weights.ends
            )
        matcher = library("llguidance").LLMatcher(self._tokenizer, spec)
        if matcher.is_error():
            raise BackendError(f"llguidance cannot hold a model to this schema: {matcher.get_error()}")
        return matcher

    def _processor(self, spec: str) -> Any:
        """outlines' own processor; a fresh one a batch, since it keeps where each row stands."""
        return library("outlines.backends.llguidance").LLGuidanceLogitsProcessor(spec, self._tokenizer, "torch")

    def _whole(self, spec: str, tokens: Sequence[int]) -> bool:
        """Is this a whole answer? outlines only warns when a row leaves its grammar, so that is looked for here."""
        matcher = self._matcher(spec)
        if tokens and not matcher.consume_tokens(list(tokens)):
            raise BackendError(f"{self.name}: the answer left its grammar: {matcher.get_error()}")
        return bool(matcher.is_accepting() or matcher.is_stopped())

    def _closed(self, request: Request, prompt: list[int]) -> Completion:
        questions = request.output.questions
        if not questions:
            raise BackendError(f"{request.skill or 'a closed answer'} has no questions")
        if len(questions) > 1 or questions[0].name:
            return self._several(questions, prompt)
        options = close([self.weights.tokens(option.text, special=False) for option in questions[0].options])
        logs = self.weights.score(prompt, options)
        chances = shares(logs, self._baseline(request.prompt, options))
        return Completion(
            json.dumps(questions[0].options[best(chances)].value), self.name, usage=Usage(len(prompt), 0),
            distribution=named(questions[0], chances), option_mass=mass(logs),
        )  # fmt: skip

    def _baseline(self, prompt: Prompt, options: Sequence[Sequence[int]]) -> list[float]:
        """How the model scores the options when the input is empty: what it prefers before it has read anything."""
        tokens = self.chat.tokens(without_input(prompt).messages())
        key = (tuple(tokens), tuple(map(tuple, options)))
        return remembered(self._empty, key, lambda: self.weights.score(tokens, options), KEPT)

    def _several(self, questions: Sequence[Question], prompt: list[int]) -> Completion:
        """Closed fields one after the other, as the JSON object that examples show; the least certain one speaks."""
        written, answers, least, lowest = "{", dict[str, Any](), dict[str, float](), 1.0
        for number, question in enumerate(questions):
            written += f"{json.dumps(question.name)}:"
            end = "}" if number == len(questions) - 1 else ","
            texts = [written + json.dumps(option.value, ensure_ascii=False) + end for option in question.options]
            rows = [self.weights.tokens(text, special=False) for text in texts]
            shared = _shared(rows)
            logs = self.weights.score([*prompt, *rows[0][:shared]], close([row[shared:] for row in rows]))
            chances = shares(logs)
            at = best(chances)
            answers[question.name], written = question.options[at].value, texts[at]
            lowest = min(lowest, mass(logs))
            if not least or max(chances) < max(least.values()):
                least = {f"{question.name}: {text}": p for text, p in named(question, chances).items()}
        return Completion(
            json.dumps(answers), self.name, usage=Usage(len(prompt), 0), distribution=least, option_mass=lowest
        )


def how_of(request: Request) -> How:
    """The sampling that a request asks for."""
    given = {name: request.params[name] for name in ("top_p", "top_k", "seed") if name in request.params}
    return How(request.temperature, **given)


def _shared(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with, leaving each at least one."""
    size = min(map(len, rows)) - 1
    return next((at for at in range(size) if len({row[at] for row in rows}) > 1), size)
