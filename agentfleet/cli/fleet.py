"""``agentfleet fleet check``: is the fleet file sound, is everything there, and, if asked, do its models answer?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from agentfleet.cli import render
from agentfleet.cli.app import FleetFile, Json, app
from agentfleet.cli.find import graph_names
from agentfleet.errors import AgentfleetError, FleetError, MissingKey, nearest
from agentfleet.fleet.config import fleet_file, known_secrets, project_root, read_fleet, resolve_key
from agentfleet.fleet.model import Fleet, Model, default_fleet
from agentfleet.runtime.redact import redacted_text

if TYPE_CHECKING:
    from agentfleet.backends.backend import Completion, Request

fleet_app = typer.Typer(help="The fleet file.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(fleet_app, name="fleet")

MOST_SECONDS = 60.0
"""For one call of `--online`, unless the model's own timeout is shorter."""


@fleet_app.callback()
def fleet() -> None:
    """The fleet file."""


@fleet_app.command("check")
def check(
    fleet: FleetFile = None,
    online: Annotated[
        bool, typer.Option("--online", help="Call each model once with a few words, and say what came back.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check the fleet file: every mistake with its line, and what stands in it. Without --online nothing is called.

    Exit code 2 when something is wrong. A key or weights that are missing here are shown, and wrong only with --online.

    Examples:

      agentfleet fleet check

      agentfleet fleet check --fleet agentfleet.toml --online
    """
    path = fleet or fleet_file(project_root())
    found, problems = (default_fleet(), []) if path is None else _read(path)
    calls = asyncio.run(call_all(found)) if online and found is not None else []
    if as_json:
        print(json.dumps(_as_json(path, found, problems, calls)))
    else:
        _show(path, found, problems, calls)
    if problems or any(call.problem for call in calls):
        raise typer.Exit(2)


def _read(path: Path) -> tuple[Fleet | None, list[str]]:
    try:
        return read_fleet(path)
    except FleetError as error:
        return None, [str(error)]


@dataclass(frozen=True, slots=True)
class Called:
    """What came of one call: `problem` or an answer. `cost`: US dollars, None when the price is unknown."""

    model: str
    problem: str = ""
    answer: str = ""
    seconds: float = 0.0
    tokens: tuple[int, int] = (0, 0)
    cost: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model, "ok": not self.problem, "problem": self.problem, "answer": self.answer,
            "seconds": self.seconds, "input_tokens": self.tokens[0], "output_tokens": self.tokens[1], "cost": self.cost,
        }  # fmt: skip


async def call_all(fleet: Fleet) -> list[Called]:
    """Each model once, one after the other."""
    return [await call_once(model) for model in fleet.models]


async def call_once(model: Model) -> Called:
    """Open a model, ask it for one word, close it. What goes wrong is told, never raised."""
    from agentfleet.fleet.prices import cost
    from agentfleet.routing.open import open_backend

    timeout = min(model.timeout, MOST_SECONDS)
    try:
        backend = await asyncio.to_thread(open_backend, model)
        try:
            async with asyncio.timeout(timeout):
                got = await backend.complete(_question(model, timeout))
        finally:
            await backend.close()
    except TimeoutError:
        return Called(model.name, f"no answer within {timeout:g} s")
    except AgentfleetError as error:
        return Called(model.name, redacted_text(str(error), known_secrets()))
    tokens = (got.usage.input_tokens, got.usage.output_tokens)
    return Called(model.name, _unusable(got), got.text, got.seconds, tokens, cost(model, got.usage))


def _unusable(got: Completion) -> str:
    if got.finish == "refusal":
        return f"it declined to answer: {got.text}"
    return "" if got.text.strip() or got.finish == "length" else "it answered with nothing"


def _question(model: Model, timeout: float) -> Request:
    from agentfleet.backends.backend import Request
    from agentfleet.prompt import Block, Prompt
    from agentfleet.schema import output_of

    prompt = Prompt("Answer with one word.", (Block("question", "Which colour has the sky on a clear day?"),))
    output = output_of(str, where="fleet check")
    return Request(
        prompt, output, "fleet-check", max_tokens=model.max_tokens or 32, timeout=timeout, params=model.params
    )


def price_text(model: Model) -> str:
    """What a million tokens cost: ``$3 in, $15 out``, free, or unknown."""
    from agentfleet.backends.backend import Usage
    from agentfleet.fleet.prices import quote

    if model.free:
        return "free"
    read, both = (quote(model, Usage(1000, written)) for written in (0, 1000))
    if read.cost is None or both.cost is None:
        return "unknown"
    return f"${read.cost * 1000:.4g} in, ${(both.cost - read.cost) * 1000:.4g} out ({read.source})"


def key_text(model: Model) -> str:
    """Is what the model needs here? ``set``, ``missing: VARIABLE``, ``missing: weights``, or – for nothing needed."""
    if model.key is not None:
        try:
            resolve_key(model)
        except MissingKey:
            return f"missing: {model.key.removeprefix('env:')}"
        return "set"
    if model.backend == "llama_cpp" and model.model not in ("", "embedded") and not Path(model.model).exists():
        return "missing: weights"
    return "–"


def notes(fleet: Fleet) -> list[str]:
    """What is no mistake and yet worth knowing."""
    known = set(graph_names(project_root()))
    filled = {tier for model in fleet.models for tier in model.tiers}
    empty = [tier for tier in fleet.tiers if tier not in filled]
    found = [f"empty tiers: {', '.join(empty)} (steps that climb there wait)"] if empty else []
    unpriced = [model.name for model in fleet.models if price_text(model) == "unknown"]
    budget = fleet.budget
    if budget.limits:
        said = (("step", budget.step), ("run", budget.run), ("day", budget.day))
        limits = [f"${limit:g} a {name}" for name, limit in said if limit is not None]
        limits += [f"${limit:g} a day for {name}" for name, limit in budget.graphs.items()]
        found.append(f"budget: {', '.join(limits)}")
        if unpriced and not budget.allow_unpriced:
            found.append(f"no step with a budget asks {', '.join(unpriced)}: state a price, or allow_unpriced = true")
    found += [f"rule {number}: {rule}" for number, rule in enumerate(fleet.rules, 1)]
    return found + [
        f"no graph {name!r} here, which the file names{nearest(name, known)}" for name in sorted(_graphs(fleet) - known)
    ]


def _graphs(fleet: Fleet) -> set[str]:
    return {*fleet.budget.graphs, *(name for rule in fleet.rules for name in rule.when.graph)}


def _rows(fleet: Fleet) -> list[dict[str, Any]]:
    from agentfleet.routing.eligible import clearance

    return [
        {"name": m.name, "tiers": list(m.tiers), "backend": m.backend, "model": m.model,
         "place": f"{m.place}, {m.region}" if m.region else m.place, "sees": clearance(m), "price": price_text(m),
         "key": key_text(m)}
        for m in fleet.models
    ]  # fmt: skip


def _as_json(
    path: Path | None, fleet: Fleet | None, problems: Sequence[str], calls: Sequence[Called]
) -> dict[str, Any]:
    return {
        "file": None if path is None else str(path),
        "problems": list(problems),
        "models": [] if fleet is None else _rows(fleet),
        "notes": [] if fleet is None else notes(fleet),
        "calls": [call.to_json() for call in calls],
    }


def _show(path: Path | None, fleet: Fleet | None, problems: Sequence[str], calls: Sequence[Called]) -> None:
    out = render.console()
    for problem in problems:
        out.print(f"[red]error:[/] {render.safe(problem)}")
    if fleet is None:
        return
    title = "no fleet file: the default fleet" if path is None else f"{path}: no mistakes"
    out.print(render.safe(title))
    table = Table()
    for name in ("name", "tiers", "backend", "model", "place", "sees", "price, $/M tokens", "key or weights"):
        table.add_column(name, overflow="fold")
    for row in _rows(fleet):
        row["model"] = Path(row["model"]).name if Path(row["model"]).is_absolute() else row["model"]
        table.add_row(*(render.safe(", ".join(v) if isinstance(v, list) else str(v)) for v in row.values()))
    out.print(table)
    for note in notes(fleet):
        out.print(render.safe(note))
    for call in calls:
        out.print(_called(call))


def _called(call: Called) -> str:
    if call.problem:
        return f"[red]{render.safe(call.model)}: {render.safe(call.problem)}[/]"
    price = "price unknown" if call.cost is None else render.cost_text(call.cost, 0)
    read, written = call.tokens
    spent = f"{read}+{written} tokens, {price}" if read else f"it tells no usage, {price}"
    said = render.safe(json.dumps(call.answer), 60)
    return f"[green]{render.safe(call.model)}[/] answered {said} in {call.seconds:.2f} s ({spent})"
