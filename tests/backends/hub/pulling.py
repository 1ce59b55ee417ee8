"""What the tests of pulling share: the model that they pull, and what must hold when a pull is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from servers.weights import gguf

from agentfleet.backends.hub.pull import pull
from agentfleet.errors import AgentfleetError
from agentfleet.fleet.lock import load_lock

FILE, REF, TOKEN = "m-Q8_0.gguf", "o/m/m-Q8_0.gguf", "hf_canary_0123456789"
BIG = gguf(size=3 * 2**20)


def refused(home: Path, text: str, error: type[AgentfleetError], message: str, **more: Any) -> str:
    """The message; and nothing is locked, and no file of weights lies there."""
    before = load_lock(home).pulled
    with pytest.raises(error, match=message) as caught:
        pull(text, home, **more)
    assert load_lock(home).pulled == before
    assert TOKEN not in str(caught.value)
    return str(caught.value)


def weights(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*") if path.is_file() and path.suffix in (".gguf", ".part"))


def part(home: Path, name: str = FILE) -> Path:
    path = home / ".agentfleet" / "models" / "o--m" / ("1" * 12) / f".{name}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
