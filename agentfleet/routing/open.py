"""From an entry of the fleet to an open backend. Each runtime's libraries are imported only when one of its models is."""

from __future__ import annotations

import os

from agentfleet.backends.backend import Backend
from agentfleet.backends.bounded import MOST_BYTES
from agentfleet.errors import FleetError
from agentfleet.fleet.config import resolve_key
from agentfleet.fleet.model import Model
from agentfleet.fleet.probes import probed_strategy
from agentfleet.fleet.reference import is_reference


def open_backend(model: Model) -> Backend:
    """A backend for an entry of the fleet; its libraries are imported only now."""
    if model.backend == "llama_cpp":
        from agentfleet.backends.llama_cpp import LlamaCpp, weights_at
        from agentfleet.fleet.lock import load_lock, preferred, verify

        lock = load_lock()
        path, threads, batch = preferred(
            model.name, weights_at(model.model), lock
        )  # what `models tune` chose, if it did
        verify(path, lock)
        return LlamaCpp(path, model.name, model.context or 4096, _threads(model) or threads, batch=batch)
    if model.backend == "transformers":
        return _open_transformers(model)
    if model.backend in ("openai", "anthropic", "decisions"):
        return _open_hosted(model)
    raise FleetError(f"model {model.name!r}: the backend {model.backend!r} cannot be opened from a fleet file yet")


def _open_transformers(model: Model) -> Backend:
    from agentfleet.backends.transformers import Transformers

    place = model.model
    if place in ("", "embedded") or is_reference(place):
        from agentfleet.backends.llama_cpp import weights_at

        place = str(weights_at(place))
    given = {name: model.params[name] for name in ("device", "dtype") if name in model.params}
    return Transformers(place, model.name, context=model.context or 4096, threads=_threads(model), **given)


def _threads(model: Model) -> int | None:
    named = model.params.get("threads") or os.environ.get("AGENTFLEET_THREADS")
    if not named:
        return None
    where = f"model {model.name!r}: params.threads" if model.params.get("threads") else "AGENTFLEET_THREADS"
    try:
        number = int(named)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise FleetError(f"{where} is {named!r}; write a whole number of threads, 1 or more")
    return number


def _open_hosted(model: Model) -> Backend:
    key = resolve_key(model)
    if model.backend == "decisions":
        from agentfleet.backends.decisions import Decisions

        wire = model.params.get("wire", "systemone")
        return Decisions(model.model, model.name, key, model.base_url or "", wire, model.timeout)
    strategy = model.strategy or probed_strategy(model)
    most = model.max_answer_bytes or MOST_BYTES
    if model.backend == "openai":
        from agentfleet.backends.openai import OpenAI

        return OpenAI(model.model, model.name, key, model.base_url, strategy, model.timeout, most)
    from agentfleet.backends.anthropic import Anthropic

    return Anthropic(model.model, model.name, key, model.base_url, strategy, model.timeout, most)
