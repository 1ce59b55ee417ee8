"""What files of weights say of themselves: is the header whole, does it want code of its own, what is its chat template."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any, Final

from agentfleet.backends.llama_cpp.gguf import read_header
from agentfleet.errors import ModelFileError
from agentfleet.fleet.reference import PICKLES

_TEMPLATE: Final = "tokenizer.chat_template"
_LONGEST: Final = 100 * 2**20
"""Bytes of a safetensors header at most."""


def check_file(path: Path) -> None:
    """Can this file be what its name says? `path`: of any name; raises ModelFileError when it cannot.

    A pickle is told by its first bytes too, whatever it is called.
    """
    kind = _kind(path)
    if kind == "gguf":
        read_header(path)
    elif kind == "safetensors":
        _check_safetensors(path)
    elif kind in PICKLES:
        raise ModelFileError(f"{path} is a pickle, which can run code when it is loaded")
    elif kind == "json":
        _check_config(path)


def template_of(path: Path) -> str | None:
    """The sha256 of the chat template of a GGUF file or of a folder; None where there is none. Raises ModelFileError."""
    found = _folder_templates(path) if path.is_dir() else _gguf_templates(path)
    if not found:
        return None
    return hashlib.sha256(json.dumps(found, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def check_template(path: Path, known: str | None, name: str) -> None:
    """Raises ModelFileError when the chat template of a pulled model is not the one that the lock knows."""
    if template_of(path) != known:
        raise ModelFileError(
            f"the chat template of {name} ({path}) is not the one that agentfleet.lock knows, so the model would be asked"
            f" in another way. If that is meant, run: agentfleet models pull {name} --update"
        )


def _kind(path: Path) -> str:
    """The end of its name; a file that is still being fetched is called ``.NAME.part``."""
    suffix = Path(path.name.removesuffix(".part")).suffix.lower()
    return suffix if suffix in PICKLES else suffix.removeprefix(".")


def _gguf_templates(path: Path) -> dict[str, Any]:
    meta = read_header(path).meta
    return {key: value for key, value in meta.items() if key.startswith(_TEMPLATE) and isinstance(value, str)}


def _folder_templates(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("tokenizer_config.json", "chat_template.json"):
        if (path / name).is_file() and (told := _object(path / name).get("chat_template")):
            found[name] = told
    jinja = path / "chat_template.jinja"
    if jinja.is_file():
        found[jinja.name] = _text(jinja)
    return found


def _check_config(path: Path) -> None:
    """Refuses a model that can only be loaded by running code from its repository."""
    if path.name.removesuffix(".part").lstrip(".") not in ("config.json", "tokenizer_config.json"):
        return
    if "auto_map" in _object(path):
        raise ModelFileError(
            f"{path.name.removesuffix('.part').lstrip('.')} asks for Python code of the repository (auto_map), which"
            " agentfleet never runs: take a model whose architecture transformers knows, or a GGUF of it"
        )


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ModelFileError(f"{path} is no JSON object")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"cannot read {path}: {error}") from None


def _check_safetensors(path: Path) -> None:
    """Header: 8 bytes of its length, then JSON: name → {dtype, shape, data_offsets}. Then the data, to the last byte."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(_LONGEST, size - 8):
                raise ValueError("the header is longer than the file")
            header = json.loads(file.read(length))
        ends = [int(row["data_offsets"][1]) for name, row in header.items() if name != "__metadata__"]
    except (struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{path} is not a safetensors file, or damaged in its header: {error}") from None
    if size != 8 + length + max(ends, default=0):
        raise ModelFileError(f"{path} is damaged: {size} bytes instead of {8 + length + max(ends, default=0)}")
