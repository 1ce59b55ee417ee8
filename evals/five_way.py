"""One decision between five options, scored by the embedded model: the five intents of banking77 with most questions.

    python evals/five_way.py --data FOLDER [--quick]

FOLDER holds train.csv and test.csv. Without examples and with three, with and without the correction by what the model
prefers when there is nothing to read. A temperature is fitted on questions of train.csv that are not shown; accuracy,
ECE and Brier are of test.csv. `--quick` takes 8 questions an intent instead of 40. The last line is one JSON object.
"""

from __future__ import annotations

import csv
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))

from agentfleet import Step, ask, classify
from evals.common import absent, embedded, finish, options, rounded

if TYPE_CHECKING:
    from agentfleet.backends.head.measure import Doubles, Ints
    from agentfleet.backends.llama_cpp import LlamaCpp

HOW: Final = """banking77 is not here. It is public (PolyAI, CC BY 4.0): put train.csv and test.csv of
https://github.com/PolyAI-LDN/task-specific-datasets (folder banking_data) into a folder and run
  python evals/five_way.py --data FOLDER"""

INTENTS: Final = 5
EACH: Final = 40
QUICK: Final = 8
"""Questions of each intent, to fit the temperature on and to be judged on."""

SHOWN: Final = 3
SEED: Final = 5
BINS: Final = 10

INSTRUCTION: Final = "What is this question of a bank's customer about?"

Rows = list[tuple[str, str]]


# -- the cases ---------------------------------------------------------------------------------------------------------


def rows_of(path: Path) -> Rows:
    """(question, intent) of a file."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [(row["text"], words(row["category"])) for row in csv.DictReader(lines)]


def words(intent: str) -> str:
    """An intent's name as words."""
    return intent.replace("_", " ").casefold()


def largest(rows: Rows, count: int = INTENTS) -> list[str]:
    """The intents with most questions; of equal ones the first by name."""
    sizes = Counter(intent for _, intent in rows)
    return sorted(sorted(sizes, key=lambda intent: (-sizes[intent], intent))[:count])


def split(train: Rows, intents: Sequence[str], each: int) -> tuple[Rows, Rows]:
    """Three questions to show, of different intents, and `each` of every intent to fit the temperature on."""
    dice = random.Random(SEED)
    by = {name: dice.sample(found, len(found)) for name in intents for found in [[r for r in train if r[1] == name]]}
    shown = [by[name].pop() for name in dice.sample(list(intents), SHOWN)]
    return shown, [row for name in intents for row in by[name][:each]]


def step_with(intents: Sequence[str], examples: Rows) -> Step[..., Any]:
    """The skill, with these examples in its prompt."""

    def intent(question: str) -> Any:
        return ask(question)

    intent.__annotations__["return"] = Literal[tuple(intents)]
    rows = [({"question": question}, answer) for question, answer in examples]
    return classify(tier="small", prompt=INSTRUCTION, examples=rows)(intent)


# -- the model ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scored:
    """Log probabilities of each option for each case, and for an empty question. `mass`, `ms`: medians of a case."""

    logs: Doubles
    labels: Ints
    empty: Doubles
    mass: float
    ms: float

    def shares(self, corrected: bool, temperature: float = 1.0) -> Doubles:
        """Distributions over the options."""
        import numpy as np

        values = (self.logs - self.empty if corrected else self.logs) / temperature
        weights = np.exp(values - values.max(axis=1, keepdims=True))
        found: Doubles = weights / weights.sum(axis=1, keepdims=True)
        return found


def score(backend: LlamaCpp, step: Step[..., Any], rows: Rows) -> Scored:
    """Every question through the engine's own scoring."""
    import numpy as np

    from agentfleet.backends.options import without_input

    assert step.output is not None
    texts = [option.text for option in step.output.questions[0].options]
    prompts = [step.build_prompt({"question": question}, None) for question, _ in rows]
    empty, _ = logs_of(backend, without_input(prompts[0]), texts)
    logs, took, masses = [], [], []
    for prompt in prompts:
        began = time.perf_counter()
        found, mass = logs_of(backend, prompt, texts)
        took.append(time.perf_counter() - began)
        logs.append(found)
        masses.append(mass)
    labels = np.array([texts.index(intent) for _, intent in rows], np.int64)
    return Scored(np.array(logs), labels, np.array(empty), statistics.median(masses), statistics.median(took) * 1000)


