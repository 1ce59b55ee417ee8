"""The `[budget]` of a fleet file: how many US dollars a step, a run, a graph and a day may cost. Data only."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("write a number of US dollars; leave the key out for no limit")
    return value


Dollars = Annotated[float, Field(ge=0), AfterValidator(_finite)]


class Budget(BaseModel):
    """US dollars; None: no limit. `step`: each step of a run. `run`: each run. `day`: all runs of a day (UTC).

    `graphs`: graph name → all runs of that graph in a day. `allow_unpriced`: ask models whose price is not known
    although there is a limit; what they cost is then in no account.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    step: Dollars | None = None
    run: Dollars | None = None
    day: Dollars | None = None
    graphs: dict[str, Dollars] = Field(default_factory=dict)
    allow_unpriced: bool = False

    @property
    def limits(self) -> bool:
        """Is there any limit?"""
        return bool(self.graphs) or (self.step, self.run, self.day) != (None, None, None)


NO_BUDGET = Budget()
