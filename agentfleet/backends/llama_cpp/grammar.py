"""From an outlines term to a matcher of llguidance: which tokens may come next.

A grammar that cannot be built is an error; there is no way from here to an answer without a constraint.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from agentfleet.backends.llama_cpp.copied import COMPACT, Inexpressible, holds_copies, lark_of, without_copies
from agentfleet.backends.llama_cpp.native import Logits, Weights, library
from agentfleet.backends.llama_cpp.numbers import bound_numbers
from agentfleet.backends.llama_cpp.one_of import exclusive
from agentfleet.errors import BackendError

KEPT: Final = 256
"""Compiled grammars kept per model (about 60 kB each)."""
DEEPEST: Final = 100
"""Levels of brackets in a schema."""
LARGEST: Final = 10_000
"""Values in a schema: one of that size takes a second or two to compile."""
LEXER_FUEL: Final = 1_000_000
GRAMMAR_SYMBOLS: Final = 500_000
LEXER_STATES: Final = 100_000
"""Bounds of llguidance: work to build the lexer, size of the grammar, states (some 2 kB each) while decoding."""


class Unfit(BackendError):
    """A schema that is none, or none that a model can be held to: what is wrong is the request."""


class Grammars:
    """Compiled grammars of one model, by their text. One owner thread."""

    def __init__(self, weights: Weights) -> None:
        self._llguidance = library("llguidance")
        self._weights = weights
        self._tokenizer: Any = None
        self._limits = self._llguidance.LLParserLimits(
            initial_lexer_fuel=LEXER_FUEL,
            max_grammar_size=GRAMMAR_SYMBOLS,
            max_lexer_states=LEXER_STATES,
            verbose_errors=False,
        )
        self._compiled: OrderedDict[str, Any] = OrderedDict()
        self._schemas: OrderedDict[str, str] = OrderedDict()

    def of_schema(self, schema: Mapping[str, Any]) -> Constraint:
        """A fresh constraint for a JSON Schema. Raises BackendError when it is none, or none that can be held to."""
        check_size(schema)
        text = json.dumps(schema)
        if holds_copies(schema):  # with a text in it: large, and of use for no other input
            return Constraint(self._compile(grammar_of_schema(text)), self._weights)
        spec = self._schemas.get(text)
        if spec is None:
            spec = self._schemas[text] = grammar_of_schema(text)
            if len(self._schemas) > KEPT:
                self._schemas.popitem(last=False)
        self._schemas.move_to_end(text)
        return self.constraint(spec)

    def constraint(self, spec: str) -> Constraint:
        """A fresh constraint for a grammar. Raises BackendError when llguidance cannot hold a model to it."""
        found = self._compiled.get(spec)
        if found is None:
            found = self._compiled[spec] = self._compile(spec)
            if len(self._compiled) > KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(spec)
        return Constraint(found.deep_copy(), self._weights)

    def _compile(self, spec: str) -> Any:
        if self._tokenizer is None:  # ~150 ms, so only where a grammar is used; keeps a pointer into the weights
            self._tokenizer = self._weights.grammar_tokenizer()
        matcher = self._llguidance.LLMatcher(self._tokenizer, spec, log_level=0, limits=self._limits)
        if not matcher.is_error() and _is_barren(matcher.deep_copy()):
            raise Unfit("no answer at all fits this schema: does it refer to nothing but itself?")
        if matcher.is_error():
            raise Unfit(f"llguidance cannot hold a model to this schema: {_first_line(matcher.get_error())}")
        return matcher


class Constraint:
    """Where the answer stands in its grammar. Raises BackendError as soon as the constraint does not hold.

    `done`: nothing can follow; known once `forced` was asked. What a token passes through is kept short here: after each
    evaluation of the model nothing of this code is left in the processor's caches.
    """

    def __init__(self, matcher: Any, weights: Weights) -> None:
        self.done = False
        self._matcher = matcher
        self._try, self._forced, self._stopped = (
            matcher.try_consume_tokens,
            matcher.compute_ff_tokens,
            matcher.is_stopped,
        )
        self._mask = np.zeros((weights.size + 31) // 32, dtype=np.int32)
        self._size = weights.size

    @property
    def complete(self) -> bool:
        """What was written so far is a whole answer."""
        return bool(self._matcher.is_accepting()) or str(self._matcher.stop_reason()) in _WHOLE

    def forced(self) -> list[int]:
        """The tokens that must come next, taken already."""
        tokens: list[int] = self._forced()
        if tokens and not self._matcher.consume_tokens(tokens):
            raise BackendError(f"the grammar refused its own tokens: {self._matcher.get_error()}")
        self.done = self._stopped()
        return tokens

    def pick(self, logits: Logits) -> int:
        """Write the likeliest token that may come next. (Only once what is forced was taken.)

        The mask costs more than to try the likeliest of all tokens, which mostly may.
        """
        best = int(logits.argmax())
        if self._try([best]) == 1:
            return best
        best = int(self.masked(logits).argmax())
        self.take(best)
        return best

    def masked(self, logits: Logits) -> Logits:
        """A copy of the logits in which what may not come next is minus infinity."""
        mask = self._mask
        self._matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        allowed = np.unpackbits(mask.view(np.uint8), count=self._size, bitorder="little")
        if not allowed.any():
            raise BackendError(f"the grammar allows no token here: {self._matcher.get_error()}")
        return np.where(allowed, logits, np.float32("-inf"))

    def take(self, token: int) -> None:
        """Write a token. Raises BackendError when the grammar does not allow it."""
        if not self._matcher.consume_token(token):
            raise BackendError(f"the answer left its grammar at token {token}: {self._matcher.get_error()}")


_WHOLE = frozenset({"NoExtension", "NoExtensionBias", "EndOfSentence"})


def grammar_of(output_type: Any) -> str:
    """llguidance's grammar of a Python type or an outlines term: JsonSchema, CFG, Regex, Choice …"""
    dsl = library("outlines.types.dsl")
    llguidance = library("llguidance")
    term = dsl.python_types_to_terms(output_type)
    if isinstance(term, dsl.JsonSchema):
        return str(llguidance.LLMatcher.grammar_from_json_schema(term.schema, defaults=COMPACT))
    if isinstance(term, dsl.CFG):
        return str(llguidance.grammar_from("lark", term.definition))
    return str(llguidance.grammar_from("regex", dsl.to_regex(term)))


