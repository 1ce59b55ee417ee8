"""Rules, budget and hosts of a fleet file: what they mean, and that every mistake is reported with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentfleet.errors import FleetError
from agentfleet.fleet.budget import Budget
from agentfleet.fleet.config import load_fleet, read_fleet
from agentfleet.fleet.model import Fleet, Model
from agentfleet.fleet.rules import Rule, Then, When

MODEL = '[[models]]\nname = "big"\nbackend = "openai"\nmodel = "m"\ntier = "large"\n'
GOOD = (
    'allow_hosts = ["10.1.0.0/16"]\n'
    + MODEL
    + """base_url = "http://10.1.2.3/v1"

[budget]
run = 0.5
day = 20
[budget.graphs]
desk = 5.0

[[rules]]
name = "long mails"
when = { kind = "extract", min_tokens = 3000, language = ["de", "en"] }
then = { tier = "large" }

[[rules]]
then = { avoid = "smollm2", objective = "fastest" }
"""
)


def written(folder: Path, text: str) -> Path:
    path = folder / "agentfleet.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_rules_budget_and_hosts_are_read(tmp_path: Path) -> None:
    fleet = load_fleet(written(tmp_path, GOOD))
    assert fleet.budget == Budget(run=0.5, day=20, graphs={"desk": 5.0})
    first, second = fleet.rules
    assert first.when == When(kind=("extract",), min_tokens=3000, language=("de", "en"))
    assert (first.then, str(first)) == (Then(tier="large"), "long mails")
    assert (second.when, second.then.avoid) == (When(), ("smollm2",))
    assert str(second) == "always → avoid smollm2, objective fastest"


def test_more_models_keep_rules_budget_and_hosts(tmp_path: Path) -> None:
    fleet = load_fleet(written(tmp_path, GOOD))
    more = fleet.with_models([Model(name="other", backend="openai", model="x", tier="frontier")])
    assert (more.rules, more.budget, more.allow_hosts) == (fleet.rules, fleet.budget, fleet.allow_hosts)
    assert Fleet(fleet.models, fleet.tiers, allow_hosts=fleet.allow_hosts) != fleet


MISTAKES = {
    "unknown budget key": ("[budget]\nrun = 1\ndaily = 2\n", [":3: budget: unknown key 'daily'; did you mean 'day'?"]),
    "budget below 0": ("[budget]\nrun = -1\n", [":2: budget, run: ", "greater than or equal to 0"]),
    "budget of infinity": ("[budget]\nrun = inf\n", [":2: budget, run: ", "leave the key out for no limit"]),
    "budget of nothing": ("[budget]\nday = nan\n", [":2: budget, day"]),
    "budget no table": ("budget = 3\n", [":1: write the budget as a table: [budget]"]),
    "unknown rule key": (
        '[[rules]]\nthen = { tier = "large" }\nwen = {}\n',
        [":3: rule 1: unknown key 'wen'; did you mean 'when'?"],
    ),
    "no then": ('[[rules]]\nwhen = { kind = "plan" }\n', [":1: rule 1, then: is missing"]),
    "empty then": ("[[rules]]\nthen = {}\n", [":2: rule 1, then: says nothing; write tier, model, avoid or objective"]),
    "unknown condition": (
        '[[rules]]\nthen = { tier = "large" }\nwhen = { kin = "plan" }\n',
        [":3: rule 1, when: unknown key 'kin'; did you mean 'kind'?"],
    ),
    "condition in its own table": (
        '[[rules]]\nthen = { tier = "large" }\n[rules.when]\nkind = "plan"\nmax_token = 3\n',
        [":5: rule 1, when: unknown key 'max_token'; did you mean 'max_tokens'?"],
    ),
    "unknown kind": (
        '[[rules]]\nwhen = { kind = "extrakt" }\nthen = { tier = "large" }\n',
        [":2: rule 1, when.kind: 'extrakt' is no kind of step", "did you mean 'extract'?"],
    ),
    "unknown signal": (
        '[[rules]]\nwhen = { signals = ["lang"] }\nthen = { tier = "large" }\n',
        [":2: rule 1, when.signals: 'lang' is no signal; did you mean 'long'?"],
    ),
    "language": (
        '[[rules]]\nwhen = { language = "german" }\nthen = { tier = "large" }\n',
        [":2: ", "'german' is no language"],
    ),
    "level": (
        '[[rules]]\nwhen = { label = "publik" }\nthen = { tier = "large" }\n',
        [":2: ", "did you mean 'public'?"],
    ),
    "bounds": (
        '[[rules]]\nwhen = { min_tokens = 9, max_tokens = 3 }\nthen = { tier = "large" }\n',
        [":2: rule 1, when: min_tokens 9 is more than max_tokens 3"],
    ),
    "unknown tier": (
        '[[rules]]\nname = "x"\nthen = { tier = "lage" }\n',
        [":3: rule x: unknown tier 'lage'", "'large'"],
    ),
    "unknown model": ('[[rules]]\nthen = { model = "bug" }\n', [":2: rule 1: the fleet has no model 'bug'", "'big'"]),
    "unknown objective": (
        '[[rules]]\nthen = { objective = "fastst" }\n',
        [":2: rule 1, then.objective: 'fastst' is no objective; did you mean 'fastest'?"],
    ),
    "model and tier": ('[[rules]]\nthen = { model = "big", tier = "large" }\n', [":2: rule 1, then: names one model"]),
    "rules no list": ("rules = 3\n", [":1: write each of the rules as a table of its own: [[rules]]"]),
    "hosts no list": ('allow_hosts = "x"\n', [":1: allow_hosts is a list"]),
    "hosts a URL": ('allow_hosts = ["http://x"]\n', [":1: 'http://x' is no host"]),
    "hosts a wrong network": ('allow_hosts = ["10.0.0.1/8"]\n', [":1: '10.0.0.1/8' is no network"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_says_where_and_what(name: str, tmp_path: Path) -> None:
    text, expected = MISTAKES[name]
    fleet, problems = read_fleet(written(tmp_path, text + MODEL))
    assert fleet is None
    assert len(problems) == 1, problems
    for part in expected:
        assert part in problems[0]


def test_all_mistakes_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    text = 'tiers = 3\n[[models]]\nname = "a"\nbackend = "opnai"\nteir = "large"\nretries = -1\n[budget]\nrun = "x"\n'
    _, problems = read_fleet(written(tmp_path, text))
    assert [problem.split(":")[1] for problem in problems] == ["1", "5", "4", "6", "8"]
    with pytest.raises(FleetError, match="tiers is a list"):
        load_fleet(tmp_path / "agentfleet.toml")


@pytest.mark.parametrize("host", ["10.0.0.7", "192.168.1.2:8000", "169.254.169.254", "[fd00::1]:80", "100.64.0.9"])
def test_a_private_address_is_refused_until_somebody_vouches_for_it(host: str, tmp_path: Path) -> None:
    text = f'{MODEL}base_url = "http://{host}/v1"\n'
    _, problems = read_fleet(written(tmp_path, text))
    assert len(problems) == 1
    assert ":6: model big: base_url names the private address " in problems[0]
    assert 'location = "private"' in problems[0]
    assert load_fleet(written(tmp_path, f'{text}location = "private"\n')).models[-1].place == "private"
    listed = '"10.0.0.7", "192.168.0.0/16", "169.254.169.254", "fd00::/8", "100.64.0.0/10"'
    assert load_fleet(written(tmp_path, f"allow_hosts = [{listed}]\n{text}")).models[-1].place == "private"
    _, problems = read_fleet(written(tmp_path, f'{text}location = "cloud"\n'))
    assert len(problems) == 1


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "127.1", "[::1]:80", "models.example", "8.8.8.8"])
def test_loopback_and_the_world_need_nobody(host: str, tmp_path: Path) -> None:
    assert load_fleet(written(tmp_path, f'{MODEL}base_url = "http://{host}/v1"\n')).models[-1].name == "big"


def test_rules_in_code_are_looked_at_too() -> None:
    model = Model(name="a", backend="openai", model="x", tier="large")
    with pytest.raises(FleetError, match="the fleet has no model 'b'"):
        Fleet([model], rules=[Rule(then=Then(model="b"))])
    with pytest.raises(FleetError, match="private address"):
        Fleet([model.model_copy(update={"base_url": "http://10.0.0.1/"})])
