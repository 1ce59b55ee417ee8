"""Money that calls are paid from: set aside before a call with its worst case, settled after it. No I/O.

A call is paid from several pots at once (its step, run, graph and day) and needs room in each. Between asking for room and
setting it aside nothing may be awaited; then calls at the same time cannot spend the same money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentfleet.fleet.model import Model
from agentfleet.routing.eligible import budget_refusal, worst_case


@dataclass(slots=True)
class Pot:
    """One sum. `name`: whose, for people. `limit`: US dollars, None for no limit. `held`: set aside for calls under way.

    `recorded`: what the ledger said last that all processes spent from it; `before`: what it said at first. Both are 0
    for a pot of one process.
    """

    name: str
    limit: float | None = None
    paid: float = 0.0
    held: float = 0.0
    before: float = 0.0
    recorded: float = 0.0

    @property
    def spent(self) -> float:
        """US dollars. What this process paid since it looked first, or what was recorded since, whichever is more."""
        return max(self.before + self.paid, self.recorded)

    @property
    def left(self) -> float | None:
        """US dollars that nobody spent or set aside; None without a limit."""
        return None if self.limit is None else self.limit - self.spent - self.held

    @property
    def share_left(self) -> float | None:
        """From 1 (all is left) down; None without a limit."""
        if self.limit is None or self.left is None:
            return None
        return self.left / self.limit if self.limit > 0 else 0.0


@dataclass(slots=True)
class Purse:
    """The pots that one step is paid from, and what it has set aside in each of them."""

    pots: Sequence[Pot] = ()
    allow_unpriced: bool = False
    held: float = 0.0

    @property
    def tightest(self) -> Pot | None:
        """The pot with least left, None when none has a limit."""
        limited = [pot for pot in self.pots if pot.limit is not None]
        return min(limited, key=lambda pot: pot.left or 0.0) if limited else None

    @property
    def share_left(self) -> float | None:
        """Of the pot that is nearest to its end; None without limits."""
        shares = [share for pot in self.pots if (share := pot.share_left) is not None]
        return min(shares) if shares else None

    def refusal(self, model: Model, tokens: int | None, max_tokens: int) -> str:
        """Why the call cannot be paid for, "" when it can. Asked before `hold`."""
        pot = self.tightest
        if pot is None:
            return ""
        return budget_refusal(model, tokens, max_tokens, pot.left, pot.name, self.allow_unpriced)

    def waits(self, model: Model, tokens: int | None, max_tokens: int) -> bool:
        """Is the call refused only because of money that others have set aside, and may give back?"""
        if not self.refusal(model, tokens, max_tokens):
            return False
        least = min(pot.limit - pot.spent for pot in self.pots if pot.limit is not None)
        return not budget_refusal(model, tokens, max_tokens, least, "", self.allow_unpriced)

    def hold(self, model: Model, tokens: int | None, max_tokens: int) -> None:
        """Set aside what the next call may cost at most."""
        self._hold(worst_case(model, tokens, max_tokens) or 0.0)

    def release(self) -> None:
        """Give back what was set aside and not spent."""
        self._hold(0.0)

    def settle(self, cost: float | None) -> None:
        """A call has cost so much; None: nobody knows, so all that was set aside counts as spent."""
        paid = self.held if cost is None else cost
        self._hold(0.0)
        for pot in self.pots:
            pot.paid += paid

    def _hold(self, most: float) -> None:
        for pot in self.pots:
            pot.held += most - self.held
        self.held = most
