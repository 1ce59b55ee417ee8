"""The head of a classify step: what it learns from, and how it is opened or found."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentfleet.graph.trace import Ask
from agentfleet.prompt import Prompt
from agentfleet.runner import asking

if TYPE_CHECKING:
    from agentfleet.backends.head.head import Head
    from agentfleet.graph.examples import Example
    from agentfleet.graph.step import Step


def option_text(step: Step[..., Any], value: Any) -> str:
    """The text of the option that stands for a value, or "" when none does."""
    assert step.output is not None
    for option in step.output.questions[0].options:
        if option.value == value or option.value == getattr(value, "value", value):
            return option.text
    return ""


def open_head(step: Step[..., Any], cache: Path | None) -> Head:
    """Train or load the head of a classify step from its examples. Blocks: call it in a thread."""
    from agentfleet.backends.head.head import Head

    assert step.output is not None
    return Head.for_skill(step.name, step.output.questions[0], head_rows(step, step.examples), cache)


def has_learnt_head(step: Step[..., Any], cache: Path) -> bool:
    """Lies there a head of this step that was learnt from other labelled rows than its examples?"""
    if not cache.is_dir():
        return False
    from agentfleet.backends.head.head import Head, learnt_path

    assert step.output is not None
    path = learnt_path(cache, step.name)
    if not path.with_name(f"{path.name}.json").exists():
        return False
    return Head.is_learnt(step.name, step.output.questions[0], head_rows(step, step.examples), cache)


def head_rows(step: Step[..., Any], examples: Iterable[Example]) -> list[tuple[str, str]]:
    """What a head learns from: of each example that a model would be asked, what it would read, and the option."""
    rows = []
    for example in examples:
        prompt = shown_prompt(step, example.inputs)
        text = option_text(step, example.output)
        if prompt is not None and text:
            rows.append(("\n".join(block.text for block in prompt.blocks), text))
    return rows


def shown_prompt(step: Step[..., Any], inputs: dict[str, Any]) -> Prompt | None:
    """What a model is shown for these inputs; None when the body answers by itself."""
    token = asking.set(True)
    try:
        step.fn(**inputs)
    except Ask as asked:
        return step.build_prompt(inputs, asked.parts)
    finally:
        asking.reset(token)
    return None
