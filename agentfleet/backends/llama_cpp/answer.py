"""One model, loaded: a request goes in, a completion comes out. Everything here runs on the model's owner thread.

Closed answers are scored, JSON is decoded under a grammar, text is decoded freely: what is not text has a constraint.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from agentfleet.backends import options
from agentfleet.backends.backend import Completion, Request, Usage, least_certain
from agentfleet.backends.llama_cpp import decode as decoding
from agentfleet.backends.llama_cpp import score as scoring
from agentfleet.backends.llama_cpp.cache import CHUNK, LEAST, Cache, common
from agentfleet.backends.llama_cpp.chat import Chat
from agentfleet.backends.llama_cpp.decode import Free, Rule, Sampling, Tell, Writer, Written
from agentfleet.backends.llama_cpp.fields import field_shares
from agentfleet.backends.llama_cpp.grammar import Constraint, Grammars
from agentfleet.backends.llama_cpp.letters import Read, read_letters, readout_of
from agentfleet.backends.llama_cpp.native import Context, Weights
from agentfleet.backends.llama_cpp.score import Asked
from agentfleet.backends.options import remembered, without_input
from agentfleet.errors import BackendError
from agentfleet.prompt import Message, Prompt
from agentfleet.schema import Question

SPARE: Final = 256
"""Tokens of cache beyond the context, for the options of a closed answer."""
REMEMBERED: Final = 128
"""Skills of which the start of the prompt, the options' tokens and the answer to an empty input are kept."""

Flag = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class LocalCompletion(Completion):
    """A completion that says how sure the model was of each field.

    `fields`: field → share of its value, for JSON, if the request's params have ``"field_shares": True``.
    `distributions`: field → option → share, for several closed fields.
    """

    fields: Mapping[str, float] | None = None
    distributions: Mapping[str, Mapping[str, float]] | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """What a decode gave: the text, why it ended, what it cost in tokens; the share of each field of whole JSON."""

    text: str
    finish: Literal["stop", "length"]
    usage: Usage
    fields: Mapping[str, float] | None = None


