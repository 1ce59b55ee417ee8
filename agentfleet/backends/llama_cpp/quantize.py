"""Weights in another format: what llama.cpp can make without an importance matrix, and making it so that no half is left.

llama.cpp works in a child process, so that a damaged source or a full disk ends only that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agentfleet.backends.llama_cpp.child import check_loads, run
from agentfleet.backends.llama_cpp.gguf import read_header
from agentfleet.errors import ModelFileError, UnknownName, nearest

FORMATS: Final = {
    "F16": 1, "BF16": 32, "Q8_0": 7, "Q6_K": 18, "Q5_K_M": 17, "Q5_K_S": 16, "Q5_1": 9, "Q5_0": 8, "Q4_K_M": 15,
    "Q4_K_S": 14, "Q4_1": 3, "Q4_0": 2, "IQ4_NL": 25, "IQ4_XS": 30, "Q3_K_L": 13, "Q3_K_M": 12, "Q3_K_S": 11, "Q2_K": 10,
}  # fmt: skip
"""Name → llama.cpp's number."""

_NUMBERS: Final = {number: name for name, number in FORMATS.items()}


def known_formats(names: Sequence[str]) -> tuple[str, ...]:
    """The formats of these names, each once. Raises UnknownName with the nearest one."""
    found = []
    for name in names:
        wanted = name.strip().upper()
        if wanted not in FORMATS:
            raise UnknownName(f"no format {name.strip()!r} that can be made here{nearest(wanted, FORMATS)}")
        found.append(wanted)
    return tuple(dict.fromkeys(found))


def format_of(path: Path) -> str:
    """The format that a GGUF file says it is in, else "original". Raises ModelFileError."""
    return _NUMBERS.get(read_header(path).meta.get("general.file_type", -1), "original")


def quantize(source: Path, target: Path, name: str, threads: int = 1) -> None:
    """Write `source` in another format to `target`, which is whole and loads, or is not there.

    Raises ModelFileError, also for a full disk, and UnknownName.
    """
    (wanted,) = known_formats([name])
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        run("quantize", [str(source), str(beside), str(FORMATS[wanted]), str(threads)], source)
        check_loads(beside)  # a disk that is full may have been noticed by nobody
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(target)
    except (ModelFileError, OSError) as error:
        free = shutil.disk_usage(target.parent).free // 10**6
        raise ModelFileError(f"could not make {wanted} of {source} ({free} MB are free there): {error}") from error
    finally:
        beside.unlink(missing_ok=True)
