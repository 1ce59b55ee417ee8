"""Reads the fleet file: agentfleet.toml, else [tool.agentfleet] in pyproject.toml, of the nearest parent folder.

After it come AGENTFLEET_* variables, then flags. Every error names file, line where known, key, and what to do.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from agentfleet.errors import FleetError, MissingKey, nearest
from agentfleet.fleet.lines import FleetText
from agentfleet.fleet.model import TIERS, Fleet, Model, default_fleet, unvouched
from agentfleet.fleet.reference import is_reference
from agentfleet.fleet.tables import Report, allowed_hosts, budget_of, problem_of, rules_of, tables, validated

FILE = "agentfleet.toml"
_HOSTED: dict[str, Literal["anthropic", "openai"]] = {"anthropic": "anthropic", "openai": "openai"}
_TOP = ("models", "tiers", "embedded", "rules", "budget", "allow_hosts")
_BACKENDS = ("llama_cpp", "transformers", "openai", "anthropic", "decisions")
"""What a fleet file can name; heads are made from examples, replay and scripted models in code."""

_TABLE = re.compile(r"^\s*\[\[?\s*tool\s*\.\s*agentfleet\s*[.\]]", re.MULTILINE)
_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")
_SECRET = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD)$")

_named: set[str] = set()
"""Variables that models of this process name as their keys."""


def project_root(start: Path | None = None) -> Path:
    """The nearest folder upward with a fleet file or [tool.agentfleet]; else `start` itself (default: here)."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file() or _has_table(folder / "pyproject.toml"):
            return folder
    return here


def _has_table(path: Path) -> bool:
    try:
        return path.is_file() and _TABLE.search(path.read_text(encoding="utf-8", errors="replace")) is not None
    except OSError:  # a parent's file that is not ours to read is not this project's
        return False


def current_fleet(start: Path | None = None, frontier: Sequence[str] = ()) -> Fleet:
    """The fleet of this project: its file (AGENTFLEET_FLEET names another), else the default; plus `frontier` models.

    Raises FleetError, MissingKey.
    """
    path = fleet_file(start)
    fleet = default_fleet() if path is None else load_fleet(path)
    given = [text.strip() for text in os.environ.get("AGENTFLEET_FRONTIER", "").split(",")]
    return with_frontier(fleet, [*frontier, *filter(None, given)])


def fleet_file(start: Path | None = None) -> Path | None:
    """The fleet file of this project, AGENTFLEET_FLEET before its own; None when it has none."""
    named = os.environ.get("AGENTFLEET_FLEET")
    if named:
        return Path(named).expanduser()
    root = project_root(start)
    if (root / FILE).is_file():
        return root / FILE
    return root / "pyproject.toml" if _has_table(root / "pyproject.toml") else None


def load_fleet(path: Path) -> Fleet:
    """The fleet of one file. Models of the file stand beside the embedded one unless ``embedded = false``.

    Raises FleetError with the first problem.
    """
    fleet, problems = read_fleet(path)
    if fleet is None:
        raise FleetError(problems[0])
    return fleet


