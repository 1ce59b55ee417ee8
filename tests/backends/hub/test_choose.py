"""Which files of a repository are a model, and which never are."""

from __future__ import annotations

import pytest

from agentfleet.backends.hub.choose import format_of, gguf_files, gguf_of_format, is_model, safetensors_files
from agentfleet.backends.hub.client import Listing, Remote
from agentfleet.errors import ModelFileError, UnknownName


def listing(*names: str, size: int | None = 7, sha256: str | None = "0" * 64) -> Listing:
    return Listing("o/m", "1" * 40, tuple(Remote(name, size, sha256, None) for name in names), "")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Qwen3-1.7B-Q4_K_M.gguf", "Q4_K_M"),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("m-q8_0.gguf", "Q8_0"),
        ("Q6_K/m.i1-IQ4_XS-00001-of-00002.gguf", "IQ4_XS"),
        ("m-UD-Q4_K_XL.gguf", "Q4_K_XL"),
        ("m-BF16.gguf", "BF16"),
        ("qwen2.5-0.5b.gguf", ""),
        ("Q8_0/m.gguf", ""),
    ],
)
def test_a_format_is_read_from_a_name(name: str, found: str) -> None:
    assert format_of(name) == found


def test_the_file_of_a_format() -> None:
    names = listing("m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "m-Q8_0.gguf", "mmproj-m-Q4_0.gguf", "README.md")
    assert gguf_of_format(names, "q8_0") == "m-Q8_0.gguf"
    assert gguf_of_format(names, "") == "m-Q4_K_M.gguf"
    assert gguf_of_format(listing("m-IQ2_M.gguf"), "") == "m-IQ2_M.gguf"
    with pytest.raises(UnknownName, match="no format 'Q4_K'; did you mean 'Q4_K_M'|'Q4_K_S'"):
        gguf_of_format(names, "Q4_K")
    with pytest.raises(UnknownName, match="no format 'Q4_0'"):
        gguf_of_format(names, "Q4_0")


def test_a_split_model_is_all_its_parts() -> None:
    parts = [f"m-Q8_0-0000{index}-of-00003.gguf" for index in (1, 2, 3)]
    whole = listing(*reversed(parts))
    assert gguf_of_format(whole, "") == parts[0]
    assert not is_model(parts[1])
    assert [one.name for one in gguf_files(whole, parts[0])] == parts
    with pytest.raises(ModelFileError, match=f"lacks {parts[1]}"):
        gguf_files(listing(parts[0], parts[2]), parts[0])


def test_a_file_that_is_not_there_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'm-Q8_0.gguf'"):
        gguf_files(listing("m-Q8_0.gguf", "m.bin"), "m-Q8.gguf")


def test_safetensors_bring_only_what_is_needed() -> None:
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
             "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")  # fmt: skip
    never = ("pytorch_model.bin", "modeling_own.py", "original/consolidated.pth", "onnx/model.safetensors", "training_args.bin",
             ".config.json", "../config.json", "setup.py")  # fmt: skip
    found = [one.name for one in safetensors_files(listing(*names, *never))]
    assert set(found) == set(names)
    assert found[-2:] == list(names[:2]), "the small ones first: they may be a reason to stop"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("pytorch_model.bin", "config.json"),
            r"no safetensors, only pickles \(pytorch_model.bin\), which can run code",
        ),
        (("model.ckpt",), "only pickles"),
        (
            ("m-Q4_0.gguf",),
            "it has GGUF files: agentfleet models pull o/m/FILE.gguf, with FILE.gguf one of m-Q4_0.gguf",
        ),
        (("model.safetensors",), "no config.json"),
        ((), "o/m has no safetensors$"),
    ],
)
def test_a_repository_without_safetensors_says_what_it_has(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        safetensors_files(listing(*names))


def test_a_repository_without_gguf_says_what_it_has() -> None:
    with pytest.raises(ModelFileError, match="no GGUF file; it has safetensors: agentfleet models pull o/m"):
        gguf_of_format(listing("model.safetensors"), "")
    with pytest.raises(ModelFileError, match="only pickles"):
        gguf_of_format(listing("pytorch_model.bin"), "")


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (listing("../m.gguf"), "refused"),
        (listing("/etc/m.gguf"), "refused"),
        (listing("a/../../m.gguf"), "refused"),
        (listing("a\\m.gguf"), "refused"),
        (listing(".m.gguf"), "refused"),
        (listing("m\x1b[2J.gguf"), r"'m\\x1b\[2J.gguf'"),
        (listing("m.gguf", size=0), "it is empty"),
        (listing("m.gguf", size=None), "no size"),
        (listing("m.gguf", size=60 * 10**9), "60 GB"),
        (listing("m.gguf", sha256=None), "no hash"),
    ],
)
def test_what_a_hub_names_is_not_trusted(one: Listing, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        gguf_files(one, one.files[0].name)


def test_names_that_differ_in_case_alone_are_refused() -> None:
    with pytest.raises(ModelFileError, match="differ in case"):
        safetensors_files(listing("config.json", "a.safetensors", "A.safetensors"))
