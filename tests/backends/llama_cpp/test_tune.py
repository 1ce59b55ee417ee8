"""Formats are made so that no half is left, measured on the same questions, and one is chosen only on evidence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from agentfleet.backends.backend import Request
from agentfleet.backends.llama_cpp import embedded_path
from agentfleet.backends.llama_cpp.gguf import read_header
from agentfleet.backends.llama_cpp.quantize import FORMATS, format_of, known_formats, quantize
from agentfleet.backends.llama_cpp.timing import Effort, Setting, Times
from agentfleet.backends.llama_cpp.tune import (
    FOLDER,
    Candidate,
    Case,
    Tuned,
    _sweep,
    case_ms,
    is_doubtful,
    pick,
    tune,
)
from agentfleet.errors import FleetError, ModelFileError, UnknownName, UsageError
from agentfleet.fleet.lock import load_lock, preferred, sha256_of, verify
from agentfleet.prompt import Block, Prompt
from agentfleet.schema import output_of

TINY = Effort(prompt=40, decoded=2, rounds=1)
Mood = Literal["good", "bad"]


def case(text: str, expected: str | None, annotation: Any = Mood, closed: bool = True) -> Case:
    output = output_of(annotation, where="test", closed=closed)
    options = tuple((o.text, o.about) for o in output.questions[0].options) if closed else ()
    request = Request(Prompt("Is the mood good or bad?", (Block("text", text),), options), output, max_tokens=40)
    return Case(request, expected, lambda text: json.dumps(json.loads(text)))


CASES = (
    case("I love it, wonderful!", '"good"'),
    case("Terrible, never again.", '"bad"'),
    case("What a lovely day.", '"good"'),
    case("Seven eggs", None, dict[Literal["count"], int], closed=False),
)


def made(name: str, size: int, prompt: float, decode: float, answers: str) -> Candidate:
    times = Times({Setting(1, 40): prompt}, {1: decode})
    return Candidate(name, Path(name), size, list(answers), times)


def known(answers: str) -> list[Case]:
    return [Case(CASES[0].request, answer) for answer in answers]


ORIGINAL = made("Q4_1", 100, 4.0, 10.0, "aaaaaaaaaa")
EIGHT = made("Q8_0", 150, 2.0, 9.0, "aaaaaaaaab")
FOUR = made("Q4_0", 90, 1.0, 6.0, "aaaaabbbbb")
LONG = (100.0, 2.0)


def test_a_case_costs_its_tokens() -> None:
    assert case_ms(ORIGINAL, LONG) == 420.0


def test_every_format_is_compared_at_its_own_best_setting() -> None:
    slow = Times({Setting(2, 40): 4.0, Setting(1, 40): 9.0}, {2: 10.0, 1: 9.0})
    quick = Times({Setting(2, 40): 5.0, Setting(1, 40): 3.0}, {2: 10.0, 1: 9.0})
    found = [Candidate(name, Path(name), 9, [], times) for name, times in (("Q4_1", slow), ("Q8_0", quick))]
    assert [case_ms(one, LONG) for one in found] == [420.0, 318.0]
    assert pick(found, "fastest", LONG, ()).format == "Q8_0"


@pytest.mark.parametrize(
    ("objective", "doubtful", "chosen"),
    [
        ("fastest", (), "Q4_0"),
        ("fastest", ("Q4_0",), "Q8_0"),
        ("fastest", ("Q4_0", "Q8_0"), "Q4_1"),
        ("smallest", (), "Q4_0"),
        ("smallest", ("Q4_0",), "Q4_1"),
        ("closest", (), "Q8_0"),
        ("closest", ("Q8_0",), "Q4_0"),
        ("closest", ("Q4_0", "Q8_0"), "Q4_1"),
    ],
)
def test_the_objective_decides_among_those_that_are_not_doubtful(objective: Any, doubtful: Any, chosen: str) -> None:
    assert pick((ORIGINAL, EIGHT, FOUR), objective, LONG, doubtful).format == chosen


def test_a_larger_and_slower_format_is_not_the_closest() -> None:
    useless = made("F16", 300, 5.0, 20.0, "aaaaaaaaaa")
    assert pick((ORIGINAL, useless), "closest", LONG, ()).format == "Q4_1"


@pytest.mark.parametrize(
    ("mine", "count", "doubtful"),
    [
        ("a", 5, True),  # the same, but five cases prove nothing
        ("a", 100, False),
        ("aaaaaaaaaaaaaaaaaaab", 100, False),  # 5 of 100 lost
        ("aaaaaaaaab", 100, True),  # 10 of 100 lost
        ("ab", 100, True),
    ],
)
def test_a_format_is_open_only_on_evidence(mine: str, count: int, doubtful: bool) -> None:
    answers = (mine * count)[:count]
    assert is_doubtful(answers, "a" * count, known("a" * count)) is doubtful


def test_a_better_format_is_open() -> None:
    assert not is_doubtful("a" * 40, "b" * 40, known("a" * 40))


def test_cases_without_an_expected_answer_prove_nothing() -> None:
    assert is_doubtful("a" * 100, "a" * 100, [Case(CASES[0].request, None)] * 100)


def test_formats_by_name() -> None:
    assert known_formats(["q8_0", " Q4_0", "Q8_0"]) == ("Q8_0", "Q4_0")
    with pytest.raises(UnknownName, match="no format 'Q8_O'.*did you mean 'Q8_0'"):
        known_formats(["Q8_O"])
    with pytest.raises(UnknownName, match="known: BF16"):
        known_formats(["?"])


@pytest.mark.real_model
def test_the_numbers_of_formats_are_llama_cpp_s() -> None:
    import llama_cpp

    for name, number in FORMATS.items():
        found = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{name}")
        assert found == number, name


@pytest.mark.real_model
def test_a_made_format_is_whole_and_the_source_untouched(tmp_path: Path) -> None:
    before = sha256_of(embedded_path())
    assert format_of(embedded_path()) == "Q4_1"
    quantize(embedded_path(), tmp_path / "deep" / "m.gguf", "q4_0")
    assert format_of(tmp_path / "deep" / "m.gguf") == "Q4_0"
    assert read_header(tmp_path / "deep" / "m.gguf").size == (tmp_path / "deep" / "m.gguf").stat().st_size
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["m.gguf"]
    assert sha256_of(embedded_path()) == before


@pytest.mark.real_model
@pytest.mark.parametrize("kept", [100, 1_000_000, -1])
def test_a_truncated_source_leaves_nothing(tmp_path: Path, kept: int) -> None:
    source, target = tmp_path / "short.gguf", tmp_path / "out" / "m.gguf"
    source.write_bytes(embedded_path().read_bytes()[:kept])
    with pytest.raises(ModelFileError, match="could not make Q8_0 of"):
        quantize(source, target, "Q8_0")
    assert list(target.parent.iterdir()) == []


@pytest.mark.real_model
def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """Files of this process and its child may have 20 MB: writing fails in the middle."""
    pytest.importorskip("resource")
    target = tmp_path / "m.gguf"
    target.write_bytes(b"the old one")
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from agentfleet.backends.llama_cpp import embedded_path\n"
        "from agentfleet.backends.llama_cpp.quantize import quantize\n"
        "from agentfleet.errors import ModelFileError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))\n"
        "try: quantize(embedded_path(), Path(sys.argv[1]), 'Q8_0')\n"
        "except ModelFileError as error: print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, env=environment, timeout=120)
    assert b"could not make Q8_0" in done.stdout, done.stderr
    assert b"MB are free there" in done.stdout
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"m.gguf": b"the old one"}


@pytest.mark.real_model
def test_the_choice_is_recorded_and_verified(tmp_path: Path) -> None:
    before = sha256_of(embedded_path())
    found = tune("m/1", embedded_path(), CASES, tmp_path, formats=["Q4_0"], threads=[1], effort=TINY, context=512)
    assert [c.format for c in found.candidates] == ["Q4_1", "Q4_0"]
    assert found.doubtful == ("Q4_0",)  # three cases prove nothing
    assert found.chosen.format == "Q4_1"
    assert found.path == embedded_path()
    assert found.measured[0].agrees == (4, 4)
    assert all(m.right[1] == 3 and m.prompt_ms > 0 and m.decode_ms > 0 for m in found.measured)
    assert found.share[0] > 5 and found.share[1] > 0
    entry = load_lock(tmp_path).models["m/1"]
    assert (entry.chosen, entry.threads, [file.sha256 for file in entry.files]) == ("Q4_1", None, [before])
    assert entry.batch is None  # the prompt was as long as the usual batch: none was compared
    assert [(m.threads, m.batch) for m in entry.measured] == [(1, 40)] * 2
    assert list((tmp_path / FOLDER).iterdir()) == []
    verify(embedded_path(), load_lock(tmp_path))


@pytest.mark.real_model
def test_a_new_choice_takes_the_place_of_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentfleet.backends.llama_cpp.tune.TOLERANCE", 9.0)

    def choose(name: str) -> Tuned:
        return tune(
            "m", embedded_path(), CASES[:1], tmp_path, formats=[name], objective="closest", threads=[1, 2], context=512,
            effort=Effort(prompt=40, decoded=1, rounds=1),
        )  # fmt: skip

    monkeypatch.setattr("agentfleet.backends.llama_cpp.tune.case_ms", lambda c, share: float(c.format == "Q4_1"))
    first = choose("Q4_0")
    best = first.setting
    assert preferred("m", embedded_path(), load_lock(tmp_path)) == (first.path, best.threads, None)
    assert list(first.chosen.times.decode) == [1, 2]
    assert list(first.chosen.times.prompt) == [Setting(1, 40), Setting(2, 40)]
    assert first.path == tmp_path / FOLDER / "m-Q4_0.gguf"
    verify(first.path, load_lock(tmp_path))
    second = choose("Q8_0")
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["m-Q8_0.gguf"]
    assert load_lock(tmp_path).models["m"].chosen == second.chosen.format == "Q8_0"


@pytest.mark.real_model
def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if line.startswith("Q4_1 answers"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune("m", embedded_path(), CASES, tmp_path, formats=["Q4_0"], threads=[1], effort=TINY, context=512, say=stop)
    assert list((tmp_path / FOLDER).iterdir()) == []
    assert not (tmp_path / "agentfleet.lock").exists()


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = (f".tune-{gone.pid}", f".tune-{os.getpid()}", ".tune-x", "m-Q8_0.gguf")
    for name in names:
        (tmp_path / name).mkdir()
    _sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])


def refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_what_cannot_work_is_told_before_the_work(tmp_path: Path) -> None:
    path, lock = embedded_path(), tmp_path / "agentfleet.lock"
    refused(lambda: tune("m", path, [], tmp_path), UsageError, "no case asks a model")
    refused(lambda: tune("m", path, CASES, tmp_path, formats=["Q9"]), UnknownName, "no format 'Q9'")
    lock.write_text("[models")
    refused(lambda: tune("m", path, CASES, tmp_path), FleetError, "damaged")
    lock.unlink()
    refused(lambda: tune("m", tmp_path / "gone.gguf", CASES, tmp_path), ModelFileError, "no model file at")
    assert not list(tmp_path.glob("*.lock"))
