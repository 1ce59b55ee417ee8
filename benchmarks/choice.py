"""Regret of the chooser on a simulated fleet, beside round-robin, least-busy and cheapest-first.

Arrivals, sizes and times of service are drawn once a seed and are the same for every policy. Each model serves a few calls
at once and queues the rest; some become slow for a while. The loss of a request is what it cost, and a fine when it missed its
deadline (objective cheapest), or its seconds (fastest). Regret is the loss beyond that of the model which, knowing
everything, would have been best for this request at that moment, with the queues as this policy had made them.

    python benchmarks/choice.py [--seeds 5] [--requests 2000]
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from agentfleet.fleet.model import Model  # noqa: E402
from agentfleet.fleet.rules import Objective  # noqa: E402
from agentfleet.prompt import Block, Prompt  # noqa: E402
from agentfleet.routing.choose import estimate, order  # noqa: E402
from agentfleet.routing.describe import Description  # noqa: E402
from agentfleet.routing.watch import Watch  # noqa: E402
from agentfleet.schema import output_of  # noqa: E402

KIND = "text"
ANSWER = 120
"""Tokens of every answer."""

FINE = 0.05
"""US dollars of a missed deadline: about what a step costs that a person has to look at for some seconds."""


@dataclass(frozen=True)
class Served:
    """A model and how it really behaves. `seconds`: median of a call of no tokens; `each`: more per 1000 tokens read;
    `spread`: sigma of the log-normal; `slow`: (from, to, factor), in shares of the whole time.
    """

    model: Model
    seconds: float
    each: float = 0.0
    spread: float = 0.3
    slow: tuple[float, float, float] = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Scene:
    """A fleet, its load (requests a second) and what is wanted."""

    name: str
    served: tuple[Served, ...]
    load: float
    objective: Objective = "cheapest"
    deadline: float | None = 4.0


@dataclass(frozen=True)
class Asked:
    """One request: when, how many tokens, and the seconds that each model would take for it."""

    at: float
    tokens: int
    seconds: tuple[float, ...]


def priced(name: str, price: float, at_once: int) -> Model:
    prices = {"input": price, "output": 4 * price}
    return Model(name=name, backend="openai", model=name, tier="large", price=prices, concurrency=at_once)


def scenes() -> tuple[Scene, ...]:
    """What happens to fleets: nothing, one becomes slow, more load than one can take, all alike, speed above all."""
    three = (
        Served(priced("small", 0.2, 4), 1.2, 0.8),
        Served(priced("middle", 1.0, 8), 0.9, 0.3),
        Served(priced("large", 3.0, 16), 0.6, 0.1),
    )
    slows = (Served(three[0].model, 1.2, 0.8, slow=(0.3, 0.7, 8.0)), *three[1:])
    alike = tuple(Served(priced(name, 1.0, 4), 1.0, 0.2, slow=s) for name, s in (
        ("a", (0.0, 0.0, 1.0)), ("b", (0.5, 0.8, 6.0)), ("c", (0.0, 0.0, 1.0))
    ))  # fmt: skip
    return (
        Scene("quiet", three, 0.8),
        Scene("the cheapest slows", slows, 0.8),
        Scene("more load than the cheapest can take", three, 4.0),
        Scene("three alike, one slows", alike, 6.0),
        Scene("fastest, the usual one slows", (three[0], three[1], Served(three[2].model, 0.6, 0.1, slow=(0.3, 0.7, 8.0))),
              4.0, "fastest", None),
    )  # fmt: skip


def drawn(scene: Scene, count: int, seed: int) -> list[Asked]:
    """The requests of one seed."""
    rng = random.Random(f"{scene.name}/{seed}")
    whole, now, found = count / scene.load, 0.0, []
    for _ in range(count):
        now += rng.expovariate(scene.load)
        tokens = min(8000, max(50, round(rng.lognormvariate(6.2, 0.8))))
        found.append(Asked(now, tokens, tuple(_service(one, tokens, now / whole, rng) for one in scene.served)))
    return found


def _service(one: Served, tokens: int, share: float, rng: random.Random) -> float:
    begin, end, factor = one.slow
    slowed = factor if begin <= share < end else 1.0
    return (one.seconds + one.each * tokens / 1000) * rng.lognormvariate(0, one.spread) * slowed


@dataclass
class Fleet:
    """The queues of one policy: when each place of each model is free, and what the watch has been told so far."""

    scene: Scene
    free: list[list[float]] = field(default_factory=list)
    watch: Watch = field(default_factory=Watch)
    ending: list[tuple[float, int, int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = [[0.0] * one.model.concurrency for one in self.scene.served]

    def until(self, now: float) -> None:
        """Let all calls end that have ended by now; the watch hears of them as in a run."""
        while self.ending and self.ending[0][0] <= now:
            end, place, tokens, seconds = heapq.heappop(self.ending)
            name = self.scene.served[place].model.name
            self.watch.saw(name, KIND, tokens, seconds, end)
            self.watch.leave(name)

    def latency(self, asked: Asked, place: int) -> float:
        """Seconds from now to the answer, if it went there."""
        return max(self.free[place][0] - asked.at, 0.0) + asked.seconds[place]

    def send(self, asked: Asked, place: int) -> float:
        latency, seconds = self.latency(asked, place), asked.seconds[place]
        heapq.heapreplace(self.free[place], asked.at + latency)
        heapq.heappush(self.ending, (asked.at + latency, place, asked.tokens, seconds))
        self.watch.enter(self.scene.served[place].model.name)
        return latency


Policy = Callable[[Fleet, Asked, int], int]
_WANTED = Description("s", "summarise", "g", Prompt("Sum up.", (Block("text", ""),)), output_of(str, where="s"))


def chooser(fleet: Fleet, asked: Asked, number: int) -> int:
    """Ours: the functions that the dispatcher's ladders are ordered with."""
    _WANTED.__dict__["tokens"] = asked.tokens
    guesses = [estimate(one.model, _WANTED, fleet.watch, asked.at) for one in fleet.scene.served]
    return order(guesses, fleet.scene.objective, fleet.scene.deadline)[0]


