"""Train the head of a skill, and say how far it can be trusted before it is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentfleet.errors import InputError
from agentfleet.graph.examples import load_examples
from agentfleet.routing.heads import head_rows

if TYPE_CHECKING:
    from agentfleet.backends.head.measure import Judged
    from agentfleet.graph.step import Step


@dataclass(frozen=True)
class Confusion:
    """`times` an example of `was` was taken for `said`; `answered` of them with confidence enough to be accepted."""

    was: str
    said: str
    times: int
    answered: int


@dataclass(frozen=True)
class HeadReport:
    """What held-out folds say of a head. Shares are 0 to 1.

    `interval`: 95 % interval of the accuracy. `floor`: the skill's min_confidence, None when it has none (all is
    answered). `answered`: share at that floor; `wrong`: share wrong of those, None when nothing is answered.
    `confusions`: the dearest first. `path`: the head on disk, without its endings.
    """

    skill: str
    examples: int
    accuracy: float
    interval: tuple[float, float]
    floor: float | None
    answered: float
    wrong: float | None
    ece: float
    vectors: str
    confusions: tuple[Confusion, ...]
    path: Path

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "path": str(self.path)}


def learn_head(step: Step[..., Any], heads: Path, data: Path | None = None) -> HeadReport:
    """Train the head of a classify step on its examples, and on the rows of `data`; store it in the folder `heads`.

    There it is used from the next run on, until the step's own examples, its options or this package change. Raises
    InputError for a step that a head cannot answer or rows that do not fit, SchemaError for too few examples,
    MissingExtra without scikit-learn.
    """
    from agentfleet.backends.head.head import Head, learnt_path

    if step.kind != "classify" or step.output is None or len(step.output.questions) != 1:
        raise InputError(f"{step.name}: a head answers classify steps with one closed question; this is {step.kind}")
    question = step.output.questions[0]
    examples, more = head_rows(step, step.examples), _more(step, data)
    head, judged = Head.learn(step.name, question, examples, more, heads)
    answered, right = judged.at(step.min_confidence or 0.0)
    return HeadReport(
        step.name,
        len(judged.labels),
        judged.accuracy,
        judged.interval(),
        step.min_confidence,
        answered,
        None if right is None else 1 - right,
        judged.ece(),
        head.trained.vectors,
        confusions(judged, [option.text for option in question.options], step.min_confidence or 0.0),
        learnt_path(heads, step.name),
    )


def _more(step: Step[..., Any], data: Path | None) -> list[tuple[str, str]]:
    if data is None:
        return []
    found = head_rows(step, load_examples(step, data, data))
    if not found:
        raise InputError(f"{data}: no row of it is an example for {step.name}")
    return found


def confusions(judged: Judged, options: Sequence[str], floor: float) -> tuple[Confusion, ...]:
    """Which options are taken for which; first those that would be answered wrongly most often."""
    times: Counter[tuple[int, int]] = Counter()
    answered: Counter[tuple[int, int]] = Counter()
    for was, said, sure in zip(judged.labels, judged.answers, judged.confidence, strict=True):
        if was != said:
            times[int(was), int(said)] += 1
            answered[int(was), int(said)] += int(sure >= floor)
    pairs = sorted(times, key=lambda pair: (-answered[pair], -times[pair], pair))
    return tuple(Confusion(options[pair[0]], options[pair[1]], times[pair], answered[pair]) for pair in pairs)
