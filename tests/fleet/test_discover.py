"""Servers on loopback: each kind is told from the others, what is none is passed over, and nothing waits long."""

from __future__ import annotations

import socket
import threading
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from servers.plain import PlainServer, Said

from agentfleet.fleet.config import load_fleet
from agentfleet.fleet.discover import LARGEST, Offered, Server, discover, offers, snippet
from agentfleet.fleet.model import Model

OLLAMA = {"object": "list", "data": [
    {"id": "qwen2.5:7b", "object": "model", "created": 1, "owned_by": "library"},
    {"id": "nomic-embed-text:latest", "object": "model", "created": 1, "owned_by": "library"},
]}  # fmt: skip
LLAMA = {"object": "list", "data": [
    {"id": "gpt-3.5-turbo", "owned_by": "llamacpp", "meta": {"n_ctx_train": 131072, "n_ctx": 8192}}
]}  # fmt: skip
VLLM = {"object": "list", "data": [{"id": "Qwen/Qwen3-8B", "owned_by": "vllm", "max_model_len": 40960}]}
STUDIO = {"data": [{"id": "phi-4", "owned_by": "organization_owner"}], "object": "list"}


@contextmanager
def running(**answers: Any) -> Iterator[dict[str, PlainServer]]:
    with ExitStack() as stack:
        yield {n: stack.enter_context(PlainServer({"/v1/models": Said(answer)})) for n, answer in answers.items()}


def test_each_kind_is_known_by_what_it_says() -> None:
    with running(ollama=OLLAMA, llama=LLAMA, vllm=VLLM, studio=STUDIO) as servers:
        found = discover({server.port: "something" for server in servers.values()}, limit=20)
        urls = [f"{server.url}/v1" for server in servers.values()]
    assert [server.kind for server in found] == ["Ollama", "llama-server", "vLLM", "LM Studio"]
    assert [server.url for server in found] == urls
    assert found[0].models == (Offered("qwen2.5:7b"),)
    assert [server.models[0].context for server in found] == [None, 8192, 40960, None]
    assert all(seen.method == "GET" for server in servers.values() for seen in server.seen)


def test_an_unknown_owner_is_what_usually_listens_there() -> None:
    with running(one={"data": [{"id": "x"}]}) as servers:
        (found,) = discover({servers["one"].port: "vLLM"}, limit=20)
    assert found.kind == "vLLM"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[" * 100_000,
        b" " * (LARGEST + 2),
        [],
        {"data": 1},
        {"data": []},
        {"data": [1]},
        {"data": [{"id": 7}]},
        {"data": [{"id": ""}]},
        {"data": [{"id": "a\nb"}]},
        {"data": [{"id": "x" * 300}]},
    ],
    ids=lambda answer: repr(answer)[:16],
)
def test_what_is_no_such_server_is_passed_over(answer: Any) -> None:
    with running(one=answer) as servers:
        assert discover({servers["one"].port: "vLLM"}, limit=20) == []
        assert servers["one"].paths() == ["/v1/models"]


def test_other_answers_are_passed_over() -> None:
    with PlainServer({"/v1/models": Said(OLLAMA, 401)}) as locked, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert discover({locked.port: "vLLM", free.getsockname()[1]: "Ollama"}, limit=20) == []


def test_a_server_that_hangs_or_drips_holds_nothing_up() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            while not stop.wait(0.05):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    with PlainServer({"/v1/models": Said(hang=True)}) as hanging, running(ollama=OLLAMA) as good:
        ports = {hanging.port: "vLLM", listener.getsockname()[1]: "LM Studio", good["ollama"].port: "Ollama"}
        found = discover(ports, limit=2)
        assert thread.is_alive()  # it drips on, and the other will never answer
    stop.set()
    thread.join()
    listener.close()
    assert [server.kind for server in found] == ["Ollama"]


def test_a_snippet_is_a_fleet_file(tmp_path: Path) -> None:
    models = tuple(Offered(name, 4096) for name in ('org/Mo"del 7b', "b", "c", "d"))
    text = snippet(Server("vLLM", "http://127.0.0.1:8000/v1", models))
    (tmp_path / "agentfleet.toml").write_text(text)
    fleet = load_fleet(tmp_path / "agentfleet.toml")
    assert [m.name for m in fleet.models if m.backend == "openai"] == ["Mo-del-7b", "b", "c"]
    first = tomllib.loads(text)["models"][0]
    assert (first["model"], first["context"], first["base_url"]) == ('org/Mo"del 7b', 4096, "http://127.0.0.1:8000/v1")


def test_what_the_fleet_names_is_not_offered_again() -> None:
    servers = [Server("Ollama", "http://127.0.0.1:11434/v1", ()), Server("vLLM", "http://127.0.0.1:8000/v1", ())]
    known = Model(name="q", backend="openai", model="q", base_url="http://localhost:11434/v1")
    assert [server.kind for server in offers(servers, [known])] == ["vLLM"]
