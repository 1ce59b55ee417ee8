"""Features: what becomes a term, what does not, and that unknown text stays near the middle."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.backends.head.features import CHARACTER, MARK, WORD, Features, Terms, terms
from agentfleet.text import fold, own_words


def shared(one: str, other: str) -> tuple[int, int]:
    """How many different character n-grams, and words and pairs, two texts have in common."""
    a, b = terms(one), terms(other)
    characters = np.intersect1d(a.buckets[: a.characters], b.buckets[: b.characters])
    words = np.intersect1d(a.buckets[a.characters :], b.buckets[b.characters :])
    return len(characters), len(words)


def test_words_and_pairs_are_known_again_wherever_they_stand() -> None:
    assert shared("red apple", "a very red apple!")[1] == 3  # red, apple, red apple
    assert shared("red apple", "apple red")[1] == 2
    assert shared("red apple", "redapple")[1] == 0


def test_characters_are_counted_across_words() -> None:
    # " re", "red", "ed ", " red", "red ", " r", "re", "ed", "d " and " red "
    assert shared("red", "blue red hat")[0] == 10
    assert shared("xy", "zz")[0] == 0


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=1, max_size=8))
def test_equal_stretches_have_equal_hashes_and_others_do_not(words: list[str]) -> None:
    text = f" {' '.join(words)} "
    grams = [text[at : at + size] for size in (2, 3, 4, 5) for at in range(len(text) - size + 1)]
    found = terms(text)
    assert len(grams) == found.characters
    assert len({*zip(grams, found.buckets.tolist(), strict=False)}) == len(set(grams))
    assert len(set(found.buckets[: found.characters].tolist())) >= len(set(grams)) - 1  # two may share a bucket
    pairs = [f"{a} {b}" for a, b in zip(words, words[1:], strict=False)]
    named = dict(zip(words + pairs, found.buckets[found.characters :].tolist(), strict=True))
    assert len(named) == len({*words, *pairs})


def test_letters_are_folded_and_digits_are_one() -> None:
    assert np.array_equal(terms("Où est 4711?").buckets, terms("ou EST 0").buckets)


def test_marks_are_apart_from_words() -> None:
    found = terms("Où est mon COLIS 4711? #parcel #where_when")
    assert found.marks == {"parcel", "where_when"}
    assert "parcel" not in found.own
    assert np.array_equal(found.buckets, terms("ou est mon colis 0").buckets)


def test_a_hash_within_text_is_no_mark() -> None:
    assert not terms("order #4711, item#blue, ## heading").marks


def test_quoted_mail_does_not_count() -> None:
    assert terms("> your money\nWhere is it?").own == "Where is it?"
    assert len(terms("> your money").buckets)  # nothing else there: better than nothing


def test_groups_have_their_length() -> None:
    features = Features.learn([terms("red apple #fruit #tree #sweet")] * 3)
    columns, values = features.row(terms("red apple #fruit #tree #sweet"))
    characters, words = columns < features.characters, (columns >= features.characters) & (columns < len(features.idf))
    assert np.linalg.norm(values[characters]) == pytest.approx(CHARACTER)
    assert np.linalg.norm(values[words]) == pytest.approx(WORD)
    assert values[columns >= len(features.idf)] == pytest.approx([MARK / 3] * 3)


def test_unknown_text_is_shorter_than_known_text() -> None:
    features = Features.learn([terms("red apple"), terms("red apple"), terms("green pear"), terms("green pear")])
    known = np.linalg.norm(features.row(terms("red apple"))[1])
    mixed = np.linalg.norm(features.row(terms("red xylophone quartet plays zithers"))[1])
    assert mixed < known / 1.5
    assert len(features.row(terms(""))[0]) == 0


def test_a_term_said_twice_weighs_more_and_stands_once() -> None:
    features = Features.learn([terms("red apple"), terms("red apple")])
    columns, _ = features.row(terms("red red red apple"))
    assert len(columns) == len(set(columns.tolist()))


@given(st.text(st.characters()))
def test_any_text_becomes_a_row(text: str) -> None:
    features = Features.learn([terms("red apple #fruit"), terms("red apple")])
    columns, values = features.row(terms(text))
    assert len(columns) == len(values) and np.isfinite(values).all()


@given(st.text())
def test_text_helpers_take_anything(text: str) -> None:
    assert len(own_words(text)) <= len(text)
    fold(text)


def test_the_same_terms_in_every_process() -> None:
    code = "from agentfleet.backends.head.features import terms; print(terms('red apple').buckets.tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(terms("red apple").buckets.tolist())


def test_a_vocabulary_that_does_not_fit_is_refused() -> None:
    features = Features.learn([terms("red apple")] * 2)
    with pytest.raises(ValueError, match="weights"):
        Features.from_json(features.to_json(), features.buckets, features.idf[:-1])


def test_terms_are_equal_for_a_text_in_lines_or_in_one() -> None:
    assert isinstance(terms(""), Terms)
    assert np.array_equal(terms("red\napple").buckets, terms("red apple").buckets)


def test_the_runtime_half_needs_numpy_only() -> None:
    code = (
        "import sys; import agentfleet.backends.head.head, agentfleet.backends.head.fit, agentfleet.backends.head.store;"
        "print([m for m in ('sklearn', 'scipy', 'torch', 'safetensors', 'wordllama') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
