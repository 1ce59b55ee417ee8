"""The six workflows of the API's page run as they are, on scripted models, with the results that one expects.

They lie beside a checkout (``../shared/api``, or where AGENTFLEET_SHARED_API says); nothing of them is copied here.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agentfleet import Model, RunWaiting, Session
from agentfleet.errors import LabelError
from agentfleet.ids import digest
from agentfleet.testing import Scripted, scripted

Opened = Callable[..., tuple[Session, Scripted]]
FOLDER = Path(os.environ.get("AGENTFLEET_SHARED_API", Path(__file__).parents[2].parent / "shared" / "api"))


def load(name: str) -> ModuleType:
    path = FOLDER / f"{name}.py"
    if not path.is_file():
        pytest.skip("shared public API examples are absent")
    known = f"api_example_{name}"
    spec = importlib.util.spec_from_file_location(known, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[known] = module  # pydantic and a later look-up of the graph need it
    spec.loader.exec_module(module)
    return module


def planned(*steps: tuple[str, dict[str, Any]], result: str | list[str]) -> dict[str, Any]:
    made = [{"id": f"s{i}", "tool": tool, "with": given} for i, (tool, given) in enumerate(steps, 1)]
    return {"steps": made, "result": result}


MAIL = "Please refund order AB-123456 of 20.5 EUR."
REFUND = planned(("refund", {"order_id": {"ref": "found.order_id"}, "amount": {"ref": "found.amount"}}), result="s1")
REPLY = planned(("reply", {"about": {"ref": "about"}}), result="s1")
FOUND = {"order_id": "AB-123456", "amount": 20.5}


def test_support_desk_refunds_what_the_mail_names() -> None:
    desk = load("support_desk").support_desk
    with scripted({"intent": "refund", "order": FOUND, "gist": "A refund.", "resolve": REFUND}):
        run = desk.run(email=MAIL)
    assert (run.value.text, run.value.refunded) == ("refunded AB-123456", 20.5)
    assert list(run.steps) and run.steps["resolve.carry_out/s1"].state == "done"


def test_support_desk_does_not_read_an_order_that_nobody_asks_for() -> None:
    desk = load("support_desk").support_desk
    with scripted({"intent": "other", "gist": "A question.", "resolve": REPLY}) as models:
        run = desk.run(email="Are you open on Sunday?")
    assert run.value.text == "reply to: A question." and run.value.refunded == 0
    assert "order" not in run.steps and len(models.calls) == 3


def test_support_desk_refuses_a_refund_that_was_not_asked_for() -> None:
    desk = load("support_desk").support_desk
    twice = planned(
        *[("refund", {"order_id": {"ref": "found.order_id"}, "amount": {"ref": "found.amount"}})] * 2, result="s2"
    )
    with scripted({"intent": "refund", "order": FOUND, "gist": "g", "resolve": [twice, REFUND]}):
        run = desk.run(email=MAIL)
    first, second = run.steps["resolve"].attempts
    assert (first.outcome, second.outcome) == ("rejected", "valid")
    assert first.problem == "refund at most once, and only when asked for" and run.value.refunded == 20.5


def test_support_desk_takes_only_what_stands_in_the_mail() -> None:
    desk = load("support_desk").support_desk
    invented = {"order_id": "ZZ-999999", "amount": 20.5}
    with scripted({"intent": "refund", "order": invented, "gist": "g", "resolve": REPLY}):
        run = desk.run(email=MAIL)
    assert run.status == "failed" and {a.outcome.value for a in run.steps["order"].attempts} <= {"rejected", "invalid"}


def test_invoices_are_read_one_by_one_and_added_up() -> None:
    module = load("invoices")
    docs = [module.Document(name=name, text=name) for name in ("one", "a letter", "two")]
    at = [f"each_one_document#{digest(module.one_document.params[0].codec.dump(doc))[:8]}" for doc in docs]
    script = {
        f"{at[0]}/doc_type": "invoice",
        f"{at[0]}/invoice": {"number": "1", "total": 10.0},
        f"{at[1]}/doc_type": "letter",
        f"{at[2]}/doc_type": "invoice",
        f"{at[2]}/invoice": {"number": "2", "total": 5.5},
    }
    with scripted(script):
        run = module.books.run(docs=docs, currency="CHF")
    assert run.value.currency == "CHF" and run.value.total == 15.5
    assert [found.number for found in run.value.invoices] == ["1", "2"]
    assert {path.split("/")[0] for path in run.steps if "/" in path} == set(at)


def test_invoices_of_nothing() -> None:
    module = load("invoices")
    with scripted({}):
        books = module.books(docs=[])
    assert books.total == 0 and books.invoices == [] and books.currency == "EUR"


def test_approval_waits_for_a_person_and_pays_once(opened: Opened) -> None:
    module = load("approval")
    session, _ = opened({"payment": {"to": "Ada", "amount": 70}})
    run = session.run(module.pay_with_approval, {"email": "Pay Ada 70."})
    assert run.status == "waiting" and [w.path for w in run.waiting] == ["approval"]
    with pytest.raises(RunWaiting):
        _ = run.value
    session.answer(run.id, "approval", "approve")
    session, backend = opened()
    ended = session.resume(run.id, module.pay_with_approval)
    assert ended.value == "paid 70.0 to Ada" and backend.calls == []


@pytest.mark.parametrize(("amount", "answer", "value"), [(20, "", "paid 20.0 to Ada"), (70, "reject", "rejected")])
def test_approval_of_little_and_of_what_is_rejected(opened: Opened, amount: int, answer: str, value: str) -> None:
    module = load("approval")
    session, _ = opened({"payment": {"to": "Ada", "amount": amount}})
    run = session.run(module.pay_with_approval, {"email": "Pay Ada."})
    if answer:
        session.answer(run.id, "approval", answer)
        run = session.resume(run.id, module.pay_with_approval)
        assert "pay" not in run.steps
    assert run.value == value


HERE = Model(name="here", backend="scripted", tier=("nano", "small"))
CLOUD = Model(name="cloud", backend="scripted", tier=("large", "frontier"), location="cloud")
CASE = {"guideline": "Rest.", "case": {"diagnosis": "influenza A"}, "advice": "Rest at home."}


def test_labels_that_join_are_fine_and_the_leak_is_refused(opened: Opened) -> None:
    module = load("labels")
    session, backend = opened(CASE, [HERE, CLOUD])
    given = {"question": "How to treat it?", "record": "Ada Vole: influenza A"}
    run = session.run(module.consult, given)
    assert run.value == "Rest at home."
    assert {path: s.label.level for path, s in run.steps.items()} == {
        "guideline": "public",
        "case": "restricted",
        "redact": "internal",
        "advice": "internal",
    }
    shown = "".join(request.prompt.text() for path, request in backend.calls if path == "advice")
    assert "influenza" in shown and "Ada" not in shown
    before = len(backend.calls)
    with pytest.raises(LabelError, match="advice .* reads restricted data"):
        session.run(module.leaky, given)
    assert len(backend.calls) == before


def test_labels_allow_it_all_on_this_machine() -> None:
    module = load("labels")
    with scripted(CASE):
        assert module.leaky("How?", "Ada: influenza A") == "Rest at home."


def test_research_plans_writes_and_revises_until_it_is_good() -> None:
    module = load("research")
    plan = planned(
        ("search", {"query": "tides"}),
        ("read", {"urls": {"ref": "s1"}}),
        ("read", {"urls": ["http://y"]}),
        result=["s2", "s3"],
    )
    script = {
        "research": plan,
        "write": "A first draft.",
        "repeat_improve#1/critique": {"score": 5, "advice": "shorter"},
        "repeat_improve#2/revise": "A second draft.",
        "repeat_improve#2/critique": {"score": 9, "advice": ""},
        "revise": "never asked at first",
    }
    with scripted(script) as models:
        run = module.answer.run(question="Why are there tides?")
    assert (run.value.text, run.value.review.score) == ("A second draft.", 9)
    paths = [path for path, _ in models.calls]
    assert len(paths) == 5, "the first draft has no review yet: revise answers by code"
    assert run.steps["research.carry_out/s2"].value.source == "http://x/tides/0,http://x/tides/1"


def test_research_takes_no_plan_with_a_cycle_or_another_tool() -> None:
    module = load("research")
    for wrong in (
        planned(("search", {"query": "x"}), ("read", {"urls": {"ref": "s2"}}), result=["s2"]),
        planned(("delete", {"what": "all"}), result=["s1"]),
    ):
        with scripted({"research": wrong}):
            run = module.research.run(question="?")
        assert run.status == "failed" and {a.outcome.value for _, a in run.attempts} <= {"invalid", "rejected"}


def test_tools_are_called_in_order_and_a_loop_in_a_body_makes_children() -> None:
    module = load("tools")
    module.SENT.clear()
    with scripted({"query": "leaks now", "shorter": ["leaks", "leak"]}):
        run = module.on_message.run(message="It leaks!")
    assert run.value == "leak"
    assert module.SENT == ["#ops: #7", "audit r1"], "an effect runs though nothing reads it, after what it was given"
    assert [path for path in run.steps if path.startswith("shrink/")] == ["shrink/shorter#1", "shrink/shorter#2"]


def test_each_file_of_the_page_is_run_here() -> None:
    load("tools")
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names == {"support_desk", "invoices", "approval", "labels", "research", "tools"}
