"""How long a token takes: of a prompt and of an answer, by threads and by tokens of the prompt in one evaluation.

The best of some rounds counts, since what else the machine does only adds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from agentfleet.backends.llama_cpp.cache import CHUNK
from agentfleet.backends.llama_cpp.cores import physical_cores
from agentfleet.backends.llama_cpp.native import Context, Weights

BATCHES: Final = (CHUNK, 2 * CHUNK, 4 * CHUNK)
"""Tokens of a prompt in one evaluation that are tried; the first is the usual one."""
HELD: Final = 100.0
"""Milliseconds that one evaluation of a larger batch may take, since a call is cancelled between two of them."""
WORTH: Final = 0.97
"""The part of the usual setting's time that another must stay below to be taken: less is noise."""
ALL_COUNTS: Final = 8
"""Up to so many cores every number of threads is tried; of more the powers of two, and all."""

Share = tuple[float, float]
"""Tokens of the prompt and of the answer that a case costs on average."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is timed: tokens of the prompt, tokens decoded after it, how often each format has its turn."""

    prompt: int = 240
    decoded: int = 24
    rounds: int = 5


FULL: Final = Effort()
QUICK: Final = Effort(120, 12, 3)


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """Threads, and tokens of a prompt in one evaluation."""

    threads: int
    batch: int


@dataclass(slots=True)
class Times:
    """Milliseconds a token: of a prompt by setting, of an answer by threads. The first setting is the usual one."""

    prompt: dict[Setting, float] = field(default_factory=dict)
    decode: dict[int, float] = field(default_factory=dict)

    def add(self, threads: int, prompts: dict[int, float], decode: float) -> None:
        """One more round. `prompts`: by batch."""
        for batch, found in prompts.items():
            setting = Setting(threads, batch)
            self.prompt[setting] = min(found, self.prompt.get(setting, math.inf))
        self.decode[threads] = min(decode, self.decode.get(threads, math.inf))

    def case_ms(self, setting: Setting, share: Share) -> float:
        """Milliseconds of an average case."""
        return share[0] * self.prompt[setting] + share[1] * self.decode[setting.threads]

    def best(self, share: Share) -> Setting:
        """The setting with the least time for an average case; the usual one where no other is clearly faster."""
        usual = next(iter(self.prompt))
        open_ = [s for s, ms in self.prompt.items() if s.batch <= usual.batch or s.batch * ms <= HELD]
        found = min(open_, key=lambda setting: self.case_ms(setting, share))
        return found if self.case_ms(found, share) < WORTH * self.case_ms(usual, share) else usual


def thread_counts() -> tuple[int, ...]:
    """The numbers of threads to try: all physical cores first, then fewer."""
    most = physical_cores()
    fewer = range(1, most) if most <= ALL_COUNTS else (2**power for power in range(most.bit_length()))
    return (most, *sorted((count for count in fewer if count < most), reverse=True))


def time_once(
    weights: Weights, tokens: Sequence[int], context: int, threads: int, batches: Sequence[int], effort: Effort
) -> tuple[dict[int, float], float]:
    """Milliseconds a token of a prompt, by batch, and of an answer after it, evaluated as the engine does it.

    A batch that is longer than the prompt is left out.
    """
    line = list(tokens) * (1 + (effort.prompt + effort.decoded) // max(1, len(tokens)))
    place = Context(weights, max(context, effort.prompt + effort.decoded), threads)
    try:
        place.extend(line[: batches[0]], 0, True)  # buffers are made at first use
        fitting = [batch for batch in batches if batch <= effort.prompt] or [batches[0]]
        prompts = {batch: _prompt_ms(place, line[: effort.prompt], batch) for batch in fitting}
        started = time.perf_counter()
        for at in range(effort.prompt, effort.prompt + effort.decoded):
            place.extend(line[at : at + 1], at, True)
        return prompts, (time.perf_counter() - started) * 1000 / effort.decoded
    finally:
        place.free()


def _prompt_ms(place: Context, prompt: Sequence[int], batch: int) -> float:
    place.clear()
    started = time.perf_counter()
    for at in range(0, len(prompt), batch):
        place.extend(prompt[at : at + batch], at, at + batch >= len(prompt))
    return (time.perf_counter() - started) * 1000 / len(prompt)
