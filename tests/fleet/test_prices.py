"""What a call costs: own prices, the offline tables, local models, and what nobody knows."""

from __future__ import annotations

from typing import Any

import pytest

from agentfleet.backends.backend import Usage
from agentfleet.fleet.model import Model
from agentfleet.fleet.prices import _tables, cost, quote

USAGE = Usage(input_tokens=1_000_000, output_tokens=100_000, cached_tokens=400_000, reasoning_tokens=50_000)


def model(**kwargs: Any) -> Model:
    return Model(**{"name": "m", "backend": "openai", "tier": "frontier", "model": "nobody-knows-me", **kwargs})


def test_the_fleet_files_own_price_counts_cached_tokens_apart() -> None:
    priced = model(price={"input": 2.0, "output": 10.0, "cached": 0.5})
    assert cost(priced, USAGE) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.1 * 10)
    assert cost(model(price={"input": 2.0, "output": 10.0}), USAGE) == pytest.approx(3.0)
    assert quote(priced, USAGE).source == "fleet file"


def test_the_tables_price_known_models_offline() -> None:
    known = quote(model(model="gpt-4o"), USAGE)
    assert known.cost == pytest.approx(0.6 * 2.5 + 0.4 * 1.25 + 0.1 * 10)
    assert known.source == "genai-prices"
    assert known.as_of
    renamed = model(price="gpt-4o")
    assert cost(renamed, USAGE) == known.cost


def test_an_unknown_price_or_usage_is_unknown_and_never_free() -> None:
    assert cost(model(), USAGE) is None
    assert cost(model(model="gpt-4o"), Usage()) is None
    assert cost(model(price={"input": 2.0, "output": 10.0}), Usage()) is None
    assert cost(model(model="gpt-4o", base_url="https://reseller.example/v1"), USAGE) is None


def test_a_model_on_this_machine_costs_nothing() -> None:
    assert quote(model(backend="llama_cpp", model="embedded"), USAGE).cost == 0.0
    assert cost(model(base_url="http://127.0.0.1:8000/v1"), Usage()) == 0.0


def test_without_the_tables_the_price_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    _tables.cache_clear()
    try:
        assert cost(model(model="gpt-4o"), USAGE) is None
        assert quote(model(model="gpt-4o"), USAGE).source == "unknown"
    finally:
        _tables.cache_clear()
