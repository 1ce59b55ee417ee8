"""restaurant8k: what guests say about a booking, five slots, copied word for word by the embedded model.

    python evals/restaurant8k.py --data FOLDER [--quick] [--cases N] [--split test]

FOLDER holds train.json and test.json. Everything goes through agentfleet itself: an `@extract` step with optional
`Verbatim` fields, with no example and with three of train.json. The fields are *free* (any words of the guest) or
*listed* (a pattern: one of the pieces that code finds). Instruction and patterns were written on train.json alone.
`--quick` takes 20 cases. The last line is one JSON object.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, create_model

from agentfleet import Run, Session, Step, Verbatim, ask, extract
from evals.common import absent, finish, options, rounded, small_session

HOW: Final = """restaurant8k is not here. It is public (PolyAI, CC BY 4.0): put train_0.json (as train.json) and test.json of
https://github.com/PolyAI-LDN/task-specific-datasets (folder span_extraction/restaurant8k) into a folder and run
  python evals/restaurant8k.py --data FOLDER"""

CASES: Final = 200
QUICK: Final = 20

SEED: Final = 8
"""Of the fixed sample."""

Row = tuple[dict[str, str], dict[str, str | None]]

SLOTS: Final = ("people", "date", "time", "first_name", "last_name")

_NUMBER: Final = "(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|[1-9][0-9]?)"
_WHO: Final = (
    "(?:people|persons?|adults?|guests?|kids?|children|child|of us|diners?|teenagers?|friends?|others?|couples?)"
)
_DAY: Final = "(?:mon|tue|tues|wed|wednes|thu|thurs|fri|sat|satur|sun)(?:day)?"
_MONTH: Final = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t|tember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?)"
)
_NTH: Final = "(?:[0-3]?[0-9](?:st|nd|rd|th))"
_DATE: Final = (
    f"(?:(?:{_NTH}|[0-3]?[0-9])(?: of)? {_MONTH}(?:,? 20[0-9]{{2}})?|{_MONTH} (?:the )?(?:{_NTH}|[0-3]?[0-9])(?:,? 20[0-9]{{2}})?"
    f"|{_NTH}|[01]?[0-9]/[0-3]?[0-9](?:/(?:20)?[0-9]{{2}})?|20[0-9]{{2}}/[01][0-9]/[0-3][0-9])"
)
PATTERNS: Final = {
    "people": f"(?i:{_NUMBER}(?: {_WHO})?(?:,? (?:and|plus) {_NUMBER} {_WHO})*)",
    "date": f"(?i:today|tonight|tomorrow|(?:(?:this|next) )?{_DAY}(?:,? {_DATE})?|{_DATE})",
    "time": (
        "(?i:(?:[01]?[0-9]|2[0-3])(?:[:.][0-5][0-9])?(?: ?[ap][.]?m[.]?)?|[0-9]{3,4} ?[ap]m|noon|midnight"
        f"|{_NUMBER}(?: thirty| fifteen| o'clock)?(?: ?[ap]m)?|(?:half|quarter) (?:past|to) {_NUMBER})"
    ),
    "first_name": "[A-Z][a-z]+",
    "last_name": "[A-Z][a-z]+(?:[-'][A-Z][a-z]+)?",
}
"""How these are written, from cases of train.json."""

FREE: Final = "free"
LISTED: Final = "listed"


def fields(kind: str) -> type[BaseModel]:
    """The slots, None where the guest says nothing of the kind: any words (free), or those that code finds (listed)."""
    marks: dict[str, tuple[Any, ...]] = {slot: (Verbatim(),) for slot in SLOTS}
    if kind == LISTED:
        marks = {slot: (Field(pattern=f"^(?:{PATTERNS[slot]})$"), Verbatim()) for slot in SLOTS}
    made: dict[str, Any] = {slot: (Annotated[(str, *marks[slot])] | None, ...) for slot in SLOTS}
    return create_model("Booking", **made)


INSTRUCTION: Final = """What does the guest of a restaurant say about the booking? Copy the guest's own words.
people: how many come. date: the day. time: the hour. first_name, last_name: of the guest.
null for each of these that the guest does not say. The waiter has just asked for what stands in asked."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that a guest said, the slots that were asked for just before, and the words of each slot."""

    said: str
    asked: str
    slots: Mapping[str, str]

    @property
    def inputs(self) -> dict[str, str]:
        """Those of the step."""
        return {"said": self.said, "asked": self.asked}