def read_fleet(path: Path) -> tuple[Fleet | None, list[str]]:
    """The fleet of one file, or None with every problem in it. Raises FleetError when the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        data: Any = tomllib.loads(text)
    except FileNotFoundError:
        raise FleetError(f"no such fleet file: {path}") from None
    except OSError as error:
        raise FleetError(f"cannot read the fleet file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise FleetError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise FleetError(_malformed(path, str(error))) from None
    if path.name == "pyproject.toml":
        data = data.get("tool", {}).get("agentfleet", {})
    return _fleet(data, FleetText(path, text))


def _malformed(path: Path, message: str) -> str:
    """``file:line:column`` first, as editors and terminals make it a link."""
    found = _PLACE.search(message)
    if found is None:
        return f"{path}: not valid TOML: {message}"
    return f"{path}:{found[1]}:{found[2]}: not valid TOML: {message[: found.start()]}"


def _fleet(data: Mapping[str, Any], source: FleetText) -> tuple[Fleet | None, list[str]]:
    problems = [f"{source.at(key)}: unknown key {key!r}{nearest(key, _TOP)}" for key in data if key not in _TOP]
    report = problems.append
    tiers = _tiers(data, source, report)
    entries = tables(data, "models", source, report)
    models = [model for index, entry in enumerate(entries) if (model := _model(entry, index, source, report))]
    allowed = allowed_hosts(data, source, report)
    _agree(entries, models, tiers, allowed, source, report)
    models = [*_embedded(data, models, tiers, source, report), *models]
    names = [*(m.name for m in models), *(str(entry.get("name")) for entry in entries)]
    rules = rules_of(data, names, tiers, source, report)
    budget = budget_of(data, source, report)
    if problems:
        return None, problems
    try:
        return Fleet(models, tiers, rules, budget, allowed), []
    except FleetError as error:
        return None, [f"{source.path}: {error}"]


def _tiers(data: Mapping[str, Any], source: FleetText, report: Report) -> list[str]:
    tiers = data.get("tiers", list(TIERS))
    if isinstance(tiers, list) and all(isinstance(tier, str) for tier in tiers):
        return tiers
    report(f'{source.at("tiers")}: tiers is a list of names, e.g. ["nano", "small", "large", "frontier"]')
    return list(TIERS)


def _agree(
    entries: Sequence[Mapping[str, Any]],
    models: Sequence[Model],
    tiers: Sequence[str],
    allowed: Sequence[str],
    source: FleetText,
    report: Report,
) -> None:
    """Names stand once, tiers exist, hosts are meant; `Fleet` asks the same, but does not know the lines."""
    names = [entry.get("name") for entry in entries]
    for index, name in enumerate(names):
        if isinstance(name, str) and name in names[:index]:
            report(f"{source.at('name', index)}: two models are named {name!r}; names tell models apart")
    for model in models:
        index = names.index(model.name)
        for tier in model.tiers:
            if tier not in tiers:
                where = source.at("tier", index)
                report(f"{where}: model {model.name}: unknown tier {tier!r}{nearest(tier, tiers)}")
        private = unvouched(model, allowed)
        if private:
            report(f"{source.at('base_url', index)}: model {model.name}: {private}")


def _embedded(
    data: Mapping[str, Any], models: Sequence[Model], tiers: Sequence[str], source: FleetText, report: Report
) -> list[Model]:
    """The embedded model, unless the file says no, names one like it, or has not its tiers."""
    wanted = data.get("embedded", True)
    if not isinstance(wanted, bool):
        report(f"{source.at('embedded')}: embedded is true or false")
    named = {model.name for model in models}
    kept = (m for m in default_fleet().models if m.name not in named and set(m.tiers) <= set(tiers))
    return list(kept) if wanted else []


def _model(entry: Mapping[str, Any], index: int, source: FleetText, report: Report) -> Model | None:
    what = f"model {entry.get('name', f'number {index + 1}')}"
    model = validated(Model, entry, source, report, "models", index, what)
    if model is None:
        return None
    if model.backend not in _BACKENDS:
        where = source.at("backend", index)
        report(f"{where}: {what}: a fleet file names {', '.join(_BACKENDS)}; not {model.backend!r} yet")
    weights = source.path.parent / Path(model.model).expanduser()  # as the file means it, wherever one stands
    local = model.backend == "llama_cpp" or (model.backend == "transformers" and weights.exists())  # else a hub's name
    if local and model.model not in ("", "embedded") and not (is_reference(model.model) and not weights.exists()):
        return model.model_copy(update={"model": str(weights.absolute())})
    return model


def with_frontier(fleet: Fleet, texts: Sequence[str]) -> Fleet:
    """The fleet with models named on the command line in its highest tier; one that stands there already stays.

    Raises FleetError for anything but ``anthropic:MODEL`` and ``openai:MODEL``.
    """
    for text in texts:
        new = frontier_model(text, fleet.tiers[-1])
        if any((m.backend, m.model) == (new.backend, new.model) and fleet.tiers[-1] in m.tiers for m in fleet.models):
            continue
        if any(m.name == new.name for m in fleet.models):
            new = new.model_copy(update={"name": text})
        fleet = fleet.with_models([new])
    return fleet


def frontier_model(text: str, tier: str = TIERS[-1]) -> Model:
    """``anthropic:MODEL`` or ``openai:MODEL`` from the command line, with the usual key and URL variables."""
    backend, _, model = text.partition(":")
    if backend not in _HOSTED or not model:
        raise FleetError(f"--frontier {text!r}: write anthropic:MODEL or openai:MODEL; other models go into {FILE}")
    variable = f"{backend.upper()}_BASE_URL"
    key = f"env:{backend.upper()}_API_KEY"
    url = os.environ.get(variable, "").strip() or None
    try:
        return Model(name=model, backend=_HOSTED[backend], model=model, tier=tier, key=key, base_url=url)
    except ValidationError as error:
        at, message = problem_of(error.errors(include_url=False)[0])
        raise FleetError(f"--frontier {text!r}: {variable if at == 'base_url' else at}: {message}") from None


def resolve_key(model: Model) -> str:
    """The key of a model from the environment; "" for a model that names none.

    Raises MissingKey, which names variable and model and never holds the key.
    """
    if model.key is None:
        return ""
    name = model.key.removeprefix("env:")
    _named.add(name)
    value = os.environ.get(name, "").strip()
    if not value:
        state = "empty" if name in os.environ else "not set"
        raise MissingKey(
            f"model {model.name!r} takes its key from the variable {name}, which is {state}; export {name}=…"
        )
    return value


def known_secrets() -> tuple[str, ...]:
    """Values of variables that look like secrets or serve as keys, longest first: for redaction of what is written."""
    raw: Mapping[Any, Any] = getattr(os.environ, "_data", None) or dict(os.environ)  # as stored: comparing is cheap
    if _last.environ != raw or _last.named != len(_named):
        named = {v for k, v in os.environ.items() if (k in _named or _SECRET.search(k.upper())) and len(v) >= 8}
        _last.environ, _last.named = dict(raw), len(_named)
        _last.found = tuple(sorted(named, key=len, reverse=True))
    return _last.found


class _Last:
    """The environment when it was last searched, and what was found: every run asks, and it hardly ever changes."""

    environ: Mapping[Any, Any] | None = None
    named: int = 0
    found: tuple[str, ...] = ()


_last = _Last()
