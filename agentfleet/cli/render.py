"""How runs look in a terminal: rows, the summary, one run's steps. Escapes in model text are made harmless."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agentfleet.routing.outcome import Attempt
from agentfleet.runtime.run import Run, StepRecord

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What can steer a terminal, reverse a line, or not be written at all (half a character)."""

_COLOURS = {"done": "green", "waiting": "yellow", "paused": "yellow", "failed": "red", "cancelled": "red"}
ESTIMATE_IN, ESTIMATE_OUT = 3.0, 15.0
"""US dollars per million tokens of the always-frontier estimate: a usual list price of a large hosted model."""
_CALLED = ("extract", "classify", "summarise", "plan")


class _Pipe(Console):
    """rich ends the process when its reader goes away; runs are ended properly instead, by the caller."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(*, to_stderr: bool = False) -> Console:
    """A console that honours NO_COLOR and narrow pipes."""
    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() else int(os.environ.get("COLUMNS", "120"))
    return _Pipe(file=stream, width=width, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Text from outside on one line, without control characters."""
    return _CONTROL.sub(" ", text.replace("\n", " ").replace("\t", " "))


def safe(text: str, most: int = 0) -> str:
    """Text from outside, on one line, without control characters or markup; cut to `most` characters."""
    plain = printable(text)
    if most and len(plain) > most:
        plain = plain[: most - 1] + "…"
    return escape(plain)


HEADER = f"{'':>4} {'status':<8} {'run':<16} {'result':<36} steps: tier and outcome, × attempts"
"""Stands above the rows."""


def row(number: int, run: Run[Any]) -> str:
    """One finished run on one line: number (0: none), status, id, result, then each step with tier and outcome."""
    colour = _COLOURS.get(run.status, "white")
    return (
        f"{number or '':>4} [{colour}]{run.status:<8}[/] {run.id:<16} {_cut(outcome_text(run), 36)} "
        f"{' · '.join(cell(step) for step in top_steps(run))}"
    )


def _cut(text: str, width: int) -> str:
    """Exactly `width` characters, then made safe: markup does not count."""
    plain = printable(text)
    return escape(plain if len(plain) <= width else plain[: width - 1] + "…") + " " * max(width - len(plain), 0)


def top_steps(run: Run[Any]) -> list[StepRecord]:
    """The steps of the graph itself, not those inside subgraphs and plans."""
    return [step for path, step in run.steps.items() if "/" not in path and "#" not in path]


def cell(step: StepRecord) -> str:
    """``intent nano valid`` in green, ``order small skipped×2`` in yellow, ``reply code`` where Python answered."""
    colour = _COLOURS.get(step.state, "white")
    tries = f"×{len(step.attempts)}" if len(step.attempts) > 1 else ""
    if step.state != "done":
        told = f"{step.tier or (step.attempts[-1].tier if step.attempts else '')} {step.outcome or step.state}".strip()
        return f"{safe(step.path)} [{colour}]{safe(told)}{tries}[/]"
    who = step.tier or step.model
    mark = "default" if step.fallback else step.outcome
    return f"{safe(step.path)} [{colour}]{safe(who)}{'' if who == 'code' else f' {mark}'}{tries}[/]"


def outcome_text(run: Run[Any]) -> str:
    """The value, what is waited for, or the error."""
    if run.status == "done":
        return run.result_json or "null"
    if run.waiting:
        wait = run.waiting[0]
        return f"{wait.path} waits ({wait.reason}): {wait.why}"
    return run.error


def cost_text(cost: float, unpriced: int) -> str:
    """Dollars, and how many calls had no known price."""
    text = f"${cost:.4f}" if cost else "$0"
    return f"{text} and {unpriced} calls of unknown price" if unpriced else text


def always_frontier(runs: Sequence[Run[Any]]) -> float:
    """An estimate in US dollars: what these runs asked, asked of a large hosted model at 4 characters a token."""
    total = 0.0
    for run in runs:
        for step in run.steps.values():
            if step.kind in _CALLED and step.attempts:
                shown = max((sum(len(m["content"]) for m in a.prompt) for a in step.attempts), default=0)
                answer = len(step.value_json or "") or 200
                total += shown / 4 * ESTIMATE_IN + answer / 4 * ESTIMATE_OUT
    return total / 1e6


def waiting_reasons(runs: Sequence[Run[Any]]) -> str:
    """``context 2, person 1``: why runs wait, by their first waiting step."""
    reasons = Counter(reason_of(run) for run in runs if run.status in ("waiting", "paused"))
    return ", ".join(f"{name} {count}" for name, count in reasons.most_common())


