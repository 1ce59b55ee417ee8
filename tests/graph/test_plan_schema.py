"""What a grammar lets a planner write: exactly the plans that compile, in a schema of bounded size."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field, create_model

from agentfleet import ByReference, Plan, ask, plan, step
from agentfleet.backends.backend import Request
from agentfleet.backends.llama_cpp import LlamaCpp, embedded_path
from agentfleet.backends.strict import wire_schema
from agentfleet.errors import PlanError
from agentfleet.graph.plan import plan_output
from agentfleet.schema import Invalid, Output


class Receipt(BaseModel):
    text: str


@step
def look_up(part: str) -> float:
    """Price of a part in EUR."""
    return float(len(part))


@step(effect=True)
def offer(price: Annotated[float, ByReference()], text: Annotated[str, Field(max_length=40)] = "") -> Receipt:
    """Send an offer to the customer."""
    return Receipt(text=f"{text}: {price}")


@step
def join(receipts: list[Receipt]) -> Receipt:
    return receipts[0]


@plan(tier="small", tools=[look_up, offer], at_most=3)
def answer(mail: str) -> Plan[Receipt]:
    """Look up what the parts cost and send offers. Tools: look_up(part) gives a price; offer(price, text)."""
    return ask(mail)


@plan(tier="small", tools=[look_up], at_most=2)
def prices(mail: str) -> Plan[list[float]]:
    """What the parts cost."""
    return ask(mail)


def output_for(planner: Any, **inputs: Any) -> Output:
    return plan_output(planner, inputs or {"mail": "m"})


def accepts(schema: Any, data: Any) -> bool:
    return bool(Draft202012Validator(schema).is_valid(data))


def compiles(output: Output, data: Any) -> bool:
    try:
        output.parse(json.dumps(data))
    except Invalid:
        return False
    return True


def ref(path: str) -> dict[str, str]:
    return {"ref": path}


def every_plan() -> Iterator[dict[str, Any]]:
    """All plans of up to three steps over a few ids, arguments and results, good and bad."""
    looks = [("look_up", {"part": value}) for value in ("x", ref("mail"), ref("s1.text"))]
    offers = [("offer", {"price": value}) for value in (5, ref("s1"), ref("s2"), ref("mail"))]
    offers.append(("offer", {"price": ref("s1"), "text": ref("s2.text")}))
    for size in (1, 2, 3):
        for uses in product([*looks, *offers], repeat=size):
            for result in ("s1", "s2", "s3"):
                steps = [{"id": f"s{n}", "tool": tool, "with": given} for n, (tool, given) in enumerate(uses, 1)]
                yield {"steps": steps, "result": result}


def test_the_tight_schema_takes_exactly_the_plans_that_compile() -> None:
    output = output_for(answer)
    seen = {True: 0, False: 0}
    check = Draft202012Validator(output.schema)
    for data in every_plan():
        good = compiles(output, data)
        assert bool(check.is_valid(data)) is good, data
        seen[good] += 1
    assert min(seen.values()) >= 10


def test_each_step_has_its_own_id() -> None:
    output = output_for(answer)
    first = {"id": "s1", "tool": "look_up", "with": {"part": "x"}}
    for second in ("s1", "s3", "x"):
        last = {"id": second, "tool": "offer", "with": {"price": ref("s1"), "text": "t"}}
        assert not accepts(output.schema, {"steps": [first, last], "result": second})


def test_a_list_of_results_names_only_what_is_there() -> None:
    schema = output_for(prices).schema
    one = {"id": "s1", "tool": "look_up", "with": {"part": "x"}}
    assert accepts(schema, {"steps": [one], "result": ["s1"]})
    assert not accepts(schema, {"steps": [one], "result": ["s2"]})
    assert not accepts(schema, {"steps": [one], "result": []})
    assert accepts(schema, {"steps": [one, {**one, "id": "s2"}], "result": ["s2", "s1"]})


@plan(tier="small", tools=[offer], at_most=3)
def hopeless(mail: str) -> Plan[Receipt]:
    """Nothing gives a price."""
    return ask(mail)


def test_too_few_steps_for_any_plan_is_said_before_a_call() -> None:
    with pytest.raises(PlanError, match=r"answer: none of its tools can be filled"):
        output_for(replaced(answer, 1))
    with pytest.raises(PlanError, match=r"hopeless: none of its tools can be filled"):
        output_for(hopeless)


def replaced(planner: Any, at_most: int) -> Any:
    """The same planner with another bound."""
    return plan(tier="small", tools=list(planner.tools), at_most=at_most)(planner.fn)


@plan(tier="small", tools=[look_up], at_most=2)
def clash(s1: str) -> Plan[float]:
    """An input that is called like a step."""
    return ask(s1)


def test_no_step_gets_the_name_of_an_input() -> None:
    output = output_for(clash, s1="m")
    data = {"steps": [{"id": "step1", "tool": "look_up", "with": {"part": ref("s1")}}], "result": "step1"}
    assert accepts(output.schema, data)
    assert compiles(output, data)


# -- its size ----------------------------------------------------------------------------------------------------------


def shelf(depth: int) -> Any:
    """A model whose every level holds the next one twice: 2 ** depth leaves."""
    made: Any = create_model("Level0", name=(str, ...))
    for level in range(1, depth):
        made = create_model(f"Level{level}", left=(made, ...), right=(made | None, ...))
    return made


def size(schema: Any) -> int:
    return len(json.dumps(schema))


def test_definitions_that_are_shared_stay_shared() -> None:
    store = step(shelf_step(shelf(12)))
    keep = step(shelf_step(shelf(2), "keep"))  # the same names for other things
    planner = plan(tier="small", tools=[store, keep], at_most=2)(answer_text)
    output = output_for(planner)
    assert output.wide is not None
    assert max(size(output.schema), size(output.wide)) < 20_000
    low = {"left": {"name": "a"}, "right": None}
    data = {"steps": [{"id": "s1", "tool": "keep", "with": {"what": low}}], "result": "s1"}
    assert accepts(output.schema, data)
    assert accepts(output.wide, data)
    data["steps"] = [{"id": "s1", "tool": "store", "with": {"what": low}}]
    assert not accepts(output.schema, data)


def shelf_step(kind: Any, name: str = "store") -> Any:
    def put(what: Any) -> str:
        return str(what)

    put.__name__ = put.__qualname__ = name
    put.__annotations__ = {"what": kind, "return": str}
    return put


def answer_text(mail: str) -> Plan[str]:
    """What to do."""
    return ask(mail)


def tool(number: int) -> Any:
    def use(text: str) -> str:
        return text

    use.__name__ = use.__qualname__ = f"use{number}"
    return step(use)


@pytest.mark.parametrize(("tools", "at_most", "tight"), [(2, 2, True), (4, 8, True), (8, 8, True), (40, 30, False)])
def test_many_tools_and_steps_give_a_wider_schema_not_an_endless_one(tools: int, at_most: int, tight: bool) -> None:
    guidance = pytest.importorskip("llguidance", reason="llguidance is not installed")
    planner = plan(tier="small", tools=[tool(n) for n in range(tools)], at_most=at_most)(answer_text)
    output = output_for(planner)
    assert size(output.schema) < 100_000
    grammar = guidance.LLMatcher.grammar_from_json_schema(json.dumps(output.schema))
    assert guidance.LLMatcher.validate_grammar(grammar) == ""
    itself = [{"id": "s1", "tool": "use1", "with": {"text": ref("s1")}}]
    assert accepts(output.schema, {"steps": itself, "result": "s1"}) is not tight
    first = {"id": "s1", "tool": "use1", "with": {"text": "a"}}
    assert accepts(output.schema, {"steps": [first], "result": "s2"}) is not tight
    then = {"id": "s2", "tool": "use0", "with": {"text": ref("s1")}}
    assert accepts(output.schema, {"steps": [first, then], "result": "s2"})


def test_a_host_gets_a_form_that_its_strict_mode_takes() -> None:
    made = wire_schema(output_for(answer))
    assert made.strict
    assert "prefixItems" not in json.dumps(made.schema)
    assert made.schema["properties"]["steps"]["maxItems"] == 3


# -- a weak model ------------------------------------------------------------------------------------------------------


@pytest.mark.real_model
def test_what_the_embedded_model_decodes_compiles_and_under_the_wide_form_does_not() -> None:
    pytest.importorskip("llama_cpp", reason="llama_cpp is not installed")
    backend = LlamaCpp(embedded_path(), "smol", context=2048, threads=1)

    def decoded(form: Output, mail: str) -> bool:
        done = asyncio.run(backend.complete(Request(answer.build_prompt({"mail": mail}, (mail,)), form)))
        return compiles(form, json.loads(done.text))

    try:
        for mail in ("What is a new chain?", "Two bells and a lamp, please", "Hello, is anybody there?"):
            assert decoded(output_for(answer, mail=mail), mail)
        output = output_for(answer, mail=mail)
        assert output.wide is not None
        assert not decoded(replace(output, schema=output.wide), mail)
    finally:
        backend.shut()
