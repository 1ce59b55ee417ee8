"""What the tests of several backends share: a short way to write requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agentfleet.backends.backend import Request
from agentfleet.prompt import Block, Prompt
from agentfleet.schema import output_of


@pytest.fixture(scope="session")
def request_for() -> Callable[..., Request]:
    def make(
        text: str, annotation: Any, *, closed: bool = False, instruction: str = "Read this.", **more: Any
    ) -> Request:
        output = output_of(annotation, where="test", closed=closed)
        options: tuple[tuple[str, str], ...] = ()
        if closed and len(output.questions) == 1:
            options = tuple((option.text, option.about) for option in output.questions[0].options)
        return Request(Prompt(instruction, (Block("text", text),), options), output, **more)

    return make
