"""The ledger's format, as numbered SQL files: file N brings a ledger from version N - 1 to N.

A released file never changes; a change of format is a new file. `PRAGMA user_version` holds the version.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

_FOLDER = Path(__file__).parent
NAMES = ("0001_runs.sql", "0002_spending.sql")
"""In order; the n-th brings version n."""

LATEST = len(NAMES)
"""The version that this agentfleet writes."""


def version_of(connection: sqlite3.Connection) -> int:
    """The version of an open ledger; 0 for an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an open ledger to `LATEST` inside the caller's transaction, so that all of it lands or nothing does."""
    for number in range(version_of(connection) + 1, LATEST + 1):
        for statement in statements((_FOLDER / NAMES[number - 1]).read_text(encoding="utf-8")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")


def statements(script: str) -> Iterator[str]:
    """The statements of a script. `executescript` will not do: it commits the open transaction first."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
