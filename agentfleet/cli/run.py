"""``agentfleet run``: one graph over one or many inputs, with a progress bar, a line an item and a summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agentfleet.cli import render
from agentfleet.cli.app import AtOnce, FleetFile, Frontier, GraphName, Json, app, draining, opened, show_error
from agentfleet.cli.asked import asked_models, runs_at_once
from agentfleet.cli.find import find_graph
from agentfleet.cli.gold import gold_path, read_gold
from agentfleet.cli.inputs import Row, at_hand, read_rows
from agentfleet.cli.summary import print_summary
from agentfleet.errors import InputError, RunFailed
from agentfleet.fleet.config import project_root
from agentfleet.fleet.model import EMBEDDED, Model
from agentfleet.runtime.run import Run

WEAK = (
    "smollm2 is SmolLM2-135M-Instruct, 98 MB, deliberately weak. Do not watch what it gets right: watch what it is "
    "not allowed to get wrong."
)


@app.command()
def run(
    graph: GraphName,
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", metavar="FILE", help='JSONL, a row {"input": value} each; - for stdin.'),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input of a single run; once for each."),
    ] = None,
    gold: Annotated[
        Path | None,
        typer.Option("--gold", metavar="FILE", help="Right answers; default FILE.gold.jsonl beside FILE.jsonl."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first rows.")] = None,
    at_once: AtOnce = None,
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
    if inputs is None and rows[0].problem:
        raise InputError(rows[0].problem)
    known = gold_path(None if inputs is None else at_hand(inputs), gold)
    right_answers = read_gold(known) if known is not None else []
    with opened(frontier, fleet) as session:
        models = asked_models(step, session.fleet)
        batch = _Batch(step.name, rows, as_json, render.console(), render.console(to_stderr=True))
        batch.heading(models)
        interrupted = batch.go(session, step, at_once or runs_at_once(session.fleet))
    if not as_json:
        if inputs is None and batch.runs:
            render.print_value(batch.out, batch.runs[0])
        print_summary(batch.out, step, batch.runs, sum(bool(row.problem) for row in rows), right_answers)
    if interrupted:
        batch.errors.print("stopped; what had begun is kept. To go on with it: agentfleet resume")
        if batch.left:
            batch.errors.print(f"not begun: {len(batch.left)} rows, from line {batch.left[0].line} on")
        raise typer.Exit(130)
    if batch.failed():
        raise typer.Exit(1)


@dataclass
class _Batch:
    """The rows and their runs, printed in the order of the rows as soon as that is known."""

    graph: str
    rows: Sequence[Row]
    as_json: bool
    out: Console
    errors: Console
    runs: dict[int, Run[Any]] = field(default_factory=dict)
    printed: int = 0

    def heading(self, models: Sequence[Model]) -> None:
        """What the embedded model is, before anything that it says; then the names of the columns."""
        if not self.rows:
            self.errors.print("no rows: there is nothing to run")
        if EMBEDDED in models:
            (self.errors if self.as_json else self.out).print(WEAK)
        if not self.as_json:
            self.out.print(render.HEADER, style="dim")

    def go(self, session: Any, step: Any, at_once: int) -> bool:
        """Run what fits; True when interrupted."""
        good = [index for index, row in enumerate(self.rows) if not row.problem]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        # Where rows go to a terminal, the bar has to share their console, or each would overwrite the other.
        shown = self.errors if self.as_json or not self.out.is_terminal else self.out
        hidden = not shown.is_terminal or (self.as_json and self.out.is_terminal)
        with Progress(*columns, console=shown, transient=True, disable=hidden) as bar:
            task = bar.add_task(step.name, total=len(good))

            def on_done(index: int, run: Run[Any]) -> None:
                self.runs[good[index]] = run
                bar.advance(task)
                self.flush()

            self.flush()
            try:
                with draining(_interrupt):
                    session.run_many(step, [self.rows[index].inputs for index in good], at_once, on_done)
            except KeyboardInterrupt:
                return True
            finally:
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
            if run.status in ("failed", "cancelled"):  # the row holds a few words of it
                show_error(run.cause or RunFailed(run.error), row.where)

    def _bad(self, row: Row) -> None:
        if self.as_json:
            print(render.json_line(Run("", self.graph, "failed", error=row.problem), row.line), flush=True)
        self.errors.print(f"[red]error:[/] {render.safe(row.problem)}")

    @property
    def left(self) -> list[Row]:
        """The rows that were not begun before Ctrl-C."""
        return [row for index, row in enumerate(self.rows) if not row.problem and index not in self.runs]

    def failed(self) -> int:
        """How many rows did not fit or failed."""
        bad = sum(bool(row.problem) for row in self.rows)
        return bad + sum(run.status in ("failed", "cancelled") for run in self.runs.values())


def _interrupt() -> None:
    raise KeyboardInterrupt  # run_many takes up no further row, and waits for those in flight
