"""Compares finished runs with known right answers: FILE.gold.jsonl beside FILE.jsonl.

A graph's module says in ``GOLD`` where each key of a gold row is found: a step's path, or ``value.FIELD``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentfleet.errors import UsageError
from agentfleet.runtime.run import Run


def gold_path(inputs: Path | None, named: Path | None) -> Path | None:
    """The gold file: the one named, else the one beside the inputs when there is one."""
    if named is not None or inputs is None:
        return named
    beside = inputs.with_name(inputs.name.removesuffix(".jsonl") + ".gold.jsonl")
    return beside if beside.is_file() else None


def read_gold(path: Path) -> list[dict[str, Any]]:
    """The rows of a gold file. Raises UsageError that names the line."""
    rows = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read {path}: it is not UTF-8 text (byte {error.start})") from None
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(dict(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise UsageError(f"{path}:{number}: not a JSON object: {error}") from None
    return rows


def places_of(step: Any) -> Mapping[str, str]:
    """Where the keys of this graph's gold rows are found."""
    module = sys.modules.get(step.module)
    return dict(getattr(module, "GOLD", {}))


def is_right(run: Run[Any], gold: Mapping[str, Any], places: Mapping[str, str]) -> bool:
    """Does every key of the gold row that has a place equal what the run holds there?"""
    return all(_same(_held(run, place), gold[key]) for key, place in places.items() if key in gold)


def _held(run: Run[Any], place: str) -> Any:
    if place.startswith("value"):
        data = None if run.result_json is None else json.loads(run.result_json)
        path = place.split(".")[1:]
    else:
        name, *path = place.split(".")
        step = run.steps.get(name)
        data = None if step is None or step.value_json is None else json.loads(step.value_json)
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _same(held: Any, wanted: Any) -> bool:
    if isinstance(held, bool) or isinstance(wanted, bool):
        return held is wanted
    if isinstance(held, (int, float)) and isinstance(wanted, (int, float)):
        return abs(held - wanted) < 0.005
    return bool(held == wanted)
