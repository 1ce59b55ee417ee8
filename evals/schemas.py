"""Real-world JSON Schemas through the local engine's grammars: which compile, which instances they let through.

    python evals/schemas.py --data FILE [--quick]

FILE is JSON Lines: {"name", "schema", "tests": [{"valid", "data"}]}. A schema must compile or be refused with a reason
before anything is decoded; of those that compile, valid instances must be accepted and invalid ones rejected, as they
are written or with their keys in the schema's order. Beside it the same by llguidance alone. Everything native runs in
a child process, which is killed when it takes too long.
`--quick` takes every eighth schema. The last line is one JSON object.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

sys.path.insert(0, str(Path(__file__).parents[1]))

from agentfleet.errors import BackendError
from evals.common import absent, finish, options, rounded

HOW: Final = """The schemas are not here. They are public (guidance-ai/jsonschemabench, MaskBench): make a file with one
JSON object a line, {"name", "schema", "tests": [{"valid": true, "data": …}, …]}, of a part that you tune on, and run
  python evals/schemas.py --data FILE"""

LIMIT: Final = 10.0
"""Seconds for one schema and its instances; what takes longer is a hang."""

START: Final = 120.0
"""Seconds for a child to load the vocabulary."""

DEEPEST: Final = 8
"""Schemas within each other by `$ref`, `allOf` and the like, where an instance's keys are put into their order."""

QUICK: Final = 8
"""Every how manieth schema `--quick` takes."""

Engine: TypeAlias = Literal["ours", "llguidance"]
Row: TypeAlias = dict[str, Any]


# -- the rows ----------------------------------------------------------------------------------------------------------


def rows_of(path: Path) -> list[Row]:
    """The schemas of a file. Raises ValueError that names the line which is none."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        row = json.loads(line)
        if not isinstance(row, dict) or not {"name", "schema", "tests"} <= row.keys():
            raise ValueError(f'{path}, line {number}: a row is {{"name", "schema", "tests"}}')
        rows.append(row)
    return rows


# -- in the child ------------------------------------------------------------------------------------------------------


class Walker:
    """One vocabulary, and the two ways from a schema to a matcher over it."""

    def __init__(self) -> None:
        from agentfleet.backends.llama_cpp.embedded import embedded_path
        from agentfleet.backends.llama_cpp.grammar import Grammars
        from agentfleet.backends.llama_cpp.native import Weights

        self.weights = Weights(embedded_path())
        self.grammars = Grammars(self.weights)
        self.tokenizer = self.weights.grammar_tokenizer()
        self.walk("ours", {"type": "null"}, [])  # what is made once is no part of the first schema's time

    def walk(self, engine: Engine, schema: Any, tests: Sequence[Row]) -> Row:
        """Whether a schema compiles, how long that takes (s of this process), and which instances are accepted."""
        began = time.process_time()
        try:
            start = self._ours(schema) if engine == "ours" else self._llguidance(schema)
        except Exception as error:
            refused = isinstance(error, BackendError if engine == "ours" else ValueError)
            kind = "refused" if refused else "crashed"
            return {"state": kind, "reason": f"{type(error).__name__}: {error}", "seconds": time.process_time() - began}
        seconds = time.process_time() - began
        written = [self.accepts(start(), test["data"]) for test in tests]
        moved = [self.accepts(start(), arranged(test["data"], schema)) for test in tests]
        return {"state": "ok", "seconds": seconds, "written": written, "moved": moved}

    def accepts(self, matcher: Any, data: Any) -> bool:
        """Is this instance, written compactly in the model's tokens, a whole answer?"""
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        tokens = self.weights.tokens(text, special=False)
        return bool(matcher.consume_tokens(tokens)) and bool(matcher.is_accepting())

    def _ours(self, schema: Any) -> Callable[[], Any]:
        """As the engine does it: the matcher inside a fresh constraint."""
        self.grammars.of_schema(schema)
        return lambda: self.grammars.of_schema(schema)._matcher

    def _llguidance(self, schema: Any) -> Callable[[], Any]:
        """As llguidance's own documentation does it, compact."""
        from llguidance import LLMatcher

        spec = LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_flexible": False})
        matcher = LLMatcher(self.tokenizer, spec, log_level=0)
        if matcher.is_error():
            raise ValueError(matcher.get_error().strip().partition("\n")[0])
        return matcher.deep_copy


