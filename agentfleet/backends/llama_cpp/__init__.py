"""Models in GGUF files, run in this process by llama.cpp: JSON under a grammar, closed answers scored, plain text.

Importing this costs nothing: the native library is loaded at the first request.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentfleet.backends.llama_cpp.embedded import embedded_path, weights_at
    from agentfleet.backends.llama_cpp.engine import LlamaCpp

__all__ = ["LlamaCpp", "embedded_path", "weights_at"]

_HOMES = {"LlamaCpp": "engine", "embedded_path": "embedded", "weights_at": "embedded"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
