"""How models of a hub are named: ``hub:OWNER/NAME/FILE.gguf@REVISION``, or the name of one in the catalogue.

Names come from servers, lock files and users, and become paths: here is decided which ones may.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentfleet.errors import UsageError

SCHEME: Final = "hub:"
PICKLES: Final = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
"""Ends of names of files that can run code when they are loaded."""
REVISION: Final = r"[0-9a-f]{40}"

_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+,=()\[\] -]*")
_REPO: Final = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_BRANCH: Final = re.compile(r"[A-Za-z0-9_][\w./-]*", re.ASCII)
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LONGEST_PART, _LONGEST = 200, 400


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository of a hub, one GGUF file in it ("" for a folder of safetensors), a revision ("" for any)."""

    repo: str
    file: str = ""
    revision: str = ""

    @property
    def key(self) -> str:
        """What the lock and the commands call it: without revision."""
        return f"{self.repo}/{self.file}" if self.file else self.repo

    def __str__(self) -> str:
        return SCHEME + self.key + (f"@{self.revision}" if self.revision else "")


def parse_reference(text: str) -> Reference:
    """``[hub:]OWNER/NAME[/FILE.gguf][@REVISION]``. Raises UsageError: another form, a pickle, a name that is no file's."""
    plain = text.strip().removeprefix(SCHEME)
    plain, at, revision = plain.partition("@")
    owner, _, rest = plain.partition("/")
    name, _, file = rest.partition("/")
    repo = f"{owner}/{name}"
    if not is_repo(repo) or (at and not _is_branch(revision)):
        raise UsageError(f"{text!r} names no model: write OWNER/NAME/FILE.gguf, OWNER/NAME, or a name of the catalogue")
    if file:
        _check_file(file, text)
    return Reference(repo, file, revision)


def _check_file(file: str, text: str) -> None:
    if file.lower().endswith(PICKLES):
        raise UsageError(f"{text!r} is a pickle, which can run code when it is loaded: take GGUF or safetensors files")
    if not is_safe(file) or not file.endswith(".gguf"):
        raise UsageError(f"{text!r}: name one .gguf file, or the repository alone for its safetensors")


def is_repo(text: str) -> bool:
    """Is it OWNER/NAME, and can it become a folder's name?"""
    return bool(_REPO.fullmatch(text)) and ".." not in text and "--" not in text and not text.endswith((".", ".git"))


def is_safe(name: str) -> bool:
    """May a file of that name be written below a folder, on any system? Says no to ``..``, roots, hidden files, devices."""
    parts = name.split("/")
    return len(name) <= _LONGEST and all(
        len(part) <= _LONGEST_PART
        and _PART.fullmatch(part) is not None
        and not part.endswith((".", " "))
        and not _DEVICES.fullmatch(part)
        for part in parts
    )


def _is_branch(text: str) -> bool:
    return bool(_BRANCH.fullmatch(text)) and ".." not in text and "//" not in text


def is_reference(place: str) -> bool:
    """Does a fleet's ``model = "..."`` name a model of a hub, or of the catalogue, rather than a path?"""
    if place.startswith(SCHEME):
        return True
    if place in ("", "embedded") or set(place) & set("/\\") or place.endswith(".gguf") or Path(place).exists():
        return False
    from agentfleet.fleet.catalogue import catalogue

    name = place.partition(":")[0].lower()
    return any(entry.name.lower() == name for entry in catalogue())
