"""Names of models become paths and commands: which are taken, which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.errors import UsageError
from agentfleet.fleet.reference import Reference, is_reference, is_safe, parse_reference


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hub:o/m/a.gguf", Reference("o/m", "a.gguf")),
        ("o/m/a.gguf@v1.0", Reference("o/m", "a.gguf", "v1.0")),
        ("o/m/Q8_0/a-00001-of-00002.gguf", Reference("o/m", "Q8_0/a-00001-of-00002.gguf")),
        ("o/m", Reference("o/m")),
        (" hub:o/m@refs/pr/1", Reference("o/m", "", "refs/pr/1")),
    ],
)
def test_what_is_a_reference(text: str, found: Reference) -> None:
    assert parse_reference(text) == found
    assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", "m", "o/", "/m", "../m", "o/..", "o/../x.gguf", "o/m/../../x.gguf", "o/m//x.gguf", "o/m/.x.gguf", "o/m/x.txt",
     "o/m/a\\b.gguf", "o/m/C:x.gguf", "o/m/nul.gguf", "o/m@", "o/m@../x", "o--x/m", "o/m/ä.gguf",
     "https://huggingface.co/o/m"],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reference(text)


@pytest.mark.parametrize("end", ["bin", "pt", "pth", "pkl", "ckpt", "BIN"])
def test_a_pickle_is_called_one(end: str) -> None:
    with pytest.raises(UsageError, match="can run code"):
        parse_reference(f"o/m/pytorch_model.{end}")


@given(st.text(alphabet=st.sampled_from("ab./\\ -_~:\0\n"), max_size=12))
def test_a_safe_name_never_leaves_its_folder(name: str) -> None:
    if is_safe(name):
        home = Path("/home/models")
        path = home / name
        assert ".." not in path.parts and path.is_relative_to(home) and path != home
        assert not any(part.startswith(".") for part in name.split("/"))


def test_a_fleet_s_model_is_a_path_or_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_reference("hub:o/m/a.gguf")
    assert is_reference("Qwen3-1.7B") and is_reference("qwen3-1.7b:Q8_0")
    for place in ("", "embedded", "weights.gguf", "models/Qwen3-1.7B", "unheard-of", "C:\\Qwen3-1.7B"):
        assert not is_reference(place), place
    (tmp_path / "Qwen3-1.7B").mkdir()
    assert not is_reference("Qwen3-1.7B"), "what lies here comes first"
