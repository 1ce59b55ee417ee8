"""Closed answers read off letters: the list in several orders, what is refused, the same answer as by the options."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from agentfleet.backends.backend import Completion
from agentfleet.backends.llama_cpp.letters import ORDERS, READOUTS, readout_of
from agentfleet.errors import BackendError

Ask = Callable[..., Completion]
MAIL = "I would like my money back for the broken kettle."
BY_LETTERS = {"params": {"readout": "letters"}}


def test_readouts_by_name() -> None:
    assert [readout_of(None), *map(readout_of, READOUTS)] == ["options", *READOUTS]
    with pytest.raises(BackendError, match="params.readout is 'digits'; it is one of options, letters"):
        readout_of("digits")


@pytest.mark.real_model
@pytest.mark.parametrize("count", [2, 3, 7, 26])
def test_every_option_has_its_share(ask: Ask, count: int) -> None:
    kind: Any = Literal[tuple(f"matter number {n}" for n in range(count))]
    done = ask(MAIL, kind, closed=True, **BY_LETTERS)
    assert done.distribution is not None and done.option_mass is not None
    assert list(done.distribution) == [f"matter number {n}" for n in range(count)]
    assert sum(done.distribution.values()) == pytest.approx(1)
    assert max(done.distribution, key=done.distribution.__getitem__) == json.loads(done.text)
    assert 0 < done.option_mass <= 1 and done.usage.output_tokens == 0
    again = ask(MAIL, kind, closed=True, **BY_LETTERS)
    assert again.distribution == pytest.approx(done.distribution, abs=1e-6)


@pytest.mark.real_model
def test_where_an_option_stands_in_the_list_changes_nothing(ask: Ask) -> None:
    """So few options are shown in every order of turning, so whichever is named first, the shares are the same."""
    names = ["refund", "delivery", "praise"]
    assert len(names) <= ORDERS
    first = ask(MAIL, Literal["refund", "delivery", "praise"], closed=True, **BY_LETTERS).distribution
    turned = ask(MAIL, Literal["praise", "refund", "delivery"], closed=True, **BY_LETTERS).distribution
    assert first is not None and turned is not None
    assert turned == pytest.approx(first, abs=0.05)  # its place in the cache moves a logit a little


@pytest.mark.real_model
def test_several_questions(ask: Ask) -> None:
    class Triage(BaseModel):
        urgent: bool
        about: Literal["refund", "delivery", "other"]

    done = ask(MAIL, Triage, closed=True, **BY_LETTERS)
    found = Triage.model_validate_json(done.text)
    distributions = getattr(done, "distributions", {})
    assert set(distributions) == {"urgent", "about"}
    assert max(distributions["about"], key=distributions["about"].__getitem__) == found.about


@pytest.mark.real_model
def test_more_options_than_letters_are_refused(ask: Ask) -> None:
    kind: Any = Literal[tuple(f"k{n}" for n in range(27))]
    with pytest.raises(BackendError, match="27 options have no letters"):
        ask(MAIL, kind, closed=True, **BY_LETTERS)
    assert json.loads(ask(MAIL, kind, closed=True).text).startswith("k")
