"""What users test with: `scripted` and the pytest fixture of that name; only the models' answers are not real."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel

from agentfleet import StepFailed, ask, classify, extract, graph, when
from agentfleet.backends.backend import Completion, Usage
from agentfleet.errors import Refused, Unavailable, UsageError
from agentfleet.testing import scripted

ROOT = Path(__file__).parents[1]


class Part(BaseModel):
    name: str
    price: float


@classify(tier="nano", up_to="small")
def kind(mail: str) -> Literal["part", "other"]:
    """What is it about?"""
    return ask(mail)


@extract(tier="small", up_to="large")
def part(mail: str) -> Part:
    """Which part?"""
    return ask(mail)


@graph
def shop(mail: str) -> Part | None:
    return when(kind(mail) == "part", part(mail), otherwise=None)


@graph
def mall(mail: str) -> Part | None:
    return shop(mail)


BELL = Part(name="bell", price=9.0)


@pytest.mark.parametrize("answer", [BELL, {"name": "bell", "price": 9}, '{"name":"bell","price":9}'])
def test_an_answer_is_a_value_a_dict_or_the_raw_text(answer: object) -> None:
    with scripted({"kind": "part", "part": answer}) as models:
        assert shop("A bell?") == BELL
    assert [path for path, _ in models.calls] == ["kind", "part"]


def test_a_list_is_used_up_in_order_and_says_when_it_is_empty() -> None:
    with scripted({"kind": ["other", "part"], "part": BELL}):
        assert [shop("x"), shop("y")] == [None, BELL]
        with pytest.raises(UsageError, match="the 2 answers for 'kind' are used up at kind; add one more"):
            shop("z")


def test_a_path_goes_before_a_name_and_a_misspelt_key_is_offered() -> None:
    with scripted({"shop/kind": "other", "kind": "part", "part": BELL}):
        assert [shop("x"), mall("x")] == [BELL, None]
    with (
        scripted({"knid": "part"}),
        pytest.raises(UsageError, match=r"no answer for kind \(step 'kind'\); did you mean 'knid'"),
    ):
        shop("x")


def test_failures_and_whole_completions_can_be_scripted() -> None:
    priced = Completion('{"name":"bell","price":9}', "m", usage=Usage(100, 20))
    with scripted({"kind": "part", "part": [Unavailable("down"), Refused("no"), priced]}):
        run = shop.run("x")
        assert [str(one.outcome) for one in run.steps["part"].attempts] == ["unavailable", "refused"]
        assert isinstance(run.cause, StepFailed)
        assert shop.run("y").steps["part"].attempts[0].usage == Usage(100, 20)


def test_a_failing_test_shows_its_own_error_though_a_run_goes_on() -> None:
    async def watch() -> None:
        async for _ in shop.stream("x"):
            raise LookupError("of the test")

    with pytest.raises(LookupError, match="of the test"), scripted({"kind": "part", "part": BELL}):
        asyncio.run(watch())
    with scripted({"kind": "other"}):  # and the next one begins afresh
        assert shop("x") is None


def test_the_fixture_begins_with_a_script_and_ends_with_the_test(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "from agentfleet import ask, graph, summarise\n"
        "@summarise(tier='small')\ndef gist(text: str) -> str:\n    'One sentence.'\n    return ask(text)\n"
        "@graph\ndef g(text: str) -> str:\n    return gist(text)\n"
        "def test_one(scripted):\n    models = scripted({'gist': 'short'})\n"
        "    assert g('long') == 'short'\n    assert len(models.calls) == 1\n"
        "def test_two(scripted):\n    scripted({'gist': 'other'}, location='cloud')\n    assert g('long') == 'other'\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    declared = (
        "agentfleet.pytest_plugin"
        in subprocess.run([*command, "--trace-config", "--co"], cwd=tmp_path, capture_output=True, text=True).stdout
    )
    plugin = [] if declared else ["-p", "agentfleet.pytest_plugin"]  # the entry point, where the package is installed
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([*command, *plugin], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_a_prompt_may_be_too_long_for_the_scripted_model() -> None:
    with scripted({"part": BELL}, context=700):  # of which 512 are for the answer
        assert part("A bell?") == BELL
        run = part.run("A bell? " * 500)
    assert run.status == "failed" and "more than the 700 of scripted-small" in run.error
