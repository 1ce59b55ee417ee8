"""The local engine beside what a user would pick instead, on the embedded model: ratios of medians of wall time.

All sides read the same prompts in the same process, take turns mail by mail, and are validated. Needs outlines and the
numba that its default backend wants.

    python benchmarks/local_engine.py [--quick] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import local_data as data  # noqa: E402 -- beside this file
from local_sides import Floor, Gbnf, Ours, Outlines, Plain, Took, head_ms, requantized, request_of  # noqa: E402
from pydantic import BaseModel, ValidationError  # noqa: E402

from agentfleet.backends.llama_cpp import embedded_path  # noqa: E402
from agentfleet.prompt import Block, Prompt  # noqa: E402

Times = dict[str, list[float]]

AT_ONCE = 8
TEXTS = (40, 100, 200, 400, 800)


class Table:
    """What was measured, by side: milliseconds, and how many answers were valid."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.times: Times = {}
        self.valid: dict[str, int] = {}

    def add(self, side: str, took: Took, valid: bool = True) -> None:
        self.times.setdefault(side, []).append(took.seconds * 1e3)
        self.valid[side] = self.valid.get(side, 0) + valid

    def median(self, side: str) -> float:
        return statistics.median(self.times[side])

    def ratio(self, side: str, other: str) -> float | None:
        if side not in self.times or other not in self.times:
            return None
        return round(self.median(side) / self.median(other), 3)

    def show(self) -> None:
        print(f"\n{self.title:<46}{'median ms':>10}{'quartiles':>18}{'valid':>10}")
        for side, times in self.times.items():
            low, _, high = statistics.quantiles(times, n=4) if len(times) > 1 else (times[0],) * 3
            valid = f"{self.valid[side]}/{len(times)}"
            print(f"  {side:<44}{self.median(side):>10.1f}{f'{low:.1f} – {high:.1f}':>18}{valid:>10}")


def fits(kind: type[BaseModel], text: str) -> bool:
    try:
        kind.model_validate_json(text)
    except ValidationError:
        return False
    return True


