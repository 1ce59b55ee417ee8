"""``agentfleet models tune``: which model, which cases, what is printed and recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from cli.project import write_rows
from typer.testing import CliRunner

from agentfleet.backends.llama_cpp.timing import Setting, Times
from agentfleet.backends.llama_cpp.tune import Candidate, Tuned
from agentfleet.cli import tune as tuning
from agentfleet.cli.learn import find_skill
from agentfleet.errors import AgentfleetError, InputError, UnknownName, UsageError
from agentfleet.fleet.config import load_fleet
from agentfleet.fleet.lock import Measured, load_lock
from agentfleet.fleet.model import default_fleet

Invoke = Callable[..., Any]
FLEET = (
    '[[models]]\nname = "served"\nbackend = "openai"\nmodel = "x"\nbase_url = "http://127.0.0.1:1/v1"\ntier = "large"\n'
)


@pytest.fixture
def invoke(project: Path) -> Invoke:
    """Runs ``tune ARGUMENTS`` in the project; gives its JSON or text, or raises what it raised."""
    app = typer.Typer()
    app.command("tune")(tuning.tune)

    def run(*arguments: str) -> Any:
        done = CliRunner().invoke(app, arguments)
        if isinstance(done.exception, AgentfleetError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    return run


def test_an_unknown_model_offers_the_nearest(invoke: Invoke) -> None:
    with pytest.raises(UnknownName, match="did you mean 'smollm2'"):
        invoke("smolm2")


def test_a_served_model_has_no_formats_here(invoke: Invoke, project: Path) -> None:
    (project / "agentfleet.toml").write_text(FLEET)
    with pytest.raises(UsageError, match="runs on openai"):
        invoke("served")


def test_an_unknown_format_offers_the_nearest(invoke: Invoke) -> None:
    with pytest.raises(UnknownName, match="did you mean 'Q8_0'"):
        invoke("smollm2", "--formats", "Q8_0,Q80")


def test_a_model_s_weights_and_threads(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentfleet.backends.llama_cpp import embedded_path

    (project / "agentfleet.toml").write_text(
        '[[models]]\nname = "own"\nbackend = "llama_cpp"\nmodel = "w.gguf"\nparams = { threads = 3 }\n'
    )
    monkeypatch.setenv("AGENTFLEET_THREADS", "2")
    own = tuning.local_model("own", load_fleet(project / "agentfleet.toml"))
    embedded = tuning.local_model("smollm2", default_fleet())
    assert (tuning.weights_of(own), tuning.threads_of(own)) == (project / "w.gguf", (3,))
    assert (tuning.weights_of(embedded), tuning.threads_of(embedded)) == (embedded_path(), (2,))
    monkeypatch.setenv("AGENTFLEET_THREADS", "many")
    with pytest.raises(UsageError, match="threads is 'many'"):
        tuning.threads_of(embedded)
    monkeypatch.delenv("AGENTFLEET_THREADS")
    assert tuning.threads_of(embedded) == ()


def test_the_stock_cases(project: Path) -> None:
    cases, what = tuning.cases_of(None, project, each=4)
    skills = [case.request.skill for case in cases]
    assert {name: skills.count(name) for name in skills} == {
        "intent": 4, "urgency": 4, "language": 4, "order": 4, "invoice": 3,
    }  # fmt: skip
    assert what == "19 stock cases of intent, urgency, language, order, invoice"
    for case in cases:
        assert case.expected is not None
        assert case.read(case.expected) == case.expected
        assert all(shown.blocks != case.request.prompt.blocks for shown in case.request.prompt.examples)


def test_extract_cases_come_from_the_inbox_too(project: Path) -> None:
    many = [case for case in tuning.cases_of(None, project, each=999)[0] if case.request.skill == "order"]
    assert len(many) > len(find_skill("order", project).examples)
    assert any('"order_id":"' in (case.expected or "").replace(" ", "") for case in many)


def test_cases_are_spread_evenly() -> None:
    assert tuning.spread(range(10), 3) == [0, 3, 6]
    assert tuning.spread(range(2), 3) == [0, 1]


def test_own_cases(project: Path) -> None:
    write_rows(
        project / "cases.jsonl",
        {"skill": "urgency", "inputs": {"message": "Fire in the hall!"}, "output": "high"},
        {"skill": "language", "inputs": {"text": "Guten Morgen"}, "output": "de"},
        "",
    )
    cases, what = tuning.cases_of(project / "cases.jsonl", project, each=1)
    assert [(case.request.skill, case.expected) for case in cases] == [("urgency", '"high"'), ("language", '"de"')]
    assert what == "2 cases of cases.jsonl"


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ("nonsense", InputError, "line 1: no JSON"),
        ({"inputs": {"text": "x"}, "output": "de"}, InputError, "line 1: a row is"),
        ({"skill": "lanuage", "inputs": {}, "output": ""}, UnknownName, "did you mean 'language'"),
        ({"skill": "language", "inputs": {"text": "x"}, "output": "klingon"}, InputError, "line 1: the output is no"),
        ({"skill": "resolve", "inputs": {}, "output": {}}, AgentfleetError, "resolve"),
    ],
)
def test_wrong_cases_are_named(project: Path, row: Any, error: type[Exception], message: str) -> None:
    write_rows(project / "cases.jsonl", row)
    with pytest.raises(error, match=message):
        tuning.cases_of(project / "cases.jsonl", project, each=1)


def test_no_cases(project: Path) -> None:
    (project / "cases.jsonl").write_text("\n")
    with pytest.raises(InputError, match="no row of it makes a skill ask a model"):
        tuning.cases_of(project / "cases.jsonl", project, each=1)
    with pytest.raises(InputError, match="cannot read"):
        tuning.cases_of(project / "gone.jsonl", project, each=1)


def test_a_share_has_its_interval() -> None:
    assert tuning.share((5, 10)) == "50% (24%–76%)"
    assert tuning.share((0, 0)) == "–"


def test_the_table_says_what_was_measured_and_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    tuning.show(TUNED, "50 cases")
    told = capsys.readouterr().out
    for word in (
        "Q4_1",
        "original",
        "Q8_0",
        "chosen",
        "Q4_0",
        "doubtful",
        "96% (87%–99%)",
        "290",
        "50 cases",
        "Wilson",
    ):
        assert word in told, word
    assert "chosen: Q8_0, the fastest; 2 threads, batch 40" in told
    assert [line for line in told.splitlines() if "chosen" in line and " 40 " in line and " 290 " in line]


def test_json_says_the_same() -> None:
    found = json.loads(json.dumps(tuning.as_rows(TUNED)))
    assert (found["chosen"], found["threads"], found["batch"], found["path"]) == ("Q8_0", 2, 40, "m-Q8_0.gguf")
    assert found["formats"][1]["right_interval"] == pytest.approx((0.348, 0.615), abs=0.001)
    assert found["formats"][1]["settings"] == [
        {"threads": 1, "batch": 40, "prompt_ms": 4, "decode_ms": 18, "case_ms": 580.0},
        {"threads": 2, "batch": 40, "prompt_ms": 2, "decode_ms": 9, "case_ms": 290.0},
    ]
    assert [(row["format"], row["doubtful"], row["case_ms"]) for row in found["formats"]] == [
        ("Q4_1", False, 490.0),
        ("Q8_0", False, 290.0),
        ("Q4_0", True, 160.0),
    ]


def row(name: str, size: int, prompt: float, decode: float, agrees: int, right: int) -> tuple[Candidate, Measured]:
    measured = Measured(format=name, prompt_ms=prompt, decode_ms=decode, agrees=(agrees, 50), right=(right, 50))
    times = Times({Setting(2, 40): prompt, Setting(1, 40): 2 * prompt}, {2: decode, 1: 2 * decode})
    return Candidate(name, Path(f"m-{name}.gguf"), size, [], times), measured


ROWS = (row("Q4_1", 98, 4, 9, 50, 24), row("Q8_0", 145, 2, 9, 48, 24), row("Q4_0", 91, 1, 6, 30, 20))
TUNED = Tuned(
    tuple(r[0] for r in ROWS), ROWS[1][0], "fastest", (100.0, 10.0), tuple(r[1] for r in ROWS), ("Q4_0",),
    Path("m-Q8_0.gguf"),
)  # fmt: skip


@pytest.mark.real_model
def test_a_real_model_is_measured_and_recorded(invoke: Invoke, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTFLEET_THREADS", "1")
    write_rows(project / "cases.jsonl", {"skill": "urgency", "inputs": {"message": "Fire!"}, "output": "high"})
    found = invoke("smollm2", "--quick", "--formats", "Q4_0", "--data", "cases.jsonl", "--json")
    assert (found["chosen"], found["objective"]) == ("Q4_1", "fastest")  # one case proves nothing
    assert [(row["format"], row["doubtful"]) for row in found["formats"]] == [("Q4_1", False), ("Q4_0", True)]
    entry = load_lock(project).models["smollm2"]
    assert (entry.chosen, entry.threads, entry.cases) == ("Q4_1", None, "1 case of cases.jsonl")
    assert [row["batch"] for row in found["formats"][0]["settings"]] == [40, 80]
    assert entry.batch == found["batch"]
