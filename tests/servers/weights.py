"""Small files of weights for a hub to serve: whole in form, with nothing worth loading in them."""

from __future__ import annotations

import json
import struct
from typing import Any


def gguf(template: str | None = "{{ messages }}", fill: bytes = b"w", size: int = 30_000, layers: int = 1) -> bytes:
    """A GGUF file with one tensor of `size` bytes, each of them `fill`."""
    pairs = [_text("general.architecture", "llama"), _number("llama.block_count", layers)]
    pairs += [_number("llama.context_length", 2048)] + (
        [_text("tokenizer.chat_template", template)] if template else []
    )
    tensor = _string("t") + struct.pack("<IQIQ", 1, size, 24, 0)  # of bytes, at the start of the data
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor
    return head + b"\0" * (-len(head) % 32) + fill * size


def safetensors(size: int = 30_000, **more: Any) -> bytes:
    """A safetensors file with one tensor."""
    header = {"t": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}, **more}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"w" * size


def folder(template: str = "{{ messages }}", **config: Any) -> dict[str, bytes]:
    """The files of a repository for transformers, and some that are of no use to it."""
    return {
        "README.md": b"# A model",
        "config.json": json.dumps({"model_type": "llama", "max_position_embeddings": 512, **config}).encode(),
        "tokenizer.json": b'{"model": {}}',
        "tokenizer_config.json": json.dumps({"chat_template": template}).encode(),
        "model.safetensors": safetensors(),
        "original/params.pth": b"\x80\x04",
        "pytorch_model.bin": b"PK\x03\x04",
        "modeling_own.py": b"raise SystemExit('code of a repository was run')",
    }


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _text(key: str, value: str) -> bytes:
    return _string(key) + struct.pack("<I", 8) + _string(value)


def _number(key: str, value: int) -> bytes:
    return _string(key) + struct.pack("<II", 4, value)
