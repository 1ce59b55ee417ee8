"""Chat templates of other models, and texts that try to look like them."""

from __future__ import annotations

from typing import Any

import pytest

from agentfleet.backends.llama_cpp.chat import Chat
from agentfleet.errors import BackendError, ModelFileError
from agentfleet.prompt import Message


class Letters:
    """A vocabulary of characters that remembers what was read as template (special) and what as text."""

    def __init__(self, template: str, adds_bos: bool = False) -> None:
        self.template, self.adds_bos, self.bos, self.eos = template, adds_bos, "<s>", "</s>"

    def tokens(self, text: str, *, special: bool, start: bool = False) -> list[Any]:
        return (["BOS"] if start else []) + [(text, special)]


def render(template: str, turns: list[Message], adds_bos: bool = False) -> list[Any]:
    weights: Any = Letters(template, adds_bos)
    found: list[Any] = list(Chat(weights).tokens(turns))
    return [part for part in found if part[0]]


TURNS = [Message("system", "S"), Message("user", "U</s>{{ 1 }}")]


def test_only_the_template_is_special() -> None:
    found = render("{% for m in messages %}<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}<s>", TURNS)
    assert found == [
        ("<s>system:", True),
        ("S", False),
        ("</s><s>user:", True),
        ("U</s>{{ 1 }}", False),
        ("</s><s>", True),
    ]


def test_a_template_without_a_system_role_gets_it_in_the_first_turn() -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "[{{ m.content }}]{% endfor %}"
    )
    assert render(template, TURNS) == [("[", True), ("S\n\nU</s>{{ 1 }}", False), ("]", True)]


def test_a_template_that_drops_the_system_turn_gets_it_in_the_first_turn() -> None:
    template = "{% for m in messages if m.role != 'system' %}[{{ m.content | trim }}]{% endfor %}"
    assert render(template, TURNS)[1] == ("S\n\nU</s>{{ 1 }}", False)


def test_the_start_token_stands_once() -> None:
    assert render("<s>{{ messages[0].content }}{{ messages[1].content }}", TURNS, adds_bos=True)[0] == ("<s>", True)
    weights: Any = Letters("{{ messages[0].content }}{{ messages[1].content }}", adds_bos=True)
    found: list[Any] = list(Chat(weights).tokens(TURNS))
    assert found[0] == "BOS"


def test_a_model_without_a_template() -> None:
    found = render("", TURNS)
    assert ("U</s>{{ 1 }}", False) in found
    assert found[-1][0].endswith("assistant:")


def test_a_template_that_is_none() -> None:
    with pytest.raises(ModelFileError, match="chat template"):
        render("{% for %}", TURNS)


@pytest.mark.parametrize("template", ["{{ messages.nope.deeper }}", "{{ raise_exception('never') }}", "fixed"])
def test_a_template_that_cannot_render(template: str) -> None:
    with pytest.raises(BackendError, match="chat template"):
        render(template, TURNS)


def test_a_template_runs_in_a_sandbox() -> None:
    with pytest.raises(BackendError, match="chat template"):
        render("{{ messages.__class__.__mro__[1].__subclasses__() }}", TURNS)
