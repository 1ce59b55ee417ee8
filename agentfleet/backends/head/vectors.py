"""Static word vectors from the wheel of `wordllama`: the mean of a text's token vectors, in some 20 µs.

Imported only where a head uses them; offline (the wheel carries its weights). Without the package heads do without.
"""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentfleet.errors import MissingExtra

SIZE = 256
"""Numbers in a vector."""

_MOST = 2_000
"""Tokens that are looked up; of a longer text every second, third … one."""


def installed() -> str:
    """Name and version of the vectors, "" when they are not here."""
    try:
        return f"wordllama-{version('wordllama')}"
    except PackageNotFoundError:
        return ""


def vector(text: str) -> NDArray[np.float32]:
    """The direction of a text, of length one (zero for no text). Raises MissingExtra."""
    tokenizer, table = _load()
    # "replace": a lone surrogate, which the tokenizer could not take, becomes a question mark.
    whole = text if text.isascii() else text.encode("utf-8", "replace").decode()
    tokens = tokenizer.encode(whole, add_special_tokens=False).ids
    tokens = tokens[:: -(-len(tokens) // _MOST)] if len(tokens) > _MOST else tokens
    if not tokens:
        return np.zeros(SIZE, np.float32)
    found: NDArray[np.float32] = table[tokens].sum(axis=0)
    length = float(found @ found) ** 0.5
    return found / length if length else found


@functools.cache
def _load() -> tuple[Any, NDArray[np.float32]]:
    try:
        wordllama: Any = importlib.import_module("wordllama")
    except ImportError as error:
        raise MissingExtra(
            "this head reads static vectors, and wordllama is not installed: pip install 'agentfleet[vectors]'"
        ) from error
    # By default it looks in a folder that its wheel does not have, and then in the network.
    home = Path(wordllama.__file__).parent
    loaded = wordllama.WordLlama.load(dim=SIZE, cache_dir=home, disable_download=True)
    loaded.tokenizer.no_padding()
    return loaded.tokenizer, np.asarray(loaded.embedding, np.float32)
