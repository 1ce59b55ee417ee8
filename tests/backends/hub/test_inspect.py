"""What files of weights say of themselves, before anything loads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from servers.weights import folder, gguf, safetensors

from agentfleet.backends.hub.inspect import check_file, check_template, template_of
from agentfleet.errors import ModelFileError


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["m.gguf", ".m.gguf.part"])
def test_a_whole_gguf_passes_and_a_cut_one_does_not(tmp_path: Path, name: str) -> None:
    check_file(written(tmp_path / name, gguf()))
    with pytest.raises(ModelFileError, match="truncated"):
        check_file(written(tmp_path / name, gguf()[:-1]))
    with pytest.raises(ModelFileError, match="not a GGUF"):
        check_file(written(tmp_path / name, b"PK\x03\x04" * 100))


def test_a_whole_safetensors_passes(tmp_path: Path) -> None:
    check_file(written(tmp_path / "m.safetensors", safetensors(__metadata__={"format": "pt"})))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        b"\x80\x04" * 100,
        safetensors()[:-1],
        safetensors() + b"x",
        b"\xff" * 8 + b"{}",
        b"\x02" + b"\0" * 7 + b"[]",
        b"\x0e" + b"\0" * 7 + b'{"t":{"a":[]}}',
        b"\x07" + b"\0" * 7 + b'{"t":1}',
    ],
)
def test_what_is_no_safetensors_is_named(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ModelFileError, match=r"m.safetensors is"):
        check_file(written(tmp_path / "m.safetensors", data))


@pytest.mark.parametrize("name", ["m.bin", "m.pt", ".m.pth.part", "m.pkl", "m.ckpt"])
def test_a_pickle_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match="can run code"):
        check_file(written(tmp_path / name, b"\x80\x04"))


@pytest.mark.parametrize("name", ["config.json", ".config.json.part", "tokenizer_config.json"])
def test_code_of_a_repository_is_refused(tmp_path: Path, name: str) -> None:
    check_file(written(tmp_path / name, b'{"model_type": "llama"}'))
    with pytest.raises(ModelFileError, match="auto_map.*never runs"):
        check_file(written(tmp_path / name, json.dumps({"auto_map": {"AutoModel": "own.Model"}}).encode()))
    for data in (b"[]", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(ModelFileError):
            check_file(written(tmp_path / name, data))


def test_the_template_of_a_gguf(tmp_path: Path) -> None:
    one = template_of(written(tmp_path / "a.gguf", gguf("{{ a }}")))
    assert one == template_of(written(tmp_path / "b.gguf", gguf("{{ a }}", fill=b"v"))) is not None
    assert one != template_of(written(tmp_path / "c.gguf", gguf("{{ b }}")))
    assert template_of(written(tmp_path / "d.gguf", gguf(None))) is None


def test_the_template_of_a_folder(tmp_path: Path) -> None:
    for name, data in folder().items():
        if "/" not in name:
            (tmp_path / name).write_bytes(data)
    one = template_of(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ other }}")
    other = template_of(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "chat_template.jinja").unlink()
    assert one is not None and other not in (one, None) and template_of(tmp_path) is None


def test_a_changed_template_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "m.gguf", gguf("{{ a }}"))
    check_template(path, template_of(path), "o/m")
    with pytest.raises(ModelFileError, match=r"chat template of o/m .*agentfleet models pull o/m --update"):
        check_template(path, "0" * 64, "o/m")
