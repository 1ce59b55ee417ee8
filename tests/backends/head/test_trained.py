"""What a trained head says of texts unlike its examples: it doubts them, and so climbs, though its scores are high."""

from __future__ import annotations

import numpy as np
import pytest

from agentfleet.backends.head.features import terms
from agentfleet.backends.head.fit import train
from agentfleet.backends.head.trained import Doubt, Trained, probabilities

PARTS = {
    "tent": ["pole", "zip", "peg", "canvas", "groundsheet"],
    "bike": ["chain", "brake", "pedal", "saddle", "spoke"],
    "lamp": ["bulb", "switch", "shade", "cable", "socket"],
}
SAID = [
    "the {} of my {} broke",
    "where do I get a {} for the {}",
    "my {} came off the {} today",
    "{} missing on the {}",
]
ROWS = [(said.format(part, thing), thing) for thing, parts in PARTS.items() for part in parts for said in SAID]
STRANGE = [
    "when does the night train to Vienna leave",
    "please cancel my newsletter",
    "what is your bank account number",
    "happy birthday to you and all the best",
    "could somebody translate this letter",
]


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(ROWS, list(PARTS))


def test_texts_of_another_kind_are_doubted_and_those_of_its_own_hardly(trained: Trained) -> None:
    own = np.array([trained.distribution(text)[1] for text, _ in ROWS])
    strange = np.array([trained.distribution(text)[1] for text in STRANGE])
    assert own.mean() < 0.1
    assert strange.min() > 0.5
    assert max(trained.distribution(text)[0].max() for text in STRANGE) < 0.7


def test_an_option_left_out_of_training_is_refused_more_than_those_within() -> None:
    known = train([row for row in ROWS if row[1] != "lamp"], ["tent", "bike"])
    without = [known.distribution(text)[0].max() for text, label in ROWS if label == "lamp"]
    within = [known.distribution(text)[0].max() for text, label in ROWS if label != "lamp"]
    sure_of_strangers, sure_of_known = (np.mean(np.array(found) >= 0.8) for found in (without, within))
    assert sure_of_strangers < 0.5 * sure_of_known and sure_of_known > 0.8


def test_distributions_are_distributions(trained: Trained) -> None:
    for text in ["", "#mark", "\x00", "the bulb", "bulb " * 3000, "\ud800 lamp", *STRANGE]:
        shares, doubt = trained.distribution(text)
        assert shares.sum() == pytest.approx(1) and shares.min() > 0 and 0 <= doubt <= 1


def test_the_sketch_keeps_who_is_near(trained: Trained) -> None:
    def place(text: str) -> np.ndarray:
        found = terms(text)
        return trained.space.place(*trained.space.features.row(found), trained.space.dense(found))

    asked = place("the pole of my tent broke")
    assert asked @ asked == pytest.approx(1, abs=1e-5)
    assert asked @ place("the pole of my tent broke!") > 0.95
    assert asked @ place("the peg of my tent broke") > asked @ place("bulb missing on the lamp") + 0.2


def test_doubt_grows_with_distance() -> None:
    doubt = Doubt(np.eye(3, dtype=np.float32), np.array([0, 1, 3]), np.array([0.125, 0.25, 0.375, 0.5], np.float32))
    assert [doubt.share(near) for near in (0.1, 0.2, 0.4, 0.5, 0.9)] == [1, 0.75, 0.25, 0, 0]
    assert doubt.nearest(np.array([0, 0.6, 0.8], np.float32), 1) == pytest.approx(0.8)
    assert doubt.nearest(np.array([0, 0.6, 0.8], np.float32), 0) == 0


def test_parts_that_do_not_fit_are_refused(trained: Trained) -> None:
    with pytest.raises(ValueError, match="fit together"):
        Trained(
            trained.space, trained.weights[1:], trained.bias, 1.0, 0.0, trained.doubt, trained.vectors, trained.measured
        )


def test_probabilities_end_even_when_all_is_doubted() -> None:
    scores = np.array([[9.0, 0.0, -9.0]])
    assert probabilities(scores, 1.0, 1.0) == pytest.approx(np.full((1, 3), 1 / 3))
    assert probabilities(scores, 1e-3, 0.0)[0, 0] == pytest.approx(1)
