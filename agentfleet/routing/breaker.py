"""A circuit breaker: a model that keeps failing is not asked for a while, then by one call at a time until one succeeds.

A state machine without I/O and without a clock of its own.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

IN_A_ROW = 5
"""Failures one after another that open the circuit."""

WINDOW = 20
HALF = 10
"""So many failures among the last `WINDOW` calls open it too."""

FIRST = 1.0
"""Seconds for which it opens at first; doubles with each probe that fails."""

LONGEST = 4.0
"""Seconds: a server that is back is found after this time at most."""

MOST_ASKED = 600.0
"""Seconds of `Retry-After` for which it stays open at most."""


@dataclass(slots=True)
class Breaker:
    """The circuit of one model at its endpoint. `jitter`: 0 to 1, drawn each time when None."""

    name: str
    jitter: float | None = None
    until: float | None = None
    probing: bool = False
    _opened: int = 0
    _why: str = ""
    _recent: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def refusal(self, now: float) -> str:
        """Why no call may go now; "" when one may."""
        if self.until is None:
            return ""
        if now < self.until:
            return f"{self.name}: its circuit is open for {self.until - now:.1f} s more ({self._why})"
        return f"{self.name}: its circuit is open, and another call tries it right now" if self.probing else ""

    def begin(self) -> bool:
        """A call goes out after `refusal` said nothing. True when it is the probe; hand that to what follows."""
        if self.until is None:
            return False
        self.probing = True
        return True

    def succeeded(self) -> None:
        """A call got an answer: the model is there."""
        self.until, self.probing, self._opened = None, False, 0
        self._recent.append(True)

    def failed(self, now: float, probe: bool, why: str) -> bool:
        """A call got none. True when that opened the circuit."""
        if probe:
            self._open(now, 0.0, why)
        elif self.until is None:
            self._recent.append(False)
            if self._tripped():
                self._open(now, 0.0, why)
                return True
        return False  # a failure of a call that began before it opened says nothing new

    def abandoned(self, probe: bool) -> None:
        """A call ended without saying anything of the model, e.g. cancelled."""
        if probe:
            self.probing = False

    def asked(self, now: float, seconds: float, why: str) -> None:
        """The server wants to be left alone for longer than a call waits."""
        self._open(now, min(seconds, MOST_ASKED), why)

    def _tripped(self) -> bool:
        last = list(self._recent)
        in_a_row = len(last) >= IN_A_ROW and not any(last[-IN_A_ROW:])
        return in_a_row or last.count(False) >= HALF

    def _open(self, now: float, least: float, why: str) -> None:
        # Jitter, so that many processes do not come back in the same moment.
        draw = random.random() if self.jitter is None else self.jitter
        wait = min(LONGEST, FIRST * 2.0**self._opened) * (0.5 + draw / 2)
        self.until, self.probing, self._why = now + max(wait, least), False, why
        self._opened += 1
        self._recent.clear()
