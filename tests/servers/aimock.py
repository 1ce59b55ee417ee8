"""``@copilotkit/aimock``, a server of the providers' protocols that we did not write, as a process that npx starts.

Nothing of it is kept here: npx fetches it into npm's own cache. Where that cannot be done, the tests skip.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

PACKAGE = "@copilotkit/aimock@1.43.0"
NODE = (20, 15)
"""The oldest Node that the package takes."""

MOST = 180.0
"""Seconds for npx to fetch and start it; it takes two where npm has it in its cache."""

CANNOT_START = "aimock needs npx, Node 20.15 or newer, and process groups"
CANNOT_FETCH = "npx cannot fetch aimock"

_LISTENS = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")


class NotHere(Exception):
    """There is no aimock on this machine, and none to be had; the text is the reason for a skip."""


def said(text: str, *, tool: str = "", usage: tuple[int, int] = (11, 7), finish: str = "") -> dict[str, Any]:
    """An answer of the model: text, or the arguments of a call of `tool`. `usage`: tokens read and written."""
    content = {"toolCalls": [{"name": tool, "arguments": text}]} if tool else {"content": text}
    read, written = usage
    tokens = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return {"response": {**content, "usage": tokens} | ({"finishReason": finish} if finish else {})}


def failed(status: int, message: str = "scripted error", retry_after: int | None = None) -> dict[str, Any]:
    """An error in the provider's own shape. `retry_after`: seconds; it stands in the header of a 429 alone."""
    response = {"error": {"message": message, "type": "api_error"}, "status": status}
    return {"response": response if retry_after is None else {**response, "retryAfter": retry_after}}


class Aimock:
    """``with Aimock(folder) as aimock:`` starts it; raises `NotHere` where it cannot be had.

    `folder`: an empty one, for its output.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "aimock.log"
        self._names = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.origin = ""
        """``http://127.0.0.1:PORT``: the base_url for anthropic."""

    @property
    def base_url(self) -> str:
        """The base_url for openai."""
        return f"{self.origin}/v1"

    def script(self, *replies: Mapping[str, Any]) -> str:
        """The name of a new model that gives these replies in order, one a request; after the last there is none."""
        model = f"scripted{next(self._names)}"
        rows = [
            {**reply, "match": {"model": model, "sequenceIndex": place}, "chunkSize": 4}
            for place, reply in enumerate(replies)
        ]
        assert self._control("POST", "/fixtures", {"fixtures": rows}) == {"added": len(rows)}
        return model

    def seen(self, model: str) -> list[dict[str, Any]]:
        """The requests to `model`: path, headers, and the body as aimock understood it."""
        return [entry for entry in self._control("GET", "/journal") if (entry["body"] or {}).get("model") == model]

    def __enter__(self) -> Aimock:
        npx = _npx()
        (self._folder / "fixtures").mkdir()  # all of them come later, from the tests
        server = ["llmock", "--port", "0", "--fixtures", "fixtures"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [npx, "--yes", "--prefer-offline", "--package", PACKAGE, *server],
                cwd=self._folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.origin = self._listening(self._process)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._end()

    def _listening(self, process: subprocess.Popen[bytes]) -> str:
        until = time.monotonic() + MOST
        while time.monotonic() < until:
            ended = process.poll() is not None
            log = self._log.read_text(encoding="utf-8", errors="replace")
            if found := _LISTENS.search(log):
                return found[1]
            if ended and "npm error" not in log.replace("npm ERR!", "npm error"):
                raise AssertionError(f"aimock ended by itself:\n{log}")
            if ended:
                break
            time.sleep(0.05)
        raise NotHere(CANNOT_FETCH)

    def _end(self) -> None:
        """npx, its shell and the server are one process group, whose number is npx's until that is waited for."""
        if self._process is not None:
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(self.origin).port, timeout=30)
        try:
            connection.request(method, f"/__aimock{path}", None if body is None else json.dumps(body))
            response = connection.getresponse()
            data = json.loads(response.read())
            assert response.status == 200, data
            return data
        finally:
            connection.close()


def _npx() -> str:
    npx, node = shutil.which("npx"), shutil.which("node")
    if npx is None or node is None or not hasattr(os, "killpg"):
        raise NotHere(CANNOT_START)
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", told)
    if found is None or (int(found[1]), int(found[2])) < NODE:
        raise NotHere(CANNOT_START)
    return npx


def _environment() -> dict[str, str]:
    """No key goes to a program that is not ours, no setting of another aimock, and npm gives up soon."""
    kept = {name: value for name, value in os.environ.items() if not re.search("KEY|SECRET|TOKEN|AIMOCK", name.upper())}
    return {
        **kept,
        "npm_config_fetch_retries": "1",
        "npm_config_fetch_retry_mintimeout": "1000",
        "npm_config_fetch_retry_maxtimeout": "5000",
        "npm_config_update_notifier": "false",
    }
