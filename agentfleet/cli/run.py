"""``agentfleet run``: one graph over one or many inputs, with a progress bar, a line an item and a summary."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agentfleet.cli import render
from agentfleet.cli.app import FleetFile, Frontier, Json, app, opened
from agentfleet.cli.find import find_graph
from agentfleet.cli.gold import gold_path, is_right, places_of, read_gold
from agentfleet.cli.inputs import Row, read_rows
from agentfleet.fleet.config import project_root
from agentfleet.fleet.model import EMBEDDED
from agentfleet.runtime.run import Run

WEAK = (
    "smollm2 is SmolLM2-135M-Instruct, 98 MB, deliberately weak. Do not watch what it gets right: watch what it is "
    "not allowed to get wrong."
)


@app.command()
def run(
    graph: Annotated[str, typer.Argument(help="NAME of the project or stock, path.py:attr, or module:attr.")],
    inputs: Annotated[Path | None, typer.Option("--inputs", help='JSONL, a row {"input": value} each; - for stdin.')] = None,
    given: Annotated[list[str] | None, typer.Option("--input", "-i", help="name=value, for a single run.")] = None,
    gold: Annotated[Path | None, typer.Option("--gold", help="Right answers; default FILE.gold.jsonl beside FILE.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first rows.")] = None,
    at_once: Annotated[int, typer.Option("--at-once", min=1, help="Runs at a time.")] = 4,
    frontier: Frontier = None,
    fleet: FleetFile = None,
    as_json: Json = False,
) -> None:
    """Run a graph.

    Examples:

      agentfleet run support_desk --inputs examples/inbox.jsonl

      agentfleet run support_desk --input email="Where is my parcel?"

      agentfleet run graphs/mine.py:triage --inputs mails.jsonl --json
    """
    step = find_graph(graph, project_root())
    rows = read_rows(step, inputs, given or [])[:limit]
    known = gold_path(inputs, gold)
    with opened(frontier, fleet) as session:
        batch = _Batch(rows, as_json, render.console(), render.console(to_stderr=True))
        if any(model == EMBEDDED for model in session.fleet.models):
            batch.errors.print(WEAK, style="dim")
        interrupted = batch.go(session, step, at_once)
    if not as_json:
        _summary(batch, step, read_gold(known) if known is not None else [])
    if interrupted:
        render.console(to_stderr=True).print("stopped; what had begun is kept. To go on: agentfleet resume")
        raise typer.Exit(130)
    if batch.failed():
        raise typer.Exit(1)


@dataclass
class _Batch:
    """The rows and their runs, printed in the order of the rows as soon as that is known."""

    rows: Sequence[Row]
    as_json: bool
    out: Console
    errors: Console
    runs: dict[int, Run[Any]] = field(default_factory=dict)
    printed: int = 0

    def go(self, session: Any, step: Any, at_once: int) -> bool:
        """Run what fits; True when interrupted."""
        good = [index for index, row in enumerate(self.rows) if not row.problem]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bar = Progress(*columns, console=self.errors, transient=True, disable=not sys.stderr.isatty())
        with bar:
            task = bar.add_task(step.name, total=len(good))

            def on_done(index: int, run: Run[Any]) -> None:
                self.runs[good[index]] = run
                bar.advance(task)
                self.flush()

            self.flush()
            try:
                session.run_many(step, [self.rows[index].inputs for index in good], at_once, on_done)
            except KeyboardInterrupt:
                self.flush(final=True)
                return True
        self.flush(final=True)
        return False

    def flush(self, *, final: bool = False) -> None:
        """Print the rows that are finished and whose predecessors are printed."""
        while self.printed < len(self.rows):
            row = self.rows[self.printed]
            run = self.runs.get(self.printed)
            if row.problem:
                self._bad(row)
            elif run is not None:
                self._good(row, run)
            elif not final:
                return
            self.printed += 1

    def _good(self, row: Row, run: Run[Any]) -> None:
        if self.as_json:
            print(render.json_line(run, row.line), flush=True)
        else:
            self.out.print(render.row(row.line, run))

    def _bad(self, row: Row) -> None:
        if self.as_json:
            print(render.json_line(Run("", "", "failed", error=row.problem), row.line), flush=True)
        self.errors.print(f"[red]error:[/] {render.safe(row.problem)}")

    def failed(self) -> int:
        bad = sum(bool(row.problem) for row in self.rows)
        return bad + sum(run.status in ("failed", "cancelled") for run in self.runs.values())


def _summary(batch: _Batch, step: Any, gold: Sequence[dict[str, Any]]) -> None:
    runs = list(batch.runs.values())
    accepted = {index: run for index, run in batch.runs.items() if run.status == "done"}
    places = places_of(step)
    judged = bool(gold and places)
    right = {i for i, run in accepted.items() if judged and i < len(gold) and is_right(run, gold[i], places)}
    words = [f"accepted {len(accepted)}" + (f" (right {len(right)}, wrong {len(accepted) - len(right)})" if judged else "")]
    waits = sum(run.status in ("waiting", "paused") for run in runs)
    words.append(f"waiting {waits}" + (f" ({render.waiting_reasons(runs)})" if waits else ""))
    words.append(f"failed {batch.failed()}")
    for name, carried in _effects(step, accepted).items():
        wrong = f" (wrong: {len(carried - right)})" if judged else ""
        words.append(f"{name}s {len(carried)}{wrong}")
    batch.out.print("; ".join(words))
    cost = render.cost_text(sum(run.cost for run in runs), sum(run.unpriced for run in runs))
    estimate = render.always_frontier(runs)
    batch.out.print(
        f"cost {cost}; always-frontier would be about ${estimate:.3f} (an estimate: 4 characters a token at "
        f"${render.ESTIMATE_IN:g} and ${render.ESTIMATE_OUT:g} per million tokens)"
    )
    _what_waits(batch.out, runs)


def _effects(step: Any, accepted: dict[int, Run[Any]]) -> dict[str, set[int]]:
    """For each effect step that may run in this graph: the rows in which it ran."""
    from agentfleet.routing.fit import parts

    found: dict[str, set[int]] = {part.name: set() for part in parts(step) if part.effect}
    for index, run in accepted.items():
        for record in run.steps.values():
            if record.state == "done" and record.name in found:
                found[record.name].add(index)
    return found


def _what_waits(out: Console, runs: Sequence[Run[Any]]) -> None:
    waiting = next((run for run in runs if run.status == "waiting" and run.waiting), None)
    if waiting is None:
        return
    path = waiting.waiting[0].path
    out.print(
        f"what waits: agentfleet show {waiting.id}; answer it yourself: agentfleet answer {waiting.id} {path} JSON; "
        "or name a model (agentfleet.toml, or --frontier anthropic:MODEL) and: agentfleet resume"
    )
