"""``agentfleet models tune``: which weight format of a local model to run, and how, by measurement on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from agentfleet.cli import render
from agentfleet.cli.app import FleetFile, Json, chosen_fleet
from agentfleet.cli.find import stock_example
from agentfleet.cli.learn import find_skill
from agentfleet.errors import InputError, UnknownName, UsageError, nearest
from agentfleet.fleet.config import project_root
from agentfleet.fleet.model import Fleet, Model

if TYPE_CHECKING:
    from agentfleet.backends.llama_cpp.timing import Share
    from agentfleet.backends.llama_cpp.tune import Candidate, Case, Tuned
    from agentfleet.graph.examples import Example
    from agentfleet.graph.step import Step

CLASSIFY = ("intent", "urgency", "language")
EXTRACT = ("order", "invoice")
_EACH, _EACH_QUICK = 30, 12
"""Cases of each skill."""

Objective = Annotated[
    Literal["fastest", "smallest", "closest"],
    typer.Option("--objective", help="What the chosen format must be, of those shown to answer as well."),
]


def tune(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A llama_cpp model of the fleet, e.g. smollm2.")],
    quick: Annotated[bool, typer.Option("--quick", help="Fewer cases, fewer rounds.")] = False,
    objective: Objective = "fastest",
    formats: Annotated[str, typer.Option("--formats", metavar="NAME,NAME", help="Formats to make and compare.")] = "",
    data: Annotated[
        Path | None, typer.Option("--data", help='Your own cases: JSON lines {"skill", "inputs", "output"}.')
    ] = None,
    fleet: FleetFile = None,
    as_json: Json = False,
) -> None:
    """Make other weight formats of a model, measure all on the same cases, choose one and record it in agentfleet.lock.

    Every format is timed with 1 to all physical cores and with larger batches of the prompt; its best setting counts.

    Examples:

      agentfleet models tune smollm2 --quick

      agentfleet models tune smollm2 --objective closest --formats Q8_0,Q5_0,Q4_0
    """
    from agentfleet.backends.llama_cpp.quantize import known_formats
    from agentfleet.backends.llama_cpp.timing import FULL, QUICK
    from agentfleet.backends.llama_cpp.tune import DEFAULT
    from agentfleet.backends.llama_cpp.tune import tune as measure

    root = project_root()
    model = local_model(name, chosen_fleet(None, fleet))
    wanted = known_formats(formats.split(",")) if formats else DEFAULT[:1] + DEFAULT[-1:] if quick else DEFAULT
    cases, what = cases_of(data, root, _EACH_QUICK if quick else _EACH)
    progress = render.console(to_stderr=True)
    found = measure(
        model.name,
        weights_of(model),
        cases,
        root,
        formats=wanted,
        objective=objective,
        threads=threads_of(model),
        context=model.context or 4096,
        effort=QUICK if quick else FULL,
        what=what,
        say=lambda line: progress.print(f"… {render.safe(line)}"),
    )
    if as_json:
        print(json.dumps(as_rows(found)))
    else:
        show(found, what)


def local_model(name: str, fleet: Fleet) -> Model:
    """The llama_cpp model of that name. Raises UnknownName with the nearest, UsageError for another backend."""
    for model in fleet.models:
        if model.name == name:
            if model.backend != "llama_cpp":
                raise UsageError(
                    f"model {name!r} runs on {model.backend}; only llama_cpp models have formats to choose"
                )
            return model
    known = [model.name for model in fleet.models if model.backend == "llama_cpp"]
    raise UnknownName(f"no model {name!r} in this fleet{nearest(name, known)}")


def weights_of(model: Model) -> Path:
    """The file of a model's original weights. Raises MissingExtra, ModelFileError."""
    from agentfleet.backends.llama_cpp import weights_at

    return weights_at(model.model)


