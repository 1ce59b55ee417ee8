"""A head from examples to completions: trains, stays calibrated and cautious, survives damage, answers only its question."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from agentfleet.backends.backend import Request
from agentfleet.backends.head import fit, store, vectors
from agentfleet.backends.head.head import Head
from agentfleet.backends.head.store import load, save
from agentfleet.errors import ModelFileError, SchemaError, Unavailable
from agentfleet.prompt import Block, Prompt
from agentfleet.schema import output_of

Colour = Literal["warm", "cold"]
OUTPUT = output_of(Colour, where="test", closed=True)
QUESTION = OUTPUT.questions[0]
WARM = ["fire", "sun", "summer", "oven", "desert", "toast", "sauna", "ember", "noon", "chili"]
COLD = ["ice", "snow", "winter", "fridge", "arctic", "sleet", "glacier", "frost", "igloo", "hail"]
EXAMPLES = [
    (f"the {a} and the {b}", label)
    for names, label in ((WARM, "warm"), (COLD, "cold"))
    for a in names
    for b in names[:4]
]


def request(text: str, output: object = OUTPUT) -> Request:
    return Request(Prompt("Which?", (Block("a", text), Block("b", "and more"))), output, skill="colour")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def head() -> Head:
    return Head.for_skill("colour", QUESTION, EXAMPLES)


def test_completion(head: Head) -> None:
    found = asyncio.run(head.complete(request("the snow and the frost")))
    assert json.loads(found.text) == "cold"
    assert found.calibrated and found.model == "head" and found.finish == "stop"
    assert found.distribution is not None
    assert sum(found.distribution.values()) == pytest.approx(1)
    assert found.distribution["cold"] > 0.8


def test_unsure_of_what_it_never_saw(head: Head) -> None:
    for text in ("", "zxqv wvut jkpq", "12345"):
        assert max(head.distribution(text).values()) < 0.7


def test_long_text_is_read_whole(head: Head) -> None:
    found = asyncio.run(head.complete(request("the and " * 1500 + "snow frost ice glacier " * 300)))
    assert json.loads(found.text) == "cold"


def test_what_is_wholly_doubted_still_has_a_likeliest_option(head: Head) -> None:
    text = "lorem " * 2000 + "snow"
    assert head.doubt(text) == 1.0
    assert 0.5 < max(head.distribution(text).values()) < 0.6


def test_other_questions_are_refused(head: Head) -> None:
    for annotation in (Literal["warm", "hot"], bool):
        with pytest.raises(Unavailable, match="other options"):
            asyncio.run(head.complete(request("snow", output_of(annotation, where="t", closed=True))))
    with pytest.raises(Unavailable, match="one closed question"):
        asyncio.run(head.complete(request("snow", output_of(str, where="t"))))


def test_too_few_examples_say_which() -> None:
    with pytest.raises(SchemaError, match="'cold': 1"):
        Head.for_skill("colour", QUESTION, [("fire", "warm"), ("sun", "warm"), ("ice", "cold")])


def test_training_is_repeatable(head: Head) -> None:
    again = Head.for_skill("colour", QUESTION, EXAMPLES)
    assert np.allclose(again.trained.weights, head.trained.weights, atol=1e-5)
    assert again.trained.temperature == head.trained.temperature


def test_probabilities_are_calibrated_and_cautious() -> None:
    """Noisy labels: what the held-out folds call 0.8 or more is right at least that often, within the noise of 400 texts."""
    dice = np.random.default_rng(5)
    rows = []
    for _ in range(400):
        names, label = (WARM, "warm") if dice.random() < 0.5 else (COLD, "cold")
        text = " ".join(dice.choice(names, 3))
        rows.append((text, label if dice.random() > 0.15 else ("cold" if label == "warm" else "warm")))
    measured = Head.for_skill("noisy", QUESTION, rows).measured
    share, right = measured["at"]["0.8"]
    if share:
        assert right >= 0.78
    assert 0.75 < measured["accuracy"] < 0.95


def test_cache_is_used_and_has_no_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Head.for_skill("colour", QUESTION, EXAMPLES, tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    monkeypatch.setattr(fit, "train", lambda *_: pytest.fail("trained again"))
    again = Head.for_skill("colour", QUESTION, EXAMPLES, tmp_path)
    assert again.distribution("the snow") == first.distribution("the snow")
    assert again.measured == first.measured


def test_other_examples_are_another_head(tmp_path: Path) -> None:
    Head.for_skill("colour", QUESTION, EXAMPLES, tmp_path)
    Head.for_skill("colour", QUESTION, EXAMPLES[:-1], tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2


@pytest.mark.parametrize(
    "harm",
    ["changed numbers", "changed json", "no json", "empty", "foreign key", "other format", "gone", "json of another"],
)
def test_damaged_cache_is_refused_and_trained_anew(tmp_path: Path, harm: str) -> None:
    first = Head.for_skill("colour", QUESTION, EXAMPLES, tmp_path)
    path = next(tmp_path.glob("*.json"))
    numbers = path.with_suffix(".safetensors")
    about = json.loads(path.read_text())
    key = about["key"]
    blob = numbers.read_bytes()
    if harm == "changed numbers":
        numbers.write_bytes(blob[:-4] + b"\x00\x00\x80\x7f")
    elif harm == "changed json":
        path.write_text(json.dumps({**about, "temperature": 0.01}))
    elif harm == "no json":
        path.write_text("{not json")
    elif harm == "empty":
        path.write_text("[]")
    elif harm == "foreign key":
        path.write_text(json.dumps({**about, "key": "0" * 32}))
    elif harm == "other format":
        path.write_text(json.dumps({**about, "format": 1}))
    elif harm == "json of another":  # a writer that was stopped between the two files
        Head.for_skill("colour", QUESTION, EXAMPLES[1:], tmp_path / "other")
        numbers.write_bytes(next((tmp_path / "other").glob("*.safetensors")).read_bytes())
    else:
        numbers.unlink()
    with pytest.raises(ModelFileError, match="Delete it"):
        load(path.with_suffix(""), key)
    again = Head.for_skill("colour", QUESTION, EXAMPLES, tmp_path)
    assert again.distribution("the snow") == pytest.approx(first.distribution("the snow"), abs=1e-4)
    assert numbers.read_bytes() == blob


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, suffix: str, head: Head) -> None:
    save(tmp_path / "colour", "key", head.trained)
    path = tmp_path / f"colour{suffix}"
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 9, *range(10, len(whole), max(1, len(whole) // 40)), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError, match="Delete it"):
            load(tmp_path / "colour", "key")
    path.write_bytes(whole)
    assert load(tmp_path / "colour", "key").measured == head.measured


def test_other_code_is_another_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Head.for_skill("colour", QUESTION, EXAMPLES, tmp_path)
    monkeypatch.setattr(store, "code", lambda: "another version of the source")
    Head.for_skill("colour", QUESTION, EXAMPLES, tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_a_learnt_head_goes_first_until_the_examples_change(tmp_path: Path) -> None:
    more = [(f"{word} lava", "warm") for word in COLD]
    learnt, judged = Head.learn("colour", QUESTION, EXAMPLES, more, tmp_path)
    assert len(judged.labels) == len(EXAMPLES) + len(more)
    used = Head.for_skill("colour", QUESTION, EXAMPLES, tmp_path)
    assert used.measured == learnt.measured
    assert Head.for_skill("colour", QUESTION, EXAMPLES[1:], tmp_path).measured["examples"] == len(EXAMPLES) - 1
    (tmp_path / "colour-learnt.safetensors").write_bytes(b"cut")
    assert Head.for_skill("colour", QUESTION, EXAMPLES, tmp_path).measured["examples"] == len(EXAMPLES)


def test_without_vectors_words_must_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "installed", lambda: "")
    plain = Head.for_skill("colour", QUESTION, EXAMPLES, tmp_path)
    assert plain.trained.vectors == "" and not len(plain.trained.space.middle)
    assert Head.for_skill("colour", QUESTION, EXAMPLES, tmp_path).distribution("the snow") == plain.distribution(
        "the snow"
    )
    assert plain.distribution("the snow and the frost")["cold"] > 0.8


def test_a_folder_that_cannot_be_written_costs_only_the_cache(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert Head.for_skill("colour", QUESTION, EXAMPLES, blocked / "heads").distribution("the snow")["cold"] > 0.5


def test_options_without_a_text_value_answer_with_their_value() -> None:
    output = output_of(bool, where="t", closed=True)
    texts = {True: output.questions[0].options[0].text, False: output.questions[0].options[1].text}
    assert output.questions[0].options[0].value is True
    head = Head.for_skill("warm", output.questions[0], [(t, texts[label == "warm"]) for t, label in EXAMPLES])
    found = asyncio.run(head.complete(replace(request("the sun and the fire"), output=output)))
    assert json.loads(found.text) is True


def test_a_head_is_kept_under_all_the_code_that_made_it() -> None:
    home, found, open_ = Path(store.__file__).parent, set[str](), ["fit"]
    while open_:
        name = open_.pop()
        found.add(name)
        for line in (home / f"{name}.py").read_text().splitlines():
            if line.startswith("from agentfleet.backends.head"):
                place, _, names = line.removeprefix("from agentfleet.backends.head").partition(" import ")
                open_ += {place[1:] or names.strip()} - found
    assert found - {"measure"} == set(store._CODE)  # measure only says how good it is