# -- the cases ---------------------------------------------------------------------------------------------------------


def cases_of(path: Path) -> list[Case]:
    """The cases of a file. A span without a start begins at 0 (the format leaves zeros out)."""
    return [_case(row) for row in json.loads(path.read_text(encoding="utf-8"))]


def _case(row: Mapping[str, Any]) -> Case:
    said = row["userInput"]["text"]
    asked = dict.fromkeys(row.get("context", {}).get("requestedSlots", ()))
    spans = {label["slot"]: label["valueSpan"] for label in row.get("labels", ())}
    slots = {slot: said[span.get("startIndex", 0) : span["endIndex"]] for slot, span in spans.items()}
    return Case(said, ", ".join(asked), slots)


def sample(cases: Sequence[Case], count: int) -> list[Case]:
    """The same ones every time."""
    return random.Random(SEED).sample(list(cases), min(count, len(cases)))


def chosen(train: Sequence[Case]) -> list[Case]:
    """Three examples: one without any slot, then by turns the case with most slots that none before showed."""
    order = random.Random(SEED).sample(list(train), len(train))
    found = [next(case for case in order if not case.slots)]
    for _ in range(2):
        seen = {slot for case in found for slot in case.slots}
        found.append(max(order, key=lambda case: len(case.slots.keys() - seen)))
    return found


# -- the step ----------------------------------------------------------------------------------------------------------


def step_with(examples: Sequence[Case], kind: str = FREE) -> Step[..., Any]:
    """The skill, with these examples in its prompt."""
    rows = [(case.inputs, {slot: case.slots.get(slot) for slot in SLOTS}) for case in examples]

    def booking(said: str, asked: str) -> Any:
        return ask(said, asked)

    booking.__annotations__["return"] = fields(kind)
    step = extract(tier="small", prompt=INSTRUCTION, examples=rows if kind == FREE else fitting(rows, fields(kind)))(
        booking
    )
    step.check(of_the_guest)
    return step


def of_the_guest(found: BaseModel, said: str, asked: str) -> None:
    """The words of the waiter stand in the input too."""
    for slot, value in found.model_dump().items():
        if value is not None and plain(value) not in plain(said):
            raise ValueError(f"{slot}: copy it from what the guest said")


def fitting(rows: Sequence[Row], kind: type[BaseModel]) -> list[Row]:
    """The examples; words that code would not list are left out of them."""
    adapters = {slot: TypeAdapter(field.rebuild_annotation()) for slot, field in kind.model_fields.items()}
    return [(i, {slot: value if _fits(adapters[slot], value) else None for slot, value in o.items()}) for i, o in rows]


