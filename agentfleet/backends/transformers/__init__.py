"""Models that `transformers` runs in this process, on a CPU or a GPU, held to a schema through outlines.

Importing this costs nothing: torch is loaded at the first request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentfleet.backends.transformers.engine import Transformers

__all__ = ["Transformers"]


def __getattr__(name: str) -> Any:
    if name != "Transformers":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from agentfleet.backends.transformers.engine import Transformers

    return Transformers
