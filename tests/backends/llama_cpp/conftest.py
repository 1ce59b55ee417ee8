"""One embedded model for all tests of this folder, and short ways to write requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.llama_cpp import LlamaCpp, embedded_path
from agentfleet.prompt import Block, Prompt
from agentfleet.schema import output_of

Ask = Callable[..., Completion]


@pytest.fixture(scope="session")
def engine() -> Iterator[LlamaCpp]:
    backend = LlamaCpp(embedded_path(), "smol", context=2048, threads=1)
    yield backend
    backend.shut()


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


@pytest.fixture(scope="session")
def ask(engine: LlamaCpp, request_for: Callable[..., Request]) -> Ask:
    def call(text: str, annotation: Any, **more: Any) -> Completion:
        return asyncio.run(engine.complete(request_for(text, annotation, **more)))

    return call
