"""``serve-model`` as a process of its own, on a free port; and plain HTTP to it, without any client library."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
MOST = 120
"""Seconds after which a process counts as hanging."""


@dataclass
class Answer:
    """One HTTP response."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.raw)

    @property
    def error(self) -> dict[str, Any]:
        return self.data["error"]


@dataclass
class Endpoint:
    """The process and where it listens."""

    process: subprocess.Popen[str]
    url: str
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=MOST)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request; a body that is bytes goes out as it is."""
        connection = self.connect()
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        given = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, raw, given)
        response = connection.getresponse()
        found = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        return found

    def chat(self, text: str = "Say hello.", **fields: Any) -> Answer:
        body = {"model": "smollm2", "messages": [{"role": "user", "content": text}], "max_tokens": 8, **fields}
        return self.ask("POST", "/v1/chat/completions", body)

    def load(self) -> dict[str, Any]:
        return self.ask("GET", "/health").data

    def until(self, **wanted: int) -> dict[str, Any]:
        """Wait until /health says so."""
        end = time.monotonic() + MOST
        while True:
            load = self.load()
            load["inside"] = load["running"] + load["queue"]
            if all(load[name] == value for name, value in wanted.items()):
                return load
            assert time.monotonic() < end, (wanted, load)
            time.sleep(0.02)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """End it; its exit code and what it wrote to stderr."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=MOST)
        return self.process.returncode, err


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """``agentfleet serve-model ARGUMENTS`` as a process in a folder."""
    foreign = ("AGENTFLEET_", "ANTHROPIC_", "OPENAI_")
    known = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(
        [sys.executable, "-m", "agentfleet.cli.main", "serve-model", *arguments],
        cwd=folder,
        env={**known, "PYTHONPATH": search, "AGENTFLEET_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def serve(folder: Path, *arguments: str, **environment: str) -> Endpoint:
    """A running endpoint of the embedded model."""
    process = start(folder, "smollm2", "--port", "0", "--json", *arguments, **environment)
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return Endpoint(process, json.loads(line)["url"])
