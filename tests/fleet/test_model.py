"""Models and fleets as data: tiers in order, rungs, where a model runs, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.errors import FleetError
from agentfleet.fleet.model import PERSON, TIERS, Fleet, Model, default_fleet


def hosted(name: str, tier: str | tuple[str, ...] = "large", **more: object) -> Model:
    return Model(name=name, backend="openai", model=name, tier=tier, **more)  # type: ignore[arg-type]


def test_the_default_fleet_is_the_embedded_model_in_nano_and_small() -> None:
    fleet = default_fleet()
    assert fleet.tiers == TIERS
    assert [(m.name, m.tiers, m.place, m.free) for m in fleet.models] == [
        ("smollm2", ("nano", "small"), "device", True)
    ]
    assert fleet.rungs("large", "frontier") == []


def test_a_model_in_several_tiers_is_one_rung() -> None:
    fleet = Fleet([hosted("a", ("nano", "small")), hosted("b", ("small", "large")), hosted("c", "frontier")])
    assert [(t, m.name) for t, m in fleet.rungs("nano", "person")] == [("nano", "a"), ("small", "b"), ("frontier", "c")]
    assert [(t, m.name) for t, m in fleet.rungs("small", "small")] == [("small", "a"), ("small", "b")]
    assert [(t, m.name) for t, m in fleet.rungs("nano", "nano", model="c")] == [("frontier", "c")]


def test_person_is_last_and_unknown_tiers_offer_the_nearest() -> None:
    fleet = Fleet([hosted("a")])
    assert fleet.tier_index(PERSON) == len(fleet.tiers)
    with pytest.raises(FleetError, match="unknown tier 'smal'; did you mean 'small'"):
        fleet.tier_index("smal")
    with pytest.raises(FleetError, match="unknown tier 'huge'"):
        Fleet([hosted("a", "huge")])


def test_tiers_are_named_once() -> None:
    with pytest.raises(FleetError, match="once"):
        Fleet([], ("a", "a"))
    with pytest.raises(FleetError, match="once"):
        Fleet([], ())


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (None, "cloud"),
        ("http://localhost:8000/v1", "device"),
        ("http://127.0.0.1:8000/v1", "device"),
        ("http://[::1]:8000/v1", "device"),
        ("http://10.0.0.7/v1", "private"),
        ("http://192.168.1.2:8000", "private"),
        ("https://api.example.com/v1", "cloud"),
        ("https://8.8.8.8/v1", "cloud"),
        ("https://[::ffff:8.8.8.8]/v1", "cloud"),
    ],
)
def test_where_a_model_runs_follows_from_its_url(url: str | None, place: str) -> None:
    assert hosted("m", base_url=url).place == place
    assert hosted("m", base_url=url, location="private").place == "private"


@pytest.mark.parametrize(
    "url",
    ["ftp://x", "localhost:8000", "https://", "http://u:p@h/v1", "http://u@h", "http://h/v1?k=1", "http://h:99999/"],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|[Pp]ort"):
        hosted("m", base_url=url)


@given(st.lists(st.sampled_from(TIERS), min_size=1, max_size=4, unique=True).map(tuple), st.data())
def test_rungs_never_leave_their_bounds(tiers: tuple[str, ...], data: st.DataObject) -> None:
    fleet = Fleet([hosted("m", tiers), hosted("n", tiers[:1])])
    low = data.draw(st.integers(0, 3))
    high = data.draw(st.integers(low, 3))
    rungs = fleet.rungs(TIERS[low], TIERS[high])
    places = [fleet.tier_index(tier) for tier, _ in rungs]
    assert places == sorted(places)
    assert all(low <= place <= high for place in places)
    assert len({model.name for _, model in rungs}) == len(rungs)


def test_equal_fleets_have_one_digest() -> None:
    assert Fleet([hosted("a")]) == Fleet([hosted("a")])
    assert Fleet([hosted("a")]).digest != Fleet([hosted("a", timeout=3)]).digest
    assert "a" in repr(Fleet([hosted("a")]))


def test_a_model_with_one_owner_thread_admits_one_call_unless_told() -> None:
    assert default_fleet().models[0].concurrency == 1
    assert hosted("a").concurrency == 8
    assert Model(name="l", backend="llama_cpp", model="x.gguf", concurrency=2).concurrency == 2


def test_limits_and_quality_have_defaults_that_limit_nothing() -> None:
    model = hosted("a")
    assert (model.requests_per_minute, model.tokens_per_minute, model.retries) == (None, None, 2)
    assert (model.modalities, model.quality) == (("text",), {})
    stated = hosted("b", requests_per_minute=50, tokens_per_minute=30_000, quality={"extract": 0.9}, retries=0)
    assert (stated.requests_per_minute, stated.tokens_per_minute, stated.quality) == (50, 30_000, {"extract": 0.9})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("requests_per_minute", 0, "greater than 0"),
        ("tokens_per_minute", -1, "greater than 0"),
        ("max_answer_bytes", 0, "greater than 0"),
        ("retries", -1, "greater than or equal to 0"),
        ("modalities", ("text", "imgae"), "did you mean 'image'"),
        ("modalities", ("image",), 'at least "text"'),
        ("quality", {"extrakt": 0.5}, "did you mean 'extract'"),
        ("quality", {"extract": 1.5}, "less than or equal to 1"),
        ("quality", {"extract": float("nan")}, "less than or equal to 1"),
        ("price", {"input": float("nan"), "output": 1.0}, "0 or more"),
        ("price", {"input": 1.0, "output": float("inf")}, "0 or more"),
    ],
)
def test_a_field_that_cannot_be_meant_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hosted("a", **{field: value})