def totals(runs: Sequence[Run[Any]]) -> str:
    """``done 3; waiting 1 (person 1); failed 0; cost $0``."""
    done = sum(run.status == "done" for run in runs)
    bad = sum(run.status in ("failed", "cancelled") for run in runs)
    cost = cost_text(sum(run.cost for run in runs), sum(run.unpriced for run in runs))
    return f"done {done}; {waiting_text(runs)}; failed {bad}; cost {cost}"


def waiting_text(runs: Sequence[Run[Any]]) -> str:
    """``waiting 3 (person 2, gist context 1)``."""
    waits = sum(run.status in ("waiting", "paused") for run in runs)
    return f"waiting {waits}" + (f" ({waiting_reasons(runs)})" if waits else "")


def print_value(out: Console, run: Run[Any]) -> None:
    """The whole value of a finished run: text as it is, anything else as JSON."""
    if run.status != "done" or run.result_json is None:
        return
    value = json.loads(run.result_json)
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    for line in text.split("\n"):
        out.print(safe(line))


def reason_of(run: Run[Any]) -> str:
    """person, paused, or for a missing model what kept the models there were from answering."""
    if not run.waiting:
        return run.status
    wait = run.waiting[0]
    if wait.reason != "model":
        return wait.reason
    attempts = run.steps[wait.path].attempts
    last = attempts[-1] if attempts else None
    if last is None:
        return f"{wait.path} needs a model"
    why = last.problem.split(":")[0] if last.outcome.value == "skipped" else last.outcome.value
    return f"{wait.path} {why}"


def steps_table(run: Run[Any], attempts: bool) -> Table:
    """Every step of a run; with `attempts` each prompt and answer."""
    table = Table(
        title=f"{run.graph} {run.id}: {run.status}, {cost_text(run.cost, run.unpriced)}", title_justify="left"
    )
    for name in ("step", "state", "tier", "model", "outcome", "attempts", "s", "value"):
        table.add_column(name, overflow="fold")
    for path, step in run.steps.items():
        value = step.value_json or step.error or (step.waiting.why if step.waiting else "")
        table.add_row(
            safe(path), step.state, step.tier, safe(step.model), step.outcome, str(len(step.attempts)),
            f"{step.seconds:.2f}", safe(value, 0 if attempts else 100),
        )  # fmt: skip
    return table


def attempts_text(run: Run[Any]) -> list[str]:
    """Prompts and answers of every attempt, as lines with markup."""
    lines: list[str] = []
    for path, attempt in run.attempts:
        sure = f", confidence {attempt.confidence:.2f}" if attempt.confidence is not None else ""
        mark = "" if attempt.calibrated or attempt.confidence is None else " (uncalibrated)"
        lines.append(
            f"\n[bold]{safe(path)}[/] attempt {attempt.number}{_part(attempt)}: {attempt.tier} {safe(attempt.model)} "
            f"[bold]{attempt.outcome.value}[/]{sure}{mark}, {attempt.usage.input_tokens}+{attempt.usage.output_tokens} "
            f"tokens, {attempt.seconds:.2f} s"
        )
        if attempt.problem:
            lines.append(f"  problem: {safe(attempt.problem)}")
        for message in attempt.prompt:
            lines.append(f"  [dim]{message['role']}:[/]")
            lines += [f"    {safe(line)}" for line in message["content"].splitlines()]
        lines.append(f"  [dim]answer:[/] {safe(attempt.answer)}")
        lines += _evidence_lines(attempt)
        if attempt.distribution:
            shares = ", ".join(
                f"{safe(k)} {v:.2f}" for k, v in sorted(attempt.distribution.items(), key=lambda i: -i[1])
            )
            lines.append(f"  [dim]options:[/] {shares}")
    return lines


def _part(attempt: Attempt) -> str:
    """Which part of a long input it was about."""
    return f" (part {attempt.extra['part']} of {attempt.extra['parts']})" if attempt.of_part else ""


def _evidence_lines(attempt: Attempt) -> Iterator[str]:
    """Where the Verbatim fields of an accepted answer stand, and in which words."""
    quoted = attempt.extra.get("quoted", {})
    for path, places in attempt.extra.get("evidence", {}).items():
        told = ", ".join(f"part {part}, {start} to {end}" for part, start, end in places) or "nowhere as it is"
        words = f" “{safe(quoted[path], 80)}”" if path in quoted else ""
        yield f"  [dim]stands:[/] {safe(path) or 'the value'}: {told}{words}"


def json_line(run: Run[Any], line: int) -> str:
    """One JSON line of an item."""
    return json.dumps({**run.to_json(), "line": line})
