"""Run ids: sorted by time, never the same, not even in a child that was forked."""

from __future__ import annotations

import os
import re
import time

import pytest

from agentfleet.ids import new_run_id


def test_ids_are_unique_and_sorted_by_time() -> None:
    found = [new_run_id() for _ in range(5000)]
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"[0-9a-hjkmnp-tv-z]{16}", one) for one in found)
    time.sleep(0.002)
    assert new_run_id() > max(found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_draws_others() -> None:
    new_run_id()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, " ".join(new_run_id()[-6:] for _ in range(20)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = set(os.read(read, 65536).decode().split())
    mine = {new_run_id()[-6:] for _ in range(20)}
    assert len(theirs) == 20 and not theirs & mine
