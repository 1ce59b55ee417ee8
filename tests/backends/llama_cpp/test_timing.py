"""Which threads and batch are taken, given what was timed; nothing here depends on how fast this machine is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agentfleet.backends.llama_cpp import LlamaCpp, embedded_path, timing
from agentfleet.backends.llama_cpp.answer import Answerer
from agentfleet.backends.llama_cpp.native import Logits, Weights
from agentfleet.backends.llama_cpp.timing import Effort, Setting, Times, thread_counts, time_once
from agentfleet.errors import FleetError
from agentfleet.fleet.lock import Lock, Locked, LockedFile, preferred
from agentfleet.prompt import Message

LONG, SHORT = (100.0, 2.0), (1.0, 50.0)


def test_a_time_is_the_best_of_the_rounds() -> None:
    times = Times()
    for prompt, decode in ((4.0, 9.0), (2.0, 10.0), (3.0, 8.0)):
        times.add(2, {40: prompt, 80: prompt / 2}, decode)
    assert times.prompt == {Setting(2, 40): 2.0, Setting(2, 80): 1.0}
    assert times.decode == {2: 8.0}
    assert times.case_ms(Setting(2, 80), LONG) == 116.0


@pytest.mark.parametrize(
    ("one", "two", "share", "best"),
    [
        ((4.0, 9.0), (2.0, 9.0), LONG, Setting(2, 40)),
        ((4.0, 6.0), (3.0, 9.0), LONG, Setting(2, 40)),
        ((4.0, 6.0), (3.0, 9.0), SHORT, Setting(1, 40)),  # answers are long: what reads slower writes faster
        ((2.95, 9.0), (3.0, 9.0), LONG, Setting(2, 40)),  # no clear gain: the usual one
    ],
)
def test_threads_by_what_a_case_costs(
    one: tuple[float, float], two: tuple[float, float], share: tuple[float, float], best: Setting
) -> None:
    times = Times()
    times.add(2, {40: two[0]}, two[1])
    times.add(1, {40: one[0]}, one[1])
    assert times.best(share) == best


@pytest.mark.parametrize(
    ("usual", "larger", "best"),
    [
        (1.0, 0.8, 80),
        (1.0, 0.99, 40),  # noise
        (2.0, 1.6, 40),  # 128 ms of one evaluation: a call could not be stopped in time
    ],
)
def test_a_larger_batch_only_where_a_call_can_still_be_stopped(usual: float, larger: float, best: int) -> None:
    times = Times()
    times.add(1, {40: usual, 80: larger}, 5.0)
    assert times.best(LONG) == Setting(1, best)


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, (1,)), (2, (2, 1)), (4, (4, 3, 2, 1)), (12, (12, 8, 4, 2, 1)), (16, (16, 8, 4, 2, 1))]
)
def test_all_cores_are_tried_first(cores: int, counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "physical_cores", lambda: cores)
    assert thread_counts() == counts


@pytest.mark.real_model
def test_a_batch_beyond_the_prompt_is_not_timed() -> None:
    weights = Weights(embedded_path())
    try:
        prompts, decode = time_once(weights, [500, 501], 256, 1, (40, 80, 160), Effort(90, 2, 1))
        assert list(prompts) == [40, 80]
        assert min(*prompts.values(), decode) > 0
        assert list(time_once(weights, [500], 256, 1, (40, 80), Effort(10, 1, 1))[0]) == [40]
    finally:
        weights.free()


@pytest.mark.real_model
def test_the_engine_reads_in_the_batch_that_was_chosen(tmp_path: Path) -> None:
    (tmp_path / "w.gguf").write_bytes(b"x")
    row = LockedFile(format="Q8_0", path="w.gguf", sha256="0" * 64, bytes=1)
    entry = Locked(original="Q8_0", chosen="Q8_0", objective="fastest", date="", threads=3, batch=80, files=(row,))
    lock = Lock(home=tmp_path).with_model("m", entry)
    assert preferred("m", tmp_path / "w.gguf", lock) == (tmp_path / "w.gguf", 3, 80)
    with pytest.raises(FleetError, match="batch must be 1 to 256"):
        LlamaCpp(embedded_path(), "m", batch=257)
    assert looks(40)[0] == 3
    assert looks(80)[0] == 2
    assert np.array_equal(looks(40)[1], looks(80)[1])  # and the same is read


def looks(batch: int) -> tuple[int, Logits]:
    """How often the cancel flag is looked at while 100 tokens are read, and the logits after them."""
    backend = LlamaCpp(embedded_path(), "m", context=512, threads=1, batch=batch)
    seen: list[bool] = []

    def look() -> bool:
        seen.append(True)
        return False

    def work(model: Answerer, prompt: object, cancelled: object) -> Logits:
        return model.cache.feed([500] * 100, look).copy()

    try:
        logits: Logits = backend.call([Message("user", "Hello")], 1, work)
    finally:
        backend.shut()
    return len(seen), logits
