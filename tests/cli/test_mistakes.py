"""What a new user does wrong, each in a process of its own: the message says what, where and what to do.

No frame of the framework is shown, the exit code tells a usage error from a run that failed, nothing is half-written.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cli.project import ROOT, Result, ended, start, write_rows

FLEET = '[[models]]\nname = "own"\nbackend = "{backend}"\nmodel = "{model}"\ntier = "{tier}"\n{more}'
GRAPH = "from agentfleet import ask, graph, step, summarise\n"
GIST = f'''{GRAPH}
@summarise(tier="TIER")
def gist(text: str) -> str:
    """One sentence."""
    return ask(text)
@graph
def NAME(text: str) -> str:
    return gist(text)
'''


@dataclass(frozen=True)
class Mistake:
    """`told`: what stands on stderr, `code`: the exit code; the files and variables that make the mistake."""

    arguments: str
    told: tuple[str, ...]
    code: int = 2
    files: dict[str, str | bytes] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def fleet(backend: str = "openai", model: str = "m", tier: str = "small", more: str = "") -> dict[str, str | bytes]:
    return {"agentfleet.toml": FLEET.format(backend=backend, model=model, tier=tier, more=more)}


def gist(name: str, tier: str = "small") -> str:
    return GIST.replace("NAME", name).replace("TIER", tier)


RUN = "run triage -i mail=now"
KEY = 'key = "env:OWN_KEY"'
WEIGHTS = {"graphs/asks.py": gist("asks")}
ASKS = "run asks -i text=x"

MISTAKES = {
    "no such graph": Mistake("run triag -i mail=x", ("no graph 'triag' in", "did you mean 'triage'?")),
    "no such command": Mistake("rnu triage", ("No such command 'rnu'", "'run'")),
    "no such option": Mistake("run triage --inpt x", ("No such option: --inpt", "--input")),
    "unknown input": Mistake("run triage -i mial=x", ("triage has no input 'mial'; did you mean 'mail'?",)),
    "missing input": Mistake("run triage", ("triage needs 'mail'",)),
    "no such file": Mistake("run triage --inputs gone.jsonl", ("no such file: gone.jsonl",)),
    "a folder as input": Mistake("run triage --inputs graphs", ("cannot read graphs: Is a directory",)),
    "utf-16": Mistake(
        "run triage --inputs u.jsonl",
        ("UTF-16 text; save it as UTF-8",),
        files={"u.jsonl": '{"mail": "now"}'.encode("utf-16")},
    ),
    "malformed toml": Mistake(RUN, ("agentfleet.toml:2:9: not valid TOML",), files={"agentfleet.toml": "\ntiers = \n"}),
    "unknown key": Mistake(
        RUN,
        ("agentfleet.toml:6: model own: unknown key 'modl'; did you mean 'model'?",),
        files=fleet(more='modl = "x"'),
    ),
    "unknown tier in the fleet": Mistake(
        RUN, ("agentfleet.toml:5: model own: unknown tier 'smal'; did you mean 'small'?",), files=fleet(tier="smal")
    ),
    "unknown tier in a step": Mistake(
        "run off -i text=x",
        ("gist (", "graphs/off.py:3): unknown tier 'smal'; did you mean 'small'?"),
        files={"graphs/off.py": gist("off", "smal")},
    ),
    "key not set": Mistake(RUN, ("model 'own'", "OWN_KEY, which is not set; export OWN_KEY="), files=fleet(more=KEY)),
    "key empty": Mistake(RUN, ("OWN_KEY, which is empty",), files=fleet(more=KEY), environment={"OWN_KEY": ""}),
    "key in the file": Mistake(
        RUN, ("agentfleet.toml:6: model own, key: write a reference",), files=fleet(more='key = "sk-canary-123456"')
    ),
    "no such fleet file": Mistake(f"{RUN} --fleet gone.toml", ("no such fleet file: gone.toml",)),
    "frontier misspelt": Mistake(f"{RUN} --frontier claude", ("write anthropic:MODEL or openai:MODEL",)),
    "weights absent": Mistake(
        ASKS, ("no model file at ", "gone.gguf: correct `model`"), files={**WEIGHTS, **fleet("llama_cpp", "gone.gguf")}
    ),
    "weights are text": Mistake(
        ASKS,
        ("own.gguf is not a GGUF file", "convert"),
        files={**WEIGHTS, **fleet("llama_cpp", "own.gguf"), "own.gguf": "hello, this is no model"},
    ),
    "weights empty": Mistake(
        ASKS, ("own.gguf is ",), files={**WEIGHTS, **fleet("llama_cpp", "own.gguf"), "own.gguf": b""}
    ),
    "ledger of text": Mistake(
        RUN,
        ("the ledger ", "l.sqlite is damaged or not a SQLite database", "Move the file away"),
        files={"l.sqlite": "no ledger at all " * 20},
        environment={"AGENTFLEET_LEDGER": "l.sqlite"},
    ),
    "ledger is a folder": Mistake(RUN, ("graphs is a folder",), environment={"AGENTFLEET_LEDGER": "graphs"}),
    "ledger cannot be made": Mistake(
        RUN,
        ("cannot make the ledger /proc/none/l.sqlite", "AGENTFLEET_LEDGER"),
        environment={"AGENTFLEET_LEDGER": "/proc/none/l.sqlite"},
    ),
    "syntax error": Mistake(
        "run broken -i x=1", ("graphs/broken.py:2: ", "def f(:"), files={"graphs/broken.py": "import json\ndef f(:\n"}
    ),
    "missing package": Mistake(
        "run broken -i x=1",
        ("No module named 'no_such_package'", "broken.py:1: import no_such_package", "install it"),
        files={"graphs/broken.py": "import no_such_package\n"},
    ),
    "the file raises": Mistake(
        "run broken -i x=1",
        ("KeyError: 'a'", "graphs/broken.py:2: return {}['a']"),
        files={"graphs/broken.py": "def f():\n    return {}['a']\nf()\n"},
    ),
    "the file exits": Mistake(
        "run broken -i x=1",
        ("SystemExit: 0", "broken.py:2: sys.exit(0)"),
        files={"graphs/broken.py": "import sys\nsys.exit(0)\n"},
    ),
    "a graph that decides": Mistake(
        "run broken -i x=1",
        ("cannot decide on", "when(", "graphs/broken.py:7: if a(x):"),
        files={
            "graphs/broken.py": f"{GRAPH}@step\ndef a(x: str) -> bool:\n    return True\n"
            "@graph\ndef broken(x: str) -> str:\n    if a(x):\n        return x\n    return 'no'\n"
        },
    ),
    "a step that raises": Mistake(
        "run triage -i mail=now_boom", ("ring (", "graphs/triage.py:19) raised ValueError: the bell broke"), code=1
    ),
    "unknown run": Mistake("show zzzz", ("no run 'zzzz'", "agentfleet runs")),
    "unknown status": Mistake("runs --status wating", ("did you mean 'waiting'?",)),
    "a picture that cannot be written": Mistake("draw triage --svg no/t.svg", ("cannot write no/t.svg",)),
    "init over a project": Mistake("init .", ("agentfleet.toml is there already; nothing was written",)),
    "init on a file": Mistake("init taken", ("cannot write taken",), files={"taken": "a file"}),
}


def left_running(project: Path) -> int:
    """How many runs were begun and not ended, by the ledger's own table."""
    path = project / ".agentfleet" / "ledger.sqlite"
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    (count,) = connection.execute("SELECT count(*) FROM runs WHERE status = 'running'").fetchone()
    connection.close()
    return int(count)


