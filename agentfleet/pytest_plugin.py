"""The pytest fixture `scripted`, found by pytest through an entry point: ``def test(scripted): scripted({...})``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from agentfleet.testing import Scripted


@pytest.fixture(name="scripted")
def scripted_fixture() -> Iterator[Callable[..., Scripted]]:
    """Call it with a script (see `agentfleet.testing.scripted`); it ends with the test."""
    with ExitStack() as stack:

        def begin(script: Any, **options: Any) -> Scripted:
            from agentfleet.testing import scripted

            return stack.enter_context(scripted(script, **options))

        yield begin