def logs_of(backend: LlamaCpp, prompt: Any, texts: Sequence[str]) -> tuple[list[float], float]:
    """The log probability of each option after a prompt, and the share of all answers that begin with one."""
    from agentfleet.backends.llama_cpp import score as scoring
    from agentfleet.backends.options import close

    def work(model: Any, tokens: Sequence[int], cancelled: Any) -> scoring.Scores:
        options = close([model.weights.tokens(text, special=False) for text in texts])
        return scoring.score(model.cache, tokens, [scoring.Asked((), options)], cancelled)[0]

    found = backend.call(prompt.messages(), 1, work)
    return list(found.logs), found.mass


# -- the figures -------------------------------------------------------------------------------------------------------


def fitted_temperature(scored: Scored, corrected: bool) -> float:
    """The temperature that makes the right answers likeliest, from 1/16 to 256 (which makes all equal)."""
    import numpy as np

    candidates = 2.0 ** np.arange(-4, 8.01, 1 / 16)
    rows = np.arange(len(scored.labels))
    losses = [-np.log(scored.shares(corrected, t)[rows, scored.labels] + 1e-12).mean() for t in candidates]
    return float(candidates[int(np.argmin(losses))])


def judge(fit: Scored, test: Scored, corrected: bool) -> dict[str, Any]:
    """Accuracy, calibration before and after."""
    from agentfleet.backends.head.measure import Judged

    temperature = fitted_temperature(fit, corrected)
    before = Judged(test.shares(corrected), test.labels)
    after = Judged(test.shares(corrected, temperature), test.labels)
    report: dict[str, Any] = rounded(
        {
            "accuracy": before.accuracy,
            "interval": before.interval(),
            "ece": before.ece(BINS),
            "ece_calibrated": after.ece(BINS),
            "brier": before.brier(),
            "brier_calibrated": after.brier(),
            "temperature": temperature,
        }
    )
    return report


def measure(backend: LlamaCpp, intents: Sequence[str], shown: Rows, fit: Rows, test: Rows) -> dict[str, dict[str, Any]]:
    """The four ways, by name."""
    report = {}
    for examples in ([], shown):
        step = step_with(intents, examples)
        fitted, judged = score(backend, step, fit), score(backend, step, test)
        for corrected in (False, True):
            name = f"{len(examples)}_examples_{'corrected' if corrected else 'raw'}"
            report[name] = judge(fitted, judged, corrected)
            report[name] |= rounded({"option_mass": judged.mass, "ms": round(judged.ms, 1)}, 6)
    return report


def lines_of(report: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table: a row for each way."""
    keys = ["accuracy", "ece", "ece_calibrated", "brier", "brier_calibrated", "temperature", "option_mass", "ms"]
    lines = [f"{'':<22}" + "".join(f"{key:>18}" for key in keys)]
    for name, row in report.items():
        lines.append(f"{name.replace('_', ' '):<22}" + "".join(f"{row[key]:>18}" for key in keys))
    return lines


def main() -> int:
    """Read, score, fit, judge, print."""
    given = options(__doc__ or "", "BANKING77", f"{QUICK} questions an intent").parse_args()
    if given.data is None or not all((given.data / name).is_file() for name in ("train.csv", "test.csv")):
        return absent("banking77", HOW)
    train, each = rows_of(given.data / "train.csv"), QUICK if given.quick else EACH
    intents = largest(train)
    shown, fit = split(train, intents, each)
    judged = rows_of(given.data / "test.csv")
    test = [row for name in intents for row in [r for r in judged if r[1] == name][:each]]
    backend = embedded()
    try:
        report = measure(backend, intents, shown, fit, test)
    finally:
        backend.shut()
    print(f"{len(test)} questions; intents: {', '.join(intents)}")
    for line in lines_of(report):
        print(line)
    return finish({"cases": len(test), "fitted_on": len(fit), "intents": intents, **report})


if __name__ == "__main__":
    sys.exit(main())
