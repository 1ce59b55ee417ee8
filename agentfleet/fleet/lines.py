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

    def at(self, key: str, entry: int | None = None, table: str = "models", inner: str = "") -> str:
        """``file:line`` of a key: of the `entry`-th [[table]], else of the top. `inner`: a key within its own table.

        The line of what holds it when it is not written by itself; the file alone when nothing is found.
        """
        wanted = "" if entry is None else f"{table}#{entry}"
        fallback, found, below = 0, 0, f"{wanted}.{key}" if wanted else key
        for number, place, text in self._lines():
            if inner and place == below and _is_key(inner, text):
                return f"{self.path}:{number}"
            if found:
                continue
            if place == wanted and not text:
                fallback = number
            opens = not text and key and re.fullmatch(rf"{re.escape(below)}(?:[#.].*)?", place)
            if (place == wanted and _is_key(key, text)) or opens:
                found = number
        found = found or fallback
        return f"{self.path}:{found}" if found else str(self.path)

    def _lines(self) -> list[tuple[int, str, str]]:
        """(line, table, text) of every line of ours; `text` is "" on the line that opens the table."""
        found, table, ours = [], "", not self.shared
        seen: dict[str, int] = {}
        for number, line in enumerate(self.lines, 1):
            header = _HEADER.match(line)
            if header is None:
                if ours and line.strip():
                    found.append((number, table, line))
                continue
            table = header[2]
            ours = not self.shared or _PREFIX.match(table) is not None
            table = _PREFIX.sub("", table) if self.shared else table
            first = re.split(r"\s*\.\s*", table)[0]
            if header[1] == "[[" and table == first:
                seen[first] = seen.get(first, -1) + 1
            if first in seen:
                table = f"{first}#{seen[first]}{table[len(first) :]}"
            if ours:
                found.append((number, table, ""))
        return found


def _is_key(key: str, text: str) -> bool:
    return bool(key) and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", text) is not None
