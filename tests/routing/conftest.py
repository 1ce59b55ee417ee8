"""Sessions on any models of a test's own, with a ledger in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentfleet import Fleet, Model, Session
from agentfleet.ledger.open import open_ledger


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Any]:
    made: list[Session] = []

    def opened(*models: Model) -> Session:
        made.append(Session(Fleet(models), open_ledger(":memory:", tmp_path), tmp_path))
        return made[-1]

    yield opened
    for one in made:
        one.close()
