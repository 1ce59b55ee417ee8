"""A person in the middle. A person is a tier: the run waits for the answer, however long, and then goes on.

$ python examples/approval.py
small: done, paid 20.00 to the window cleaner
large: waiting for approval (person)
answered and resumed: done, paid 900.00 to the roofer

Between waiting and the answer the process may end: `agentfleet runs --status waiting` lists what waits, and
`agentfleet answer RUN approval approve --resume` answers it from any shell in the project.
"""

from __future__ import annotations

from typing import Literal

from agentfleet import Session, ask, classify, graph, step, when


@classify(tier="person")
def approval(to: str, amount: float) -> Literal["approve", "reject"]:
    """May this be paid?"""
    return "approve" if amount < 50 else ask(to, amount)


@step(effect=True)
def pay(to: str, amount: float) -> str:
    """Hand it to the bank (here: say so). On record before it begins, so it is never done twice unnoticed."""
    return f"paid {amount:.2f} to {to}"


@graph
def payment(to: str, amount: float) -> str:
    """Pays only what was approved."""
    return when(approval(to, amount) == "approve", pay(to, amount), otherwise="rejected")


if __name__ == "__main__":
    run = payment.run("the window cleaner", 20)
    print(f"small: {run.status}, {run.value}")

    run = payment.run("the roofer", 900)
    print(f"large: {run.status} for", ", ".join(f"{wait.path} ({wait.reason})" for wait in run.waiting))

    session = Session()  # as another process would see it: the project's fleet and ledger
    session.answer(run.id, "approval", "approve")
    run = session.resume(run.id, payment)
    print(f"answered and resumed: {run.status}, {run.value}")
    session.close()
