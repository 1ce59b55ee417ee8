"""Which ledger this project uses: AGENTFLEET_LEDGER, else .agentfleet/ledger.sqlite at the project's root."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from agentfleet.ledger.ledger import Ledger
from agentfleet.ledger.sqlite import SQLiteLedger

FOLDER = ".agentfleet"
VARIABLE = "AGENTFLEET_LEDGER"


def ledger_path(location: str | Path | None, root: Path) -> Path | None:
    """Where `open_ledger` would look; None for a private one in memory (":memory:" or "off")."""
    given = location if location is not None else os.environ.get(VARIABLE, "").strip() or None
    if given is None:
        return root / FOLDER / "ledger.sqlite"
    if isinstance(given, str) and given.lower() in (":memory:", "off"):
        return None
    return root / Path(given).expanduser()


def open_ledger(location: str | Path | None, root: Path, *, readonly: bool = False) -> Ledger:
    """The ledger at `location`, else at AGENTFLEET_LEDGER, else the project's own. Relative paths start at `root`.

    ":memory:" or "off": a private one that ends with the process. Raises LedgerError and its kinds.
    """
    path = ledger_path(location, root)
    if path is None:
        return SQLiteLedger(":memory:")
    if path.parent == root / FOLDER and not readonly:
        _keep_private(path.parent)
    return SQLiteLedger(path, readonly=readonly)


def _keep_private(folder: Path) -> None:
    """Inputs and answers lie here: mode 0700, and a .gitignore so that none is committed by accident.

    What cannot be done is left: opening the ledger will say what is wrong.
    """
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
