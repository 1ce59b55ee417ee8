"""``POST /v1/systemone``: closed questions about a state, scored without generating a word.

All questions of a request stand in one prompt before the state and are answered in one evaluation after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from agentfleet.backends.backend import Completion, Request
from agentfleet.closed import Option, Question, closed_schema
from agentfleet.prompt import Block, Prompt
from agentfleet.schema import Output
from agentfleet.serve.bodies import Asked, ChoiceQuestion, DecideBody, NoulQuestion, ScoreQuestion, words
from agentfleet.serve.served import Served, unless_gone


async def decide(served: Served, http: HttpRequest, body: DecideBody) -> Response:
    """The answers to all questions of a request. Raises Problem, Gone."""
    questions = tuple(_question(name if len(body.questions) > 1 else "", q) for name, q in body.questions.items())
    output = Output("closed", Any, closed_schema(questions), questions)
    request = Request(_prompt(body, questions), output, max_tokens=1)
    done = await unless_gone(http, served.complete(request, "state"))
    shares = _shares(done, list(body.questions))
    answers = {name: _answer(question, shares[name]) for name, question in body.questions.items()}
    usage = {"input_tokens": done.usage.input_tokens, "output_tokens": 0, "cached_tokens": done.usage.cached_tokens}
    return JSONResponse({"model": served.name, "answers": answers, "usage": usage, "option_mass": done.option_mass})


def _question(name: str, asked: Asked) -> Question:
    """The question as the engine scores it."""
    if isinstance(asked, NoulQuestion):
        yes, no = (asked.criteria.yes, asked.criteria.no) if asked.criteria else (None, None)
        return Question(name, (Option(True, "yes", words(yes)), Option(False, "no", words(no))), "bool")
    if isinstance(asked, ChoiceQuestion):
        return Question(name, tuple(Option(label, label, words(about)) for label, about in asked.criteria.items()))
    levels = tuple(Option(level, str(level), words(about)) for level, about in enumerate(asked.criteria))
    return Question(name, levels, "score")


def _prompt(body: DecideBody, questions: tuple[Question, ...]) -> Prompt:
    """One question reads as a skill's prompt does; of several, each is named with its options below it."""
    state = Block("state", words(body.state))
    if len(questions) == 1:
        (asked,) = body.questions.values()
        return Prompt(words(asked.instructions) or "Decide.", (state,), _listed(questions[0]))
    lines = ["Answer every question about the state."]
    for question, asked in zip(questions, body.questions.values(), strict=True):
        lines.append(f"{question.name}: {words(asked.instructions)}".rstrip())
        lines += [f"- {text}: {about}" if about else f"- {text}" for text, about in _listed(question)]
    return Prompt("\n".join(lines), (state,))


def _listed(question: Question) -> tuple[tuple[str, str], ...]:
    return tuple((option.text, option.about) for option in question.options)


def _shares(done: Completion, names: list[str]) -> Mapping[str, Mapping[str, float]]:
    """Question → option → probability."""
    several: Mapping[str, Mapping[str, float]] | None = getattr(done, "distributions", None)
    return several or {names[0]: done.distribution or {}}


def _answer(asked: Asked, shares: Mapping[str, float]) -> dict[str, Any]:
    if isinstance(asked, NoulQuestion):
        return {"type": "noul", "noul": shares["yes"]}
    sure = confidence(list(shares.values()))
    if isinstance(asked, ScoreQuestion):
        mean = sum(int(level) * share for level, share in shares.items())
        legend = {str(level): about for level, about in enumerate(asked.criteria)}
        return {
            "type": "score",
            "score": mean,
            "legend": legend,
            "probabilities": dict(shares),
            "confidence": sure,
        }
    best = max(shares, key=shares.__getitem__)
    return {"type": "choice", "choice": best, "probabilities": dict(shares), "confidence": sure}


def confidence(shares: list[float]) -> float:
    """How far the best option stands above chance: 0 when all are alike, 1 when it has everything."""
    count = len(shares)
    return 1.0 if count == 1 else max(0.0, (count * max(shares) - 1) / (count - 1))
