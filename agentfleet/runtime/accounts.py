"""Whose money a step spends: its own, its run's, its graph's and the day's, as the fleet file limits them.

The pots of days are shared by all runs of a session, and read again from the ledger before each call that costs money, so
that what other processes recorded counts too.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from agentfleet.fleet.budget import Budget
from agentfleet.fleet.model import Model
from agentfleet.ledger.ledger import Ledger
from agentfleet.routing.purse import Pot, Purse

Day = tuple[str, str | None]
"""A day in UTC (``2026-01-31``), and a graph or None for all of them."""


def today() -> str:
    """The day by which money is counted: UTC, as in the ledger."""
    return time.strftime("%Y-%m-%d", time.gmtime())


@dataclass(slots=True)
class Accounts:
    """The pots of the days that this session has seen."""

    ledger: Ledger
    pots: dict[Day, Pot] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def purse(self, budget: Budget, graph: str, run: Pot, step: float | None, paid: float = 0.0) -> Purse:
        """The purse of one step of a run of `graph`. `step`: the limit that the code gave it, over the fleet's own.

        `paid`: US dollars that earlier processes spent on the step.
        """
        limit = step if step is not None else budget.step
        pots = [run] if run.limit is not None else []
        if limit is not None:
            pots.insert(0, Pot("this step's budget", limit, paid))
        if graph in budget.graphs:
            pots.append(await self._of((today(), graph), budget.graphs[graph], f"today's budget of {graph}"))
        if budget.day is not None:
            pots.append(await self._of((today(), None), budget.day, "today's budget"))
        return Purse(pots, budget.allow_unpriced)

    async def room(self, purse: Purse, model: Model, tokens: int | None, max_tokens: int) -> None:
        """Wait while the call fits what is left of the budgets but not beside what others have set aside of them."""
        if not purse.pots or model.free:
            return
        await self._refresh(purse)
        while purse.waits(model, tokens, max_tokens):
            await self._changed.wait()
            await self._refresh(purse)

    def changed(self) -> None:
        """Something that was set aside was given back or spent: let those who wait for it look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _refresh(self, purse: Purse) -> None:
        """Read again what all processes recorded, for the pots of a purse that are a day's."""
        for key, pot in self.pots.items():
            if any(one is pot for one in purse.pots):
                pot.recorded = await asyncio.to_thread(self.ledger.spent, *key)

    async def _of(self, key: Day, limit: float, name: str) -> Pot:
        pot = self.pots.get(key)
        if pot is None:
            recorded = await asyncio.to_thread(self.ledger.spent, *key)
            pot = self.pots.setdefault(key, Pot(name, limit, before=recorded, recorded=recorded))
        pot.limit = limit  # another fleet of this session may have another
        return pot
