"""What the two kinds of request may hold, as types: what does not fit is refused with the path of the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agentfleet.backends.instructed import printable
from agentfleet.closed import MAX_OPTIONS

LEVELS: Final = 10
QUESTIONS: Final = 400

_IGNORED = frozenset({"metadata", "parallel_tool_calls", "service_tier", "store", "user"})
"""Fields of a chat request that change no answer."""
_NEUTRAL: Final[Mapping[str, Any]] = {
    "frequency_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "n": 1,
    "presence_penalty": 0,
    "stop": [],
    "tools": [],
}
"""Fields that are not served, and the value with which they ask for nothing."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Part(_Strict):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class Turn(_Strict):
    """One message. The texts of its parts are joined."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]
    name: str | None = None
    refusal: None = None

    @property
    def text(self) -> str:
        """Its words, fit to be encoded."""
        return printable(self.content if isinstance(self.content, str) else "".join(p.text for p in self.content))


class SchemaFormat(_Strict):
    """The schema of ``response_format``."""

    name: str = ""
    description: str | None = None
    body: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class TextForm(_Strict):
    """Plain text."""

    type: Literal["text"]


class ObjectForm(_Strict):
    """Any JSON object."""

    type: Literal["json_object"]


class SchemaForm(_Strict):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: SchemaFormat


Form: TypeAlias = Annotated[TextForm | ObjectForm | SchemaForm, Field(discriminator="type")]


class StreamOptions(_Strict):
    """What a stream holds besides the text."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatBody(_Strict):
    """The body of ``POST /v1/chat/completions``. Without a temperature the likeliest token is taken."""

    model: str
    messages: list[Turn] = Field(min_length=1, max_length=10_000)
    response_format: Form = TextForm(type="text")
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=0.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = Field(default=None, ge=0)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()

    @model_validator(mode="before")
    @classmethod
    def _without_what_asks_for_nothing(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {
            key: value
            for key, value in data.items()
            if value is not None and key not in _IGNORED and not (key in _NEUTRAL and value == _NEUTRAL[key])
        }

    @property
    def limit(self) -> int | None:
        """Tokens of the answer at most, as asked for."""
        return self.max_completion_tokens or self.max_tokens


Content: TypeAlias = str | dict[str, Any] | list[Any]
"""Text, or JSON that is shown as it stands."""


class NoulCriteria(_Strict):
    """What yes and no mean."""

    yes: Content | None = Field(default=None, alias="true")
    no: Content | None = Field(default=None, alias="false")


class NoulQuestion(_Strict):
    """A question of yes or no."""

    type: Literal["noul"]
    instructions: Content | None = None
    criteria: NoulCriteria | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> NoulQuestion:
        if self.instructions is None and self.criteria is None:
            raise ValueError("give instructions, criteria or both")
        return self


class ChoiceQuestion(_Strict):
    """One of several labels; null where a label needs no description."""

    type: Literal["choice"]
    instructions: Content | None = None
    criteria: dict[Annotated[str, Field(min_length=1)], Content | None] = Field(min_length=1, max_length=MAX_OPTIONS)


class ScoreQuestion(_Strict):
    """One of several levels in order, from 0."""

    type: Literal["score"]
    instructions: Content | None = None
    criteria: list[Content] = Field(min_length=2, max_length=LEVELS)


Asked: TypeAlias = Annotated[NoulQuestion | ChoiceQuestion | ScoreQuestion, Field(discriminator="type")]


class DecideBody(_Strict):
    """The body of ``POST /v1/systemone``."""

    model: str
    state: Content
    questions: dict[Annotated[str, Field(min_length=1)], Asked] = Field(min_length=1, max_length=QUESTIONS)


def words(content: Content | None) -> str:
    """The text of a content, fit to be encoded."""
    if content is None:
        return ""
    return printable(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))
