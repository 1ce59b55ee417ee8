"""Static vectors: offline, of length one, alike for like texts, and safe for any text."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from agentfleet.backends.head.vectors import SIZE, installed, vector


def test_like_texts_are_near() -> None:
    late, parcel, sky = (vector(t) for t in ("my package has not arrived", "where is my parcel", "the sky is blue"))
    assert late @ parcel > late @ sky + 0.1


@pytest.mark.parametrize("text", ["a", "\x00", "\ud800", "Ω≈ç√", "word " * 5000, "日本語"])
def test_any_text_has_a_direction(text: str) -> None:
    found = vector(text)
    assert found.shape == (SIZE,) and np.linalg.norm(found) == pytest.approx(1, abs=1e-4)
    assert not vector("").any()


def test_it_is_named_by_its_version() -> None:
    assert installed().startswith("wordllama-")


def test_no_network() -> None:
    code = (
        "import socket\n"
        "def refuse(*_: object) -> None: raise OSError('network')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from agentfleet.backends.head.vectors import vector; print(vector('parcel').any())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
