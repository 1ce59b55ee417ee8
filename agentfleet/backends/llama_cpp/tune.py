"""Which weight format of a model to run, with how many threads, in what batches: makes the candidates, lets all answer
the same questions, times them, picks one.

The original is never touched. Candidates are made in a folder of their own, which goes when the work ends or breaks off;
only the chosen one is moved beside the project's other models, and then the lock is written.
"""

from __future__ import annotations

import asyncio
import math
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from agentfleet.backends.backend import Completion, Request
from agentfleet.backends.llama_cpp.child import check_loads
from agentfleet.backends.llama_cpp.engine import LlamaCpp
from agentfleet.backends.llama_cpp.native import Weights
from agentfleet.backends.llama_cpp.quantize import format_of, known_formats, quantize
from agentfleet.backends.llama_cpp.timing import BATCHES, FULL, Effort, Setting, Share, Times, thread_counts, time_once
from agentfleet.errors import AgentfleetError, ModelFileError, UsageError
from agentfleet.fleet.lock import Lock, Locked, Measured, Objective, file_of, load_lock, located, save_lock

DEFAULT: Final = ("Q8_0", "Q5_0", "Q4_0")
FOLDER: Final = Path(".agentfleet") / "models"
TOLERANCE: Final = 0.1
"""A format may be chosen only if its share of right answers is, with 95 % confidence, less than this below the original's."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A question with the answer that it should get, None where nobody knows. `read`: an answer in canonical form."""

    request: Request
    expected: str | None
    read: Callable[[str], str] = str.strip


