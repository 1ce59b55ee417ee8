"""A summary is held to its source, and the record says where the values of Verbatim fields stand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from agentfleet import Model, Session, Verbatim, ask, extract, summarise
from agentfleet.cli.render import attempts_text
from agentfleet.testing import Scripted, scripted

Opened = Callable[..., tuple[Session, Scripted]]
MAIL = "Two lamps of order AB-123456 broke on 12 March. I paid 49,90 EUR."


class Order(BaseModel):
    order_id: Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{6}$"), Verbatim()]
    amount: Annotated[float, Verbatim()] | None


@extract(tier="small", up_to="large")
def order(mail: str) -> Order | None:
    """The order."""
    return ask("no. 7", mail)


@summarise(tier="small", up_to="large")
def gist(mail: str) -> str:
    """One sentence."""
    return ask(mail)


@summarise(tier="small", grounded=False)
def tale(mail: str) -> str:
    """A tale."""
    return ask(mail)


def test_what_a_summary_makes_up_is_named_asked_again_and_climbs(opened: Opened) -> None:
    models = [Model(name=tier, backend="scripted", tier=tier) for tier in ("small", "large")]
    answers = ["3 lamps of AB-123456 broke.", "2 lamps of AB-654321 broke.", "2 lamps broke on March 12 (49.90)."]
    session, backend = opened({"gist": answers}, models)
    run = session.run(gist, {"mail": MAIL})
    assert run.value == answers[-1]
    assert [(a.model, a.outcome, a.problem) for a in run.steps["gist"].attempts] == [
        ("small", "rejected", "'3' does not stand in the input; leave it out, or copy it exactly"),
        ("small", "rejected", "'AB-654321' does not stand in the input; leave it out, or copy it exactly"),
        ("large", "valid", ""),
    ]
    assert "'3' does not stand in the input" in backend.calls[1][1].prompt.text()


def test_it_can_be_switched_off_and_is_part_of_what_the_skill_is() -> None:
    with scripted({"tale": "100 lamps!"}):
        assert tale(mail=MAIL) == "100 lamps!"
    grounded = summarise(tier="small")(tale.fn)
    assert grounded.base_fingerprint != tale.base_fingerprint
    assert summarise(tier="large")(tale.fn).base_fingerprint == grounded.base_fingerprint


def test_a_record_says_where_values_stand_and_keeps_it(opened: Opened) -> None:
    session, _ = opened(
        {"order": [{"order_id": "AB-999999", "amount": 49.9}, {"order_id": "AB-123456", "amount": 49.9}]}
    )
    run = session.run(order, {"mail": MAIL})
    found = run.steps["order"].evidence
    assert found == {"order_id": [(1, 19, 28)], "amount": [(1, 55, 60)]}
    assert {path: MAIL[places[0].start : places[0].end] for path, places in found.items()} == {
        "order_id": "AB-123456",
        "amount": "49,90",
    }
    read = session.read(run.id, order)
    assert read.steps["order"].evidence == found
    shown = json.loads(json.dumps(read.to_json()))["steps"]["order"]
    assert shown["evidence"] == {"order_id": [[1, 19, 28]], "amount": [[1, 55, 60]]}
    assert [line for line in attempts_text(read) if "stands:" in line] == [
        "  [dim]stands:[/] amount: part 1, 55 to 60 “49,90”",
        "  [dim]stands:[/] order_id: part 1, 19 to 28 “AB-123456”",
    ]
    session, backend = opened({})
    again = session.resume(run.id, order)
    assert again.steps["order"].evidence == found and not backend.calls


@pytest.mark.parametrize("mail", ["nothing here", MAIL])
def test_without_an_accepted_answer_there_is_no_evidence(opened: Opened, mail: str) -> None:
    session, _ = opened({"order": {"order_id": "AB-999999", "amount": 5}})
    run = session.run(order.using(on_fail=None), {"mail": mail})
    assert run.value is None and run.steps["order"].evidence == {}
