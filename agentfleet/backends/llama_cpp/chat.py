"""From a prompt's messages to tokens, by the model's own chat template.

Only the template's own words may become control tokens; what a message says never does. So the template is rendered
with placeholders, and the contents are tokenized apart from it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NoReturn

from agentfleet.backends.llama_cpp.native import Weights, library
from agentfleet.errors import BackendError, ModelFileError
from agentfleet.prompt import Message

PLAIN: Final = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}assistant:"
"""For models without a chat template (base models)."""

_OPEN, _CLOSE = "\ue000", "\ue001"  # private use; only this file's own text is searched for them
_HOLE = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")


class _TemplateRefused(Exception):
    """The template itself called ``raise_exception``."""


class Chat:
    """The chat form of one model. Raises ModelFileError when its template is no valid template."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._template = _compile(weights.template or PLAIN)
        self._pieces: dict[tuple[str, bool], list[int]] = {}

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of the whole conversation, up to where the assistant begins to answer."""
        text, contents = self._render(messages)
        found: list[int] = []
        for index, part in enumerate(_HOLE.split(text)):
            if index % 2:
                found += self.weights.tokens(contents[int(part)], special=False)
            elif part or index == 0:
                found += self._piece(part, first=index == 0)
        return found

    def _piece(self, text: str, first: bool) -> list[int]:
        """Tokens of a piece of the template; these are few, and always the same."""
        tokens = self._pieces.get((text, first))
        if tokens is None:
            start = first and self.weights.adds_bos and not (self.weights.bos and text.startswith(self.weights.bos))
            if len(self._pieces) > 256:
                self._pieces.clear()
            tokens = self._pieces[text, first] = self.weights.tokens(text, special=True, start=start)
        return tokens

    def _render(self, messages: Sequence[Message]) -> tuple[str, list[str]]:
        """The template's text with holes, and what belongs into them."""
        for turns in (list(messages), _without_system(messages)):
            holes = [{"role": turn.role, "content": f"{_OPEN}{i}{_CLOSE}"} for i, turn in enumerate(turns)]
            try:
                text = self._apply(holes)
            except _TemplateRefused:
                continue  # e.g. a template that knows no system role
            if sorted(map(int, _HOLE.findall(text))) == list(range(len(turns))):
                return text, [turn.content for turn in turns]
        roles = ", ".join(turn.role for turn in messages)
        raise BackendError(f"the chat template of the model cannot render a conversation of the turns {roles}")

    def _apply(self, messages: list[dict[str, str]]) -> str:
        try:
            text: str = self._template.render(
                messages=messages,
                add_generation_prompt=True,
                bos_token=self.weights.bos,
                eos_token=self.weights.eos,
            )
        except _TemplateRefused:
            raise
        except Exception as error:  # whatever the model file's own code did
            raise BackendError(f"the chat template of the model failed: {error}") from error
        return text


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """The system text in front of the first user turn."""
    system = "\n\n".join(turn.content for turn in messages if turn.role == "system")
    turns = [turn for turn in messages if turn.role != "system"]
    first = next((i for i, turn in enumerate(turns) if turn.role == "user"), None)
    if first is None:
        return [Message("user", system), *turns]
    turns[first] = Message("user", f"{system}\n\n{turns[first].content}")
    return turns


def _compile(template: str) -> Any:
    """A template from a model file is somebody else's code: it runs in jinja's sandbox."""
    jinja2, sandbox = library("jinja2"), library("jinja2.sandbox")
    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    try:
        return environment.from_string(template)
    except jinja2.TemplateError as error:
        raise ModelFileError(f"the model file's chat template cannot be read: {error}") from error


def _refuse(message: str = "") -> NoReturn:
    raise _TemplateRefused(message)
