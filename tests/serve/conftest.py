"""One endpoint for all tests of this folder; those that end it or fill it start their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serve.endpoint import Endpoint, serve


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    found = serve(tmp_path_factory.mktemp("served"))
    yield found
    code, err = found.end()
    assert (code, err) == (0, "")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Endpoint]]:
    """Starts an endpoint of this test's own."""
    begun: list[Endpoint] = []

    def make(*arguments: str, **environment: str) -> Endpoint:
        begun.append(serve(tmp_path, *arguments, **environment))
        return begun[-1]

    yield make
    for one in begun:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()