def threads_of(model: Model) -> tuple[int, ...]:
    """The number of threads that is set for this model or by AGENTFLEET_THREADS; () when it is free to choose."""
    named = model.params.get("threads") or os.environ.get("AGENTFLEET_THREADS")
    if not named:
        return ()
    if not str(named).isdecimal() or int(named) < 1:
        raise UsageError(f"threads is {named!r}; write a whole number of threads, 1 or more")
    return (int(named),)


def cases_of(data: Path | None, root: Path, each: int) -> tuple[list[Case], str]:
    """The cases to measure with, and what they are. `each`: stock cases of a skill at most."""
    if data is not None:
        found = list(_given(data, root))
        if not found:
            raise InputError(f"{data}: no row of it makes a skill ask a model")
        return found, f"{len(found)} {'case' if len(found) == 1 else 'cases'} of {data.name}"
    found = []
    for name in (*CLASSIFY, *EXTRACT):
        step = find_skill(name, root)
        rows = list(_cases(step, step.examples))
        if name == "order":
            rows += _cases(step, _inbox(step))
        found += spread(rows, each)
    names = ", ".join((*CLASSIFY, *EXTRACT))
    return found, f"{len(found)} stock cases of {names}"


def spread(rows: Sequence[Any], most: int) -> list[Any]:
    """At most so many rows, evenly from all of them."""
    if len(rows) <= most:
        return list(rows)
    return [rows[index * len(rows) // most] for index in range(most)]


def _given(data: Path, root: Path) -> Iterator[Case]:
    from agentfleet.graph.examples import load_examples

    names: dict[str, None] = {}
    try:
        lines = data.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {data}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            names[_skill_of(line, f"{data}, line {number}")] = None
    for name in names:
        step = find_skill(name, root)
        yield from _cases(step, load_examples(step, data, data))


def _skill_of(line: str, where: str) -> str:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where}: no JSON ({error})") from error
    if not isinstance(row, dict) or not isinstance(row.get("skill"), str):
        raise InputError(f'{where}: a row is {{"skill": NAME, "inputs": {{...}}, "output": ...}}')
    return str(row["skill"])


def _cases(step: Step[..., Any], examples: Sequence[Example]) -> Iterator[Case]:
    """A case of each example that the step's body leaves to a model. Its own answer is not among those it is shown."""
    from agentfleet.backends.backend import Request
    from agentfleet.backends.llama_cpp.tune import Case
    from agentfleet.routing.describe import ANSWER_TOKENS
    from agentfleet.routing.heads import shown_prompt

    output = step.output
    if output is None:
        raise UsageError(f"{step.name} is a {step.kind}: cases are of skills that classify, extract or summarise")

    def read(text: str) -> str:
        return output.dump(output.parse(text))

    for example in examples:
        prompt = shown_prompt(step, example.inputs)
        if prompt is None:
            continue
        others = tuple(shown for shown in prompt.examples if shown.blocks != prompt.blocks)
        request = Request(replace(prompt, examples=others), output, step.name, ANSWER_TOKENS[output.kind])
        yield Case(request, output.dump(example.output), read)


def _inbox(step: Step[..., Any]) -> list[Example]:
    """The sample inbox with what stands in its gold, as examples of `order`."""
    from agentfleet.graph.examples import Example

    found = []
    paths = (stock_example("inbox.jsonl"), stock_example("inbox.gold.jsonl"))
    mails, gold = (path.read_text("utf-8") if path else "" for path in paths)
    for mail, row in zip(mails.splitlines(), gold.splitlines(), strict=True):
        inputs, known = json.loads(mail), json.loads(row)
        if known["order_id"] is not None and known["amount"] is not None:
            output = step.codec.check({"order_id": known["order_id"], "amount": known["amount"]})
            found.append(Example({"email": inputs["email"]}, output))
    return found


def as_rows(found: Tuned) -> dict[str, Any]:
    """For ``--json``. Intervals are 95 % (Wilson)."""
    from agentfleet.backends.head.measure import wilson
    from agentfleet.backends.llama_cpp.tune import case_ms

    rows = [
        {
            **m.model_dump(),
            "agrees_interval": wilson(*m.agrees),
            "right_interval": wilson(*m.right),
            "bytes": c.bytes,
            "case_ms": case_ms(c, found.share),
            "doubtful": c.format in found.doubtful,
            "settings": list(_settings(c, found.share)),
        }
        for c, m in zip(found.candidates, found.measured, strict=True)
    ]
    return {
        "chosen": found.chosen.format,
        "objective": found.objective,
        "threads": found.setting.threads,
        "batch": found.setting.batch,
        "path": str(found.path),
        "tokens_a_case": found.share,
        "formats": rows,
    }


def _settings(one: Candidate, share: Share) -> Iterator[dict[str, float]]:
    """What was timed, a row for each setting."""
    for setting in sorted(one.times.prompt):
        yield {
            "threads": setting.threads,
            "batch": setting.batch,
            "prompt_ms": one.times.prompt[setting],
            "decode_ms": one.times.decode[setting.threads],
            "case_ms": one.times.case_ms(setting, share),
        }


def show(found: Tuned, what: str) -> None:
    """The tables, what was chosen and why."""
    from agentfleet.backends.llama_cpp.timing import HELD
    from agentfleet.backends.llama_cpp.tune import TOLERANCE

    out = render.console()
    out.print(_formats_table(found))
    prompt, answer = found.share
    for line in (
        f"{what}; intervals are 95 % (Wilson); a case costs {prompt:.0f} new tokens of prompt and {answer:.0f} of answer.",
        f"doubtful: could be right less often than the original by {TOLERANCE:.0%} or more; such a format is not chosen.",
    ):
        out.print(render.safe(line))
    out.print(_settings_table(found))
    out.print(
        f"batch: tokens of a prompt in one evaluation; a larger one may take {HELD:.0f} ms, so that a call can be stopped."
    )
    best = found.setting
    threads = f"{best.threads} {'thread' if best.threads == 1 else 'threads'}"
    out.print(f"chosen: {found.chosen.format}, the {found.objective}; {threads}, batch {best.batch}")
    out.print(f"the file: {render.safe(str(found.path))}; recorded in agentfleet.lock")


def _formats_table(found: Tuned) -> Table:
    """A row for each format, at its best setting."""
    from agentfleet.backends.llama_cpp.tune import case_ms

    table = _table("format", "MB", "ms/prompt token", "ms/decoded token", "ms/case", "as the original", "right", "")
    for c, m in zip(found.candidates, found.measured, strict=True):
        note = "original" if c is found.candidates[0] else "doubtful" if c.format in found.doubtful else ""
        note = f"{note} chosen".strip() if c is found.chosen else note
        speed = (f"{m.prompt_ms:.2f}", f"{m.decode_ms:.2f}", f"{case_ms(c, found.share):.0f}")
        table.add_row(c.format, f"{c.bytes / 1e6:.0f}", *speed, share(m.agrees), share(m.right), note)
    return table


def _settings_table(found: Tuned) -> Table:
    """A row for each setting of the chosen format."""
    table = _table(found.chosen.format, "threads", "batch", "ms/prompt token", "ms/decoded token", "ms/case")
    for row in _settings(found.chosen, found.share):
        best = (row["threads"], row["batch"]) == (found.setting.threads, found.setting.batch)
        speed = (f"{row['prompt_ms']:.2f}", f"{row['decode_ms']:.2f}", f"{row['case_ms']:.0f}")
        table.add_row("chosen" if best else "", str(row["threads"]), str(row["batch"]), *speed)
    return table


def _table(*heads: str) -> Table:
    """Text in the first column and in one without a name, numbers in the others."""
    table = Table()
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if head and number else "left")
    return table


def share(pair: tuple[int, int]) -> str:
    """A share with its interval."""
    from agentfleet.backends.head.measure import wilson

    low, high = wilson(*pair)
    return f"{pair[0] / pair[1]:.0%} ({low:.0%}–{high:.0%})" if pair[1] else "–"
