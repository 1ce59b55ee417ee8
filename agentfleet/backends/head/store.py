"""A trained head on disk: numbers as safetensors, marks and calibration as JSON; never pickle.

The JSON names the SHA-256 of the numbers and a digest of itself: a file that was cut or changed is not used.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agentfleet import text
from agentfleet.backends.head import vectors
from agentfleet.backends.head.features import Features
from agentfleet.backends.head.trained import Doubt, Space, Trained
from agentfleet.errors import MissingExtra, ModelFileError
from agentfleet.ids import fingerprint

FORMAT = 2
_CODE = ("calibrate", "corpus", "features", "fit", "folds", "held_out", "solve", "squares", "trained", "vectors")


def key_of(skill: str, options: Sequence[str], examples: Sequence[tuple[str, str]]) -> str:
    """What a head of these examples is stored under: it changes with them, this code, and the vectors installed."""
    return fingerprint(
        "head", FORMAT, code(), vectors.installed(), skill, list(options), [list(pair) for pair in examples]
    )


@functools.cache
def code() -> str:
    """A digest of the source that makes a head what it is."""
    home = Path(__file__).parent
    files = [home / f"{name}.py" for name in _CODE] + [Path(text.__file__)]
    return fingerprint([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])


def save(path: Path, key: str, trained: Trained, data: str = "") -> None:
    """Write ``path.safetensors``, then ``path.json``, each whole or not at all. Raises OSError.

    `data`: a digest of what it was trained on beyond what `key` stands for.
    """
    features, doubt = trained.space.features, trained.doubt
    numbers = {
        "buckets": features.buckets,
        "idf": features.idf,
        "middle": trained.space.middle,
        "weights": trained.weights,
        "bias": trained.bias,
        "places": doubt.places,
        "starts": doubt.starts,
        "near": doubt.near,
    }
    blob = _safetensors().save({name: np.ascontiguousarray(value) for name, value in numbers.items()})
    about: dict[str, Any] = {
        "format": FORMAT,
        "key": key,
        "code": code(),
        "data": data,
        "vectors": trained.vectors,
        "numbers": hashlib.sha256(blob).hexdigest(),
        "temperature": trained.temperature,
        "floor": trained.floor,
        "measured": trained.measured,
        "features": features.to_json(),
    }
    about["digest"] = fingerprint(about)
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path.parent / f"{path.name}.safetensors", blob)
    _replace(path.parent / f"{path.name}.json", json.dumps(about, ensure_ascii=True).encode())


def load(path: Path, key: str) -> Trained:
    """Read what `save` wrote. Raises ModelFileError when a file is absent, cut, changed, or of other examples."""
    where = path.parent / f"{path.name}.json"
    try:
        about = json.loads(where.read_bytes())
        blob = (path.parent / f"{path.name}.safetensors").read_bytes()
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
    return Trained(
        Space(Features.from_json(about["features"], numbers["buckets"], numbers["idf"]), numbers["middle"]),
        numbers["weights"],
        numbers["bias"],
        float(about["temperature"]),
        float(about["floor"]),
        Doubt(numbers["places"], numbers["starts"], numbers["near"]),
        about["vectors"],
        about["measured"],
    )


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
