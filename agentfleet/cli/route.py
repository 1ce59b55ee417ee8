"""``agentfleet route explain``: where a step's request would go, and why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from agentfleet.cli import render
from agentfleet.cli.app import FleetFile, Frontier, GraphName, Json, app, chosen_fleet, opened, reading
from agentfleet.cli.find import find_graph
from agentfleet.errors import UnknownName, UsageError, nearest
from agentfleet.fleet.config import project_root
from agentfleet.labels import Label

if TYPE_CHECKING:
    from agentfleet.graph.step import Step
    from agentfleet.ledger.ledger import Ledger
    from agentfleet.routing.dispatch import Dispatcher
    from agentfleet.routing.explain import Explanation
    from agentfleet.runtime.run import Run

route_app = typer.Typer(help="Which model answers what, and why.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(route_app, name="route")

RUNS = 50
"""Past runs from which times and lengths of answers are learnt for the estimates."""


@route_app.callback()
def route() -> None:
    """Which model answers what, and why."""


@route_app.command("explain")
def explain(
    graph: GraphName,
    step: Annotated[str, typer.Argument(metavar="STEP", help="Name or path of the step in the graph.")],
    given: Annotated[
        str, typer.Option("--input", "-i", metavar="JSON|@FILE", help="The step's inputs as an object, or its text.")
    ],
    run: Annotated[
        bool, typer.Option("--run", help="Then run the step, as a run of its own, and show what happened.")
    ] = False,
    frontier: Frontier = None,
    fleet: FleetFile = None,
    as_json: Json = False,
) -> None:
    """Say which models a step would ask for these inputs, in which order, and why not the others. Asks none.

    Examples:

      agentfleet route explain support_desk intent --input "Where is my parcel?"

      agentfleet route explain support_desk gist --input @mail.json --json
    """
    from agentfleet.routing.dispatch import Dispatcher

    root = project_root()
    models = chosen_fleet(frontier, fleet)
    path, found, label = find_asking(find_graph(graph, root), step)
    inputs = read_inputs(found, given)
    dispatcher = Dispatcher(models, root / ".agentfleet" / "heads")
    with reading() as ledger:
        recall(dispatcher, ledger)
        told = asyncio.run(_explained(dispatcher, found, inputs, label, graph, ledger))
    happened = None
    if run:
        with opened(frontier, fleet) as session:
            happened = session.run(found, inputs)
    if as_json:
        attempts = None if happened is None else [attempt.to_json() for _, attempt in happened.attempts]
        print(json.dumps({"graph": graph, "path": path, **told.to_json(), "happened": attempts}))
        return
    out = render.console()
    for line in lines(told, graph, path, found):
        out.print(line)
    if told.rungs:
        out.print(table(told))
    for line in happened_lines(happened) if happened is not None else ():
        out.print(line)


def find_asking(graph: Any, name: str) -> tuple[str, Step[..., Any], Label]:
    """The step of that path or name among those that may ask a model, with the label of what it reads.

    Raises UnknownName with the nearest, UsageError when several are called so.
    """
    from agentfleet.graph.check import asking

    steps = asking(graph)
    if name in steps:
        return (name, *steps[name])
    named = [path for path, (step, _) in steps.items() if name in (path.rpartition("/")[2], step.name)]
    if len(named) > 1:
        raise UsageError(f"{graph.name} has several steps {name!r}: write one of {', '.join(named)}")
    if not named:
        known = nearest(name, steps) if steps else ""
        raise UnknownName(f"{graph.name} has no step {name!r} that asks a model{known}")
    return (named[0], *steps[named[0]])


def read_inputs(step: Step[..., Any], given: str) -> dict[str, Any]:
    """A JSON object of the step's inputs, or ``@file`` with one; plain text where a step has a single text.

    Raises UsageError, InputError.
    """
    text = given
    if given.startswith("@"):
        try:
            text = Path(given[1:]).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise UsageError(f"cannot read {given[1:]}: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise UsageError(f"{given[1:]} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    needed = [param for param in step.params if param.required]
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = text
    names = {param.name for param in step.params}
    if isinstance(data, dict) and (set(data) <= names or len(needed) != 1):
        return step.bind((), data)
    if len(needed) == 1:
        return step.bind((), {needed[0].name: text if needed[0].annotation is str else data})
    shape = ", ".join(f'"{param.name}": ...' for param in step.params)
    raise UsageError(f"--input: {step.name} takes an object: {{{shape}}}")


def recall(dispatcher: Dispatcher, ledger: Ledger) -> None:
    """Tell the watch what the last runs saw, as if it were now: a command has seen nothing itself."""
    import time

    from agentfleet.routing.outcome import Attempt

    now = time.monotonic()
    for row in reversed(ledger.runs(limit=RUNS)):
        record = ledger.read(row.id)
        kinds = {(node.path, node.fingerprint): node.kind for node in record.nodes}
        for kept in record.attempts:
            attempt = Attempt.from_json(json.loads(kept.body))
            step = kept.path.rpartition("/")[2].partition("#")[0]
            kind = kinds.get((kept.path, kept.fingerprint), "")
            if attempt.usage.input_tokens and attempt.seconds:
                form = {"classify": "closed", "summarise": "text"}.get(kind, "json")
                dispatcher.watch.saw(attempt.model, form, attempt.usage.input_tokens, attempt.seconds, now)
                dispatcher.watch.answered(step, attempt.usage.output_tokens)


async def _explained(
    dispatcher: Dispatcher, step: Step[..., Any], inputs: dict[str, Any], label: Label, graph: str, ledger: Ledger
) -> Explanation:
    from agentfleet.routing.explain import explain as explained
    from agentfleet.routing.purse import Pot
    from agentfleet.runtime.accounts import Accounts

    budget = dispatcher.fleet.budget
    run = Pot("this run's budget", budget.run)
    purse = await Accounts(ledger).purse(budget, graph, run, step.options.budget)
    try:
        return await explained(dispatcher, step, inputs, label, graph, purse)
    finally:
        await dispatcher.close()


def lines(told: Explanation, graph: str, path: str, step: Step[..., Any]) -> list[str]:
    """What stands above the table."""
    low, high = step.options.tier or step.tier or "the lowest tier", step.up_to
    span = f"{low} to {high}" if high else low
    found = [f"[bold]{render.safe(graph)}, {render.safe(path)}[/]: {step.kind}, {span}"]
    if told.settled is not None:
        return [*found, f"no model is asked: code answers {render.safe(told.settled, 200)}"]
    wanted = told.wanted
    assert wanted is not None
    language = f"language {wanted.language}" if wanted.language else "language unclear"
    found.append(
        f"  reads      about {wanted.tokens} tokens, {', '.join(wanted.modalities)}, {language}, {wanted.label.level}"
    )
    found.append(f"  signals    {', '.join(sorted(wanted.signals)) or 'none'}")
    found.append(f"  answers    {render.safe(_answer(told))}, at most {wanted.answer_tokens} tokens")
    found += [f"  rule       {render.safe(line)}" for line in _rules(told)]
    found.append(f"  objective  {told.objective}{f', within {wanted.deadline:g} s' if wanted.deadline else ''}")
    return [*found, *([f"  budget     {render.safe(told.left)} left"] if told.left else [])]


def _answer(told: Explanation) -> str:
    assert told.wanted is not None
    features = told.wanted.features
    if features.kind == "closed":
        several = f"{features.fields} decisions, " if features.fields > 1 else ""
        return f"{several}one of {features.options} options"
    if features.kind == "text":
        return "text"
    return f"{features.fields} fields, {features.depth} deep{', with lists' if features.lists else ''}"


def _rules(told: Explanation) -> list[str]:
    if not told.rules:
        return ["the fleet file has none"]
    words = {"": "applies", None: "not looked at"}
    return [f"{rule}: {words.get(why, f'no, {why}')}" for rule, why in told.rules]


def table(told: Explanation) -> Table:
    """Every rung in order."""
    made = Table()
    for name in ("", "tier", "model", "asked", "why", "tokens", "cost", "seconds"):
        made.add_column(name, overflow="fold", no_wrap=name in ("tier", "asked", "tokens", "cost", "seconds"))
    colours = {"first": "green", "no": "yellow"}
    for number, rung in enumerate(told.rungs, 1):
        guess = rung.estimate
        tokens = cost = seconds = "–"
        if guess is not None:
            tokens = f"{'' if rung.exact else '~'}{guess.tokens}+{guess.answer_tokens}"
            cost = "unknown" if guess.cost is None else f"${guess.cost:.5f}" if guess.cost else "$0"
            seconds = "unknown" if guess.seconds is None else f"{guess.seconds:.2f}"
        colour = colours.get(rung.asked, "white")
        made.add_row(
            str(number), render.safe(rung.tier), render.safe(rung.model), f"[{colour}]{rung.asked}[/]",
            render.safe(rung.why), tokens, cost, seconds,
        )  # fmt: skip
    return made


def happened_lines(run: Run[Any]) -> Sequence[str]:
    """What then happened, attempt by attempt."""
    found = [f"then ({run.status}):"]
    for _, one in run.attempts:
        cost = "cost unknown" if one.cost is None else render.cost_text(one.cost, 0)
        spent = f"{one.usage.input_tokens}+{one.usage.output_tokens} tokens, {cost}, {one.seconds:.2f} s"
        why = f": {render.safe(one.problem, 120)}" if one.problem else ""
        found.append(f"  {one.tier} {render.safe(one.model)} {one.outcome.value} ({spent}){why}")
    return found
