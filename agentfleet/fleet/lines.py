"""Where in a fleet file a key stands, so that every error can point at its line. Looks at the text, reads no TOML."""

from __future__ import annotations

import re
from pathlib import Path

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_PREFIX = re.compile(r"^tool\s*\.\s*agentfleet(?:\s*\.\s*|$)")


class FleetText:
    """The text of a fleet file (or pyproject.toml), searched by table and key."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines = text.splitlines()
        self.shared = path.name == "pyproject.toml"

    def at(self, key: str, entry: int | None = None) -> str:
        """``file:line`` of a key: of the `entry`-th [[models]] table, else of the top.

        The table's own line when the key is not written there; the file alone when neither is found.
        """
        wanted = "" if entry is None else f"models#{entry}"
        fallback = 0
        for number, table, text in self._lines():
            if table == wanted and not text:
                fallback = number
            if table == wanted and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", text):
                return f"{self.path}:{number}"
            if not text and entry is None and re.fullmatch(rf"{re.escape(key)}(?:[#.].*)?", table):
                return f"{self.path}:{number}"
            if not text and entry is not None and key and table == f"{wanted}.{key}":
                return f"{self.path}:{number}"
        return f"{self.path}:{fallback}" if fallback else str(self.path)

    def _lines(self) -> list[tuple[int, str, str]]:
        """(line, table, text) of every line of ours; `text` is "" on the line that opens the table."""
        found, table, ours, seen = [], "", not self.shared, -1
        for number, line in enumerate(self.lines, 1):
            header = _HEADER.match(line)
            if header is None:
                if ours and line.strip():
                    found.append((number, table, line))
                continue
            table = header[2]
            ours = not self.shared or _PREFIX.match(table) is not None
            table = _PREFIX.sub("", table) if self.shared else table
            if table == "models" and header[1] == "[[":
                seen += 1
            table = re.sub(r"^models\b", f"models#{seen}", table) if seen >= 0 else table
            if ours:
                found.append((number, table, ""))
        return found