def _is_barren(matcher: Any) -> bool:
    """Does it come to its end before anything was written, or go on without end?"""
    tokens = matcher.compute_ff_tokens()
    if tokens:
        return not matcher.consume_tokens(tokens)
    matcher.compute_bitmask()
    return bool(matcher.is_stopped())


def check_size(schema: Any) -> None:
    """Raises BackendError for a schema that is too deep or too large to be compiled in a bounded time."""
    parts, level = 1, [schema]
    for _ in range(DEEPEST):
        level = [part for whole in level for part in _parts(whole)]
        parts += len(level)
        if not level:
            return
        if parts > LARGEST:
            raise Unfit(f"the schema has more than {LARGEST} values, which a model cannot be held to: split it")
    raise Unfit(f"the schema nests more than {DEEPEST} levels, which a model cannot be held to: flatten it")


def _parts(whole: Any) -> Iterable[Any]:
    if isinstance(whole, Mapping):
        return whole.values()
    return whole if isinstance(whole, (list, tuple)) else ()


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def grammar_of_schema(schema: str) -> str:
    """llguidance's grammar of a JSON Schema's text. Raises BackendError when it is none that a model can be held to."""
    matcher = library("llguidance").LLMatcher
    invalid = library("jsonschema").SchemaError
    try:
        library("outlines.types").JsonSchema(schema)  # validates it
        whole = exclusive(json.loads(schema))
        if holds_copies(whole):
            return _copying(whole)
        spec = matcher.grammar_from_json_schema(bound_numbers(whole), defaults=COMPACT)
        unfit = matcher.validate_grammar(spec)
        return str(matcher.grammar_from_json_schema(whole, defaults=COMPACT) if unfit else spec)
    except (invalid, ValueError, RecursionError, TypeError, AttributeError) as error:  # not all keywords are validated
        raise Unfit(f"this is no JSON Schema that a model can be held to: {_first_line(str(error))}") from error


def _copying(schema: Mapping[str, Any]) -> str:
    """The grammar in which strings are copied; where they cannot be held to that, that of any strings."""
    llguidance = library("llguidance")
    try:
        spec = str(llguidance.grammar_from("lark", lark_of(schema)))
    except Inexpressible:
        spec = ""
    if not spec or llguidance.LLMatcher.validate_grammar(spec):
        return grammar_of_schema(json.dumps(without_copies(schema)))
    return spec


def compact(spec: str) -> str:
    """The same grammar with no flexible whitespace and no endless number, for what outlines has built from a schema."""
    try:
        data = json.loads(spec)
        parts = [part for part in data["grammars"] if isinstance(part.get("json_schema"), dict)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return spec
    for part in parts:
        schema = bound_numbers(exclusive(part["json_schema"]))
        part["json_schema"] = {**schema, "x-guidance": {**COMPACT, **schema.get("x-guidance", {})}}
    return json.dumps(data)
