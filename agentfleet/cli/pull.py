"""``agentfleet models pull``, ``verify`` and ``rm``: weights from a hub, checked against agentfleet.lock."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentfleet.cli import render
from agentfleet.cli.app import FleetFile, Json, chosen_fleet
from agentfleet.errors import AgentfleetError, UnknownName, UsageError
from agentfleet.fleet.config import project_root
from agentfleet.fleet.lock import load_lock, save_lock
from agentfleet.fleet.model import LOCAL, Fleet
from agentfleet.fleet.pulled import Pulled, find_pulled, resolve
from agentfleet.fleet.reference import SCHEME, is_reference

if TYPE_CHECKING:
    from rich.console import Console

    from agentfleet.backends.hub.client import Watch
    from agentfleet.backends.hub.verify import Finding

LARGE = 5 * 10**9
"""Bytes of weights from which a model is offered for the tier *large*."""

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="As `models ls` shows it: OWNER/NAME/FILE.gguf, or a catalogue's name.")
]


def pull(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="NAME[:FORMAT] of the catalogue, OWNER/NAME/FILE.gguf, or OWNER/NAME."),
    ],
    update: Annotated[
        bool, typer.Option("--update", help="Move the lock to what the hub has now, or to NAME@REVISION.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fetch a model from the hub into this project and pin it in agentfleet.lock; an interrupted pull goes on.

    HF_ENDPOINT names another hub, HF_TOKEN holds the token for gated models, HF_HUB_OFFLINE=1 forbids the network.

    Examples:

      agentfleet models pull Qwen3-1.7B:Q4_K_M

      agentfleet models pull ggml-org/Qwen3-1.7B-GGUF/Qwen3-1.7B-Q8_0.gguf

      agentfleet models pull HuggingFaceTB/SmolLM2-360M-Instruct
    """
    from agentfleet.backends.hub.pull import pull as fetch
    from agentfleet.backends.hub.verify import stamp_pulled

    root = project_root()
    err = render.console(to_stderr=True)
    with progress(err) as watch:
        found = fetch(name, root, update=update, say=lambda line: err.print(render.safe(line)), watch=watch)
    stamp_pulled(found, root)
    if as_json:
        print(json.dumps({**found.model_dump(mode="json"), "path": str(found.opened(root)), "snippet": snippet(found)}))
        return
    out = render.console()
    for line in (*about(found), "", *snippet(found).splitlines()):
        out.print(render.safe(line))


