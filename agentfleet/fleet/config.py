"""Reads the fleet file: agentfleet.toml, else [tool.agentfleet] in pyproject.toml, of the nearest parent folder.

After it come AGENTFLEET_* variables, then flags. Every error names file, line where known, key, and what to do.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agentfleet.errors import FleetError, MissingKey, nearest
from agentfleet.fleet.model import TIERS, Fleet, Model, default_fleet

FILE = "agentfleet.toml"
_TOP = ("models", "tiers", "embedded")
_SECRET = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD)$")


def project_root(start: Path | None = None) -> Path:
    """The nearest folder upward with a fleet file or [tool.agentfleet]; else `start` itself (default: here)."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file() or _has_table(folder / "pyproject.toml"):
            return folder
    return here


def _has_table(path: Path) -> bool:
    return path.is_file() and "[tool.agentfleet" in path.read_text(encoding="utf-8", errors="replace")


def current_fleet(start: Path | None = None, frontier: Sequence[str] = ()) -> Fleet:
    """The fleet of this project: its file (AGENTFLEET_FLEET names another), else the default; plus `frontier` models.

    Raises FleetError, MissingKey.
    """
    named = os.environ.get("AGENTFLEET_FLEET")
    root = project_root(start)
    if named:
        fleet = load_fleet(Path(named))
    elif (root / FILE).is_file():
        fleet = load_fleet(root / FILE)
    elif _has_table(root / "pyproject.toml"):
        fleet = load_fleet(root / "pyproject.toml")
    else:
        fleet = default_fleet()
    wanted = [*frontier, *filter(None, os.environ.get("AGENTFLEET_FRONTIER", "").split(","))]
    return fleet.with_models([frontier_model(text) for text in wanted]) if wanted else fleet


def load_fleet(path: Path) -> Fleet:
    """The fleet of one file. Models of the file stand beside the embedded one unless ``embedded = false``."""
    try:
        text = path.read_text(encoding="utf-8")
        data: Any = tomllib.loads(text)
    except FileNotFoundError:
        raise FleetError(f"no such fleet file: {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FleetError(f"{path} is not valid TOML: {error}") from None
    if path.name == "pyproject.toml":
        data = data.get("tool", {}).get("agentfleet", {})
    return _fleet(data, _Source(path, text))


class _Source:
    """The text of a file, to say on which line a key stands."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines = text.splitlines()

    def at(self, key: str, entry: int | None = None) -> str:
        """``file:line`` of a key, of the `entry`-th [[models]] table when given; the file alone when not found."""
        seen = -1
        for number, line in enumerate(self.lines, 1):
            seen += bool(re.match(r"\s*\[\[\s*(?:tool\.agentfleet\.)?models\s*\]\]", line))
            if (entry is None or seen == entry) and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
                return f"{self.path}:{number}"
        return str(self.path)


def _fleet(data: Mapping[str, Any], source: _Source) -> Fleet:
    for key in data:
        if key not in _TOP:
            raise FleetError(f"{source.at(key)}: unknown key {key!r}{nearest(key, _TOP)}")
    entries = data.get("models", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FleetError(f"{source.at('models')}: write each model as a table of its own: [[models]]")
    models = [_model(entry, index, source) for index, entry in enumerate(entries)]
    tiers = data.get("tiers", list(TIERS))
    if not isinstance(tiers, list) or not all(isinstance(tier, str) for tier in tiers):
        raise FleetError(f'{source.at("tiers")}: tiers is a list of names, e.g. ["nano", "small", "large", "frontier"]')
    if data.get("embedded", True) is not False:
        models = [m for m in default_fleet().models if m.name not in {n.name for n in models}] + models
        models = [m for m in models if set(m.tiers) <= set(tiers) or m.name != default_fleet().models[0].name]
    try:
        return Fleet(models, tiers)
    except FleetError as error:
        raise FleetError(f"{source.path}: {error}") from None


def _model(entry: dict[str, Any], index: int, source: _Source) -> Model:
    name = entry.get("name", f"number {index + 1}")
    known = tuple(Model.model_fields)
    for key in entry:
        if key not in known:
            raise FleetError(f"{source.at(key, index)}: model {name}: unknown key {key!r}{nearest(key, known)}")
    if isinstance(entry.get("tier"), list):
        entry = {**entry, "tier": tuple(entry["tier"])}
    try:
        return Model(**entry)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0]) if first["loc"] else "model"
        message = str(first["msg"]).removeprefix("Value error, ")
        raise FleetError(f"{source.at(key, index)}: model {name}, {key}: {message}") from None


def frontier_model(text: str) -> Model:
    """``anthropic:MODEL`` or ``openai:MODEL`` from the command line, with the usual key variable."""
    backend, _, model = text.partition(":")
    if backend not in ("anthropic", "openai") or not model:
        raise FleetError(f"--frontier {text!r}: write anthropic:MODEL or openai:MODEL")
    url = os.environ.get(f"{backend.upper()}_BASE_URL") or None
    return Model(
        name=model, backend=backend, model=model, tier="frontier", key=f"env:{backend.upper()}_API_KEY", base_url=url,
    )  # type: ignore[arg-type]  # fmt: skip


def resolve_key(model: Model) -> str:
    """The key of a model from the environment; "" for a model that names none. Raises MissingKey, never with the key."""
    if model.key is None:
        return ""
    name = model.key.removeprefix("env:")
    value = os.environ.get(name, "").strip()
    if not value:
        state = "empty" if name in os.environ else "not set"
        raise MissingKey(f"model {model.name!r} takes its key from the variable {name}, which is {state}; export {name}=…")
    return value


def known_secrets() -> list[str]:
    """Values of variables that look like secrets, longest first: for redaction of what is written."""
    found = {v for k, v in os.environ.items() if _SECRET.search(k.upper()) and len(v) >= 8}
    return sorted(found, key=len, reverse=True)
