"""How many threads llama.cpp gets: one for each physical core that this process may use."""

from __future__ import annotations

import os
from pathlib import Path

_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def physical_cores() -> int:
    """Physical cores (two hyper-threads are one); where the system does not say, the logical ones."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    found = set()
    for core in allowed:
        try:
            found.add(Path(_SIBLINGS.format(core)).read_text().strip())
        except OSError:
            found.add(str(core))
    return max(1, len(found))
