"""Both protocols of decision models against a scripted server: what goes out, what comes back, and all that can go wrong."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.decided import ANSWERS_ONE, ANSWERS_TWO, ONE, TWO, Level, Ticket, replies
from servers.plain import PlainServer, Said

from agentfleet import Session, ask, classify, extract
from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.decision_wire import WIRES, Malformed
from agentfleet.backends.decisions import Decided, Decisions
from agentfleet.closed import Option, Question, closed_schema
from agentfleet.errors import BackendError, CallTimeout, FleetError, Refused, Unavailable
from agentfleet.fleet.model import Fleet, Model
from agentfleet.ledger.open import open_ledger
from agentfleet.prompt import Block, Note, Prompt, Shown
from agentfleet.schema import Invalid, Output, output_of

KEY = "dk-canary-27182818"


TICKET = output_of(Ticket, where="test", closed=True)
TEAM = output_of(Literal["billing", "travel"], where="test", closed=True)
PROMPT = Prompt("Sort it.", (Block("mail", "I paid <b>twice</b>."),))


def request(output: Output = TICKET, prompt: Prompt = PROMPT, **more: Any) -> Request:
    return Request(prompt, output, **more)


def model(server: PlainServer, wire: str = "systemone", **more: Any) -> Decisions:
    return Decisions("jev", "judge", KEY, f"{server.url}/v1", wire, more.pop("timeout", 20.0))


def decide(backend: Decisions, asked: Request) -> Completion:
    async def once() -> Completion:
        try:
            return await backend.complete(asked)
        finally:
            await backend.close()

    return asyncio.run(once())


# -- what goes out, what comes back --------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", ["systemone", "decisions"])
def test_many_fields_are_one_request_and_every_option_keeps_its_share(wire: str) -> None:
    with PlainServer(replies()) as server:
        done = decide(model(server, wire), request())
    assert server.paths() == [ONE if wire == "systemone" else TWO]
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert TICKET.parse(done.text) == Ticket(urgent=True, team="billing", level=Level.terrible)
    assert isinstance(done, Decided) and done.distributions is not None
    assert done.distributions["urgent"] == pytest.approx({"yes": 0.8, "no": 0.2})
    assert done.distributions["team"] == pytest.approx({"billing": 0.6, "travel": 0.1, "none of these": 0.3})
    assert done.distributions["level"] == pytest.approx({"harmless": 0.1, "bad": 0.2, "terrible": 0.7})
    assert done.distribution == pytest.approx({"team: billing": 0.6, "team: travel": 0.1, "team: none of these": 0.3})
    assert (done.usage.input_tokens, done.usage.output_tokens, done.calibrated) == (86, 0, False)


def test_what_systemone_is_sent() -> None:
    with PlainServer(replies()) as server:
        decide(model(server), request(idempotency_key="run/7"))
    body = server.seen[0].body
    assert (body["model"], body["state"]) == ("jev", "I paid <b>twice</b>.")
    assert body["questions"]["urgent"] == {"type": "noul", "instructions": "Sort it.\nThis question: urgent"}
    assert body["questions"]["team"]["criteria"] == {"billing": None, "travel": None, "none of these": None}
    assert body["questions"]["level"]["criteria"] == ["harmless", "bad", "terrible"]
    assert server.seen[0].headers["Idempotency-Key"] == "run/7"


def test_what_decisions_is_sent() -> None:
    with PlainServer(replies()) as server:
        decide(model(server, "decisions"), request())
    body = server.seen[0].body
    assert body["input"] == "<mail>\nI paid &lt;b>twice&lt;/b>.\n</mail>"
    assert [(q["type"], q["name"]) for q in body["questions"]] == [
        ("predicate", "urgent"),
        ("choice", "team"),
        ("score", "level"),
    ]
    assert body["questions"][1]["choices"] == [{"value": v} for v in ("billing", "travel", "none of these")]
    assert body["questions"][2]["levels"] == [{"label": v} for v in ("harmless", "bad", "terrible")]


@pytest.mark.parametrize("wire", ["systemone", "decisions"])
def test_descriptions_examples_and_earlier_answers_are_sent(wire: str) -> None:
    options = (Option("billing", "billing", "money"), Option("travel", "travel", "trips"))
    output = Output("closed", str, {}, (Question("", options),))
    prompt = Prompt(
        "Who?",
        (Block("mail", "Hello"), Block("name", "Ann")),
        examples=(Shown((Block("mail", "My train"),), "travel"),),
        notes=(Note("evidence", "travel", "not sure"),),
    )
    one = {"answer": {"type": "choice", "choice": "travel", "probabilities": {"travel": 1.0}}}
    two = [{"type": "choice", "name": "answer", "probabilities": [{"value": "travel", "probability": 1}]}]
    with PlainServer(replies(one, two)) as server:
        done = decide(model(server, wire), request(output, prompt))
    assert json.loads(done.text) == "travel"
    assert done.distribution == {"billing": 0.0, "travel": 1.0}
    sent = json.dumps(server.seen[0].body)
    assert all(word in sent for word in ("money", "trips", "My train", "Ann", "not accepted: not sure"))


def test_more_than_ten_levels_are_sent_as_a_choice() -> None:
    output = output_of(Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], where="test", closed=True)
    one = {"answer": {"type": "choice", "choice": "10", "probabilities": {"10": 0.9, "0": 0.1}}}
    with PlainServer(replies(one)) as server:
        assert output.parse(decide(model(server), request(output)).text) == 10
    assert server.seen[0].body["questions"]["answer"]["type"] == "choice"


# -- what is no answer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", ["systemone", "decisions"])
def test_a_question_that_is_declined_is_a_refusal_that_keeps_the_others(wire: str) -> None:
    one = {**ANSWERS_ONE, "team": {"type": "refusal"}}
    two = [ANSWERS_TWO[0], {"type": "refusal", "name": "team"}, ANSWERS_TWO[2]]
    with PlainServer(replies(one, two)) as server:
        done = decide(model(server, wire), request())
    assert (done.finish, done.usage.input_tokens) == ("refusal", 86)
    assert done.text.startswith("declined: team; answered:")
    assert '"level": 2' in done.text


@pytest.mark.parametrize("wire", ["systemone", "decisions"])
def test_a_question_without_an_answer_is_missing(wire: str) -> None:
    one = {name: answer for name, answer in ANSWERS_ONE.items() if name != "team"}
    with PlainServer(replies(one, [ANSWERS_TWO[0], ANSWERS_TWO[2]])) as server:
        done = decide(model(server, wire), request())
        empty = decide(model(server, wire), request(TEAM))
    with pytest.raises(Invalid, match="missing: team"):
        TICKET.parse(done.text)
    with pytest.raises(Invalid, match="none of the options"):
        TEAM.parse(empty.text)


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "choice", "choice": "billing"},
        {"type": "choice", "choice": "billing", "probabilities": {}},
        {"type": "choice", "choice": "billing", "probabilities": {"billing": 0.4, "travel": 0.2}},
        {"type": "choice", "choice": "billing", "probabilities": {"billing": 1.4, "travel": -0.4}},
        {"type": "choice", "choice": "billing", "probabilities": {"billing": "1", "travel": 0}},
        {"type": "choice", "choice": "billing", "probabilities": {"billing": True, "travel": 0}},
        {"type": "choice", "choice": "billing", "probabilities": {"billing": 0.2, "travel": 0.8}},
        {"type": "choice", "choice": ["billing"], "probabilities": {"billing": 1.0}},
        {"type": "choice", "choice": "sports", "probabilities": {"sports": 1.0}},
        {"type": "choice", "probabilities": [{"value": ["x"], "probability": 1}]},
        {"type": "choice", "probabilities": [1]},
        "billing",
        [],
    ],
)
def test_an_answer_that_contradicts_itself_is_none(answer: Any) -> None:
    with PlainServer(replies({"answer": answer})) as server, pytest.raises(Unavailable, match="is no decision: answer"):
        decide(model(server), request(TEAM))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"<html>",
        b'{"answers": {"urgent": {"noul": NaN}}}',
        b'{"answers": 1, "answers": 2}',
        b"\xff",
        b"[" * 9999,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_no_json_is_unavailable(body: bytes) -> None:
    with PlainServer({ONE: Said(body)}) as server, pytest.raises(Unavailable, match="not JSON|twice"):
        decide(model(server), request())


def test_an_answer_of_fifty_megabytes_is_not_read_to_its_end() -> None:
    with PlainServer({ONE: Said(b" " * 50_000_000)}) as server, pytest.raises(Unavailable, match="longer than"):
        decide(model(server), request())


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (401, BackendError, "the key was not accepted"),
        (404, BackendError, "check base_url"),
        (422, BackendError, "answered 422: questions.team"),
        (307, BackendError, "a redirect"),
        (408, CallTimeout, "answered 408"),
        (429, Unavailable, "answered 429"),
        (500, Unavailable, "answered 500"),
        (529, Unavailable, "answered 529"),
    ],
)
def test_a_status_becomes_an_error_without_the_key(status: int, kind: type[BackendError], told: str) -> None:
    body = {"error": {"message": f"questions.team {KEY}", "type": "x"}}
    headers = {"retry-after": "7", "location": "http://127.0.0.1:1/"}
    with PlainServer({ONE: Said(body, status, headers)}) as server, pytest.raises(kind, match=told) as caught:
        decide(model(server), request())
    assert KEY not in str(caught.value) and KEY not in repr(caught.value.__cause__)
    assert caught.value.__context__ is None
    if isinstance(caught.value, Unavailable):
        assert caught.value.retry_after == 7


def test_a_refusal_of_policy_is_a_refusal() -> None:
    body = {"error": {"message": "no", "code": "content_policy_violation"}}
    with PlainServer({ONE: Said(body, 400)}) as server, pytest.raises(Refused):
        decide(model(server), request())


def test_silence_is_a_timeout_and_a_closed_port_unavailable() -> None:
    with PlainServer({ONE: Said(hang=True)}) as server, pytest.raises(CallTimeout, match=r"within 0\.3 s"):
        decide(model(server), request(timeout=0.3))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = Decisions("jev", "judge", KEY, f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(Unavailable, match="cannot reach 127.0.0.1"):
            decide(nowhere, request())


def test_a_call_that_is_cancelled_closes_its_connection() -> None:
    left = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def watch() -> None:
        connection, _ = listener.accept()
        with connection:
            while connection.recv(4096):
                left.clear()
            left.set()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()

    async def cancelled() -> None:
        backend = Decisions("jev", "judge", "", f"http://127.0.0.1:{listener.getsockname()[1]}")
        task = asyncio.create_task(backend.complete(request()))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(left.wait, 20)

    asyncio.run(cancelled())
    assert left.is_set()
    thread.join()
    listener.close()


@pytest.mark.parametrize(
    ("questions", "told"),
    [
        ((), "writes nothing"),
        (tuple(Question(f"q{i}", (Option(1, "a"), Option(2, "b"))) for i in range(401)), "401 questions; at most 400"),
        ((Question("", tuple(Option(i, str(i)) for i in range(256))),), "256 options"),
        ((Question("", ()),), "0 options"),
    ],
)
def test_what_is_over_the_limits_is_not_sent(questions: tuple[Question, ...], told: str) -> None:
    output = Output("closed", Any, closed_schema(questions), questions)
    with PlainServer(replies()) as server, pytest.raises(BackendError, match=told):
        decide(model(server), request(output))
    assert server.seen == []


def test_it_writes_no_text() -> None:
    with PlainServer(replies()) as server, pytest.raises(BackendError, match="writes nothing"):
        decide(model(server), request(output_of(str, where="test")))


def test_a_wire_or_url_that_is_none_is_said() -> None:
    with pytest.raises(FleetError, match="did you mean 'systemone'"):
        Decisions("jev", "judge", "", "http://127.0.0.1:1", "system_one")
    assert KEY not in repr(Decisions("jev", "judge", KEY, "http://127.0.0.1:1"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["answers", "urgent", "team", "level", "type", "noul", "probabilities", "choice", "value", "name"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["systemone", "decisions"]))
def test_whatever_a_server_says_is_understood_or_malformed(data: Any, wire: str) -> None:
    for answers in (data, {"answers": data}, {"answers": {"urgent": data, "team": data}}, {"answers": [data]}):
        try:
            told = WIRES[wire]().told(answers, TICKET.questions)
        except Malformed:
            continue
        for said in told.values():
            assert said.refused or sum(said.shares.values()) == pytest.approx(1)


# -- in a fleet ----------------------------------------------------------------------------------------------------------


@classify(tier="small", up_to="person", min_confidence=0.5)
def ticket(mail: str) -> Ticket:
    """Sort the mail."""
    return ask(mail)


@extract(tier="small")
def sender(mail: str) -> str:
    """Who wrote it?"""
    return ask(mail)


def run_on(server: PlainServer, tmp_path: Path, step: Any) -> Any:
    entry = Model(name="judge", backend="decisions", model="jev", base_url=server.url, tier="small")
    session = Session(Fleet([entry]), open_ledger(":memory:", tmp_path), root=tmp_path)
    try:
        return session.run(step, {"mail": "I paid twice."})
    finally:
        session.close()


def test_a_step_is_decided_and_its_shares_are_on_record(tmp_path: Path) -> None:
    with PlainServer(replies()) as server:
        run = run_on(server, tmp_path, ticket)
    assert run.value == Ticket(urgent=True, team="billing", level=Level.terrible)
    ((_, attempt),) = run.attempts
    assert attempt.confidence == pytest.approx(0.6)
    assert attempt.usage.input_tokens == 86


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (Said({"answers": {**ANSWERS_ONE, "urgent": {"type": "noul", "noul": 0.51}}}), "valid"),
        (Said({"answers": {**ANSWERS_ONE, "team": {"type": "refusal"}}}), "refused"),
        (Said({"answers": {"urgent": ANSWERS_ONE["urgent"]}}), "invalid"),
        (
            Said({"answers": {**ANSWERS_ONE, "team": {"type": "choice", "probabilities": {"billing": 0.3}}}}),
            "unavailable",
        ),
        (Said({"error": "busy"}, 529), "unavailable"),
        (Said(b"<html>"), "unavailable"),
    ],
)
def test_what_goes_wrong_is_an_outcome(tmp_path: Path, said: Said, outcome: str) -> None:
    with PlainServer({ONE: said}) as server:
        run = run_on(server, tmp_path, ticket)
    assert [attempt.outcome.value for _, attempt in run.attempts] == [outcome]
    assert run.status == {"valid": "done", "refused": "failed"}.get(outcome, "waiting")


def test_a_step_that_writes_does_not_ask_it(tmp_path: Path) -> None:
    with PlainServer(replies()) as server:
        run = run_on(server, tmp_path, sender)
    assert server.seen == []
    assert run.status == "waiting"
    assert "no model in tier small" in run.waiting[0].why