@contextmanager
def progress(err: Console) -> Iterator[Watch]:
    """A bar for each file on a terminal; elsewhere a line at every tenth."""
    if not sys.stderr.isatty():
        yield _lines(err)
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as bars:
        tasks: dict[str, TaskID] = {}

        def watch(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(render.safe(name, 60), total=total or None)
            bars.update(tasks[name], completed=done, total=total or None)

        yield watch


def _lines(err: Console) -> Watch:
    told: dict[str, int] = {}

    def watch(name: str, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 0
        if tenth > told.get(name, -1) and not name.startswith("checking"):
            told[name] = tenth
            err.print(render.safe(f"{name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB"))

    return watch


def about(pulled: Pulled) -> list[str]:
    """What is known of a model: size, pins, licence, context, template, weak spots, whether it fits here."""
    from agentfleet.fleet.catalogue import OVERHEAD, SPREAD, memory_here

    need, memory = pulled.bytes / 1e6 * SPREAD + OVERHEAD, memory_here()
    here = "" if memory is None else f"; this machine has {memory / 1e6:.0f} MB"
    fits = "" if memory is None else ": it fits" if need < memory / 1e6 else ": it does not fit"
    return [
        f"pulled {pulled.key}, {pulled.bytes / 1e6:.0f} MB, at revision {pulled.revision}",
        *(f"  sha256 {file.sha256}  {file.name}" for file in pulled.files),
        f"  licence: {pulled.license or 'the hub tells none; read its page before you use it'}",
        *_facts(pulled),
        f"  memory: about {need:.0f} MB with a context of 4096 tokens{here}{fits}",
    ]


def _facts(pulled: Pulled) -> Iterator[str]:
    from agentfleet.fleet.catalogue import catalogue

    trained = _trained(pulled)
    known = next((one for one in catalogue() if pulled.model and one.name == pulled.model), None)
    context = trained or (known.context if known else None)
    yield f"  context: {f'trained for {context} tokens' if context else 'unknown'}"
    family = f" ({known.template})" if known and known.template else ""
    yield f"  chat template: {f'in the weights{family}' if pulled.template else 'none, so it may be no model for chat'}"
    if known and known.thinking:
        yield f"  thinking: {known.thinking}{f'; switched by {known.switch}' if known.switch else ''}"
    if known and known.weak:
        yield f"  weak: {known.weak}"


def _trained(pulled: Pulled) -> int | None:
    """Tokens of context that its weights say."""
    path = pulled.opened(project_root())
    if pulled.file:
        from agentfleet.backends.llama_cpp.gguf import read_header

        return read_header(path).trained_context
    told = json.loads((path / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
    return told if isinstance(told, int) and told > 0 else None


def snippet(pulled: Pulled) -> str:
    """What to add to agentfleet.toml."""
    stem = pulled.file.rpartition("/")[2].removesuffix(".gguf") or pulled.repo.partition("/")[2]
    name = re.sub(r"[^a-z0-9.]+", "-", stem.lower()).strip("-.")
    context = min(_trained(pulled) or 4096, 4096)
    return (
        "# to use it, add to agentfleet.toml:\n"
        f"[[models]]\nname = {json.dumps(name)}\n"
        f'backend = "{"llama_cpp" if pulled.file else "transformers"}"\n'
        f"model = {json.dumps(SCHEME + pulled.key)}\n"
        f'tier = "{"large" if pulled.bytes > LARGE else "small"}"\n'
        f"context = {context}\n"
    )


def verify(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One model; default all of the lock.")] = "",
    load: Annotated[bool, typer.Option("--load", help="Load GGUF models too, each in a process of its own.")] = False,
    fleet: FleetFile = None,
    as_json: Json = False,
) -> None:
    """Check every file of the lock: bytes, header, chat template; exit code 1 when one is changed, damaged or missing.

    Examples:

      agentfleet models verify

      agentfleet models verify Qwen3-1.7B:Q4_K_M --load
    """
    from agentfleet.backends.hub.verify import verify_all

    lock = load_lock(project_root())
    rows = [_row(found) for found in verify_all(lock, name, load)]
    if not name:
        rows += _of_fleet(chosen_fleet(None, fleet))
    if as_json:
        print(json.dumps(rows))
    else:
        show(rows)
    if any(row["state"] != "ok" for row in rows):
        raise typer.Exit(1)


def _row(found: Finding) -> dict[str, str]:
    return {"model": found.model, "path": str(found.path), "state": found.state, "why": found.why}


def _of_fleet(fleet: Fleet) -> list[dict[str, str]]:
    """What the fleet names and the lock does not have, or has at another revision."""
    lock, rows = load_lock(project_root()), []
    for model in fleet.models:
        if model.backend in LOCAL and is_reference(model.model):
            try:
                resolve(model.model, lock.pulled, lock.home)
            except AgentfleetError as error:
                rows.append({"model": model.name, "path": model.model, "state": "missing", "why": str(error)})
    return rows


def show(rows: Sequence[dict[str, str]]) -> None:
    """A line a file, and what is wrong with it."""
    out = render.console()
    for row in rows:
        colour = "green" if row["state"] == "ok" else "red"
        out.print(f"[{colour}]{row['state']:<8}[/] {render.safe(row['model'])}: {render.safe(row['path'])}")
        if row["why"]:
            out.print(f"         {render.safe(row['why'])}")
    bad = sum(row["state"] != "ok" for row in rows)
    out.print(f"{len(rows)} checked, {bad} not as the lock says" if rows else "the lock names no weights")


def rm(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    fleet: FleetFile = None,
) -> None:
    """Remove a pulled model: its files in the models folder, and its entry of agentfleet.lock.

    Example:

      agentfleet models rm Qwen3-1.7B:Q4_K_M --yes
    """
    from agentfleet.backends.hub.pull import remove_files

    root, out = project_root(), render.console()
    lock = load_lock(root)
    pulled = find_pulled(name, lock.pulled)
    users = users_of(pulled, chosen_fleet(None, fleet))
    used = f"; the fleet uses it as {', '.join(users)}" if users else ""
    told = f"{pulled.key} ({pulled.bytes / 1e6:.0f} MB) at revision {pulled.revision[:12]}{used}"
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"this removes {told}. To do so without being asked: --yes")
        typer.confirm(f"Remove {told}?", abort=True, err=True)
    gone = remove_files(pulled, root)
    save_lock(load_lock(root).without_pulled(pulled))
    out.print(render.safe(f"removed {told}: {len(gone)} files"))


def users_of(pulled: Pulled, fleet: Fleet) -> list[str]:
    """Names of the fleet's models that are this one."""
    names = []
    for model in fleet.models:
        if model.backend in LOCAL and is_reference(model.model):
            with suppress(UnknownName):
                find_pulled(model.model.partition("@")[0], {pulled.key: pulled})
                names.append(model.name)
    return names


def pulled_rows(fleet: Fleet) -> list[dict[str, Any]]:
    """A row for each pulled model: name, MB, revision, how its files are, and who in the fleet uses it."""
    from agentfleet.backends.hub.verify import is_verified

    lock = load_lock(project_root())
    rows = []
    for key, pulled in lock.pulled.items():
        missing = pulled.missing(lock.home)
        state = "missing" if missing else "verified" if is_verified(pulled, lock.home) else "not verified"
        rows.append(
            {"pulled": key, "catalogue": f"{pulled.model}:{pulled.format}".strip(":"), "bytes": pulled.bytes,
             "revision": pulled.revision, "files": state, "fleet": users_of(pulled, fleet)}
        )  # fmt: skip
    return rows
