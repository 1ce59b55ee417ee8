"""A hub on loopback with one repository of two GGUF files; HF_ENDPOINT names it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from backends.hub.pulling import BIG, FILE
from servers.hub import HubServer, repo
from servers.weights import gguf

from agentfleet.backends.hub import client


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(client, "WAITS", (0.0, 0.0))
    with HubServer({"o/m": repo({FILE: BIG, "m-Q4_0.gguf": gguf("{{ other }}"), "README.md": b"m"})}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server
