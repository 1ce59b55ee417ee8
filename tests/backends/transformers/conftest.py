"""The embedded model, loaded once by transformers from its GGUF file; everything here is skipped without torch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.llama_cpp import embedded_path
from agentfleet.backends.transformers import Transformers


@pytest.fixture(scope="session", autouse=True)
def needs_torch() -> None:
    if find_spec("torch") is None or find_spec("transformers") is None:
        pytest.skip("the extra transformers is not installed")


@pytest.fixture(scope="session")
def engine(needs_torch: None) -> Iterator[Transformers]:
    backend = Transformers(str(embedded_path()), "smol", context=2048, device="cpu", threads=1)
    yield backend
    asyncio.run(backend.close())


@pytest.fixture(scope="session")
def ask(engine: Transformers, request_for: Callable[..., Request]) -> Callable[..., Completion]:
    def call(text: str, annotation: Any, **more: Any) -> Completion:
        return asyncio.run(engine.complete(request_for(text, annotation, **more)))

    return call
