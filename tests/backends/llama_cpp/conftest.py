"""One embedded model for all tests of this folder, and short ways to write requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.llama_cpp import LlamaCpp, embedded_path

Ask = Callable[..., Completion]


@pytest.fixture(scope="session")
def engine() -> Iterator[LlamaCpp]:
    backend = LlamaCpp(embedded_path(), "smol", context=2048, threads=1)
    yield backend
    backend.shut()


@pytest.fixture(scope="session")
def ask(engine: LlamaCpp, request_for: Callable[..., Request]) -> Ask:
    def call(text: str, annotation: Any, **more: Any) -> Completion:
        return asyncio.run(engine.complete(request_for(text, annotation, **more)))

    return call
