"""Which models may be asked at all: one reason each, the first that holds."""

from __future__ import annotations

from typing import Literal

from agentfleet.fleet.model import Model
from agentfleet.labels import Label
from agentfleet.prompt import Block, Prompt
from agentfleet.routing.describe import Description
from agentfleet.routing.match import barred, unfit
from agentfleet.routing.purse import Pot, Purse
from agentfleet.schema import output_of

PROMPT = Prompt("Do it.", (Block("mail", "text"),))
TEXT = output_of(str, where="s")
CLOSED = output_of(Literal["a", "b"], where="s", closed=True)


class Seeing(Description):
    """A request with a picture, which prompts do not hold yet."""

    @property
    def modalities(self) -> tuple[str, ...]:
        return ("text", "image")


def hosted(**more: object) -> Model:
    return Model(name="m", backend="openai", model="m", **more)  # type: ignore[arg-type]


def test_labels_and_regions() -> None:
    secret = Description("s", "extract", "g", PROMPT, TEXT, Label("restricted"))
    assert barred(hosted(), secret).startswith("label: the data is restricted")
    assert barred(hosted(sees="restricted"), secret) == ""
    european = Description("s", "extract", "g", PROMPT, TEXT, Label("public", regions=frozenset({"eu"})))
    assert barred(hosted(region="us"), european) == "label: the data may be in eu, m is in us"
    assert barred(hosted(region="eu"), european) == ""


def test_modalities() -> None:
    picture = Seeing("s", "extract", "g", PROMPT, TEXT)
    assert barred(hosted(), picture) == "modality: m does not read image"
    assert barred(hosted(modalities=("text", "image")), picture) == ""


def test_what_only_decides_gives_no_text() -> None:
    head = Model(name="head", backend="head")
    assert barred(head, Description("s", "classify", "g", PROMPT, CLOSED)) == ""
    found = barred(head, Description("s", "summarise", "g", PROMPT, TEXT))
    assert found == "schema: head only decides among options, and text is wanted"


def test_context_comes_before_budget() -> None:
    model = hosted(context=100, price={"input": 1e6, "output": 1e6})
    plain = Description("s", "summarise", "g", PROMPT, TEXT)
    purse = Purse([Pot("this run's budget", 0.001)])
    assert unfit(model, plain, 200, 10, None, purse).startswith(
        "context: 200 tokens of prompt and 10 of answer are 110 more"
    )
    assert unfit(model, plain, 20, 10, None, purse).startswith("budget: ")
    assert unfit(model, plain, 20, 10, None, Purse()) == ""
    assert unfit(hosted(), plain, 200, 10, 100, Purse()).startswith("context: "), (
        "what the backend says, where the file does not"
    )
