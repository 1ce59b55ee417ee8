"""Decisions of the endpoint as a client that we did not write sees them, and as they are on the wire."""

from __future__ import annotations

from typing import Any

import pytest
from serve.endpoint import Answer, Endpoint
from typesafe_sdk import (
    Choice,
    Noul,
    RetryPolicy,
    Score,
    TypeSafeClient,
    TypeSafeNotFoundError,
    TypeSafeUnprocessableEntityError,
)

pytestmark = [pytest.mark.real_model, pytest.mark.server]

MAIL = "I was charged twice for my order. Please pay me back at once!"
QUESTIONS: Any = {
    "urgent": Noul(instructions="Must somebody answer today?"),
    "department": Choice(instructions="Who answers it?", criteria={"billing": "money", "travel": None, "sports": None}),
    "severity": Score(instructions="How bad is it?", criteria=["harmless", "annoying", "very bad"]),
}


@pytest.fixture
def client(endpoint: Endpoint) -> Any:
    with TypeSafeClient(api_key="any", base_url=endpoint.url, retry=RetryPolicy(max_retries=0)) as found:
        yield found


def decide(endpoint: Endpoint, **fields: Any) -> Answer:
    body = {"model": "smollm2", "state": MAIL, "questions": {"q": {"type": "noul", "instructions": "Is it late?"}}}
    return endpoint.ask("POST", "/v1/systemone", {**body, **fields})


def test_all_kinds_of_questions_in_one_request(client: TypeSafeClient) -> None:
    done = client.system_one(MAIL, QUESTIONS, model="smollm2")
    assert 0 <= done.nouls["urgent"].noul <= 1
    department = done.choices["department"]
    assert sum(department.probabilities.values()) == pytest.approx(1)
    assert department.choice == max(department.probabilities, key=lambda label: department.probabilities[label])
    severity = done.scores["severity"]
    assert severity.legend == {0: "harmless", 1: "annoying", 2: "very bad"}
    assert severity.score == pytest.approx(sum(level * share for level, share in severity.probabilities.items()))
    assert done.usage.output_tokens == 0 and (done.usage.input_tokens or 0) > 40


def test_a_state_that_is_data_and_its_models(client: TypeSafeClient) -> None:
    done = client.system_one({"mail": MAIL, "lines": [1, 2]}, {"urgent": QUESTIONS["urgent"]}, model="smollm2")
    assert list(done.answers) == ["urgent"]
    assert [model.name for model in client.models.list().models] == ["smollm2"]


def test_the_state_decides(client: TypeSafeClient) -> None:
    asked = {"about": Choice(instructions="What is it about?", criteria={"food": None, "cars": None})}
    states = ("We ate bread, soup and cheese for lunch.", "The engine of my car and its brakes are broken.")
    food = [client.system_one(s, asked, model="smollm2").choices["about"].probabilities["food"] for s in states]
    assert food[0] > food[1]


def test_confidence_is_zero_at_chance_and_one_when_sure(endpoint: Endpoint) -> None:
    criteria = {"billing": None, "sports": None}
    done = decide(endpoint, questions={"q": {"type": "choice", "instructions": "Who?", "criteria": criteria}}).data
    answer = done["answers"]["q"]
    assert answer["confidence"] == pytest.approx(2 * max(answer["probabilities"].values()) - 1)
    assert 0 <= done["option_mass"] <= 1
    one = decide(endpoint, questions={"q": {"type": "choice", "criteria": {"only": None}}}).data["answers"]["q"]
    assert (one["choice"], one["confidence"]) == ("only", 1.0)


def test_the_sdk_raises_its_typed_errors(client: TypeSafeClient) -> None:
    with pytest.raises(TypeSafeNotFoundError, match="no model 'jev-latest'"):
        client.system_one(MAIL, QUESTIONS, model="jev-latest")
    with pytest.raises(TypeSafeUnprocessableEntityError, match="questions.s.criteria"):
        client.system_one(MAIL, {"s": Score(criteria=["only one"])}, model="smollm2")


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("questions", {"questions": {}}),
        ("questions", {"questions": {f"q{i}": {"type": "noul", "instructions": "?"} for i in range(401)}}),
        ("questions.q", {"questions": {"q": {"type": "box"}}}),
        ("questions.q", {"questions": {"q": {"type": "noul"}}}),
        ("questions.q.criteria", {"questions": {"q": {"type": "choice"}}}),
        (
            "questions.q.criteria",
            {"questions": {"q": {"type": "choice", "criteria": {str(i): None for i in range(256)}}}},
        ),
        ("questions.q.criteria", {"questions": {"q": {"type": "score", "criteria": ["x"] * 11}}}),
        ("questions.q.criteria.maybe", {"questions": {"q": {"type": "noul", "criteria": {"maybe": "x"}}}}),
        ("state", {"state": 7}),
        ("temperature", {"temperature": 1}),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(endpoint: Endpoint, field: str, fields: dict[str, Any]) -> None:
    answer = decide(endpoint, **fields)
    assert (answer.status, answer.error["param"]) == (422, field)


def test_a_state_that_is_too_long_is_refused_with_how_much(endpoint: Endpoint) -> None:
    answer = decide(endpoint, state="word " * 6000)
    assert answer.status == 413
    assert answer.error["tokens_over"] > 1900
    assert str(answer.error["tokens_over"]) in answer.error["message"]


def test_text_that_cannot_be_encoded_is_read_with_a_mark(endpoint: Endpoint) -> None:
    body = b'{"model": "smollm2", "state": "\\ud800", "questions": {"q": {"type": "noul", "instructions": "\\udfff?"}}}'
    assert endpoint.ask("POST", "/v1/systemone", body).status == 200