@dataclass(slots=True)
class Candidate:
    """One format: its file, its answers to the cases, its times."""

    format: str
    path: Path
    bytes: int
    answers: list[str] = field(default_factory=list)
    times: Times = field(default_factory=Times)


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was found. `share`: tokens of the prompt and of the answer that a case costs on average."""

    candidates: tuple[Candidate, ...]
    chosen: Candidate
    objective: Objective
    share: Share
    measured: tuple[Measured, ...]
    doubtful: tuple[str, ...]
    path: Path

    @property
    def setting(self) -> Setting:
        """The best threads and batch for the chosen format."""
        return self.chosen.times.best(self.share)


def tune(
    name: str,
    original: Path,
    cases: Sequence[Case],
    home: Path,
    *,
    formats: Sequence[str] = DEFAULT,
    objective: Objective = "fastest",
    threads: Sequence[int] = (),
    context: int = 4096,
    effort: Effort = FULL,
    what: str = "",
    say: Say = lambda line: None,
) -> Tuned:
    """Measure formats of a model, choose one, put it into the project `home` and write the lock.

    Every format is timed with every number of `threads` (default: all the physical cores, then fewer) and every batch; its
    best setting counts. `what`: what the cases are, for the lock. Raises UsageError without cases, UnknownName,
    ModelFileError, OSError.
    """
    if not cases:
        raise UsageError("nothing to measure with: no case asks a model")
    before = load_lock(home)  # a damaged one is told of before the work, not after it
    counts = tuple(threads) or thread_counts()
    wanted = known_formats(formats)
    home = before.home
    with _workshop(home / FOLDER) as shop:
        found = _candidates(original, wanted, shop, counts[0], say)
        share = _answer_all(found, cases, name, context, counts[0], say)
        _time_all(found, cases, context, counts, effort, say)
        doubtful = [c.format for c in found[1:] if is_doubtful(c.answers, found[0].answers, cases)]
        chosen = pick(found, objective, share, doubtful)
        measured = tuple(_measured(c, found[0], cases, share) for c in found)
        if chosen is not found[0]:
            chosen.path = chosen.path.replace(home / FOLDER / f"{_file_name(name)}-{chosen.format}.gguf")
        tuned = Tuned(tuple(found), chosen, objective, share, measured, tuple(doubtful), chosen.path)
        _record(tuned, name, before, what or f"{len(cases)} cases")
    return tuned


def pick(found: Sequence[Candidate], objective: Objective, share: Share, doubtful: Sequence[str]) -> Candidate:
    """The best candidate for an objective; the first is the original, and formats in `doubtful` cannot be it.

    fastest: least time for an average case. smallest: least bytes. closest: of those that are smaller or faster than the
    original, the one with most of its answers.
    """
    original = found[0]
    open_ = [c for c in found if c.format not in doubtful]
    if objective == "smallest":
        return min(open_, key=lambda c: (c.bytes, case_ms(c, share)))
    if objective == "fastest":
        return min(open_, key=lambda c: case_ms(c, share))
    gain = [c for c in open_ if c.bytes < original.bytes or case_ms(c, share) < case_ms(original, share)]
    return max(gain, key=lambda c: (_agreeing(c, original), -case_ms(c, share)), default=original)


def case_ms(candidate: Candidate, share: Share) -> float:
    """Milliseconds of an average case, with the best threads and batch."""
    return candidate.times.case_ms(candidate.times.best(share), share)


def is_doubtful(answers: Sequence[str], original: Sequence[str], cases: Sequence[Case]) -> bool:
    """Could it be right less often than the original by `TOLERANCE` or more? One-sided 95 % bound of the paired
    difference (Agresti and Min's: half a case is added to each kind of change, so that few cases prove little).
    """
    lost, gained, total = 0.5, 0.5, 2
    for mine, theirs, case in zip(answers, original, cases, strict=True):
        if case.expected is not None:
            lost += theirs == case.expected != mine
            gained += mine == case.expected != theirs
            total += 1
    change = (gained - lost) / total
    spread = math.sqrt(lost + gained - (gained - lost) ** 2 / total) / total
    return change - 1.645 * spread <= -TOLERANCE


@contextmanager
def _workshop(folder: Path) -> Iterator[Path]:
    """A folder for candidates that is gone afterwards, whatever happens."""
    _sweep(folder)
    shop = folder / f".tune-{os.getpid()}"
    shop.mkdir(parents=True, exist_ok=True)
    try:
        yield shop
    finally:
        shutil.rmtree(shop, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what processes left that were killed; gigabytes, perhaps."""
    for old in folder.glob(".tune-*"):
        with suppress(ValueError, PermissionError):
            try:
                if os.name == "posix":
                    os.kill(int(old.name.removeprefix(".tune-")), 0)  # asks whether it lives
            except ProcessLookupError:
                shutil.rmtree(old, ignore_errors=True)


def _candidates(original: Path, wanted: Sequence[str], shop: Path, threads: int, say: Say) -> list[Candidate]:
    check_loads(original)
    found = [Candidate(format_of(original), original, original.stat().st_size)]
    for name in wanted:
        if name == found[0].format:
            continue
        say(f"making {name}")
        path = shop / f"{name}.gguf"
        quantize(original, path, name, threads)
        found.append(Candidate(name, path, path.stat().st_size))
    return found


def _answer_all(
    found: Sequence[Candidate], cases: Sequence[Case], name: str, context: int, threads: int, say: Say
) -> Share:
    """Let every candidate answer every case; tokens of prompt and answer that a case costs on average (the original)."""
    share: Share = (0.0, 0.0)
    for candidate in found:
        say(f"{candidate.format} answers {len(cases)} questions")
        given = asyncio.run(_answers(candidate, cases, name, context, threads))
        candidate.answers = [_canonical(case, done) for case, done in zip(cases, given, strict=True)]
        if candidate is found[0]:
            usages = [done.usage for done in given if done is not None]
            if not usages:
                raise ModelFileError(f"{candidate.path} answered none of {len(cases)} questions")
            new = sum(u.input_tokens - u.cached_tokens for u in usages)
            share = new / len(usages), sum(u.output_tokens for u in usages) / len(usages)
    return share


async def _answers(
    candidate: Candidate, cases: Sequence[Case], name: str, context: int, threads: int
) -> list[Completion | None]:
    """The completion of each case; None where there was none."""
    backend = LlamaCpp(candidate.path, name, context, threads)
    given: list[Completion | None] = []
    try:
        await asyncio.to_thread(backend.load)
        for case in cases:
            try:
                given.append(await backend.complete(case.request))
            except ModelFileError:
                raise
            except AgentfleetError:  # it does not fit, or was cut: no answer, which is what counts here
                given.append(None)
    finally:
        await backend.close()
    return given


def _canonical(case: Case, done: Completion | None) -> str:
    if done is None:
        return ""
    try:
        return case.read(done.text)
    except ValueError:
        return f"invalid: {done.text}"


def _time_all(
    found: Sequence[Candidate], cases: Sequence[Case], context: int, counts: Sequence[int], effort: Effort, say: Say
) -> None:
    """Time all candidates in turns, so that a busy moment of the machine meets them all."""
    for turn in range(effort.rounds):
        say(f"timing, round {turn + 1} of {effort.rounds}")
        for candidate in found:
            with _loaded(candidate.path, cases) as (weights, tokens):
                for threads in counts:
                    prompts, decode = time_once(weights, tokens, context, threads, BATCHES, effort)
                    candidate.times.add(threads, prompts, decode)


@contextmanager
def _loaded(path: Path, cases: Sequence[Case]) -> Iterator[tuple[Weights, list[int]]]:
    """Weights, and the tokens of the cases' texts one after the other."""
    weights = Weights(path)
    try:
        text = "\n".join(case.request.prompt.text() for case in cases[:8])
        yield weights, weights.tokens(text, special=False)
    finally:
        weights.free()


def _agreeing(one: Candidate, other: Candidate) -> int:
    return sum(mine == theirs for mine, theirs in zip(one.answers, other.answers, strict=True))


def _measured(one: Candidate, original: Candidate, cases: Sequence[Case], share: Share) -> Measured:
    known = [(mine, c.expected) for mine, c in zip(one.answers, cases, strict=True) if c.expected is not None]
    right = sum(mine == expected for mine, expected in known)
    best = one.times.best(share)
    return Measured(
        format=one.format,
        threads=best.threads,
        batch=best.batch,
        prompt_ms=one.times.prompt[best],
        decode_ms=one.times.decode[best.threads],
        agrees=(_agreeing(one, original), len(cases)),
        right=(right, len(known)),
    )


def _record(tuned: Tuned, name: str, lock: Lock, what: str) -> None:
    """Write the lock; then a format that was chosen before, and now is not, goes."""
    original, chosen, best = tuned.candidates[0], tuned.chosen, tuned.setting
    kept = [original] if chosen is original else [original, chosen]
    entry = Locked(
        original=original.format,
        chosen=chosen.format,
        objective=tuned.objective,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        engine=_engine(),
        cases=what,
        threads=best.threads if len(chosen.times.decode) > 1 else None,
        batch=best.batch if len(chosen.times.prompt) > len(chosen.times.decode) else None,
        files=tuple(file_of(one.path, one.format, lock.home) for one in kept),
        measured=tuned.measured,
    )
    save_lock(lock.with_model(name, entry))
    old = lock.models[name].files if name in lock.models else ()
    for path in {located(file.path, lock.home) for file in old} - {original.path, chosen.path}:
        if path.parent == lock.home / FOLDER:
            path.unlink(missing_ok=True)


def _engine() -> str:
    try:
        return f"llama-cpp-python {version('llama-cpp-python')}"
    except PackageNotFoundError:
        return "llama-cpp-python"


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)
