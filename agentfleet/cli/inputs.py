"""Reads what a graph is to be run on: JSONL, or ``name=value`` arguments. A bad line does not stop the others."""

from __future__ import annotations

import codecs
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
    """One line. `inputs` are bound to the graph's signature; `problem` says why they do not fit, and where.

    `line` is 0 and `where` empty for what was given as arguments.
    """

    line: int
    inputs: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    where: str = ""


def read_rows(step: Any, path: Path | None, given: Sequence[str]) -> list[Row]:
    """The rows of a file ("-" is standard input), or the one row of ``name=value``. Raises UsageError."""
    if path is None:
        return [_bound(step, 0, dict(_pair(step, text) for text in given), "")]
    if given:
        raise UsageError("give --inputs or --input, not both")
    place = "stdin" if str(path) == "-" else str(at_hand(path))
    lines = enumerate(_lines(at_hand(path)), 1)
    return [_line(step, number, line, f"{place}:{number}") for number, line in lines if line.strip()]


def at_hand(path: Path) -> Path:
    """The file itself; for ``examples/NAME`` that is not here, the sample of that name that comes with the package."""
    if path.parent == Path("examples") and not path.exists():
        return stock_example(path.name) or path
    return path


def _lines(path: Path) -> list[bytes]:
    """The lines as bytes: one that is no text must not stop the others, and only a newline ends one."""
    data = sys.stdin.buffer.read() if str(path) == "-" else _read(path)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"cannot read {path}: it is UTF-16 text; save it as UTF-8")
    return data.removeprefix(codecs.BOM_UTF8).split(b"\n")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None


def _line(step: Any, number: int, line: bytes, where: str) -> Row:
    try:
        data = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        text = f"{where}: not UTF-8 text (byte {error.start + 1} of the line); save the file as UTF-8"
        return Row(number, problem=text, where=where)
    except json.JSONDecodeError as error:
        return Row(number, problem=f"{where}: not valid JSON: {error.msg} (column {error.colno})", where=where)
    except (ValueError, RecursionError) as error:
        return Row(number, problem=f"{where}: not valid JSON: {error}", where=where)
    if not isinstance(data, dict):
        names = ", ".join(f'"{p.name}": ...' for p in step.params)
        return Row(number, problem=f"{where}: a row is an object: {{{names}}}", where=where)
    return _bound(step, number, data, where)


def _bound(step: Any, number: int, data: dict[str, Any], where: str) -> Row:
    names = {p.name for p in step.params}
    told = f"{where}: " if where else ""
    extra = [name for name in data if name not in names]
    if extra:
        problem = f"{told}{step.name} has no input {extra[0]!r}{nearest(extra[0], names)}"
        return Row(number, problem=problem, where=where)
    try:
        return Row(number, step.bind((), data), where=where)
    except (InputError, TypeError) as error:
        return Row(number, problem=f"{told}{error}", where=where)


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