def do(project: Path, mistake: Mistake) -> Result:
    for name, content in mistake.files.items():
        (project / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    words = [word.replace("now_boom", "now boom") for word in mistake.arguments.split()]
    return ended(start(project, *words, **mistake.environment))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_and_no_frame_of_the_framework(name: str, project: Path) -> None:
    mistake = MISTAKES[name]
    done = do(project, mistake)
    assert done.code == mistake.code, done.err
    assert [part for part in mistake.told if part not in done.err] == []
    shown = done.out + done.err
    assert "Traceback" not in shown
    assert f"{ROOT / 'agentfleet'}/" not in shown
    assert "sk-canary" not in shown
    assert left_running(project) == 0


def test_debug_shows_the_frames_wherever_it_stands(project: Path) -> None:
    for words in (("--debug", "run", "triage"), ("run", "triage", "--debug")):
        done = ended(start(project, *words, "-i", "mail=now boom"))
        assert done.code == 1
        assert f"{ROOT / 'agentfleet'}/" in done.err
        assert 'raise ValueError("the bell broke")' in done.err


def test_a_key_in_the_message_of_an_exception_is_struck_out(project: Path) -> None:
    path = project / "graphs" / "triage.py"
    path.write_text(path.read_text().replace('"the bell broke"', "f'no luck with {os.environ[\"BELL_KEY\"]}'"))
    path.write_text(f"import os\n{path.read_text()}")
    for words in (("-i", "mail=now boom"), ("-i", "mail=now boom", "--debug")):
        done = ended(start(project, "run", "triage", *words, BELL_KEY="sk-canary-0123456789"))
        assert "raised ValueError: no luck with [secret]" in done.err
        assert "sk-canary" not in done.err


def test_a_bad_row_is_named_and_the_others_run_whatever_the_bytes(project: Path) -> None:
    lines = [
        b'\xef\xbb\xbf{"mail": "now bom"}\r',
        b'{"mail": "now caf\xe9"}\r',
        b'{"mail": "now \xe2\x80\xa8 separator"}',
        b'{"mail": 3}',
        b'{"mail": "now"',
        b"",
        b'{"mail": "now last"}',
    ]
    (project / "in.jsonl").write_bytes(b"\n".join(lines))
    from_file = ended(start(project, "run", "triage", "--inputs", "in.jsonl", "--json"))
    piped = ended(start(project, "run", "triage", "--inputs", "-", "--json"), b"\n".join(lines))
    for done, place in ((from_file, "in.jsonl"), (piped, "stdin")):
        assert done.code == 1
        assert [row["line"] for row in done.rows if row["status"] == "done"] == [1, 3, 7]
        assert f"{place}:2: not UTF-8 text (byte 18 of the line)" in done.err
        assert f"{place}:4: triage: mail: Input should be a valid string (got 3)" in done.err
        assert f"{place}:5: not valid JSON: " in done.err


def test_no_rows_are_no_failure_and_are_said(project: Path) -> None:
    write_rows(project / "in.jsonl", "")
    for done in (
        ended(start(project, "run", "triage", "--inputs", "in.jsonl")),
        ended(start(project, "run", "triage", "--inputs", "-")),
    ):
        assert done.code == 0
        assert "no rows" in done.err
        assert "accepted 0" in done.out


def test_a_failed_row_of_many_is_told_in_full_with_its_line(project: Path) -> None:
    write_rows(project / "in.jsonl", {"mail": "now"}, {"mail": "now boom"})
    done = ended(start(project, "run", "triage", "--inputs", "in.jsonl"))
    assert done.code == 1
    assert f"in.jsonl:2: ring ({project}/graphs/triage.py:19) raised ValueError: the bell broke" in done.err


def test_check_of_all_goes_on_past_a_file_that_cannot_be_imported(project: Path) -> None:
    (project / "graphs" / "broken.py").write_text("x = {}['a']\n")
    done = ended(start(project, "check"))
    assert done.code == 1
    assert f"broken: {project}/graphs/broken.py:1: x = {{}}['a']: KeyError: 'a'" in done.out
    assert "triage: ok" in done.out


def test_a_ledger_of_a_newer_version_is_left_as_it_is(project: Path) -> None:
    assert ended(start(project, "run", "triage", "-i", "mail=now")).code == 0
    path = project / ".agentfleet" / "ledger.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    for words in (("run", "triage", "-i", "mail=now"), ("runs",), ("resume",)):
        done = ended(start(project, *words))
        assert done.code == 2
        assert "has format 99, written by a newer agentfleet" in done.err
        assert "Upgrade agentfleet" in done.err
    assert path.read_bytes() == before


def test_a_nearest_run_and_the_wrong_answers_of_a_person(project: Path) -> None:
    (row,) = ended(start(project, "run", "triage", "-i", "mail=later", "--json")).rows
    run: str = row["run_id"]
    wrong = {
        ("show", f"{run[:-2]}zz"): f"did you mean '{run}'?",
        ("answer", run, "ring", "x"): f"ring of run {run} does not wait; waiting: urgency",
        ("answer", run, "urgency", "tomorrow"): "none of the options: today, never",
        ("answer", run, "urgency", "3"): "none of the options: today, never",
        ("resume", run, "--rerun", "urgenci"): "did you mean 'urgency'?",
    }
    for words, told in wrong.items():
        done = ended(start(project, *words))
        assert done.code == 2
        assert told in done.err
        assert done.out == ""
    assert ended(start(project, "show", run, "--json")).rows[0]["status"] == "waiting"
    assert f"agentfleet answer {run} urgency today --resume" in ended(start(project, "show", run)).out


ESCAPES = "\x1b[31mred \x1b]0;title\x07 \x9b2J \u202e txet"


def test_text_from_outside_cannot_steer_the_terminal(project: Path) -> None:
    write_rows(project / "in.jsonl", {"mail": f"later {ESCAPES}"}, {"mail": f"now boom {ESCAPES}"})
    done = ended(start(project, "run", "triage", "--inputs", "in.jsonl", FORCE_COLOR=""))
    shown = [done.out, done.err]
    for row in ended(start(project, "runs", "--json")).rows:
        shown += [ended(start(project, "show", row["run_id"], "--attempts")).out]
    assert "later" in "".join(shown)
    assert [c for c in "\x1b\x07\x9b\u202e" if c in "".join(shown)] == []


@pytest.mark.real_model
def test_an_input_longer_than_the_context_is_skipped_not_cut(project: Path) -> None:
    (project / "graphs" / "asks.py").write_text(gist("asks"))
    write_rows(project / "in.jsonl", {"text": "word " * 6000})
    done = ended(start(project, "run", "asks", "--inputs", "in.jsonl"))
    assert done.code == 1
    assert "in.jsonl:1: gist: no model gave an acceptable answer" in done.err
    assert "tokens" in done.err and "4096" in done.err


@pytest.mark.real_model
def test_a_truncated_weights_file_stops_the_command(project: Path) -> None:
    from agentfleet.backends.llama_cpp import embedded_path

    with embedded_path().open("rb") as whole:
        (project / "own.gguf").write_bytes(whole.read(3_000_000))
    done = do(project, Mistake(ASKS, (), files={**WEIGHTS, **fleet("llama_cpp", "own.gguf")}))
    assert done.code == 2
    assert "own.gguf is truncated: 3000000 bytes of " in done.err
    assert json.loads(ended(start(project, "models", "ls", "--json")).out)[1]["state"] in done.err
