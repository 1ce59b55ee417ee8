"""A notebook cell: IPython's kernel has a running loop in its main thread, and plain calls work there all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Cell = Callable[[str], str]

SETUP = """
from agentfleet import ask, graph, step, summarise
from agentfleet.testing import scripted

@summarise(tier="small")
def gist(text: str) -> str:
    '''Gist.'''
    return ask(text)

@graph
def loud(text: str) -> str:
    return gist(text)
"""


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    """Runs a cell in a real kernel and gives what it printed or returned; an error fails the test."""
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))

    def execute(code: str) -> str:
        shown: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            shown.append(content.get("text", "") or content.get("data", {}).get("text/html", ""))
            shown.extend(content.get("traceback", ()))

        reply = client.execute_interactive(code, output_hook=hear, timeout=60)
        assert reply["content"]["status"] == "ok", "\n".join(shown)
        return "".join(shown)

    yield execute
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_plain_calls_records_and_awaits_work_in_cells(cell: Cell) -> None:
    cell(SETUP)
    assert cell("import asyncio; print(asyncio.get_running_loop().is_running())") == "True\n"
    assert cell("with scripted({'gist': 'short'}):\n    print(loud('x'))") == "short\n"
    assert cell("with scripted({'gist': 'short'}):\n    print(loud.run('x').status)") == "done\n"
    assert cell("with scripted({'gist': 'short'}):\n    print((await loud.arun('x')).value)") == "short\n"
    events = "with scripted({'gist': 'short'}):\n    print([type(e).__name__ async for e in loud.stream('x')][-1])"
    assert cell(events) == "RunFinished\n"
    assert "<svg" in cell("from IPython.display import display\ndisplay(loud)")
    assert "done" in cell("with scripted({'gist': 'short'}):\n    run = loud.run('x')\ndisplay(run)")


def test_a_cell_defines_a_graph_and_runs_it_twice(cell: Cell) -> None:
    for answer in ("one", "two"):
        assert cell(f"{SETUP}\nwith scripted({{'gist': '{answer}'}}):\n    print(loud('x'))") == f"{answer}\n"
