"""Features: what becomes a term, what does not, and that unknown text stays near the middle."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.backends.head.features import Features, terms
from agentfleet.text import fold, own_words


def test_terms_are_folded_words_pairs_characters_and_marks() -> None:
    found = terms("Où est mon COLIS 4711? #parcel #where_when")
    assert {"ou", "est", "ou est", "colis", "0"} <= found["word"].keys()
    assert " coli" in found["char"]
    assert found["mark"] == {"parcel": 1, "where_when": 1}
    assert "parcel" not in found["word"]


def test_a_hash_within_text_is_no_mark() -> None:
    assert not terms("order #4711, item#blue, ## heading")["mark"]


def test_quoted_mail_does_not_count() -> None:
    assert "money" not in terms("> your money\nWhere is it?")["word"]
    assert "money" in terms("> your money")["word"]  # nothing else there: better than nothing


def test_unknown_text_is_shorter_than_known_text() -> None:
    features = Features.learn([terms("red apple"), terms("red apple"), terms("green pear"), terms("green pear")])
    known = np.linalg.norm(features.row(terms("red apple"))[1])
    mixed = np.linalg.norm(features.row(terms("red xylophone quartet plays zithers"))[1])
    assert mixed < known / 1.5
    assert len(features.row(terms(""))[0]) == 0


@given(st.text())
def test_any_text_becomes_a_row(text: str) -> None:
    features = Features.learn([terms("red apple #fruit"), terms("red apple")])
    columns, values = features.row(terms(text))
    assert len(columns) == len(values) and np.isfinite(values).all()


@given(st.text())
def test_text_helpers_take_anything(text: str) -> None:
    assert len(own_words(text)) <= len(text)
    fold(text)


def test_the_runtime_half_needs_numpy_only() -> None:
    code = (
        "import sys; import agentfleet.backends.head.features, agentfleet.backends.head.head, agentfleet.backends.head.fit;"
        "print([m for m in ('sklearn', 'scipy', 'torch', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
