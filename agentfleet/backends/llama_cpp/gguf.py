"""Is this file a whole GGUF model? Reads the header in Python, so that a bad file is named before native code sees it.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agentfleet.errors import ModelFileError

MAGIC: Final = b"GGUF"
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING: Final = 8
_ARRAY: Final = 9
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_MAX_DIMENSIONS = 8
_MAX_LAYERS: Final = 512
"""llama.cpp has room for so many and ends the process at more."""

# ggml type: (weights in a block, bytes of a block); types not listed are checked by their offset only.
_BLOCKS: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 24: (1, 1), 25: (1, 2),
    26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """What the header says: its scalar metadata, and how many bytes the file must at least have."""

    meta: dict[str, Any]
    size: int

    @property
    def trained_context(self) -> int | None:
        """Tokens of context that the model was trained with."""
        value = self.meta.get(f"{self.meta.get('general.architecture', '')}.context_length")
        return value if isinstance(value, int) and value > 0 else None


def read_header(path: Path) -> Header:
    """The header of a GGUF file. Raises ModelFileError: absent, no file, not GGUF, truncated, an absurd number of layers."""
    if not path.exists():
        raise ModelFileError(f"no model file at {path}: correct `model` in the fleet file, or put the file there")
    if not path.is_file():
        raise ModelFileError(f"{path} is not a file: `model` must name one .gguf file")
    try:
        with path.open("rb") as file:
            start = file.read(8)
            if start[:4] != MAGIC:
                raise ModelFileError(f"{path} is not a GGUF file (it starts with {start[:4]!r}): {_HELP}")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                header, size = _Reader(data).header(), len(data)
    except OSError as error:
        raise ModelFileError(f"cannot read the model file {path}: {error.strerror or error}") from error
    except (struct.error, IndexError, ValueError) as error:
        raise ModelFileError(f"{path} is truncated or damaged in its header: {_AGAIN}") from error
    if size < header.size:
        raise ModelFileError(f"{path} is truncated: {size} bytes of {header.size}. {_AGAIN}")
    layers = header.meta.get(f"{header.meta.get('general.architecture', '')}.block_count")
    if layers is not None and not (isinstance(layers, int) and 1 <= layers <= _MAX_LAYERS):
        raise ModelFileError(f"{path} says that it has {layers} layers (1 to {_MAX_LAYERS} can be): {_AGAIN}")
    return header


_AGAIN = "Fetch the file again and compare its sha256"
_HELP = "give a model in GGUF form, or convert it with llama.cpp's convert_hf_to_gguf.py"


class _Reader:
    """Walks the header; arrays are stepped over. Raises struct.error or ValueError where the file ends too early."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 4

    def header(self) -> Header:
        version = self.u32()
        if version not in (2, 3):
            raise ValueError(f"version {version}")
        tensors, pairs = self.u64(), self.u64()
        meta: dict[str, Any] = {}
        for _ in range(pairs):
            key = self.string()
            meta[key] = self.value(self.u32())
        ends = [self.tensor() for _ in range(tensors)]
        align = meta.get("general.alignment", 32)
        start = -(-self.at // align) * align
        return Header(meta, start + max(ends, default=0))

    def tensor(self) -> int:
        """Steps over one tensor's description; where its data ends, from the start of all data."""
        self.string()
        dimensions = self.u32()
        if dimensions > _MAX_DIMENSIONS:
            raise ValueError("dimensions")
        count = 1
        for _ in range(dimensions):
            count *= self.u64()
        block, width = _BLOCKS.get(self.u32(), (1, 0))
        return self.u64() + -(-count // block) * width

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            self.skip_array()
            return None
        form = _SCALARS[kind] if kind in _SCALARS else _unknown(kind)
        (found,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return found

    def skip_array(self) -> None:
        kind, count = self.u32(), self.u64()
        if kind == _STRING:
            unpack, data, at, end = _U64.unpack_from, self.data, self.at, len(self.data)
            for _ in range(count):
                at += 8 + unpack(data, at)[0]
                if at > end:
                    raise ValueError("string")
            self.at = at
        elif kind == _ARRAY:
            for _ in range(count):
                self.skip_array()
        else:
            self.advance(count * struct.calcsize("<" + (_SCALARS.get(kind) or _unknown(kind))))

    def string(self) -> str:
        length = self.u64()
        start = self.at
        self.advance(length)
        return self.data[start : self.at].decode("utf-8", "replace")

    def u32(self) -> int:
        (found,) = _U32.unpack_from(self.data, self.at)
        self.at += 4
        return int(found)

    def u64(self) -> int:
        (found,) = _U64.unpack_from(self.data, self.at)
        self.at += 8
        return int(found)

    def advance(self, count: int) -> None:
        self.at += count
        if self.at > len(self.data):
            raise ValueError("the file ends too early")


def _unknown(kind: int) -> str:
    raise ValueError(f"unknown value type {kind}")
