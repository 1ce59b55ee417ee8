"""What is too long for a rung is asked in parts, if the skill says so: each part an attempt, the whole one more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from agentfleet import Abstain, Fleet, Model, Session, Verbatim, ask, extract, summarise
from agentfleet.cli.render import attempts_text
from agentfleet.errors import SchemaError, Unavailable
from agentfleet.ledger.open import open_ledger
from agentfleet.testing import Scripted, scripted

FILLER = "It came late and nobody rang me up about it. " * 12
MAIL = "\n\n".join(f"Order AB-00000{number} was for {number}.50 EUR. {FILLER}" for number in range(1, 4))
OrderId = Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{6}$"), Verbatim()]
CONTEXT = 800
"""Tokens, of which 512 are for the answer: it takes three parts."""


class Order(BaseModel):
    order_id: OrderId
    amount: Annotated[float, Verbatim()]


class Mail(BaseModel):
    writer: str | None
    orders: list[Order] = []


@extract(tier="small", split=True)
def orders(mail: str, about: str) -> list[Order]:
    """Every order."""
    return ask(mail, about)


@extract(tier="small", up_to="large", split=True)
def head(mail: str) -> Mail | Abstain:
    """Who writes, and the orders."""
    return ask(mail)


@head.check
def is_no_bob(value: Mail | Abstain, mail: str) -> None:
    if isinstance(value, Mail) and value.writer == "Bob":
        raise ValueError("it is not Bob")


@extract(tier="small")
def whole(mail: str) -> list[Order]:
    """Every order."""
    return ask(mail)


@summarise(tier="small", split=True)
def gist(mail: str) -> str:
    """One sentence."""
    return ask(mail)


def order(number: int) -> dict[str, Any]:
    return {"order_id": f"AB-00000{number}", "amount": number + 0.5}


def tried(run: Any, name: str) -> list[tuple[int, str, str]]:
    return [(a.number, a.outcome.value, str(a.extra.get("part", ""))) for a in run.steps[name].attempts]


def test_a_list_is_found_part_by_part() -> None:
    with scripted({"orders": [[order(1)], [order(2)], [order(3)]]}, context=CONTEXT) as backend:
        run = orders.run(MAIL, "shoes")
    assert [one.order_id for one in run.value] == ["AB-000001", "AB-000002", "AB-000003"]
    assert tried(run, "orders") == [(1, "valid", "1"), (2, "valid", "2"), (3, "valid", "3"), (4, "valid", "")]
    shown = [request.prompt for _, request in backend.calls]
    assert all("one part of a longer text" in prompt.instruction for prompt in shown)
    assert [block.text for prompt in shown for block in prompt.blocks if block.name == "about"] == ["shoes"] * 3
    found = run.steps["orders"].evidence["2.order_id"][0]
    assert MAIL[found.start : found.end] == "AB-000003"
    assert "attempt 2 (part 2 of 3)" in "\n".join(attempts_text(run))


def test_a_part_without_candidates_is_not_asked_about() -> None:
    mail = f"{FILLER}\n\n{FILLER}\n\nOrder AB-000001 was for 1.50 EUR."
    with scripted({"orders": [[order(1)]]}, context=CONTEXT) as backend:
        assert len(orders(mail, "shoes")) == 1
    assert len(backend.calls) == 1


def test_a_short_input_is_asked_in_one_and_without_split_a_long_one_not_at_all() -> None:
    with scripted({"orders": [[order(1)]], "whole": []}, context=CONTEXT):
        assert tried(orders.run("AB-000001 1.50", ""), "orders") == [(1, "valid", "")]
        run = whole.run(MAIL)
    assert run.status == "failed" and tried(run, "whole") == [(1, "skipped", "")]
    assert "more than the 800 of" in run.steps["whole"].attempts[0].problem


def test_a_part_is_asked_again_and_one_that_fails_fails_the_rung() -> None:
    good = [{"writer": None, "orders": [order(number)]} for number in (1, 2, 3)]
    made_up = {"writer": None, "orders": [order(9)]}
    with scripted({"head": [good[0], made_up, good[1], good[2]]}, context=CONTEXT):
        run = head.run(MAIL)
    assert len(run.value.orders) == 3
    assert [outcome for _, outcome, _ in tried(run, "head")] == ["valid", "rejected", "valid", "valid", "valid"]
    with scripted({"head": [good[0], made_up, made_up, *good]}, context=CONTEXT):
        run = head.run(MAIL)
    attempts = run.steps["head"].attempts
    assert [a.outcome.value for a in attempts[:4]] == ["valid", "rejected", "rejected", "rejected"]
    assert attempts[3].problem.startswith("part 2 of 3: orders.0.order_id: 'AB-000009' does not stand")
    assert attempts[-1].tier == "large" and len(run.value.orders) == 3


def test_what_contradicts_itself_or_fails_a_check_climbs() -> None:
    parts = [{"writer": writer, "orders": []} for writer in ("Ada", None, "Eve", "Bob", None, "Bob")]
    with scripted({"head": parts}, context=CONTEXT):
        run = head.run(MAIL)
    assert run.status == "failed"
    problems = [a.problem for a in run.steps["head"].attempts if not a.of_part]
    assert problems == ['writer is "Ada" in part 1 and "Eve" in part 3; only one of them can be meant', "it is not Bob"]


def test_a_summary_of_summaries_is_held_to_the_whole_text() -> None:
    answers = [
        "AB-000001 is late.",
        "AB-000009 is late.",
        "AB-000002 is late.",
        "AB-000003 is late.",
        "4 late.",
        "3.50 late.",
    ]
    with scripted({"gist": answers}, context=CONTEXT - 512 + 200) as backend:
        run = gist.run(MAIL)
    assert run.value == "3.50 late."
    assert tried(run, "gist") == [
        (1, "valid", "1"),
        (2, "rejected", "2"),
        (3, "valid", "2"),
        (4, "valid", "3"),
        (5, "rejected", ""),
        (6, "valid", ""),
    ]
    last = backend.calls[-1][1].prompt
    assert last.blocks[0].text == "AB-000001 is late.\n\nAB-000002 is late.\n\nAB-000003 is late."


def test_summaries_that_are_no_shorter_are_refused() -> None:
    with scripted({"gist": FILLER}, context=CONTEXT - 512 + 200):
        run = gist.run(MAIL)
    assert run.status == "failed" and "are not shorter than the text" in run.error


@pytest.mark.parametrize(
    ("mail", "context", "why"), [(MAIL, 520, "leaves no room"), (MAIL * 80, CONTEXT, "64 is the most")]
)
def test_where_parts_do_not_help_the_reason_is_said(mail: str, context: int, why: str) -> None:
    with scripted({"orders": []}, context=context):
        run = orders.run(mail, "")
    assert tried(run, "orders") == [(1, "skipped", "")] and why in run.error


def test_no_part_is_asked_twice_after_an_outage(tmp_path: Path) -> None:
    def opened(script: dict[str, Any]) -> tuple[Session, Scripted]:
        backend = Scripted(script, CONTEXT)
        fleet = Fleet([Model(name="m", backend="scripted", tier="small")])
        return Session(fleet, open_ledger(tmp_path / "l.sqlite", tmp_path), tmp_path, backends={"m": backend}), backend

    session, _ = opened({"orders": [[order(1)], Unavailable("down")]})
    run = session.run(orders, {"mail": MAIL, "about": ""})
    assert run.status == "waiting" and tried(run, "orders")[-1] == (3, "unavailable", "")
    session.close()
    session, backend = opened({"orders": [[order(2)], [order(3)]]})
    again = session.resume(run.id, orders)
    assert len(again.value) == 3 and len(backend.calls) == 2
    session.close()


def test_a_type_that_cannot_be_put_together_is_refused_when_decorated() -> None:
    def rates(mail: str) -> dict[str, float]:
        """Rates."""
        return ask(mail)

    with pytest.raises(SchemaError, match="rates: split=True"):
        extract(tier="small", split=True)(rates)


class Ticket(BaseModel):
    order_id: OrderId
    amount: Annotated[float, Verbatim()]


@extract(tier="small", split=True)
def ticket(mail: str) -> Ticket:
    """The order number and what was paid."""
    return ask(mail)


@pytest.mark.real_model
def test_the_embedded_model_reads_a_text_longer_than_its_context(tmp_path: Path) -> None:
    small = Model(
        name="m", backend="llama_cpp", model="embedded", tier="small", context=256, max_tokens=64, params={"threads": 1}
    )
    session = Session(Fleet([small]), open_ledger(":memory:", tmp_path), tmp_path)
    mail = f"My order is AB-123456.\n\n{FILLER}\n\n{FILLER}\n\nI paid 49,90 EUR."
    try:
        run = session.run(ticket, {"mail": mail})
    finally:
        session.close()
    assert run.status == "done", run.error  # a field is null, or the only candidate that its part holds
    assert run.value == Ticket(order_id="AB-123456", amount=49.9)
    assert {path: mail[at.start : at.end] for path, (at,) in run.steps["ticket"].evidence.items()} == {
        "order_id": "AB-123456",
        "amount": "49,90",
    }
    parts = {attempt.extra["part"] for attempt in run.steps["ticket"].attempts if attempt.of_part}
    assert len(parts) == 2  # those in between hold no candidate, so nobody was asked about them