class Bench:
    """The sides, made once; a method for each group of figures."""

    def __init__(self, path: Path, quick: bool) -> None:
        self.path, self.quick = path, quick
        self.ours = Ours(path)
        self.plain = Plain(path, self.ours.engine.weights.ends)
        self.gbnf = Gbnf(path)
        self.outlines: Outlines | None = None
        self.missing: dict[str, str] = {}
        try:
            self.outlines = Outlines(path)
        except ImportError as error:
            for key in ("extract_vs_outlines", "decide_vs_outlines"):
                self.missing[key] = f"needs outlines and numba: {error}"

    def mails(self, times: int) -> list[str]:
        return list(data.MAILS[: 6 if self.quick else None]) * (1 if self.quick else times)

    def extract(self) -> dict[str, Any]:
        table = Table("extract, four fields")
        grammar = self.gbnf.grammar(data.Order)
        generator = self.outlines.generator(data.Order) if self.outlines else None
        for turn, mail in enumerate([data.MAILS[-1], *self.mails(2)]):
            prompt = data.extract_prompt(mail)
            tokens = self.ours.tokens(prompt)
            done = self.ours.answer(request_of(prompt, data.Order))
            sides = {
                "LlamaGrammar": lambda t=tokens: self.gbnf.write(t, grammar),
                "unconstrained, same tokens": lambda t=tokens, n=done.tokens: self.plain.write(t, n),
            }
            if self.outlines:
                sides["outlines, default backend"] = lambda p=prompt: self.outlines.write(p, generator)
            found = {"ours": done, **_in_turns(sides, turn)}
            if turn:  # the first mail warms up
                for side, took in found.items():
                    table.add(side, took, side.startswith("uncons") or fits(data.Order, took.text))
        table.show()
        return {
            "extract_vs_outlines": table.ratio("ours", "outlines, default backend"),
            "extract_vs_grammar": table.ratio("ours", "LlamaGrammar"),
            "extract_vs_free": table.ratio("ours", "unconstrained, same tokens"),
        }

    def string(self) -> dict[str, Any]:
        table = Table("one free string")
        for turn, mail in enumerate([data.MAILS[-1], *self.mails(2)]):
            prompt = Prompt(data.NOTE, (Block("mail", mail),))
            done = self.ours.answer(request_of(prompt, data.Note))
            other = self.plain.write(self.ours.tokens(prompt), done.tokens)
            if turn:
                table.add("ours", done, fits(data.Note, done.text))
                table.add("unconstrained, same tokens", other)
        table.show()
        return {"string_vs_free": table.ratio("ours", "unconstrained, same tokens")}

    def decide(self) -> dict[str, Any]:
        table = Table("one decision, five one-token labels")
        labels = get_args(data.Label)
        weights = self.ours.engine.weights
        assert all(len(weights.tokens(label, special=False)) == 1 for label in labels)
        floor = Floor(self.ours)
        generator = self.outlines.generator(data.Label) if self.outlines else None
        for turn, mail in enumerate([data.MAILS[-1], *self.mails(3)]):
            prompt = data.decide_prompt(mail)
            tokens = self.ours.tokens(prompt)
            sides = {
                "ours": lambda p=prompt: self.ours.answer(request_of(p, data.Label, closed=True)),
                "one evaluation of the new tokens": lambda t=tokens: floor.read(t),
            }
            if self.outlines:
                sides["outlines Choice"] = lambda p=prompt: self.outlines.write(p, generator)
            for side, took in _in_turns(sides, turn).items():
                if turn:
                    table.add(side, took, side.startswith("one ") or took.text.strip('"') in labels)
        floor.close()
        table.show()
        return {
            "decide_vs_outlines": table.ratio("ours", "outlines Choice"),
            "decide_vs_floor": table.ratio("ours", "one evaluation of the new tokens"),
        }

    def eight(self) -> dict[str, Any]:
        """The text is new each time; only the instruction before it may be kept from the call before."""
        ratios = {}
        for size in TEXTS if not self.quick else (200,):
            table = Table(f"questions on a text of {size} tokens")
            text = data.letter(size)
            for number in range(3 if self.quick else 9):
                for side, kind in (("eight questions", data.Eight), ("one question", data.One)):
                    prompt = Prompt(data.LETTER, (Block("letter", f"{number}{side[0]} {text}"),))
                    took = self.ours.answer(request_of(prompt, kind, closed=True))
                    if number:
                        table.add(side, took, fits(kind, took.text))
            table.show()
            ratios[str(size)] = table.ratio("eight questions", "one question")
        return {"eight_questions_vs_one": ratios["200"], "eight_questions_by_text": ratios}

    def batch(self) -> dict[str, Any]:
        """The same eight mails asked at once and one after another, in Q8_0 and (not --quick) the shipped format."""
        speedups: dict[str, float | None] = {}
        with tempfile.TemporaryDirectory() as folder:
            formats = {"Q8_0": requantized(self.path, Path(folder) / "q8.gguf")}
            if not self.quick:
                formats["shipped"] = self.path
            for name, path in formats.items():
                speedups[name] = _speedup(name, path, 1 if self.quick else 6)
        return {"batch_speedup": max(filter(None, speedups.values()), default=None), "batch_by_format": speedups}

    def overhead(self) -> dict[str, Any]:
        output = request_of(data.extract_prompt(""), data.Order).output
        mails = self.mails(2)[: 4 if self.quick else None]
        taken = [self.ours.overhead(data.extract_prompt(mail), output) for mail in mails]
        note = request_of(Prompt(data.NOTE, ()), data.Note).output
        strings = [self.ours.overhead(Prompt(data.NOTE, (Block("mail", m),)), note) for m in mails]
        found = {"four fields": statistics.median(taken), "one free string": statistics.median(strings)}
        print(f"\nµs a sampled token outside of llama_decode: { {k: round(v) for k, v in found.items()} }")
        return {
            "python_us_per_token": round(found["four fields"], 1),
            "string_us_per_token": round(found["one free string"], 1),
        }

    def head(self) -> dict[str, Any]:
        ms = head_ms(1 if self.quick else 10)
        print(f"\na trained head, ms a decision: {ms:.3f}")
        return {"head_ms": round(ms, 3)}

    def close(self) -> None:
        self.ours.close()


def _speedup(name: str, path: Path, repeats: int) -> float | None:
    ours = Ours(path)
    table = Table(f"{AT_ONCE} extractions, {name}")
    requests = [request_of(data.extract_prompt(mail), data.Order) for mail in data.MAILS[:AT_ONCE]]
    for turn in range(repeats + 1):
        one = Took("", sum(ours.answer(request).seconds for request in requests))
        many = Took("", ours.together(requests))
        if turn:
            table.add("one after another", one)
            table.add("at once", many)
    ours.close()
    table.show()
    return table.ratio("one after another", "at once")


def _in_turns(sides: dict[str, Callable[[], Took]], turn: int) -> dict[str, Took]:
    """Each side once, a different one first each time."""
    names = list(sides)
    names = names[turn % len(names) :] + names[: turn % len(names)]
    found = {name: sides[name]() for name in names}
    return {name: found[name] for name in sides}


def main() -> None:
    groups = ("extract", "string", "decide", "eight", "batch", "overhead", "head")
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="fewer mails; under a minute")
    options.add_argument("--only", nargs="+", choices=groups, default=groups, help="some groups of figures")
    given = options.parse_args()
    bench = Bench(embedded_path(), given.quick)
    result: dict[str, Any] = {}
    for group in given.only:
        result |= getattr(bench, group)()
    for key, reason in bench.missing.items():
        print(f"{key} is missing: {reason}")
    bench.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
