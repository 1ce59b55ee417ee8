"""Reads what a graph is to be run on: JSONL, or ``name=value`` arguments. A bad line does not stop the others."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentfleet.cli.find import stock_example
from agentfleet.errors import InputError, UsageError, nearest


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `inputs` are bound to the graph's signature; `problem` says why they do not fit."""

    line: int
    inputs: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def read_rows(step: Any, path: Path | None, given: Sequence[str]) -> list[Row]:
    """The rows of a file ("-" is standard input), or the one row of ``name=value``. Raises UsageError."""
    if path is None:
        return [_bound(step, 0, dict(_pair(step, text) for text in given), "the arguments")]
    if given:
        raise UsageError("give --inputs or --input, not both")
    path = at_hand(path)
    return [_line(step, number, text, path) for number, text in enumerate(_lines(path), 1) if text.strip()]


def at_hand(path: Path) -> Path:
    """The file itself; for ``examples/NAME`` that is not here, the sample of that name that comes with the package."""
    if path.parent == Path("examples") and not path.exists():
        return stock_example(path.name) or path
    return path


def _lines(path: Path) -> list[str]:
    if str(path) == "-":
        return sys.stdin.read().splitlines()
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None


def _line(step: Any, number: int, text: str, path: Path) -> Row:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Row(number, problem=f"{path}:{number}: not valid JSON: {error}")
    if not isinstance(data, dict):
        return Row(number, problem=f"{path}:{number}: a row is an object with {', '.join(p.name for p in step.params)}")
    return _bound(step, number, data, f"{path}:{number}")


def _bound(step: Any, number: int, data: dict[str, Any], where: str) -> Row:
    names = {p.name for p in step.params}
    extra = [name for name in data if name not in names]
    if extra:
        return Row(number, problem=f"{where}: {step.name} has no input {extra[0]!r}{nearest(extra[0], names)}")
    try:
        return Row(number, step.bind((), data))
    except (InputError, TypeError) as error:
        return Row(number, problem=f"{where}: {error}")


def _pair(step: Any, text: str) -> tuple[str, Any]:
    name, mark, value = text.partition("=")
    if not mark:
        raise UsageError(f"--input {text!r}: write name=value (JSON, or plain text for a str)")
    param = next((p for p in step.params if p.name == name), None)
    if param is not None and param.annotation is str:
        return name, value
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
