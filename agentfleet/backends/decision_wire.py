"""The two protocols of decision models, as plain data: what is sent for closed questions, and what an answer says.

No I/O here. What a server says is never trusted: a `Malformed` says what is wrong with it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from agentfleet.closed import Question
from agentfleet.prompt import Block, Prompt, render_blocks

LEVELS: Final = 10
"""Levels of a score; a question with more is sent as a choice."""
OPTIONS: Final = 255
QUESTIONS: Final = 400
_SLACK = 0.02
"""How far probabilities may be from a sum of 1."""

_ALONE = "answer"
"""What a question without a name is called on the wire."""


class Malformed(ValueError):
    """An answer that is none."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a server says to one question: the probability of each option by its text, or that it declines."""

    shares: Mapping[str, float]
    refused: bool = False


class Wire(ABC):
    """One protocol. `path`: behind the server's root. `fewest`: options of a choice at least."""

    path: ClassVar[str]
    fewest: ClassVar[int]

    @abstractmethod
    def body(self, model: str, prompt: Prompt, questions: Sequence[Question]) -> dict[str, Any]:
        """The request for all questions."""

    @abstractmethod
    def told(self, data: Any, questions: Sequence[Question]) -> dict[str, Told]:
        """Question → what was said; a question without an answer is missing. Raises Malformed."""


class SystemOne(Wire):
    """``POST /v1/systemone``: questions by name."""

    path = "/v1/systemone"
    fewest = 1

    def body(self, model: str, prompt: Prompt, questions: Sequence[Question]) -> dict[str, Any]:
        single = len(questions) == 1
        asked = {q.name or _ALONE: {"instructions": _instruction(prompt, q, single), **_criteria(q)} for q in questions}
        return {"model": model, "state": _state(prompt), "questions": asked}

    def told(self, data: Any, questions: Sequence[Question]) -> dict[str, Told]:
        answers = _mapping(_mapping(data, "the answer").get("answers"), "answers")
        found = {}
        for question in questions:
            answer = answers.get(question.name or _ALONE)
            if answer is not None:
                found[question.name] = _told(question, _mapping(answer, question.name or _ALONE))
        return found


class OpenAIDecisions(Wire):
    """``POST /v1/decisions``: questions in order."""

    path = "/v1/decisions"
    fewest = 2

    def body(self, model: str, prompt: Prompt, questions: Sequence[Question]) -> dict[str, Any]:
        single = len(questions) == 1
        asked = [
            {"name": q.name or _ALONE, "instructions": _instruction(prompt, q, single), **_listed(q)} for q in questions
        ]
        earlier = [Block("earlier_answer", text).render() for text in _earlier(prompt)]
        text = "\n".join([render_blocks(prompt.blocks), *earlier]).strip()
        return {"model": model, "input": text, "questions": asked}

    def told(self, data: Any, questions: Sequence[Question]) -> dict[str, Told]:
        answers = _mapping(data, "the answer").get("answers")
        if not isinstance(answers, list):
            raise Malformed("it has no list of answers")
        known = {q.name or _ALONE: q for q in questions}
        named = list(known)
        found = {}
        for place, answer in enumerate(answers):
            name = _mapping(answer, "an answer").get("name", named[place] if place < len(named) else None)
            if isinstance(name, str) and name in known:  # an answer that nobody asked for is no answer
                found[known[name].name] = _told(known[name], answer)
        return found


WIRES: Final[Mapping[str, type[Wire]]] = {"systemone": SystemOne, "decisions": OpenAIDecisions}


def form_of(question: Question) -> str:
    """noul, score or choice: what a question is on the wire. "None of these" makes it a choice."""
    values = [option.value for option in question.options]
    if question.kind == "bool" and len(values) == 2 and {True, False} == set(values):
        return "noul"
    scored = question.kind == "score" and None not in values and 2 <= len(values) <= LEVELS
    return "score" if scored else "choice"


