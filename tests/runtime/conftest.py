"""A session on a ledger in a file with scripted models; opened again, it is what another process would find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentfleet import Fleet, Model, Session
from agentfleet.ledger.open import open_ledger
from agentfleet.testing import Scripted

Opened = Callable[..., tuple[Session, Scripted]]
TIERS = ("nano", "small", "large", "frontier")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Call it with a script (and models, by default one for all tiers): a session, and the backend that counts calls."""
    sessions: list[Session] = []

    def make(script: Mapping[str, Any] | None = None, models: Sequence[Model] = ()) -> tuple[Session, Scripted]:
        for earlier in sessions:
            earlier.close()
        backend = Scripted(script or {})
        fleet = Fleet(models or [Model(name="local", backend="scripted", tier=TIERS)])
        ledger = open_ledger(tmp_path / "ledger.sqlite", tmp_path)
        sessions.append(Session(fleet, ledger, tmp_path, backends={model.name: backend for model in fleet.models}))
        return sessions[-1], backend

    yield make
    for session in sessions:
        session.close()
