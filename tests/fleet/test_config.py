"""The fleet file: where it is found, what it may say, and that every mistake names file, line, key and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentfleet.errors import FleetError, MissingKey
from agentfleet.fleet.config import (
    current_fleet,
    frontier_model,
    known_secrets,
    load_fleet,
    project_root,
    resolve_key,
    with_frontier,
)
from agentfleet.fleet.model import Fleet, Model, default_fleet

GOOD = """\
tiers = ["nano", "small", "large", "frontier"]

[[models]]
name = "qwen"
backend = "openai"
model = "qwen2.5:7b"
tier = "large"
base_url = "http://127.0.0.1:11434/v1"

[[models]]
name = "claude"
backend = "anthropic"
model = "claude-test"
tier = ["large", "frontier"]
key = "env:FLEET_TEST_CREDENTIAL"

[models.price]
input = 3
output = 15
"""


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        "AGENTFLEET_FLEET",
        "AGENTFLEET_FRONTIER",
        "ANTHROPIC_BASE_URL",
        "OPENAI_BASE_URL",
        "FLEET_TEST_CREDENTIAL",
    )
    for name in names:
        monkeypatch.delenv(name, raising=False)


def written(folder: Path, text: str, name: str = "agentfleet.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_file_stands_beside_the_embedded_model(tmp_path: Path) -> None:
    fleet = load_fleet(written(tmp_path, GOOD))
    assert [model.name for model in fleet.models] == ["smollm2", "qwen", "claude"]
    assert [(tier, model.name) for tier, model in fleet.rungs("large", "frontier")] == [
        ("large", "qwen"),
        ("large", "claude"),
    ]
    assert fleet.models[2].price == {"input": 3, "output": 15}
    assert Fleet.load(tmp_path / "agentfleet.toml") == fleet


def test_embedded_false_leaves_only_what_is_named(tmp_path: Path) -> None:
    fleet = load_fleet(written(tmp_path, "embedded = false\n" + GOOD))
    assert [model.name for model in fleet.models] == ["qwen", "claude"]


def test_own_tiers_leave_the_embedded_model_out_where_it_has_no_place(tmp_path: Path) -> None:
    text = 'tiers = ["tiny", "big"]\n[[models]]\nname = "m"\nbackend = "openai"\nmodel = "x"\ntier = "big"\n'
    fleet = load_fleet(written(tmp_path, text))
    assert fleet.tiers == ("tiny", "big")
    assert [model.name for model in fleet.models] == ["m"]


MISTAKES = {
    "malformed": ('[[models]]\nname = "a\n', ["agentfleet.toml:2:", "not valid TOML"]),
    "unknown top key": ("tier = []\n" + GOOD, ["agentfleet.toml:1:", "unknown key 'tier'", "did you mean 'tiers'?"]),
    "unknown table": (GOOD + "\n[modles]\nx = 1\n", ["agentfleet.toml:21:", "'modles'", "did you mean 'models'?"]),
    "unknown model key": (
        GOOD.replace('tier = "large"', 'teir = "large"'),
        ["agentfleet.toml:7:", "model qwen", "'teir'", "did you mean 'tier'?"],
    ),
    "unknown tier": (
        GOOD.replace('["large", "frontier"]\nkey', '["large", "fronteir"]\nkey'),
        ["agentfleet.toml:14:", "model claude", "'fronteir'", "did you mean 'frontier'?"],
    ),
    "unknown backend": (
        GOOD.replace('"anthropic"', '"antropic"'),
        ["agentfleet.toml:12:", "'antropic' is no backend", "did you mean 'anthropic'?"],
    ),
    "not from a file": (
        GOOD.replace('"anthropic"', '"head"'),
        ["agentfleet.toml:12:", "llama_cpp, transformers, openai, anthropic", "not 'head' yet"],
    ),
    "no name": (GOOD.replace('name = "qwen"\n', ""), ["agentfleet.toml:3:", "name", "is missing"]),
    "no model": (
        GOOD.replace('model = "claude-test"\n', ""),
        ["agentfleet.toml:10:", "claude", 'needs model = "NAME"'],
    ),
    "twice": (GOOD.replace('"claude"', '"qwen"'), ["agentfleet.toml:11:", "two models are named 'qwen'"]),
    "price": (
        GOOD.replace("output = 15", "outputs = 15"),
        ["agentfleet.toml:17:", "price has no 'outputs'", "'output'"],
    ),
    "level": (
        GOOD + '\n[[models]]\nname = "z"\nbackend = "openai"\nmodel = "m"\nsees = "publik"\n',
        [":25:", "'public'"],
    ),
    "models no list": ('models = "x"\n', ["agentfleet.toml:1:", "[[models]]"]),
    "tiers no list": ('tiers = "nano"\n', ["agentfleet.toml:1:", "list of names"]),
    "tier person": (GOOD.replace('tier = "large"', 'tier = "person"'), [":7:", "person"]),
    "embedded": ("embedded = 3\n", ["agentfleet.toml:1:", "true or false"]),
    "negative": (GOOD + "\n[[models]]\nname='t'\nbackend='openai'\nmodel='m'\ntimeout = -1\n", [":25:", "timeout"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_says_where_and_what(name: str, tmp_path: Path) -> None:
    text, expected = MISTAKES[name]
    with pytest.raises(FleetError) as caught:
        load_fleet(written(tmp_path, text))
    for part in expected:
        assert part in str(caught.value)


SECRET = "sk-live-0123456789abcdef"


@pytest.mark.parametrize(
    "line",
    [
        f'key = "{SECRET}"',
        f'base_url = "https://user:{SECRET}@models.example/v1"',
        f'base_url = "https://models.example/v1?api_key={SECRET}"',
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(line: str, tmp_path: Path) -> None:
    text = f'[[models]]\nname = "m"\nbackend = "openai"\nmodel = "x"\ntier = "large"\n{line}\n'
    with pytest.raises(FleetError, match=r":6: .*env:NAME") as caught:
        load_fleet(written(tmp_path, text))
    assert SECRET not in str(caught.value)


def test_a_secret_in_code_is_not_repeated_either() -> None:
    with pytest.raises(ValueError, match="env:NAME") as caught:
        Model(name="m", backend="openai", model="x", key=SECRET)
    assert SECRET not in str(caught.value)


def test_weights_are_looked_up_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = '[[models]]\nname = "w"\nbackend = "llama_cpp"\nmodel = "{}"\n'
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    path = written(tmp_path, entry.format("weights/w.gguf"))
    assert load_fleet(path).models[-1].model == str(tmp_path / "weights" / "w.gguf")
    assert load_fleet(Path("../agentfleet.toml")) == load_fleet(Path("..") / "agentfleet.toml")
    absolute = str(tmp_path / "x.gguf")
    assert load_fleet(written(tmp_path, entry.format(absolute))).models[-1].model == absolute
    assert load_fleet(written(tmp_path, entry.format("embedded"))).models[-1].model == "embedded"


def test_pyproject_holds_the_same_table(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\nmodels = 1\n\n' + GOOD.replace("tiers =", "[tool.agentfleet]\ntiers =").replace(
        "[[models]]", "[[tool.agentfleet.models]]"
    ).replace("[models.price]", "[tool.agentfleet.models.price]")
    written(tmp_path, text, "pyproject.toml")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert project_root(tmp_path / "deep" / "er") == tmp_path
    assert [m.name for m in current_fleet(tmp_path / "deep").models] == ["smollm2", "qwen", "claude"]
    written(tmp_path, text.replace('model = "qwen2.5:7b"', 'modell = "qwen2.5:7b"'), "pyproject.toml")
    with pytest.raises(FleetError, match=r"pyproject.toml:11: model qwen: unknown key 'modell'; did you mean 'model'"):
        current_fleet(tmp_path)


def test_a_pyproject_of_something_else_is_passed_over(tmp_path: Path) -> None:
    written(tmp_path, "embedded = false\n" + GOOD)
    below = tmp_path / "sub"
    below.mkdir()
    written(below, '# [tool.agentfleet] is not used\n[tool.agentfleet-like]\nname = "x"\n', "pyproject.toml")
    assert project_root(below) == tmp_path


def test_the_nearest_file_wins_and_the_variable_beats_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, GOOD)
    below = tmp_path / "sub"
    below.mkdir()
    written(below, "")
    assert current_fleet(below) == default_fleet()
    other = written(tmp_path, "embedded = false\n" + GOOD, "other.toml")
    monkeypatch.setenv("AGENTFLEET_FLEET", str(other))
    assert len(current_fleet(below).models) == 2
    monkeypatch.setenv("AGENTFLEET_FLEET", str(tmp_path / "gone.toml"))
    with pytest.raises(FleetError, match=r"no such fleet file: .*gone.toml"):
        current_fleet(below)


def test_a_folder_and_a_file_that_is_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="cannot read"):
        load_fleet(tmp_path)
    path = tmp_path / "agentfleet.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(FleetError, match="UTF-8"):
        load_fleet(path)


def test_frontier_models_stand_in_the_highest_tier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = frontier_model("anthropic:claude-test")
    assert (model.name, model.tiers, model.key) == ("claude-test", ("frontier",), "env:ANTHROPIC_API_KEY")
    assert current_fleet(tmp_path, ["openai:gpt-test"]).models[-1].backend == "openai"
    monkeypatch.setenv("AGENTFLEET_FRONTIER", "openai:gpt-a, anthropic:b:c")
    assert [m.model for m in current_fleet(tmp_path).models[1:]] == ["gpt-a", "b:c"]
    assert with_frontier(Fleet([], ("tiny", "big")), ["openai:x"]).models[0].tiers == ("big",)


def test_a_frontier_model_that_the_file_names_is_not_added_twice(tmp_path: Path) -> None:
    fleet = load_fleet(written(tmp_path, GOOD))
    assert with_frontier(fleet, ["anthropic:claude-test"]) == fleet
    assert with_frontier(fleet, ["openai:qwen"]).models[-1].name == "openai:qwen"


def test_a_private_address_in_a_url_variable_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://169.254.169.254/v1")
    with pytest.raises(FleetError, match="'x': base_url names the private address 169.254.169.254"):
        with_frontier(default_fleet(), ["openai:x"])
    allowed = Fleet(default_fleet().models, allow_hosts=["169.254.169.254"])
    assert with_frontier(allowed, ["openai:x"]).models[-1].place == "private"


@pytest.mark.parametrize("text", ["claude-test", "anthropic:", "gemini:pro", ""])
def test_other_frontier_texts_say_what_to_write(text: str) -> None:
    with pytest.raises(FleetError, match="write anthropic:MODEL or openai:MODEL"):
        frontier_model(text)


def test_credentials_in_a_url_variable_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://me:{SECRET}@localhost/v1")
    with pytest.raises(FleetError, match="OPENAI_BASE_URL") as caught:
        frontier_model("openai:x")
    assert SECRET not in str(caught.value)


def test_keys_come_from_the_named_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(name="m", backend="openai", model="x", key="env:FLEET_TEST_CREDENTIAL")
    with pytest.raises(MissingKey, match=r"'m'.*FLEET_TEST_CREDENTIAL, which is not set"):
        resolve_key(model)
    monkeypatch.setenv("FLEET_TEST_CREDENTIAL", "  ")
    with pytest.raises(MissingKey, match="which is empty"):
        resolve_key(model)
    monkeypatch.setenv("FLEET_TEST_CREDENTIAL", SECRET)
    assert resolve_key(model) == SECRET
    assert SECRET in known_secrets()
    assert resolve_key(Model(name="n", backend="openai", model="x")) == ""


def test_variables_that_look_like_secrets_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", "tok-0123456789")
    monkeypatch.setenv("MONKEY_NAME", "capuchin-monkey")
    found = known_secrets()
    assert "tok-0123456789" in found
    assert "capuchin-monkey" not in found


def test_weights_for_transformers_are_a_path_where_one_is_there_and_a_hubs_name_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    entry = '[[models]]\nname = "{0}"\nbackend = "transformers"\nmodel = "{1}"\n'
    text = entry.format("a", "own") + entry.format("b", "someone/model") + entry.format("c", "embedded")
    models = load_fleet(written(tmp_path, text)).models
    assert [m.model for m in models[-3:]] == [str(tmp_path / "own"), "someone/model", "embedded"]
    assert {m.place for m in models[-3:]} == {"device"}
