"""Another process: runs the budgeted graph of test_budgets once on the ledger that it is given, and prints how it ended."""

from __future__ import annotations

import sys
from pathlib import Path

from runtime.test_budgets import Priced, gist, opened_at


def main() -> None:
    session = opened_at(Path(sys.argv[1]), Priced(), day=float(sys.argv[2]))
    run = session.run(gist, {"text": "x"})
    print(run.status, run.cost, run.error)
    session.close()


if __name__ == "__main__":
    main()
