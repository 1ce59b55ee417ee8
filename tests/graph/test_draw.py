"""Drawings: the same facts as Mermaid, SVG and JSON; nothing that a name says can break out of them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from graph.desk import Parcel, gist, length, mood, parcel
from hypothesis import given
from hypothesis import strategies as st

from agentfleet import Label, Plan, ask, classify, each, graph, plan, repeat, step, summarise, when
from agentfleet.graph.draw import cards, colour, graph_hash, mermaid, svg, to_dict
from agentfleet.graph.network import drawn_links
from agentfleet.graph.picture import safe, short

SVG = "{http://www.w3.org/2000/svg}"


@step(effect=True)
def send(text: str) -> str:
    return text


@classify(tier="person")
def approve(text: str) -> Literal["yes", "no"]:
    """May this be sent?"""
    return ask(text)


@graph
def letter(mail: str, note: Annotated[str, Label("restricted")] = "<none>") -> str:
    text = gist(mail)
    return when(approve(text) == "yes", send(text), otherwise=note)


@step(effect=True)
def post(text: str) -> Parcel:
    return Parcel(code=text, weight=1)


@plan(tier="small", up_to="frontier", tools=[post])
def todo(mail: str) -> Plan[Parcel]:
    """What to send."""
    return ask(mail)


@graph
def planned(mail: str) -> Parcel:
    return todo.carry_out(todo(mail))


@graph
def inner(mail: str) -> str:
    return gist(mail)


@graph
def nested(mails: list[str], first: str) -> list[int]:
    again = repeat(inner, until=bool, at_most=2)(first)
    return [length(again), each(length).using(name="lengths")(mails)[0]]


GRAPHS = [letter, planned, nested]


# -- SVG ---------------------------------------------------------------------------------------------------------------


def parsed(drawing: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawing)


@pytest.mark.parametrize("drawn", GRAPHS, ids=lambda g: g.name)
def test_every_box_and_arrow_is_there(drawn: Any) -> None:
    root = parsed(svg(drawn))
    texts = {"".join(element.itertext()) for element in root.iter(f"{SVG}text")}
    assert set(drawn.dag.nodes) <= texts
    assert {param.name for param in drawn.params} <= texts
    arrows = [path for path in root.iter(f"{SVG}path") if path.get("marker-end")]
    assert len(arrows) == len(drawn_links(drawn.dag))


def test_boxes_do_not_overlap_and_stand_inside() -> None:
    root = parsed(svg(nested))
    boxes = [group.find(f"{SVG}rect") for group in root.iter(f"{SVG}g") if group.get("class")]
    places = [tuple(float(box.get(k, "")) for k in ("x", "y", "width", "height")) for box in boxes if box is not None]
    wide, high = float(root.get("width", "")), float(root.get("height", ""))
    for index, (x, y, w, h) in enumerate(places):
        assert x >= 0
        assert x + w <= wide
        assert y + h <= high
        for other_x, other_y, other_w, other_h in places[index + 1 :]:
            apart = x + w <= other_x or other_x + other_w <= x or y + h <= other_y or other_y + other_h <= y
            assert apart


def test_tiers_effects_waits_and_branches_show() -> None:
    drawing = svg(letter)
    root = parsed(drawing)
    rects = {
        "".join(group.itertext()).split(":")[0].strip(): group.find(f"{SVG}rect")
        for group in root.iter(f"{SVG}g")
        if group.get("class") == "node"
    }
    assert rects["gist"].get("fill") == colour("small")  # type: ignore[union-attr]
    assert rects["send"].get("stroke-width") == "3"  # type: ignore[union-attr]
    assert rects["approve"].get("stroke-dasharray")  # type: ignore[union-attr]
    dashed = [path.get("class") for path in root.iter(f"{SVG}path") if path.get("stroke-dasharray")]
    assert "branch" in dashed
    assert "decides" in dashed
    for word in ("may wait for a person", "effect", "approve == &#x27;yes&#x27;", "only when that branch is taken"):
        assert word in drawing


def test_a_drawing_refers_to_nothing_outside() -> None:
    drawing = svg(letter)
    assert "<script" not in drawing
    assert "href" not in drawing
    assert drawing.count("http") == 1  # the namespace


@given(st.text())
def test_any_text_is_safe_in_svg(raw: str) -> None:
    element = ElementTree.fromstring(f'<a b="{safe(raw)}">{safe(short(raw))}</a>')
    assert len(element) == 0


def test_a_graph_with_hostile_names_stays_well_formed() -> None:
    @graph
    def odd(mail: str) -> str:
        return when(gist(mail) == '</text><script>&\x00"]', mail, otherwise="x")

    parsed(svg(odd))
    lines = [line for line in mermaid(odd).splitlines() if "script" in line]
    assert lines
    for line in lines:
        assert "<script" not in line
        assert line.count('"') == 2


def test_an_empty_graph_can_be_drawn() -> None:
    @graph
    def nothing() -> int:
        return 1

    parsed(svg(nothing))
    assert "result" in mermaid(nothing)
    assert to_dict(nothing)["result"] == {"value": 1}


# -- Mermaid -----------------------------------------------------------------------------------------------------------


def test_mermaid() -> None:
    text = mermaid(letter)
    assert text.startswith("flowchart TD\n")
    assert 'node_gist["gist<br/>summarise, small"]' in text
    assert 'node_send["send<br/>step<br/>effect"]' in text
    assert 'node_approve["approve<br/>classify, person<br/>may wait for a person"]' in text
    assert "node_gist --> node_approve" in text
    assert "node_approve -.->|\"approve == 'yes'\"| node_send" in text
    assert "node_send -.-> result" in text
    assert f"classDef tier_small fill:{colour('small')}" in text
    assert "style node_send stroke-width:4px" in text
    assert letter.draw() == text


def test_names_that_mermaid_would_confuse_are_kept_apart() -> None:
    @graph
    def close(mail: str) -> list[str]:
        return [gist.using(name="a.b")(mail), gist.using(name="a_b")(mail), gist.using(name="end")(mail)]

    text = mermaid(close)
    assert 'node_a_b["a.b<br/>' in text.replace("#46;", ".")
    assert 'node_a_b_2["a_b<br/>' in text
    assert 'node_end["end' in text


def test_planned_effects_are_marked_and_ladders_told() -> None:
    found = cards(planned)
    assert found[("node", "todo.carry_out")].marks == ("effect",)
    assert found[("node", "todo")].note == "plan, small to frontier"
    assert found[("node", "todo")].marks == ()


# -- JSON --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drawn", GRAPHS, ids=lambda g: g.name)
def test_the_structure_is_json(drawn: Any) -> None:
    data = json.loads(drawn.to_json())
    assert data == json.loads(json.dumps(to_dict(drawn), allow_nan=False))
    assert data["hash"] == graph_hash(drawn) == drawn.hash
    assert [node["id"] for node in data["nodes"]] == list(drawn.dag.nodes)


def test_what_the_structure_says() -> None:
    data = to_dict(letter)
    note = {"name": "note", "type": "str", "required": False, "label": Label("restricted").to_json()}
    assert data["inputs"][1] == note
    send_node = data["nodes"][2]
    assert (send_node["id"], send_node["effect"], send_node["inputs"]) == ("send", True, {"text": {"node": "gist"}})
    assert data["result"]["when"]["operator"] == "=="
    assert data["result"]["otherwise"] == {"input": "note"}
    assert to_dict(nested)["nodes"][0]["inner"]["name"] == "inner"
    assert to_dict(nested)["result"]["list"][1] == {"node": "lengths"} or "list" in to_dict(nested)["result"]
    assert to_dict(planned)["nodes"][0]["tools"] == ["post"]


class Strange:
    def __repr__(self) -> str:
        return "Strange()"


class Size(Enum):
    BIG = "big"


@step
def take(value: Any) -> str:
    return str(value)


def test_constants_without_a_json_form_are_shown_as_written() -> None:
    @graph
    def odd(mail: str) -> list[str]:
        values = (float("nan"), Strange(), Size.BIG, [float("inf")])
        return [take.using(name=f"t{i}")(value) for i, value in enumerate(values)]

    shown = [node["inputs"]["value"] for node in to_dict(odd)["nodes"]]
    assert shown[:3] == [{"value": "nan"}, {"value": "Strange()"}, {"value": "big"}]
    json.dumps(shown, allow_nan=False)


def test_the_hash_follows_what_the_graph_does() -> None:
    @graph
    def one(mail: str) -> str:
        return gist(mail)

    first = one.hash

    @graph
    def one(mail: str) -> str:  # type: ignore[no-redef]
        text = gist(mail)
        return text

    same = one.hash

    @summarise(tier="small")
    def gist2(mail: str) -> str:
        """Two sentences."""
        return ask(mail)

    @graph
    def one(mail: str) -> str:  # type: ignore[no-redef]
        return gist2.using(name="gist")(mail)

    assert first == same
    assert one.hash != first
    assert mood.name
    assert parcel.name
