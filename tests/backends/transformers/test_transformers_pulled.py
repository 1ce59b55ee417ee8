"""A repository of safetensors, pulled from a hub on loopback: opened as the lock knows it, and a step runs on it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from servers.hub import HubServer, repo

from agentfleet import Fleet, Model, Session, ask, classify
from agentfleet.backends.hub.client import Hub
from agentfleet.backends.hub.pull import pull
from agentfleet.backends.llama_cpp import embedded_path
from agentfleet.errors import ModelFileError
from agentfleet.ledger.open import open_ledger
from agentfleet.routing.dispatch import open_backend

pytestmark = [pytest.mark.real_model, pytest.mark.slow, pytest.mark.server]
MODEL = Model(name="tiny", backend="transformers", model="hub:o/tiny", tier="small", params={"threads": 1})


@classify(tier="small")
def wish(mail: str) -> Literal["money back", "a parcel"]:
    """What does the customer want?"""
    return ask(mail)


def tiny(folder: Path) -> dict[str, bytes]:
    """The files of a model of two small layers with SmolLM2's tokenizer, as transformers saves them."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    path = embedded_path()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=512, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_pulled_folder_runs_a_step_and_a_changed_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (tmp_path / "agentfleet.toml").write_text("")
    with HubServer({"o/tiny": repo(tiny(tmp_path / "saved"))}) as server:
        found = pull("o/tiny", tmp_path, lambda: Hub(server.endpoint))
    assert found.template is not None
    session = Session(fleet=Fleet([MODEL]), ledger=open_ledger(":memory:", tmp_path), root=tmp_path)
    run = session.run(wish, {"mail": "Give me my money back, please."})
    session.close()
    assert run.status == "done", run.error
    weights = found.folder(tmp_path) / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelFileError, match="model.safetensors is not the file"):
        open_backend(MODEL)
