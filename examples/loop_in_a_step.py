"""A loop is plain Python inside a step: graphs have none. Each call in it is a step of the same run. Scripted.

$ python examples/loop_in_a_step.py
'Boiler leaks.'
shrink: by code
shrink/shorter#1: by scripted-small, 'The boiler in the cellar leaks.'
shrink/shorter#2: by scripted-small, 'Boiler leaks.'
"""

from __future__ import annotations

from agentfleet import ask, graph, step, summarise
from agentfleet.testing import scripted


@summarise(tier="small")
def shorter(text: str) -> str:
    """The same in half as many words."""
    return ask(text)


@step
def shrink(text: str, limit: int) -> str:
    """At most five times: a bound that no model can talk its way out of."""
    for _ in range(5):
        if len(text) <= limit:
            break
        text = shorter(text)  # a call means the value, here too
    return text


@graph
def headline(report: str) -> str:
    """One line of a report."""
    return shrink(report, 20)


if __name__ == "__main__":
    with scripted({"shorter": ["The boiler in the cellar leaks.", "Boiler leaks."]}):
        run = headline.run(report="Since this morning the old boiler that stands in the cellar has been leaking.")
    print(repr(run.value))
    for path, record in sorted(run.steps.items()):
        print(f"{path}: by {record.model}" + (f", {record.value!r}" if record.attempts else ""))
