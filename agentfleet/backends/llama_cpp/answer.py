"""One model, loaded: a request goes in, a completion comes out. Everything here runs on the model's owner thread.

Closed answers are scored, JSON is decoded under a grammar, text is decoded freely: what is not text has a constraint.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from agentfleet.backends.backend import Completion, Request, Usage
from agentfleet.backends.llama_cpp import decode as decoding
from agentfleet.backends.llama_cpp import score as scoring
from agentfleet.backends.llama_cpp.chat import Chat
from agentfleet.backends.llama_cpp.decode import Cache, Free, Rule, Sampling
from agentfleet.backends.llama_cpp.grammar import Grammars
from agentfleet.backends.llama_cpp.native import Context, Weights
from agentfleet.errors import BackendError
from agentfleet.prompt import Block, Prompt
from agentfleet.schema import Question

SPARE: Final = 256
"""Tokens of cache beyond the context, for the options of a closed answer."""
BASELINES: Final = 128
"""Answers to an empty input that are kept."""

Flag = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Text:
    """What a plain decode gave: the text, why it ended, what it cost in tokens."""

    text: str
    finish: Literal["stop", "length"]
    usage: Usage


class Answerer:
    """The parts of one loaded model that only its owner thread may touch."""

    def __init__(self, weights: Weights, chat: Chat, name: str, context: int, threads: int) -> None:
        self.weights = weights
        self.chat = chat
        self.name = name
        self.context = Context(weights, context + SPARE, threads)
        self.cache = Cache(self.context)
        self.grammars = Grammars(weights)
        self._baselines: OrderedDict[tuple[Any, ...], tuple[float, ...]] = OrderedDict()

    def answer(self, request: Request, prompt: Sequence[int], cancelled: Flag) -> Completion:
        """The completion of a request whose prompt is tokenized. Raises BackendError or Cancelled."""
        started = time.perf_counter()
        if request.output.kind == "closed":
            found = self._closed(request, prompt, cancelled)
        else:
            plain = request.output.kind == "text"
            rule = Free(self.weights) if plain else self.grammars.of_schema(request.output.schema)
            how = Sampling.of(request.temperature, request.params)
            text = self.write(prompt, rule, request.max_tokens, how, cancelled)
            found = Completion(text.text, self.name, text.finish, text.usage)
            if not plain and text.finish == "stop":
                decoding.whole_json(text.text)
        return replace(found, seconds=time.perf_counter() - started)

    def write(self, prompt: Sequence[int], rule: Rule, limit: int, how: Sampling, cancelled: Flag) -> Text:
        """Decode under a rule."""
        written = decoding.decode(self.cache, prompt, rule, limit, how, cancelled)
        usage = Usage(len(prompt), len(written.tokens), written.cached)
        text = decoding.text_of(self.weights, written)
        return Text(text, "stop" if written.finish == "stop" else "length", usage)

    def _closed(self, request: Request, prompt: Sequence[int], cancelled: Flag) -> Completion:
        questions = request.output.questions
        if not questions:
            raise BackendError(f"{request.skill or 'a closed answer'} has no questions")
        if len(questions) > 1 or questions[0].name:
            return self._several(questions, prompt, cancelled)
        tokens = [self.weights.tokens(option.text, special=False) for option in questions[0].options]
        options = scoring.close(tokens)
        empty = self._baseline(request.prompt, options, cancelled)
        scores = scoring.score(self.cache, prompt, options, cancelled)
        chances = scoring.shares(scores.logs, empty)
        best = _best(chances)
        return Completion(
            json.dumps(questions[0].options[best].value),
            self.name,
            usage=Usage(len(prompt), 0, scores.cached),
            distribution=_named(questions[0], chances),
            option_mass=scores.mass,
        )

    def _baseline(self, prompt: Prompt, options: Sequence[Sequence[int]], cancelled: Flag) -> tuple[float, ...]:
        """How the model scores the options when the input is empty: what it prefers before it has read anything."""
        empty = replace(prompt, blocks=tuple(Block(block.name, "") for block in prompt.blocks), notes=())
        tokens = self.chat.tokens(empty.messages())
        key = (tuple(tokens), tuple(map(tuple, options)))
        found = self._baselines.get(key)
        if found is None:
            found = self._baselines[key] = scoring.score(self.cache, tokens, options, cancelled).logs
            if len(self._baselines) > BASELINES:
                self._baselines.popitem(last=False)
        self._baselines.move_to_end(key)
        return found

    def _several(self, questions: Sequence[Question], prompt: Sequence[int], cancelled: Flag) -> Completion:
        """Several closed fields, one after the other, as the members of the JSON object that examples show.

        The distribution is that of the least certain field, so that its maximum is the certainty of the whole.
        """
        written = "{"
        answers: dict[str, Any] = {}
        least: dict[str, float] = {}
        mass = 1.0
        cached = None
        for number, question in enumerate(questions):
            written += f"{json.dumps(question.name)}:"
            close = "}" if number == len(questions) - 1 else ","
            texts = [written + json.dumps(option.value, ensure_ascii=False) + close for option in question.options]
            rows = [self.weights.tokens(text, special=False) for text in texts]
            shared = decoding.common(min(rows, key=len), _meet(rows), min(map(len, rows)) - 1)
            options = scoring.close([row[shared:] for row in rows])
            scores = scoring.score(self.cache, [*prompt, *rows[0][:shared]], options, cancelled)
            chances = scoring.shares(scores.logs)
            best = _best(chances)
            answers[question.name], written = question.options[best].value, texts[best]
            cached = scores.cached if cached is None else cached
            mass = min(mass, scores.mass)
            if not least or max(chances) < max(least.values()):
                least = {f"{question.name}: {text}": p for text, p in _named(question, chances).items()}
        usage = Usage(len(prompt), 0, min(cached or 0, len(prompt)))
        return Completion(json.dumps(answers), self.name, usage=usage, distribution=least, option_mass=mass)

    def free(self) -> None:
        """Give the memory of the context back."""
        self.context.free()


def _meet(rows: Sequence[Sequence[int]]) -> list[int]:
    """The tokens with which all rows begin."""
    shortest = min(rows, key=len)
    size = min(decoding.common(shortest, row, len(shortest)) for row in rows)
    return list(shortest[:size])


def _best(chances: Sequence[float]) -> int:
    return max(range(len(chances)), key=lambda index: chances[index])


def _named(question: Question, chances: Sequence[float]) -> dict[str, float]:
    return {option.text: chance for option, chance in zip(question.options, chances, strict=True)}
