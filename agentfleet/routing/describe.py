"""Stage 1 of routing: what a request is like. Looks at the prompt and the schema; asks no model, opens nothing.

Everything is found out at first use, because most fleets have no rule that asks for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agentfleet.backends.estimate import estimate_prompt, estimate_tokens
from agentfleet.fleet.model import LOCAL, Model
from agentfleet.labels import INTERNAL, Label
from agentfleet.prompt import Prompt
from agentfleet.routing.language import language_of
from agentfleet.schema import Output

ANSWER_TOKENS = {"closed": 16, "text": 200, "json": 512}
"""Bound of an answer by kind, unless the model's entry in the fleet file says otherwise."""

LONG = 2000
WIDE = 20
QUESTIONS = 3
TABLE_LINES = THREAD_LINES = CODE_LINES = 3
NUMBERS, NUMBERS_SHARE = 6, 0.1
NESTED = 3
"""From here on a request has the signal: tokens; options; question marks; lines; numbers and their share of the words;
objects and lists inside each other."""

_STARTS = "def|class|import|from|return|function|const|let|public|private|#include|SELECT"
_CODE = re.compile(rf"^\s*(?:(?:{_STARTS})\b.*|.*[;{{}}])\s*$", re.MULTILINE)
_NUMBER = re.compile(r"\d[\d.,]*")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Features:
    """What the wanted answer looks like. `options`: of its widest choice, 0 for none. `fields`: all that it may hold.

    `depth`: objects and lists inside each other. `lists`: may it hold a list? `free`: may it hold text of any words?
    """

    kind: str
    options: int = 0
    fields: int = 0
    depth: int = 0
    lists: bool = False
    free: bool = False


class Description:
    """One request. `tokens` of the prompt are an estimate; the exact number is a matter of the model's tokenizer.

    `label`: of the data. `deadline`: seconds that are left, None for no limit.
    """

    def __init__(
        self,
        step: str,
        kind: str,
        graph: str,
        prompt: Prompt,
        output: Output,
        label: Label = INTERNAL,
        deadline: float | None = None,
    ) -> None:
        self.step, self.kind, self.graph = step, kind, graph
        self.prompt, self.output = prompt, output
        self.label, self.deadline = label, deadline

    @cached_property
    def text(self) -> str:
        """What the model reads as data."""
        return "\n".join(block.text for block in self.prompt.blocks)

    @cached_property
    def tokens(self) -> int:
        """Estimated tokens of the prompt."""
        return estimate_prompt(self.prompt)

    @cached_property
    def schema_tokens(self) -> int:
        """Estimated tokens of the schema of the answer, which a hosted model reads beside the prompt; 0 for text."""
        return 0 if self.output.kind == "text" else estimate_tokens(json.dumps(self.output.schema))

    def size(self, model: Model, tokens: int | None = None) -> int:
        """Tokens that a model reads: the prompt (`tokens`, else the estimate), for a hosted one the schema too."""
        prompt = self.tokens if tokens is None else tokens
        return prompt if model.backend in LOCAL else prompt + self.schema_tokens

    @property
    def answer_tokens(self) -> int:
        """Bound of the answer."""
        return ANSWER_TOKENS[self.output.kind]

    @property
    def modalities(self) -> tuple[str, ...]:
        """What must be read. A prompt holds text alone."""
        return ("text",)

    @cached_property
    def language(self) -> str:
        """Two letters, "" when unclear."""
        return language_of(self.text)

    @cached_property
    def features(self) -> Features:
        """Of the wanted answer."""
        return features_of(self.output)

    @cached_property
    def signals(self) -> frozenset[str]:
        """What may make it harder: the names of `agentfleet.fleet.rules.SIGNALS` that hold."""
        found = {name for name, holds in text_signals(self.text) if holds}
        found |= {name for name, holds in schema_signals(self.features) if holds}
        return frozenset(found | ({"long"} if self.tokens >= LONG else set()))

    def to_json(self) -> dict[str, Any]:
        """All of it, for a report."""
        features = self.features
        return {
            "step": self.step, "kind": self.kind, "graph": self.graph, "label": self.label.to_json(),
            "tokens": self.tokens, "tokens_are": "estimated", "answer_tokens": self.answer_tokens,
            "modalities": list(self.modalities), "language": self.language, "signals": sorted(self.signals),
            "answer": {"kind": features.kind, "options": features.options, "fields": features.fields,
                       "depth": features.depth, "lists": features.lists, "free": features.free},
            "deadline": self.deadline,
        }  # fmt: skip


def text_signals(text: str) -> Iterator[tuple[str, bool]]:
    """Each signal of a text: code, numbers, table, questions, thread (quoted mails)."""
    lines = text.splitlines()
    numbers, words = len(_NUMBER.findall(text)), len(_WORD.findall(text))
    yield "code", "```" in text or len(_CODE.findall(text)) >= CODE_LINES
    yield "numbers", numbers >= NUMBERS and numbers >= NUMBERS_SHARE * words
    yield "table", sum(max(line.count("|"), line.count("\t")) >= 2 for line in lines) >= TABLE_LINES
    yield "questions", text.count("?") + text.count("？") >= QUESTIONS
    yield "thread", sum(line.startswith(">") for line in lines) >= THREAD_LINES


def schema_signals(features: Features) -> Iterator[tuple[str, bool]]:
    """Each signal of an answer: wide (many options), nested, list."""
    yield "wide", features.options >= WIDE
    yield "nested", features.depth >= NESTED
    yield "list", features.lists


def features_of(output: Output) -> Features:
    """What an answer of this type looks like."""
    if output.kind == "text":
        return Features("text", free=True)
    if output.kind == "closed":
        widest = max((len(question.options) for question in output.questions), default=0)
        return Features("closed", options=widest, fields=len(output.questions), depth=1)
    schema = output.schema
    defs = schema.get("$defs", {})
    parts = list(_parts(schema, defs, 1, frozenset()))
    return Features(
        "json",
        options=max((len(part.get("enum", ())) for _, part in parts), default=0),
        fields=sum(len(part.get("properties", ())) for _, part in parts),
        depth=max((depth for depth, part in parts if part.get("type") in ("object", "array")), default=0),
        lists=any(part.get("type") == "array" for _, part in parts),
        free=any(part.get("type") == "string" and not {"enum", "const"} & part.keys() for _, part in parts),
    )


def _parts(
    schema: Mapping[str, Any], defs: Mapping[str, Any], depth: int, inside: frozenset[str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(depth, schema) of a schema and all within it; what holds itself is gone into once."""
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if name:
        if name not in inside and name in defs:
            yield from _parts(defs[name], defs, depth, inside | {name})
        return
    yield depth, schema
    for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from _parts(one, defs, depth, inside)
    below = [*schema.get("properties", {}).values(), *schema.get("prefixItems", ()), schema.get("items")]
    for one in below:
        if isinstance(one, Mapping):
            yield from _parts(one, defs, depth + 1, inside)