def round_robin(fleet: Fleet, asked: Asked, number: int) -> int:
    return number % len(fleet.scene.served)


def least_busy(fleet: Fleet, asked: Asked, number: int) -> int:
    """Fewest calls for its places."""
    busy = [fleet.watch.busy.get(one.model.name, 0) / one.model.concurrency for one in fleet.scene.served]
    return busy.index(min(busy))


def cheapest_first(fleet: Fleet, asked: Asked, number: int) -> int:
    costs = [cost_of(one.model, asked.tokens) for one in fleet.scene.served]
    return costs.index(min(costs))


POLICIES: dict[str, Policy] = {
    "chooser": chooser,
    "round_robin": round_robin,
    "least_busy": least_busy,
    "cheapest_first": cheapest_first,
}


def cost_of(model: Model, tokens: int) -> float:
    assert isinstance(model.price, dict)
    return (tokens * model.price["input"] + ANSWER * model.price["output"]) / 1e6


def loss(scene: Scene, place: int, asked: Asked, latency: float) -> float:
    if scene.objective == "fastest":
        return latency
    late = scene.deadline is not None and latency > scene.deadline
    return cost_of(scene.served[place].model, asked.tokens) + (FINE if late else 0.0)


@dataclass(frozen=True)
class Outcome:
    """Means over the requests of one scene. `regret` and `loss` in US dollars or seconds, `late`: share."""

    regret: float
    loss: float
    late: float
    cost: float
    seconds: float


def played(scene: Scene, requests: Sequence[Asked], policy: Policy) -> Outcome:
    """All requests of a scene, sent where the policy says."""
    fleet = Fleet(scene)
    regrets, losses, late, costs, latencies = [], [], 0, [], []
    for number, asked in enumerate(requests):
        fleet.until(asked.at)
        place = policy(fleet, asked, number)
        all_ = [loss(scene, p, asked, fleet.latency(asked, p)) for p in range(len(scene.served))]
        latency = fleet.send(asked, place)
        regrets.append(all_[place] - min(all_))
        losses.append(all_[place])
        late += scene.deadline is not None and latency > scene.deadline
        costs.append(cost_of(scene.served[place].model, asked.tokens))
        latencies.append(latency)
    mean = statistics.fmean
    return Outcome(mean(regrets), mean(losses), late / len(requests), mean(costs), mean(latencies))


def compared(scene: Scene, count: int, seed: int) -> dict[str, Outcome]:
    """Every policy on the same requests."""
    requests = drawn(scene, count, seed)
    return {name: played(scene, requests, policy) for name, policy in POLICIES.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--requests", type=int, default=2000)
    given = parser.parse_args()
    report: dict[str, dict[str, float]] = {}
    for scene in scenes():
        unit = "s" if scene.objective == "fastest" else "$"
        print(f"\n{scene.name} ({scene.load:g} requests a second, {scene.objective}, deadline {scene.deadline} s)")
        print(f"  {'':<15} {'regret, ' + unit:>12} {'late':>7} {'cost, $':>10} {'seconds':>9}")
        seeds = range(given.first_seed, given.first_seed + given.seeds)
        runs = [compared(scene, given.requests, seed) for seed in seeds]
        for name in POLICIES:
            means = {key: statistics.fmean(vars(run[name])[key] for run in runs) for key in vars(runs[0][name])}
            report.setdefault(scene.name, {})[name] = means["regret"]
            shown = f"{means['regret']:>12.5f} {means['late']:>7.1%} {means['cost']:>10.5f} {means['seconds']:>9.2f}"
            print(f"  {name:<15} {shown}")
    print()
    print(json.dumps({"regret": report, "seeds": given.seeds, "requests": given.requests}))


if __name__ == "__main__":
    main()
