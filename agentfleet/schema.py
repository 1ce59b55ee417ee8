"""From a Python type to what a model is held to: JSON Schema with bounds, closed options, strict parsing, codecs.

The markers that types may carry stand here too. Floor 0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from types import NoneType
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import SchemaError as BadCoreSchema

from agentfleet.closed import Option, Question, closed_schema, questions_of, read_closed
from agentfleet.decoding import bounded
from agentfleet.errors import SchemaError
from agentfleet.markers import ABSTAINED, Abstain, ByReference, Verbatim, members

__all__ = [
    "ABSTAINED",
    "Abstain",
    "ByReference",
    "Codec",
    "Invalid",
    "Option",
    "Output",
    "Question",
    "Verbatim",
    "codec",
    "output_of",
    "strict_json",
]

_PLAIN = (str, int, float, bool, NoneType)
_WRITERS: Mapping[type, Callable[[Any], str]] = {
    str: encode_basestring_ascii,
    int: int.__repr__,
    float: json.dumps,
    bool: lambda value: "true" if value else "false",
    NoneType: lambda value: "null",
}
"""JSON of plain values without the way through `json.dumps`, which takes ten times as long."""


class Invalid(ValueError):
    """A model's answer does not fit; the message is short and fit to be shown to the model."""


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation, config=ConfigDict(ser_json_inf_nan="constants"))
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":  # a model or dataclass has a config of its own
            raise
    return TypeAdapter(annotation)


class Codec:
    """Writes, reads and checks values of one type. `dump` gives JSON text; `load` and `check` raise ValidationError."""

    __slots__ = ("_plain", "adapter", "annotation")

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self.adapter = _adapter(annotation)
        self._plain = any(annotation is kind for kind in _PLAIN)

    def dump(self, value: Any) -> str:
        """JSON text of a value. Lone surrogates are kept as escapes and NaN as NaN, so that `load` gives it back."""
        if self._plain:
            write = _WRITERS.get(type(value))
            if write is not None:
                return write(value)
        try:
            text = self.adapter.dump_json(value, warnings="none").decode()
        except ValueError:  # a lone surrogate
            text = "null"
        # pydantic writes NaN and infinity as null, which would not come back: look closer where a null stands
        return json.dumps(self.adapter.dump_python(value, mode="json", warnings="none")) if "null" in text else text

    def load(self, text: str) -> Any:
        """The value that a JSON text stands for."""
        try:
            return self.adapter.validate_json(text)
        except ValidationError as error:
            if "\\ud" not in text or error.errors(include_url=False, include_input=False)[0]["type"] != "json_invalid":
                raise
        return self.adapter.validate_python(json.loads(text))  # lone surrogates, which strict JSON does not know

    def check(self, value: Any) -> Any:
        """The value, validated and converted where pydantic converts."""
        if self._plain and type(value) is self.annotation:
            return value
        return self.adapter.validate_python(value)


@lru_cache(maxsize=4096)
def _cached_codec(annotation: Any) -> Codec:
    return Codec(annotation)


def codec(annotation: Any) -> Codec:
    """The codec of a type, cached. Raises SchemaError for types that pydantic cannot write as JSON, or cannot bear."""
    try:
        return _cached_codec(annotation)
    except TypeError:  # an annotation that cannot be hashed
        return Codec(annotation)
    except RecursionError:
        raise SchemaError("a type is nested too deeply to be read; flatten it") from None
    except BadCoreSchema as error:  # a pattern that is too heavy, for one
        raise SchemaError(f"{annotation!r} cannot be checked: {' '.join(str(error).split())}") from None
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise SchemaError(f"{annotation!r} cannot be recorded as JSON: {str(error).splitlines()[0]}") from None


@dataclass(frozen=True)
class Output:
    """What a model must return. `kind`: closed (options), text, or json. `schema`: for decoding, bounded and closed.

    `questions`: those of a closed answer, one a field, one without a name for a single answer. `parser`: replaces
    pydantic's validation of decoded JSON (plans). `wide`: a schema in fewer kinds of words that allows more, for hosts
    that do not take the full one.
    """

    kind: Literal["closed", "text", "json"]
    type: Any
    schema: Mapping[str, Any]
    questions: tuple[Question, ...] = ()
    parser: Callable[[Any], Any] | None = None
    wide: Mapping[str, Any] | None = None

    def parse(self, text: str) -> Any:
        """The value a model's raw text stands for, or `ABSTAINED`. Raises Invalid."""
        if self.kind == "text":
            return self._text(text.strip())
        if self.kind == "closed":
            try:
                return self._validated(read_closed(self.questions, text))
            except ValueError as error:
                raise Invalid(str(error)) from None
        data = strict_json(text)
        return ABSTAINED if self._declines(data) else self._validated(data)

    def dump(self, value: Any) -> str:
        """JSON text of a value."""
        return codec(self.type).dump(value)

    def _text(self, text: str) -> Any:
        if not text:
            raise Invalid("the answer is empty; write the text that was asked for")
        if text.startswith("{") and Abstain in members(self.type):
            try:
                if self._declines(json.loads(text)):
                    return ABSTAINED
            except (ValueError, RecursionError):  # text that happens to begin with a bracket
                pass
        return text if self.type is str else self._validated(text)

    def _declines(self, data: Any) -> bool:
        return bool(data == {"abstain": True}) and Abstain in members(self.type)

    def _validated(self, data: Any) -> Any:
        try:
            if self.parser is not None:
                return self.parser(data)
            return codec(self.type).adapter.validate_json(json.dumps(data))
        except ValidationError as error:
            raise Invalid(problems(error)) from None
        except ValueError as error:
            raise Invalid(str(error)) from None


def problems(error: ValidationError) -> str:
    """One line a field: its path and what is wrong, without pydantic's links."""
    lines = []
    for item in error.errors(include_url=False, include_context=False, include_input=False)[:8]:
        place = ".".join(str(part) for part in item["loc"])
        lines.append(f"{place}: {item['msg']}" if place else str(item["msg"]))
    return "\n".join(lines)


def strict_json(text: str) -> Any:
    """JSON without duplicate keys, NaN or trailing text. Raises Invalid."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise Invalid("the answer is nested too deeply") from None
    except Invalid:
        raise
    except ValueError as error:
        raise Invalid(f"not valid JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(k for i, (k, _) in enumerate(pairs) if k in {q for q, _ in pairs[:i]})
        raise Invalid(f"the key {twice!r} stands twice in one object")
    return found


def _no_constant(name: str) -> float:
    raise Invalid(f"{name} is not JSON; write a number or null")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Invalid(f"{text} is too large a number")
    return number


def output_of(annotation: Any, *, where: str, closed: bool = False) -> Output:
    """What a skill's return annotation asks of a model. `where` names the skill in errors.

    `closed`: the answer must be one of options (classify). Raises SchemaError.
    """
    if closed:
        questions = questions_of(annotation, where)
        return Output("closed", annotation, closed_schema(questions), questions)
    try:
        schema = bounded(codec(annotation).adapter.json_schema(mode="validation"), where)
    except SchemaError as error:
        raise SchemaError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None
    except PydanticUserError as error:
        raise SchemaError(f"{where}: {annotation!r} has no JSON Schema: {str(error).splitlines()[0]}") from None
    if [m for m in members(annotation) if m is not Abstain] == [str] and not {"pattern", "format"} & set(schema):
        return Output("text", annotation, {"type": "string"})
    return Output("json", annotation, schema)