def _criteria(question: Question) -> dict[str, Any]:
    form = form_of(question)
    if form == "noul":
        said = {"true" if o.value else "false": o.about for o in question.options if o.about}
        return {"type": "noul", **({"criteria": said} if said else {})}
    if form == "score":
        return {"type": "score", "criteria": [_level(o.text, o.about) for o in question.options]}
    return {"type": "choice", "criteria": {o.text: o.about or None for o in question.options}}


def _listed(question: Question) -> dict[str, Any]:
    form = form_of(question)
    if form == "noul":
        return {"type": "predicate"}
    key, word = ("levels", "label") if form == "score" else ("choices", "value")
    rows = [{word: o.text, **({"description": o.about} if o.about else {})} for o in question.options]
    return {"type": form, key: rows}


def _level(text: str, about: str) -> str:
    return f"{text}: {about}" if about else text


def _instruction(prompt: Prompt, question: Question, single: bool) -> str:
    """The instruction; for one question with the examples, for several with the name of the field."""
    if not single:
        return f"{prompt.instruction.strip()}\nThis question: {question.name}"
    shown = [f"{render_blocks(example.blocks)}\n→ {example.answer}" for example in prompt.examples]
    return "\n".join([prompt.instruction.strip(), *(["Examples:", *shown] if shown else [])])


def _state(prompt: Prompt) -> str | dict[str, str]:
    """The inputs: one as text, several by name."""
    earlier = _earlier(prompt)
    if len(prompt.blocks) == 1 and not earlier:
        return prompt.blocks[0].text
    more = {"earlier_answer": "\n".join(earlier)} if earlier else {}
    return {**{block.name: block.text for block in prompt.blocks}, **more}


def _earlier(prompt: Prompt) -> list[str]:
    """What smaller models have answered, and why it was not accepted."""
    return [f"{note.answer}\nnot accepted: {note.problem}" for note in prompt.notes if note.kind == "evidence"]


def _told(question: Question, answer: Mapping[str, Any]) -> Told:
    if answer.get("type") == "refusal":
        return Told({}, refused=True)
    where = question.name or _ALONE
    if form_of(question) == "noul":
        share = _share(answer.get("noul", answer.get("probability")), where)
        return Told({o.text: share if o.value else 1 - share for o in question.options})
    texts = [option.text for option in question.options]
    given = dict(_pairs(answer.get("probabilities"), texts, form_of(question), where))
    shares = {text: given.get(text, 0.0) for text in texts}
    total = sum(shares.values())
    if abs(total - 1) > _SLACK:
        raise Malformed(f"{where}: its probabilities sum to {total:.3g}")
    _agrees(answer.get("choice"), shares, where)
    return Told({text: share / total for text, share in shares.items()})


def _pairs(given: Any, texts: Sequence[str], form: str, where: str) -> Iterable[tuple[str, float]]:
    """(option, probability) from a mapping by label or level, or from a list of rows."""
    if isinstance(given, Mapping):
        rows = list(given.items())
    elif isinstance(given, list) and all(isinstance(row, Mapping) for row in given):
        rows = [(row.get("label", row.get("value")), row.get("probability")) for row in given]
    else:
        raise Malformed(f"{where}: it has no probabilities")
    for key, value in rows:
        text = key
        if form == "score" and (isinstance(given, Mapping) or key not in texts):  # a level's number
            text = texts[int(key)] if str(key) in map(str, range(len(texts))) else None
        if text not in texts:
            raise Malformed(f"{where}: {str(key)[:40]!r} is none of its options")
        yield text, _share(value, where)


def _share(value: Any, where: str) -> float:
    sensible = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not sensible or not 0 <= value <= 1 + 1e-6:
        raise Malformed(f"{where}: {str(value)[:40]!r} is no probability")
    return min(1.0, float(value))


def _agrees(choice: Any, shares: Mapping[str, float], where: str) -> None:
    """The named choice must be the likeliest option: else one of the two is not what it says."""
    if choice is not None and (choice not in list(shares) or shares[choice] < max(shares.values()) - _SLACK):
        raise Malformed(f"{where}: it chose {str(choice)[:40]!r}, which is not its likeliest option")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Malformed(f"{where}: it is no JSON object")
    return value
