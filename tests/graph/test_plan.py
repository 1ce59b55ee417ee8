"""Plans: what a model is offered, what is refused and in which words, what a check sees, and in what order it runs."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from agentfleet import ByReference, OnFail, Plan, ask, extract, graph, plan, step
from agentfleet.errors import PlanError, UsageError
from agentfleet.graph.dag import Const, Field, Input, Out
from agentfleet.graph.plan import compile_plan, plan_output
from agentfleet.schema import Invalid, codec
from agentfleet.testing import scripted


class Order(BaseModel):
    code: str
    amount: float
    voucher: str | None = None


class Done(BaseModel):
    text: str


@step(effect=True)
def refund(code: Annotated[str, ByReference()], amount: Annotated[float, ByReference()]) -> Done:
    return Done(text=f"refunded {amount} for {code}")


@step
def reply(about: str, tone: Literal["warm", "plain"] = "plain") -> Done:
    return Done(text=about)


@step
def look_up(code: str) -> Order:
    return Order(code=code, amount=1)


@step(effect=True)
def log(text: str) -> None:
    LOGGED.append(text)


LOGGED: list[str] = []


@plan(tier="small", tools=[refund, reply, look_up, log], at_most=4)
def resolve(mail: str, found: Order | None) -> Plan[Done]:
    """What to do."""
    return ask(mail, found)


@plan(tier="small", tools=[reply])
def answers(mail: str) -> Plan[list[Done]]:
    """Several answers."""
    return ask(mail)


ORDER = Order(code="A1", amount=5)
INPUTS = {"mail": "hello", "found": ORDER}


def one(tool: str, node_id: str = "s1", **arguments: Any) -> dict[str, Any]:
    return {"id": node_id, "tool": tool, "with": arguments}


def ref(path: str) -> dict[str, str]:
    return {"ref": path}


def made(*steps: dict[str, Any], result: Any = "s1", planner: Any = resolve, inputs: Any = None) -> Any:
    text = json.dumps({"steps": list(steps), "result": result})
    return plan_output(planner, inputs or INPUTS).parse(text)


REFUND = one("refund", code=ref("found.code"), amount=ref("found.amount"))


# -- what is offered ---------------------------------------------------------------------------------------------------


def accepts(planner: Any, inputs: dict[str, Any], *steps: dict[str, Any], result: Any = "s1") -> bool:
    schema = plan_output(planner, inputs).schema
    return bool(Draft202012Validator(schema).is_valid({"steps": list(steps), "result": result}))


def test_the_schema_takes_what_can_be_filled_and_nothing_else() -> None:
    assert accepts(resolve, INPUTS, REFUND)
    assert accepts(resolve, INPUTS, one("reply", about="hi", tone="warm"))
    assert accepts(resolve, INPUTS, one("reply", about=ref("mail"), tone="warm"))
    assert not accepts(resolve, INPUTS, one("delete", about="hi"))
    assert not accepts(resolve, INPUTS, one("reply", about="hi", tone="rude"))
    assert not accepts(resolve, INPUTS, one("reply", about="hi", colour="red"))
    assert not accepts(resolve, INPUTS, one("refund", code="A1", amount=5))
    assert not accepts(resolve, INPUTS, one("refund", code=ref("found.code"), amount=ref("found.code")))
    assert not accepts(resolve, INPUTS, *[one("reply", f"s{n}", about="x") for n in range(1, 6)])


def test_what_is_none_is_not_offered() -> None:
    assert not accepts(resolve, INPUTS, one("reply", about=ref("found.voucher")))
    with_voucher = {"mail": "m", "found": Order(code="A1", amount=5, voucher="V")}
    assert accepts(resolve, with_voucher, one("reply", about=ref("found.voucher"), tone="warm"))
    assert "found" not in json.dumps(plan_output(resolve, {"mail": "m", "found": None}).schema)


@plan(tier="small", tools=[refund, reply])
def careful(mail: str, found: Order | None) -> Plan[Done]:
    """What to do."""
    return ask(mail, found)


@step
def wrap(done: Annotated[Done, ByReference()]) -> Done:
    return done


@step
def unwrap(done: Annotated[Done, ByReference()]) -> Done:
    return done


@plan(tier="small", tools=[wrap, unwrap])
def circular(mail: str) -> Plan[Done]:
    """What to do."""
    return ask(mail)


def test_a_tool_that_nothing_can_fill_is_not_offered() -> None:
    text = json.dumps(plan_output(careful, {"mail": "m", "found": None}).schema)
    assert "refund" not in text
    assert "reply" in text
    with pytest.raises(PlanError, match="circular: none of its tools can be filled"):
        plan_output(circular, {"mail": "m"})


def test_the_grammar_engine_takes_the_schema() -> None:
    guidance = pytest.importorskip("llguidance", reason="llguidance is not installed")
    for planner in (resolve, answers):
        schema = json.dumps(plan_output(planner, INPUTS).schema)
        assert guidance.LLMatcher.validate_grammar(guidance.LLMatcher.grammar_from_json_schema(schema)) == ""


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "result", "message"),
    [
        ([], "s1", "the plan has no step"),
        ([one("reply", f"s{n}", about="x") for n in range(1, 6)], "s1", "has 5 steps; at most 4"),
        ([one("replay", about="x")], "s1", "step s1: there is no tool 'replay'; did you mean 'reply'?"),
        ([one("reply", abuot="x")], "s1", "reply has no argument 'abuot'; did you mean 'about'?"),
        ([one("reply")], "s1", "step s1: reply needs about"),
        ([one("reply", about=5)], "s1", "step s1, about: Input should be a valid string"),
        ([one("reply", about="x", tone="rude")], "s1", "step s1, tone: Input should be 'warm' or 'plain'"),
        ([one("refund", code="A1", amount=ref("found.amount"))], "s1", "step s1, code: may not be written"),
        ([one("refund", code=ref("found.amount"), amount=ref("found.amount"))], "s1", "float, and str is needed"),
        ([one("reply", about=ref("found.cod"))], "s1", "Order has no field 'cod'; did you mean 'code'?"),
        ([one("reply", about=ref("found.voucher"))], "s1", "found.voucher is None; there is nothing to point at"),
        ([one("reply", about=ref("fond"))], "s1", "nothing is named 'fond'; did you mean 'found'?"),
        ([one("reply", about=ref("s1.text"))], "s1", "it comes later or is the step itself"),
        ([one("reply", about=ref("s2.text")), one("reply", "s2", about="x")], "s1", "it comes later"),
        ([one("reply", about="x"), one("reply", about="y")], "s1", "the id 's1' is used twice"),
        ([one("reply", "mail", about="x")], "mail", "the id 'mail' is used twice"),
        ([one("reply", "a/b", about="x")], "a/b", "'a/b' is no id"),
        ([one("reply", about="x"), one("look_up", "s2", code="x")], "s1", "nothing reads s2; leave it out"),
        ([one("reply", about="x")], "s3", "result: there is no step 's3'"),
        ([one("look_up", code="x")], "s1", "result: s1 gives Order, and Done is wanted"),
        ([one("reply", about="x")], ["s1"], "result names one step here, not a list"),
        ([one("reply", about="x")], [1], "result is the id of a step, or a list of ids"),
        ([one("reply", about="x")], None, "result is the id of a step, or a list of ids"),
    ],
)
def test_a_bad_plan_is_invalid_in_words_a_model_can_act_on(steps: list[Any], result: Any, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        made(*steps, result=result)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["[]", "5", '{"result": "s1"}', '{"steps": 5, "result": "s1"}', '{"steps": [5], "result": "s1"}',
     '{"steps": ["x"], "result": "s1"}', '{"steps": [{"id": "s1", "tool": "reply", "with": 5}], "result": "s1"}'],
)  # fmt: skip
def test_what_is_no_plan_at_all_is_invalid(text: str) -> None:
    with pytest.raises(Invalid, match="a plan is"):
        plan_output(resolve, INPUTS).parse(text)


def test_pointing_at_an_absent_input_is_refused() -> None:
    with pytest.raises(Invalid, match="found is None; there is nothing to point at"):
        made(one("look_up", code=ref("found.code")), inputs={"mail": "m", "found": None})


def test_the_inputs_of_a_plan_come_from_code() -> None:
    text = json.dumps({"steps": [REFUND], "result": "s1", "inputs": {"found": {"code": "EVIL", "amount": 9}}})
    assert plan_output(resolve, INPUTS).parse(text).inputs["found"]["code"] == "A1"


def test_a_plan_is_checked_again_when_it_is_carried_out() -> None:
    forged: Plan[Done] = Plan.from_json({"steps": [one("delete_all")], "result": "s1", "inputs": {}})
    with pytest.raises(PlanError, match="there is no tool 'delete_all'"):
        compile_plan(resolve, forged)


# -- what it becomes ---------------------------------------------------------------------------------------------------


def test_a_plan_becomes_a_graph() -> None:
    todo = made(one("look_up", code="A1"), one("reply", "s2", about=ref("s1.code")), result="s2")
    dag = compile_plan(resolve, todo)
    assert dag.name == "resolve.carry_out"
    assert dag.nodes["s1"].bindings == {"code": Const("A1")}
    assert dag.nodes["s2"].bindings == {"about": Field(Out("s1"), "code")}
    assert dag.depends == {"s1": (), "s2": ("s1",)}
    assert compile_plan(resolve, made(REFUND)).nodes["s1"].bindings["code"] == Field(Input("found"), "code")


def test_a_list_of_results() -> None:
    todo = made(one("reply", about="a"), one("reply", "s2", about="b"), result=["s2", "s1"], planner=answers)
    assert todo.result == ("s2", "s1")
    with pytest.raises(Invalid, match="there is no step 's9'"):
        made(one("reply", about="a"), result=["s9"], planner=answers)


def test_effects_wait_for_all_that_stands_before_them() -> None:
    steps = [one("reply", about="a"), one("log", "s2", text="first"), one("log", "s3", text=ref("s1.text"))]
    dag = compile_plan(resolve, made(*steps))
    assert dag.nodes["s2"].after == ("s1",)
    assert dag.nodes["s3"].after == ("s2",)
    assert dag.depends["s3"] == ("s1", "s2")
    assert dag.roots == ("s2", "s3")


@step(effect=True)
def slow(text: str) -> None:
    LOGGED.append(f"begin {text}")
    LOGGED.append(f"end {text}")


@plan(tier="small", tools=[slow, reply])
def ordered(mail: str) -> Plan[Done]:
    """What to do."""
    return ask(mail)


@graph
def carried(mail: str) -> Done:
    return ordered.carry_out(ordered(mail))


def test_effects_happen_in_the_order_of_the_plan() -> None:
    LOGGED.clear()
    steps = [one("slow", f"s{n}", text=str(n)) for n in range(1, 6)]
    answer = {"steps": [*steps, one("reply", "s6", about="ok")], "result": "s6"}
    with scripted({"ordered": [answer]}):
        assert carried(mail="m") == Done(text="ok")
    assert [f"{what} {n}" for n in range(1, 6) for what in ("begin", "end")] == LOGGED


# -- what a check sees -------------------------------------------------------------------------------------------------


def test_counts_and_uses() -> None:
    steps = [REFUND, one("reply", "s2", about=ref("s1.text")), one("reply", "s3", about="x", tone="warm")]
    todo = made(*steps, one("log", "s4", text=ref("s3.text")), result="s2")
    assert (todo.count(refund), todo.count(reply), todo.count(look_up)) == (1, 2, 0)
    assert todo.uses(refund, "amount") == [5.0]
    assert todo.uses(reply, "about") == [ref("s1.text"), "x"]
    assert todo.uses(reply, "tone") == ["plain", "warm"]
    assert todo.uses(look_up, "code") == []
    with pytest.raises(UsageError, match="refund has no argument 'amuont'; did you mean 'amount'?"):
        todo.uses(refund, "amuont")


def test_a_plan_survives_the_ledger() -> None:
    todo = made(REFUND)
    for annotation in (Plan[Done], resolve.returns):
        assert codec(annotation).load(codec(annotation).dump(todo)) == todo
    assert todo.to_json() == {"steps": [REFUND], "result": "s1", "inputs": json.loads(codec(dict).dump(INPUTS))}


def test_options_do_not_hide_what_is_planned() -> None:
    blank: Plan[Done] = Plan((), "s1", {})
    with_default = resolve.using(on_fail=blank)
    assert made(REFUND, planner=with_default).result == "s1"
    assert made(REFUND, planner=resolve.using(on_fail=OnFail.WAIT)).result == "s1"


@extract(tier="small")
def order(mail: str) -> Order:
    """The order."""
    return ask(mail)


@plan(tier="small", tools=[order, reply])
def reads(mail: str) -> Plan[Done]:
    """What to do."""
    return ask(mail)


def test_a_skill_may_be_a_tool() -> None:
    todo = made(one("order", mail=ref("mail")), one("reply", "s2", about=ref("s1.code")), result="s2", planner=reads)
    assert compile_plan(reads, todo).nodes["s1"].step is order