def arranged(data: Any, schema: Any) -> Any:
    """The same instance with the keys of its objects in the order in which the schema names them, others last.

    JSON knows no order of keys; a grammar of llguidance allows one.
    """
    return _arranged(data, [schema], schema)


def _arranged(data: Any, schemas: Sequence[Any], root: Any) -> Any:
    parts = [part for schema in schemas for part in _parts(schema, root, 0)]
    if isinstance(data, list):
        rows = [part["items"] if isinstance(part.get("items"), list) else part.get("prefixItems", []) for part in parts]
        rest = [part["items"] for part in parts if isinstance(part.get("items"), dict)]
        return [_arranged(v, [r[at] for r in rows if at < len(r)] + rest, root) for at, v in enumerate(data)]
    if not isinstance(data, dict):
        return data
    named: dict[str, list[Any]] = {}
    for part in parts:
        for key, inner in part.get("properties", {}).items():
            named.setdefault(key, []).append(inner)
    others = [inner for part in parts for inner in part.get("patternProperties", {}).values()]
    others += [part["additionalProperties"] for part in parts if "additionalProperties" in part]
    order = [key for key in named if key in data] + [key for key in data if key not in named]
    return {key: _arranged(data[key], named.get(key, others), root) for key in order}


def _parts(schema: Any, root: Any, depth: int) -> Iterator[Row]:
    """A schema, what it refers to, and what is in its combinations."""
    if not isinstance(schema, dict) or depth > DEEPEST:
        return
    yield schema
    place = schema.get("$ref")
    if isinstance(place, str) and place.startswith("#"):
        found = root
        for name in place.split("/")[1:]:
            found = found.get(name.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
        yield from _parts(found, root, depth + 1)
    for key in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(key, ()):
            yield from _parts(part, root, depth + 1)


def serve(pipe: Connection) -> None:
    """The child: answer until the pipe closes."""
    walker = Walker()
    pipe.send("ready")
    while True:
        try:
            engine, schema, tests = pipe.recv()
        except EOFError:
            return
        pipe.send(walker.walk(engine, schema, tests))


# -- outside -----------------------------------------------------------------------------------------------------------


class Child:
    """A process that walks schemas; a new one replaces it when it dies, or is killed because it takes too long."""

    def __init__(self, limit: float = LIMIT, target: Callable[[Connection], None] = serve) -> None:
        self.limit = limit
        self._target = target
        self._process: Any = None
        self._pipe: Connection | None = None

    def walk(self, engine: Engine, row: Row) -> Row:
        """What the child says; ``{"state": "crashed" | "hung"}`` when it says nothing."""
        if self._pipe is None:
            self._pipe = self._start()
        try:
            self._pipe.send((engine, row["schema"], row["tests"]))
            if self._pipe.poll(self.limit):
                found: Row = self._pipe.recv()
                return found
            found = {"state": "hung", "reason": f"more than {self.limit:g} s"}
        except (EOFError, OSError):
            self._process.join()
            found = {"state": "crashed", "reason": f"the process ended with {self._process.exitcode}"}
        self.close()
        return found

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        pipe, other = context.Pipe()
        self._process = context.Process(target=self._target, args=(other,), daemon=True)
        self._process.start()
        other.close()
        if not pipe.poll(START):
            self.close()
            raise RuntimeError(f"the child was not ready within {START:g} s")
        pipe.recv()
        return pipe

    def close(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


@dataclass(slots=True)
class Tally:
    """What one engine did with all schemas. An instance counts as wrong only where its schema compiled."""

    states: dict[str, list[str]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    wrong_accepts: list[tuple[str, int]] = field(default_factory=list)
    wrong_rejects: list[tuple[str, int]] = field(default_factory=list)
    moved: int = 0
    valid: int = 0
    invalid: int = 0
    slowest: tuple[float, str] = (0.0, "")

    def add(self, row: Row, found: Row) -> None:
        """Count one schema."""
        name, state = row["name"], found["state"]
        self.states.setdefault(state, []).append(name)
        self.slowest = max(self.slowest, (found.get("seconds", 0.0), name))
        if state != "ok":
            self.reasons[name] = found["reason"]
            return
        for index, (test, written, moved) in enumerate(
            zip(row["tests"], found["written"], found["moved"], strict=True)
        ):
            accepted = written or moved
            self.moved += test["valid"] and moved and not written
            self.valid += test["valid"]
            self.invalid += not test["valid"]
            if accepted != test["valid"]:
                (self.wrong_accepts if accepted else self.wrong_rejects).append((name, index))

    def report(self) -> Row:
        """The counts."""
        count = {state: len(self.states.get(state, ())) for state in ("ok", "refused", "crashed", "hung")}
        return {
            "schemas_ok": count["ok"],
            "schemas_refused": count["refused"],
            "crashes": count["crashed"],
            "hangs": count["hung"],
            "wrong_accepts": len(self.wrong_accepts),
            "wrong_rejects": len(self.wrong_rejects),
            "accepted_in_other_order": self.moved,
            "valid_instances": self.valid,
            "invalid_instances": self.invalid,
            "slowest_compile_s": self.slowest[0],
        }


def measure(rows: Sequence[Row], child: Child) -> dict[Engine, Tally]:
    """Both engines over all schemas, turn by turn."""
    found: dict[Engine, Tally] = {"ours": Tally(), "llguidance": Tally()}
    for row in rows:
        for engine, tally in found.items():
            tally.add(row, child.walk(engine, row))
    return found


def report_of(found: dict[Engine, Tally]) -> Row:
    """Ours under plain names, llguidance's under ``llguidance_…``, and where ours is worse than llguidance alone.

    `looser`: invalid instances that ours accepts and llguidance alone does not; `stricter`: valid ones the other way
    round; `refused_more`: schemas. (Each only counts what both could be asked.)
    """
    ours, theirs = found["ours"], found["llguidance"]
    both = set(ours.states.get("ok", ())) & set(theirs.states.get("ok", ()))
    report = ours.report() | {f"llguidance_{key}": value for key, value in theirs.report().items()}
    report["looser"] = sum(w[0] in both for w in set(ours.wrong_accepts) - set(theirs.wrong_accepts))
    report["stricter"] = sum(w[0] in both for w in set(ours.wrong_rejects) - set(theirs.wrong_rejects))
    report["refused_more"] = len(set(theirs.states.get("ok", ())) - set(ours.states.get("ok", ())))
    rounded_report: Row = rounded(report)
    return rounded_report


def lines_of(found: dict[Engine, Tally], report: Row) -> Iterator[str]:
    """The table, and every case that went wrong."""
    yield f"{'':<22}{'ours':>10}{'llguidance':>12}"
    for name in found["ours"].report():
        yield f"{name:<22}{report[name]:>10}{report[f'llguidance_{name}']:>12}"
    for name in ("looser", "stricter", "refused_more"):
        yield f"{name:<22}{report[name]:>10}"
    ours, theirs = found["ours"], found["llguidance"]
    for reason, count in Counter(ours.reasons[name] for name in ours.states.get("refused", ())).most_common():
        yield f"  refused {count} × {reason[:110]}"
    for state in ("crashed", "hung"):
        yield from (f"  {state} {name}: {ours.reasons[name][:100]}" for name in ours.states.get(state, ()))
    for name in sorted(ours.reasons.keys() - theirs.reasons.keys()):
        yield f"  llguidance alone compiles {name}"
    wrong = (
        ("accepted", ours.wrong_accepts, theirs.wrong_accepts),
        ("rejected", ours.wrong_rejects, theirs.wrong_rejects),
    )
    for what, our, their in wrong:
        for case in our:
            yield f"  wrongly {what} {case[0]} #{case[1]}{'' if case in their else '   (not by llguidance alone)'}"


def main() -> int:
    """Read, walk, print."""
    given = options(__doc__ or "", "SCHEMAS", f"every {QUICK}th schema").parse_args()
    if given.data is None or not given.data.is_file():
        return absent("the file of schemas", HOW)
    rows = rows_of(given.data)
    child = Child()
    try:
        found = measure(rows[::QUICK] if given.quick else rows, child)
    finally:
        child.close()
    report = report_of(found)
    for line in lines_of(found, report):
        print(line)
    return finish(report)


if __name__ == "__main__":
    sys.exit(main())