def _fits(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


@dataclass(slots=True)
class Score:
    """Slots found, missed and made up, over cases; and what they cost."""

    right: Counter[str] = field(default_factory=Counter)
    near: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)
    gold: Counter[str] = field(default_factory=Counter)
    cases: int = 0
    unanswered: int = 0
    made_up: int = 0
    refused: int = 0
    tokens: list[tuple[int, int, int]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, case: Case, found: Mapping[str, str | None]) -> None:
        """Count one answer; the empty one for a case that got none."""
        self.cases += 1
        for slot in SLOTS:
            value, gold = found.get(slot), case.slots.get(slot)
            self.gold[slot] += gold is not None
            self.given[slot] += value is not None
            if value is None:
                continue
            self.made_up += plain(value) not in plain(case.said)
            self.right[slot] += value == gold
            self.near[slot] += gold is not None and normalised(value) == normalised(gold)

    def spent(self, run: Run[Any]) -> None:
        """Count what a run cost: (prompt tokens evaluated, prompt tokens, answer tokens), seconds."""
        attempts = [attempt for _, attempt in run.attempts]
        self.refused += sum(attempt.outcome == "rejected" for attempt in attempts)
        used = [attempt.usage for attempt in attempts]
        read = sum(u.input_tokens for u in used)
        self.tokens.append((read - sum(u.cached_tokens for u in used), read, sum(u.output_tokens for u in used)))
        self.seconds.append(sum(attempt.seconds for attempt in attempts))

    def report(self) -> dict[str, Any]:
        """F1 over all slots, each slot's, and the costs of a case (medians)."""
        found = {
            "f1": f1(self.right.total(), self.given.total(), self.gold.total()),
            "f1_normalised": f1(self.near.total(), self.given.total(), self.gold.total()),
            "precision": self.right.total() / max(1, self.given.total()),
            "recall": self.right.total() / max(1, self.gold.total()),
            **{f"f1_{slot}": f1(self.right[slot], self.given[slot], self.gold[slot]) for slot in SLOTS},
            "made_up": self.made_up,
            "made_up_refused": self.refused,
            "unanswered": self.unanswered,
            "cases": self.cases,
        }
        if self.seconds:
            names = ("evaluated_tokens", "prompt_tokens", "answer_tokens")
            found |= {n: statistics.median(c) for n, c in zip(names, zip(*self.tokens, strict=True), strict=True)}
            found["ms"] = round(statistics.median(self.seconds) * 1000, 1)
        report: dict[str, Any] = rounded(found)
        return report


def f1(right: int, given: int, gold: int) -> float:
    """The harmonic mean of precision and recall; 0 when there is nothing to be right about."""
    return 2 * right / (given + gold) if given + gold else 0.0


def plain(text: str) -> str:
    """A text with single blanks, as the Verbatim check compares."""
    return " ".join(text.split())


def normalised(text: str) -> str:
    """A value without case, punctuation around it and the words that do not change it."""
    words = re.findall(r"[^\W_]+(?:[:./'-][^\W_]+)*", text.casefold())
    kept = [
        word for word in words if word not in ("the", "a", "an", "on", "at", "of", "for", "people", "persons", "guests")
    ]
    return " ".join(kept or words)


def measure(session: Session, cases: Sequence[Case], examples: Sequence[Case], kind: str = FREE) -> Score:
    """Ask for every case."""
    step, score = step_with(examples, kind), Score()
    session.run(step, cases[0].inputs)  # what is made once is no part of a case
    for case in cases:
        run = session.run(step, case.inputs)
        score.spent(run)
        score.unanswered += run.status != "done"
        score.add(case, run.value.model_dump() if run.status == "done" else {})
    return score


def lines_of(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table: a column for each number of examples."""
    columns = list(found)
    lines = [f"{'':<20}" + "".join(f"{name:>14}" for name in columns)]
    for key in found[columns[0]]:
        lines.append(f"{key:<20}" + "".join(f"{found[name][key]:>14}" for name in columns))
    return lines


def main() -> int:
    """Read, ask, score, print."""
    parser = options(__doc__ or "", "RESTAURANT8K", f"{QUICK} cases")
    parser.add_argument("--cases", type=int, default=CASES, help=f"how many, a fixed sample; default {CASES}")
    parser.add_argument("--split", choices=("test", "train"), default="test", help="work on train, judge on test")
    given = parser.parse_args()
    if given.data is None or not all((given.data / f"{name}.json").is_file() for name in ("train", "test")):
        return absent("restaurant8k", HOW)
    train = cases_of(given.data / "train.json")
    examples = chosen(train)
    pool = (
        [case for case in train if case not in examples]
        if given.split == "train"
        else cases_of(given.data / "test.json")
    )
    cases = sample(pool, QUICK if given.quick else given.cases)
    session = small_session()
    try:
        ways = [(kind, shown) for kind in (FREE, LISTED) for shown in ([], examples)]
        found = {f"{kind}_{len(shown)}": measure(session, cases, shown, kind).report() for kind, shown in ways}
    finally:
        session.close()
    for line in lines_of(found):
        print(line)
    made_up = sum(report["made_up"] for report in found.values())
    return finish({"split": given.split, "cases": len(cases), "made_up": made_up, **found})


if __name__ == "__main__":
    sys.exit(main())
