"""The endpoint as a process: its load, its full queue, clients that leave, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from serve.endpoint import MOST, Answer, Endpoint, start

pytestmark = [pytest.mark.real_model, pytest.mark.server]

LONG = {"model": "smollm2", "messages": [{"role": "user", "content": "Count up."}], "max_tokens": 3900}


def begin(endpoint: Endpoint, **fields: object) -> socket.socket:
    """Send a request that takes long, and keep the connection."""
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "string", "minLength": 20_000}}}
    body = json.dumps({**LONG, "response_format": form, **fields}).encode()
    found = socket.create_connection(("127.0.0.1", endpoint.port), timeout=MOST)
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    found.sendall(head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body)
    return found


def test_load_is_counted(endpoint: Endpoint) -> None:
    before = endpoint.until(running=0, queue=0)
    assert endpoint.chat("Tell me something.", max_tokens=20).status == 200
    after = endpoint.load()
    assert after["answered"] == before["answered"] + 1
    assert after["ms_per_output_token"] > 0 and after["ms_per_input_token"] > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_its_answer(endpoint: Endpoint, stream: bool) -> None:
    answered = endpoint.load()["answered"]
    with begin(endpoint, stream=stream) as client:
        if stream:
            assert client.recv(64).startswith(b"HTTP/1.1 200")
        endpoint.until(running=1)
    endpoint.until(running=0, queue=0)
    assert endpoint.load()["answered"] == answered


def test_a_full_queue_asks_to_come_back(own: Callable[..., Endpoint]) -> None:
    small = own("--queue", "2")
    first, second = begin(small), begin(small, stream=True)
    small.until(inside=2)
    for stream in (False, True):
        answer = small.chat(stream=stream)
        assert (answer.status, answer.error["code"], answer.error["type"]) == (429, "queue_full", "rate_limit_error")
        assert int(answer.headers["retry-after"]) >= 1
    first.close()
    second.close()
    small.until(running=0, queue=0)
    assert small.chat().status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_runs_end_and_takes_no_more(own: Callable[..., Endpoint], number: int) -> None:
    server = own()
    got: list[Answer] = []
    asking = threading.Thread(target=lambda: got.append(server.chat("Tell me a long story.", max_tokens=40)))
    asking.start()
    server.until(running=1)
    code, err = server.end(number)
    asking.join(MOST)
    assert (code, err) == (0, "")
    assert [answer.status for answer in got] == [200]
    assert got[0].data["usage"]["completion_tokens"] > 1
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port))


def test_a_second_interrupt_ends_at_once(own: Callable[..., Endpoint]) -> None:
    server = own()
    with begin(server):
        server.until(running=1)
        server.process.send_signal(signal.SIGINT)
        while not closed(server):
            time.sleep(0.02)
        code, _ = server.end(signal.SIGINT)
    assert code == 0


def closed(server: Endpoint) -> bool:
    """Does it take no more connections?"""
    try:
        socket.create_connection(("127.0.0.1", server.port)).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("smollm3",), "the fleet has no model 'smollm3'; did you mean 'smollm2'?"),
        (("smollm2", "--key", "secret"), "env:NAME"),
        (("smollm2", "--key", "env:NOT_SET_HERE"), "NOT_SET_HERE, which is not set"),
        (("smollm2", "--host", "256.1.1.1"), "cannot listen on 256.1.1.1"),
        (("smollm2", "--host", "256.1.1.1"), "anyone who reaches 256.1.1.1 may use smollm2: --key env:VARIABLE"),
        (("far",), "far runs on openai; serve-model serves llama_cpp models"),
    ],
)
def test_what_cannot_be_served_is_said(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    far = '[[models]]\nname = "far"\nbackend = "openai"\nmodel = "x"\nbase_url = "http://127.0.0.1:1/v1"\n'
    (tmp_path / "agentfleet.toml").write_text(far)
    process = start(tmp_path, *arguments)
    out, err = process.communicate(timeout=MOST)
    assert (process.returncode, out) == (2, "")
    assert told in err


def test_a_port_that_is_taken_is_said(tmp_path: Path, endpoint: Endpoint) -> None:
    process = start(tmp_path, "smollm2", "--port", str(endpoint.port))
    _, err = process.communicate(timeout=MOST)
    assert process.returncode == 2
    assert "try another --port" in err
