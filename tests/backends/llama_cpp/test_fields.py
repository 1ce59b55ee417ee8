"""The share of each field: a product over its own tokens, 1 where the grammar left no choice."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from agentfleet.backends.backend import Completion
from agentfleet.backends.llama_cpp.answer import LocalCompletion
from agentfleet.backends.llama_cpp.fields import field_shares


def shares(text: str, cuts: list[int], logs: list[float]) -> dict[str, float]:
    raw = text.encode()
    ends = [*cuts, len(raw)]
    pieces = [raw[start:stop] for start, stop in zip([0, *cuts], ends, strict=True)]
    return field_shares(text, pieces, logs)


def test_a_token_counts_for_the_field_that_it_writes() -> None:
    text = '{"a":"xy","b":12}'
    found = shares(text, [5, 6, 7, 8, 9, 14, 15, 16], [-9, 0, -0.5, -0.25, -0.125, -7, -1, -2, -8])
    assert found == {"a": pytest.approx(math.exp(-0.875)), "b": pytest.approx(math.exp(-3))}


def test_a_token_over_two_places_counts_where_it_writes_a_value() -> None:
    text = '{"a":"é","b":1}'
    found = shares(text, [6, 9, 14], [-1, -2, -4, -8])
    assert found["a"] == pytest.approx(math.exp(-1 - 2))
    assert found["b"] == pytest.approx(math.exp(-8))


def test_what_is_no_object_is_one_field() -> None:
    assert shares("[1,2]", [2], [-1, -1]) == {"": pytest.approx(math.exp(-2))}
    assert shares("{}", [1], [-1, -1]) == {}


@pytest.mark.real_model
def test_shares_of_a_real_answer(ask: Callable[..., Completion]) -> None:
    class Order(BaseModel):
        item: Annotated[str, Field(max_length=10)]
        only: Literal["so"]
        pieces: Annotated[int, Field(ge=1, le=9)]

    done = ask("Two pans, please.", Order, params={"field_shares": True})
    assert isinstance(done, LocalCompletion)
    assert done.fields is not None
    assert list(done.fields) == ["item", "only", "pieces"]
    assert done.fields["only"] == 1
    assert 0 < done.fields["item"] < 1
    assert 0 < done.fields["pieces"] < 1
    plain = ask("Two pans, please.", Order)
    assert isinstance(plain, LocalCompletion)
    assert (plain.text, plain.fields) == (done.text, None)
