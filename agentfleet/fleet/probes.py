"""What `agentfleet models probe` found out, in .agentfleet/probes.json of the project, where the ledger is too.

Not in agentfleet.lock: that is committed and true on every machine, while this holds for one server on one day.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentfleet.errors import FleetError
from agentfleet.fleet.config import project_root
from agentfleet.fleet.model import Model

FOLDER: Final = ".agentfleet"
FILE: Final = "probes.json"
VERSION: Final = 1

ENFORCED: Final = "enforced"
FOLLOWED: Final = "followed"
IGNORED: Final = "ignored"
Strategy = Literal["native", "tools", "json", "plain"]
_ORDER: Final[tuple[Strategy, ...]] = ("native", "tools", "json", "plain")


class Probed(BaseModel):
    """What one model can do. None: not asked, or not said.

    `strategies`: way of structured output → enforced (it cannot break the schema), followed (it kept to one when asked
    to), ignored, or "failed: why". `identity`: sha256 of the weights, or what tells the server's model from another;
    `latency_ms`: of an answer of one token; `ms_per_token`: of those after it. `date`: ISO, UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    backend: str
    model: str
    base_url: str | None = None
    date: str
    identity: str
    strategies: dict[str, str] = Field(default_factory=dict)
    tools: bool | None = None
    logprobs: bool | None = None
    systemone: bool | None = None
    decisions: bool | None = None
    context: int | None = None
    latency_ms: float | None = None
    ms_per_token: float | None = None

    @property
    def strategy(self) -> Strategy | None:
        """The best way of structured output: one that is enforced, else one that was followed; None for neither."""
        for verdict in (ENFORCED, FOLLOWED):
            for name in _ORDER:
                if self.strategies.get(name) == verdict:
                    return name
        return None

    def about(self, model: Model) -> bool:
        """Was it this entry of the fleet file that was asked?"""
        return (self.backend, self.model, self.base_url) == (model.backend, model.model, model.base_url)


class _Probes(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    models: dict[str, Probed] = Field(default_factory=dict)


def load_probes(home: Path | None = None) -> Mapping[str, Probed]:
    """What was found out, by the models' names. `home`: the project's root. Raises FleetError for a damaged file."""
    path = (home or project_root()) / FOLDER / FILE
    try:
        return _Probes.model_validate_json(path.read_bytes()).models
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise FleetError(f"cannot read {path}: {error.strerror or error}") from None
    except ValidationError:
        raise FleetError(f"{path} is damaged; delete it and run `agentfleet models probe NAME` again") from None


def save_probe(name: str, probed: Probed, home: Path | None = None) -> Path:
    """Put what was found out about a model in the place of what was known. Raises OSError, FleetError."""
    root = home or project_root()
    whole = _Probes(models={**load_probes(root), name: probed})
    folder = root / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / ".gitignore").exists():
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    path, beside = folder / FILE, folder / f".{FILE}.{os.getpid()}"
    beside.write_text(json.dumps(whole.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
    beside.replace(path)
    return path


def probed_strategy(model: Model, home: Path | None = None) -> Strategy | None:
    """The way of structured output that the last probe of this entry recommends; None when it was not probed."""
    found = load_probes(home).get(model.name)
    return found.strategy if found is not None and found.about(model) else None
