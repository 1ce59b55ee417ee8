"""What a call costs in US dollars: the fleet file's own price, else the tables of `genai-prices`, used offline.

An unknown price is None, never 0: what was not priced must not look free.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from agentfleet.fleet.model import Model

_PROVIDERS = frozenset({"openai", "anthropic"})
_MILLION = 1_000_000


class Tokens(Protocol):
    """Tokens of one call: `backends.backend.Usage`, seen from below. Cached and reasoning ones are included."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Quote:
    """A price and where it comes from. `cost`: US dollars, None when unknown. `as_of`: version or date of the table."""

    cost: float | None
    source: str
    as_of: str = ""


def cost(model: Model, usage: Tokens) -> float | None:
    """US dollars of a call; 0.0 for a model on this machine, None when price or usage is unknown."""
    return quote(model, usage).cost


def quote(model: Model, usage: Tokens) -> Quote:
    """The same with its source: ``fleet file``, ``genai-prices``, ``local`` or ``unknown``."""
    price = model.price
    if isinstance(price, Mapping):
        return Quote(_own(price, usage) if _told(usage) else None, "fleet file")
    if price is None and model.free:
        return Quote(0.0, "local")
    if not _told(usage):
        return Quote(None, "unknown")
    return _looked_up(model, price, usage)


def _told(usage: Tokens) -> bool:
    """Every call reads something: a server that says 0 input tokens has not told its usage."""
    return usage.input_tokens > 0


def _own(price: Mapping[str, Any], usage: Tokens) -> float:
    given, written = float(price["input"]), float(price["output"])
    cached = float(price.get("cached", given))
    fresh = max(0, usage.input_tokens - usage.cached_tokens)
    return (fresh * given + usage.cached_tokens * cached + usage.output_tokens * written) / _MILLION


@cache
def _tables() -> str:
    """The version of `genai-prices`, "" where it is not installed. Asked once: its answer is on disk."""
    return version("genai-prices") if importlib.util.find_spec("genai_prices") is not None else ""


def _looked_up(model: Model, name: str | None, usage: Tokens) -> Quote:
    tables = _tables()
    if not tables:
        return Quote(None, "unknown")
    import genai_prices

    counted = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
    )
    try:
        found = genai_prices.calc_price(counted, name or model.model, **_provider(model, name))
    except (LookupError, ValueError):
        return Quote(None, "unknown")
    updated = found.auto_update_timestamp
    as_of = updated.date().isoformat() if updated else f"tables of version {tables}"
    return Quote(float(found.total_price), "genai-prices", as_of)


def _provider(model: Model, name: str | None) -> dict[str, Any]:
    """Whose price list: the endpoint's where one is named, so that a reseller's price is never guessed."""
    if name is not None:
        return {}
    if model.base_url:
        return {"provider_api_url": model.base_url}
    return {"provider_id": model.backend} if model.backend in _PROVIDERS else {}
