"""Whatever JSON a client sends is either a request or a problem with the path of a field; never anything else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentfleet.backends.llama_cpp.grammar import Unfit
from agentfleet.errors import BackendError, CallTimeout
from agentfleet.serve.app import names_of
from agentfleet.serve.bodies import ChatBody, DecideBody, words
from agentfleet.serve.chat import conversation
from agentfleet.serve.decide import confidence
from agentfleet.serve.problems import of_backend, of_validation

KEYS = st.sampled_from(
    [
        "model",
        "messages",
        "role",
        "content",
        "type",
        "text",
        "stream",
        "n",
        "questions",
        "criteria",
        "state",
        "q",
        "tools",
    ]
)
WORDS = st.sampled_from(["user", "system", "text", "noul", "choice", "score", "json_schema", "m", "\ud800"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=14,
)
ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
DECIDED = {"model": "m", "state": "s", "questions": {"q": {"type": "noul", "instructions": "?"}}}


def reached(path: str, data: Any) -> bool:
    """Does every part of the path but the last stand in the data?"""
    for part in path.split(".")[:-1]:
        data = data[int(part)] if isinstance(data, list) else data[part]
    return True


@given(st.dictionaries(KEYS, JSON, max_size=4), st.sampled_from([ChatBody, DecideBody]))
def test_any_body_is_a_request_or_a_problem_with_its_field(fields: dict[str, Any], kind: Any) -> None:
    data = {**(ASKED if kind is ChatBody else DECIDED), **fields}
    try:
        kind.model_validate(data)
    except ValidationError as error:
        problem = of_validation(error, data)
        assert problem.param is None or reached(problem.param, data)
        assert str(problem).strip()


@given(st.lists(st.tuples(st.sampled_from(["system", "developer", "user", "assistant"]), st.text()), min_size=1))
def test_a_conversation_keeps_every_turn_in_its_place(turns: list[tuple[str, str]]) -> None:
    body = ChatBody(model="m", messages=[{"role": role, "content": text} for role, text in turns])  # type: ignore[list-item]
    said = [(turn.role, turn.content) for turn in conversation(body.messages).messages()]
    assert said == [("system" if role == "developer" else role, words(text)) for role, text in turns]


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=20))
def test_confidence_is_between_chance_and_certainty(weights: list[float]) -> None:
    shares = [weight / sum(weights) for weight in weights]
    assert -1e-9 <= confidence(shares) <= 1 + 1e-9
    assert confidence([1 / len(shares)] * len(shares)) == pytest.approx(1.0 if len(shares) == 1 else 0.0)


@pytest.mark.parametrize(
    ("error", "status"), [(Unfit("x"), 400), (CallTimeout("x"), 504), (BackendError("x"), 500)], ids=lambda e: repr(e)
)
def test_what_goes_wrong_in_the_model_has_its_status(error: Any, status: int) -> None:
    assert of_backend(error).status == status


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("10.0.0.7", False),
        ("gpu.lan", False),
    ],
)
def test_only_loopback_answers_to_loopbacks_names_alone(host: str, local: bool) -> None:
    assert bool(names_of(host)) is local
