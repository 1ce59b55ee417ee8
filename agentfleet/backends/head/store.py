"""A trained head on disk: numbers as safetensors, words and calibration as JSON; never pickle.

The JSON names the SHA-256 of the numbers and a digest of itself: a file that was cut or changed is not used.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from agentfleet.backends.head.features import Features
from agentfleet.backends.head.fit import Trained
from agentfleet.errors import MissingExtra, ModelFileError
from agentfleet.ids import fingerprint

FORMAT = 1


def save(path: Path, key: str, trained: Trained) -> None:
    """Write ``path.safetensors``, then ``path.json``, each whole or not at all. Raises OSError."""
    numbers = {"idf": trained.features.idf, "weights": trained.weights, "bias": trained.bias}
    blob = _safetensors().save({name: np.ascontiguousarray(value) for name, value in numbers.items()})
    about: dict[str, Any] = {
        "format": FORMAT,
        "key": key,
        "numbers": hashlib.sha256(blob).hexdigest(),
        "temperature": trained.temperature,
        "floor": trained.floor,
        "measured": trained.measured,
        "features": trained.features.to_json(),
    }
    about["digest"] = fingerprint(about)
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path.with_suffix(".safetensors"), blob)
    _replace(path.with_suffix(".json"), json.dumps(about, ensure_ascii=True).encode())


def load(path: Path, key: str) -> Trained:
    """Read what `save` wrote. Raises ModelFileError when a file is absent, cut, changed, or of other examples."""
    where = path.with_suffix(".json")
    try:
        about = json.loads(where.read_bytes())
        blob = path.with_suffix(".safetensors").read_bytes()
        digest = about.pop("digest")
        if about["format"] != FORMAT or about["key"] != key:
            raise ValueError("it is of other examples or another version")
        if digest != fingerprint(about) or about["numbers"] != hashlib.sha256(blob).hexdigest():
            raise ValueError("it was changed after it was written")
        return _trained(about, _safetensors().load(blob))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(
            f"the cached head {where} cannot be used: {error}. Delete it; it is trained anew."
        ) from error


def _trained(about: dict[str, Any], numbers: dict[str, Any]) -> Trained:
    weights, bias = numbers["weights"], numbers["bias"]
    features = Features.from_json(about["features"], numbers["idf"])
    if weights.shape != (len(features.columns), len(bias)):
        raise ValueError("its parts do not fit together")
    return Trained(features, weights, bias, float(about["temperature"]), float(about["floor"]), about["measured"])


def _safetensors() -> Any:
    try:
        from safetensors import numpy as module
    except ImportError as error:
        raise MissingExtra("a head on disk needs safetensors: pip install 'agentfleet[train]'") from error
    return module


def _replace(path: Path, data: bytes) -> None:
    """Write beside, flush to disk, then rename: a reader sees the old file or the new one."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
