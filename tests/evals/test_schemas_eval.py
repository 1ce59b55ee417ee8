"""The schema eval: rows, the tally, and a watchdog that ends a child which hangs or dies."""

from __future__ import annotations

import json
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from evals.schemas import Child, Tally, arranged, measure, report_of, rows_of

ROW: dict[str, Any] = {
    "name": "pair",
    "schema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    },
    "tests": [{"valid": True, "data": {"a": 1}}, {"valid": False, "data": {"a": "1"}}],
}
REFUSED: dict[str, Any] = {"name": "not", "schema": {"not": {"type": "string"}}, "tests": []}


def hangs(pipe: Connection) -> None:
    pipe.send("ready")
    pipe.recv()
    time.sleep(600)


def dies(pipe: Connection) -> None:
    pipe.send("ready")
    pipe.recv()
    os.abort()


def test_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW) + "\n\n" + json.dumps(REFUSED) + "\n", encoding="utf-8")
    assert [row["name"] for row in rows_of(path)] == ["pair", "not"]
    path.write_text('{"name": "x"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="line 1: a row is"):
        rows_of(path)


@pytest.mark.parametrize(("target", "state"), [(hangs, "hung"), (dies, "crashed")])
def test_a_child_that_does_not_answer_is_replaced(target: Any, state: str) -> None:
    child = Child(limit=1.0 if state == "hung" else 60.0, target=target)
    assert [child.walk("ours", ROW)["state"] for _ in range(2)] == [state, state]
    child.close()


def test_the_tally_counts_only_schemas_that_compile() -> None:
    ours, theirs = Tally(), Tally()
    ours.add(ROW, {"state": "ok", "seconds": 0.5, "written": [False, False], "moved": [False, True]})
    ours.add(REFUSED, {"state": "refused", "reason": "no", "seconds": 0.1})
    theirs.add(ROW, {"state": "ok", "seconds": 0.2, "written": [False, False], "moved": [True, False]})
    theirs.add(REFUSED, {"state": "ok", "seconds": 0.2, "written": [], "moved": []})
    report = report_of({"ours": ours, "llguidance": theirs})
    assert (report["schemas_ok"], report["schemas_refused"], report["slowest_compile_s"]) == (1, 1, 0.5)
    assert (report["wrong_accepts"], report["wrong_rejects"], report["llguidance_wrong_accepts"]) == (1, 1, 0)
    assert (report["accepted_in_other_order"], report["llguidance_accepted_in_other_order"]) == (0, 1)
    assert (report["looser"], report["stricter"], report["refused_more"]) == (1, 1, 1)


def test_keys_are_put_into_the_order_of_the_schema() -> None:
    pair = {"properties": {"a": {}, "b": {"$ref": "#/$defs/inner"}}}
    schema = {
        "$defs": {"inner": {"anyOf": [{"type": "null"}, {"properties": {"x": {}, "y": {}}}]}},
        "items": [True, {"allOf": [{"properties": {"z": {}}}, pair]}],
    }
    written = [{"q": 1, "p": 2}, {"more": 0, "b": {"y": 1, "x": 2}, "a": 3, "z": 4}]
    found = arranged(written, schema)
    assert json.dumps(found) == '[{"q": 1, "p": 2}, {"z": 4, "a": 3, "b": {"x": 2, "y": 1}, "more": 0}]'
    others = {"patternProperties": {"^k": pair}, "$ref": "#"}
    assert json.dumps(arranged({"k1": {"b": 1, "a": 2}}, others)) == '{"k1": {"a": 2, "b": 1}}'


@pytest.mark.real_model
def test_both_engines_in_a_child() -> None:
    child = Child()
    try:
        found = report_of(measure([ROW, REFUSED], child))
    finally:
        child.close()
    assert (found["schemas_ok"], found["schemas_refused"], found["crashes"], found["hangs"]) == (1, 1, 0, 0)
    assert (found["wrong_accepts"], found["wrong_rejects"], found["valid_instances"]) == (0, 0, 1)
