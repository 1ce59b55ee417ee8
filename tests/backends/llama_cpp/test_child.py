"""Weights that nobody vouches for are loaded in a child process; whatever they do to llama.cpp, this process lives."""

from __future__ import annotations

import mmap
import os
import random
import shutil
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentfleet.backends.llama_cpp import child, embedded_path
from agentfleet.backends.llama_cpp.gguf import _SCALARS, _Reader
from agentfleet.errors import ModelFileError

pytestmark = pytest.mark.real_model
MUTATIONS = 40


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("weights") / "w.gguf"
    shutil.copy(embedded_path(), path)
    yield path
    path.unlink()


class _Places(_Reader):
    """Walks the header and remembers where the numbers of the metadata stand."""

    def __init__(self, data: mmap.mmap) -> None:
        super().__init__(data)
        self.numbers: list[tuple[int, int]] = []

    def value(self, kind: int) -> object:
        start = self.at
        found = super().value(kind)
        if kind in _SCALARS:
            self.numbers.append((start, struct.calcsize("<" + _SCALARS[kind])))
        return found


@pytest.fixture(scope="module")
def places(copy: Path) -> tuple[list[tuple[int, int]], int]:
    """(place, bytes) of the numbers of the metadata, and where the header ends."""
    with copy.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Places(data)
        reader.header()
        return reader.numbers, reader.at


@contextmanager
def changed(path: Path, changes: dict[int, bytes]) -> Iterator[None]:
    """The file with other bytes at some places, for a while."""
    before = {}
    with path.open("r+b") as file:
        for place, new in changes.items():
            file.seek(place)
            before[place] = file.read(len(new))
            file.seek(place)
            file.write(new)
    try:
        yield
    finally:
        with path.open("r+b") as file:
            for place, old in before.items():
                file.seek(place)
                file.write(old)


def mutation(rng: random.Random, number: int, numbers: list[tuple[int, int]], end: int, size: int) -> dict[int, bytes]:
    """Flipped bytes in the header or the tensors, or another number in the metadata, which no look at the header finds."""
    if number % 4 < 2:
        start, stop = ((4, end), (end, size))[number % 4]
        return {rng.randrange(start, stop): rng.randbytes(1) for _ in range(rng.choice((1, 4, 64)))}
    place, width = rng.choice(numbers)
    return {place: rng.choice((b"\0" * width, b"\1".ljust(width, b"\0"), b"\xff" * width, rng.randbytes(width)))}


def test_the_embedded_model_loads_and_answers() -> None:
    assert child.check_loads(embedded_path()) == 49152


@pytest.mark.slow
def test_mutated_files_never_reach_this_process(copy: Path, places: tuple[list[tuple[int, int]], int]) -> None:
    rng, size = random.Random(20261125), copy.stat().st_size
    loaded, refused = 0, []
    for number in range(MUTATIONS):
        with changed(copy, mutation(rng, number, *places, size)):
            try:
                child.check_loads(copy)
                loaded += 1
            except ModelFileError as error:
                refused.append(str(error))
    assert loaded + len(refused) == MUTATIONS
    assert loaded  # flipped weights are still weights: only a lock knows better
    assert len(refused) > MUTATIONS // 8
    assert all(str(copy) in message or "chat template" in message for message in refused)
    assert child.check_loads(copy) == 49152


def test_what_aborts_llama_cpp_is_an_error_here(copy: Path, places: tuple[list[tuple[int, int]], int]) -> None:
    """No layers at all: llama-cpp-python 0.3.36 ends the process with SIGABRT."""
    whole = copy.read_bytes()[: places[1]]
    key = b"llama.block_count"
    place = whole.index(key) + len(key) + 4
    assert struct.unpack_from("<I", whole, place) == (30,)
    with changed(copy, {place: b"\0\0\0\0"}), pytest.raises(ModelFileError) as caught:
        child.check_loads(copy)
    assert str(copy) in str(caught.value)


def test_a_truncated_file_is_named_before_it_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "short.gguf"
    path.write_bytes(embedded_path().read_bytes()[:-1])
    with pytest.raises(ModelFileError, match="truncated"):
        child.check_loads(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no model file at"):
        child.check_loads(tmp_path / "gone.gguf")


def test_a_child_that_hangs_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="did not come to an end"):
        child.run("load", [str(embedded_path())], embedded_path(), limit=0.01)


@pytest.mark.parametrize(
    ("code", "out", "err", "message"),
    [
        (-6, b"", b"", "crashed on w.gguf .SIGABRT"),
        (-11, b'{"half', b"", "crashed on w.gguf .SIGSEGV"),
        (-250, b"", b"", "signal 250"),
        (1, b'{"error": "the reason"}\n', b"", "^the reason$"),
        (3, b"", b"Traceback\nValueError: odd\n", "exit 3.: ValueError: odd"),
        (1, b"", b"", "it said nothing"),
    ],
)
def test_how_a_child_ended_is_told(code: int, out: bytes, err: bytes, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        child._told(code, out, err, Path("w.gguf"))


def test_the_memory_of_the_child_is_bounded() -> None:
    """A header may ask for any amount."""
    resource = pytest.importorskip("resource")
    code = (
        "import resource, agentfleet.backends.llama_cpp.child as child\n"
        f"child._bound({str(embedded_path())!r})\n"
        "print(resource.getrlimit(resource.RLIMIT_AS)[0])\n"
        "try: bytearray(64 * 2**30)\n"
        "except MemoryError: print('refused')"
    )
    import subprocess

    search = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env={**os.environ, "PYTHONPATH": search})
    limit, *rest = done.stdout.decode().split()
    if int(limit) == resource.RLIM_INFINITY:
        pytest.skip("this system knows no limit of memory")
    assert rest == ["refused"], done.stderr.decode()