class Answerer:
    """The parts of one loaded model that only its owner thread may touch.

    `prefixes`: bytes for starts of prompts. `batch`: tokens of a prompt in one evaluation.
    """

    def __init__(
        self,
        weights: Weights,
        chat: Chat,
        name: str,
        context: int,
        threads: int,
        prefixes: int = 0,
        batch: int = CHUNK,
    ) -> None:
        self.weights = weights
        self.chat = chat
        self.name = name
        self.context = Context(weights, context + SPARE, threads)
        self.cache = Cache(self.context, prefixes, batch)
        self.grammars = Grammars(weights)
        self._empty: OrderedDict[Hashable, list[int]] = OrderedDict()
        self._asked: OrderedDict[Hashable, tuple[Asked, ...]] = OrderedDict()
        self._baselines: OrderedDict[Hashable, list[tuple[float, ...]]] = OrderedDict()

    def answer(self, request: Request, prompt: Sequence[int], cancelled: Flag) -> Completion:
        """The completion of a request whose prompt is tokenized. Raises BackendError or Cancelled."""
        started = time.perf_counter()
        pinned = self.pinned(request, prompt)
        if request.output.kind == "closed":
            found = self._closed(request, prompt, cancelled, pinned)
        else:
            found = self._written(request, prompt, cancelled, pinned)
        return replace(found, seconds=time.perf_counter() - started)

    def _written(self, request: Request, prompt: Sequence[int], cancelled: Flag, pinned: int) -> Completion:
        writer = self.writer(request)
        decoding.decode(self.cache, prompt, writer, cancelled, pinned)
        return self.completion(request, prompt, writer)

    def writer(self, request: Request) -> Writer:
        """What writes the answer to a request for text or JSON. Raises BackendError for a schema that cannot be held."""
        plain = request.output.kind == "text"
        rule = Free(self.weights) if plain else self.grammars.of_schema(request.output.schema)
        how = Sampling.of(request.temperature, request.params)
        return Writer(rule, request.max_tokens, how, self.context.scratch, self._tell(request))

    def _tell(self, request: Request) -> Tell | None:
        listen = request.listen
        if listen is None:
            return None
        return lambda tokens: listen(decoding.text_so_far(self.weights, tokens))

    def completion(self, request: Request, prompt: Sequence[int], writer: Writer) -> Completion:
        """What a writer that is over has written. Raises BackendError when its constraint was lost."""
        text = self._text(prompt, writer)
        if request.output.kind != "text" and text.finish == "stop":
            decoding.whole_json(text.text)
        return LocalCompletion(text.text, self.name, text.finish, text.usage, fields=text.fields)

    def write(self, prompt: Sequence[int], rule: Rule, limit: int, how: Sampling, cancelled: Flag) -> Text:
        """Decode under a rule."""
        writer = Writer(rule, limit, how, self.context.scratch)
        decoding.decode(self.cache, prompt, writer, cancelled)
        return self._text(prompt, writer)

    def _text(self, prompt: Sequence[int], writer: Writer) -> Text:
        written = writer.written
        usage = Usage(len(prompt), len(written.tokens), written.cached)
        text = decoding.text_of(self.weights, written)
        if writer.how.shares and isinstance(writer.rule, Constraint) and written.finish == "stop":
            return Text(text, "stop", usage, self._shares(text, written))
        return Text(text, "stop" if written.finish == "stop" else "length", usage)

    def _shares(self, text: str, written: Written) -> Mapping[str, float] | None:
        pieces = [self.weights.piece(token) for token in written.tokens]
        try:
            return field_shares(text, pieces, written.logs)
        except ValueError:  # a grammar of another kind than JSON
            return None

    def pinned(self, request: Request, prompt: Sequence[int]) -> int:
        """Tokens at the start of a prompt that are the same for every input of its skill."""
        return common(self._start(request.prompt), prompt, len(prompt) - LEAST)

    def _start(self, prompt: Prompt) -> list[int]:
        """The tokens of a skill's prompt without anything to read; what it shares with others belongs to the skill."""
        empty = without_input(prompt)
        return remembered(self._empty, empty, lambda: self.chat.tokens(empty.messages()), REMEMBERED)

    def _closed(self, request: Request, prompt: Sequence[int], cancelled: Flag, pinned: int) -> Completion:
        questions = request.output.questions
        if not questions:
            raise BackendError(f"{request.skill or 'a closed answer'} has no questions")
        if readout_of(request.params.get("readout")) == "letters":
            found = read_letters(self.cache, self._tokens, request.prompt, questions, cancelled, pinned)
        else:
            found = self._scored(request.prompt, prompt, questions, cancelled, pinned)
        shares = [read.shares for read in found]
        best = [question.options[options.best(share)] for question, share in zip(questions, shares, strict=True)]
        named = {q.name: options.named(q, share) for q, share in zip(questions, shares, strict=True)}
        single = len(questions) == 1 and not questions[0].name
        value = best[0].value if single else {q.name: o.value for q, o in zip(questions, best, strict=True)}
        return LocalCompletion(
            json.dumps(value),
            self.name,
            usage=Usage(len(prompt), 0, found[0].cached),
            distribution=named[""] if single else least_certain(named),
            option_mass=min(read.mass for read in found),
            distributions=None if single else named,
        )

    def _scored(
        self, prompt: Prompt, tokens: Sequence[int], questions: tuple[Question, ...], cancelled: Flag, pinned: int
    ) -> list[Read]:
        """By the options' own tokens, less what the model prefers when there is nothing to read."""
        asked = remembered(self._asked, questions, lambda: self._tokenized(questions), REMEMBERED)
        empty = self._baseline(prompt, questions, asked, cancelled, pinned)
        scores = scoring.score(self.cache, tokens, asked, cancelled, pinned)
        return [
            Read(options.shares(found.logs, base), found.mass, found.cached)
            for found, base in zip(scores, empty, strict=True)
        ]

    def _tokens(self, text: str | list[Message]) -> list[int]:
        return self.weights.tokens(text, special=False) if isinstance(text, str) else self.chat.tokens(text)

    def _tokenized(self, questions: Sequence[Question]) -> tuple[Asked, ...]:
        """A single answer is the option's bare text; a field stands as in the JSON object that examples show."""
        if len(questions) == 1 and not questions[0].name:
            texts = [option.text for option in questions[0].options]
            return (Asked((), options.close([self.weights.tokens(text, special=False) for text in texts])),)
        last = questions[-1]
        return tuple(self._field(question, "}" if question is last else ",") for question in questions)

    def _field(self, question: Question, end: str) -> Asked:
        start = f"{{{json.dumps(question.name)}:"
        values = [json.dumps(option.value, ensure_ascii=False) for option in question.options]
        rows = [self.weights.tokens(f"{start}{value}{end}", special=False) for value in values]
        shared = min(common(rows[0], row, min(len(rows[0]), len(row)) - 1) for row in rows)
        return Asked(rows[0][:shared], options.close([_told_apart(row[shared:], rows, shared) for row in rows]))

    def _baseline(
        self, prompt: Prompt, questions: Hashable, asked: Sequence[Asked], cancelled: Flag, pinned: int
    ) -> list[tuple[float, ...]]:
        """How the model scores the options when the input is empty: what it prefers before it has read anything."""

        def scored() -> list[tuple[float, ...]]:
            found = scoring.score(self.cache, self._start(prompt), asked, cancelled, pinned)
            return [scores.logs for scores in found]

        return remembered(self._baselines, (without_input(prompt), questions), scored, REMEMBERED)

    def free(self) -> None:
        """Give the memory of the context back."""
        self.context.free()


def _told_apart(option: list[int], rows: Sequence[Sequence[int]], shared: int) -> list[int]:
    """As many of an option's tokens as tell it from the others: what follows them is certain, or nearly so."""
    for size in range(1, len(option)):
        if sum(list(row[shared : shared + size]) == option[:size] for row in rows) == 1:
            return option[:size]
    return option
