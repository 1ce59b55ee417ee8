"""Worked examples of a skill: given in code, or rows of a JSON Lines file beside the function's file.

They are read at first use, checked against the signature, shown in prompts and learnt from by heads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from agentfleet.errors import AgentfleetError, InputError
from agentfleet.ids import digest

if TYPE_CHECKING:
    from agentfleet.graph.step import Step

Given: TypeAlias = Path | str | Sequence[tuple[Mapping[str, Any], Any]] | None


@dataclass(frozen=True, slots=True)
class Example:
    """`inputs`: values by parameter name; `output`: what the skill should answer."""

    inputs: dict[str, Any]
    output: Any


def examples_path(given: Given, file: str) -> Path | None:
    """The file that holds a skill's examples, if there is one; relative paths start at the function's file."""
    home = Path(file).parent
    if given is None:
        path = home / "examples.jsonl"
        return path if path.is_file() else None
    return home / given if isinstance(given, (str, Path)) else None


def load_examples(step: Step[..., Any], given: Given, path: Path | None) -> tuple[Example, ...]:
    """The examples, checked. Raises InputError with file and line."""
    if path is not None:
        return tuple(_read(step, path))
    if given is None or isinstance(given, (str, Path)):
        return ()
    rows = list(given)
    return tuple(_checked(step, f"{step.name}, examples[{i}]", *_pair(step, i, row)) for i, row in enumerate(rows))


def _pair(step: Step[..., Any], index: int, row: Any) -> tuple[Any, Any]:
    if not isinstance(row, (tuple, list)) or len(row) != 2:
        raise InputError(f"{step.name}, examples[{index}]: write a pair of inputs and output: ({{...}}, ...)")
    return row[0], row[1]


def _read(step: Step[..., Any], path: Path) -> list[Example]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{step.name}: cannot read its examples: {error}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where}: no JSON ({error})") from error
        if not isinstance(row, dict) or not {"inputs", "output"} <= row.keys():
            raise InputError(f'{where}: a row is {{"inputs": {{...}}, "output": ...}}')
        if row.get("skill", step.name) == step.name:  # one file may serve several skills of a folder
            found.append(_checked(step, where, row["inputs"], row["output"]))
    return found


def _checked(step: Step[..., Any], where: str, inputs: Any, output: Any) -> Example:
    if not isinstance(inputs, Mapping):
        raise InputError(f"{where}: inputs is an object of {step.name}'s inputs by name")
    try:
        values = step.bind((), dict(inputs))
    except AgentfleetError as error:
        raise InputError(f"{where}: {error}") from error
    try:
        return Example(values, step.codec.check(output))
    except ValueError as error:
        raise InputError(f"{where}: the output is no {step.shown_returns}: {str(error).splitlines()[-1]}") from error


def examples_digest(step: Step[..., Any], examples: tuple[Example, ...]) -> str:
    """A digest of what the examples say; "" for none."""
    if not examples:
        return ""
    codecs = {p.name: p.codec for p in step.params}
    rows = []
    for example in examples:
        rows += [f"{name}={codecs[name].dump(value)}" for name, value in example.inputs.items()]
        rows.append(step.codec.dump(example.output))
    return digest("\n".join(rows))
