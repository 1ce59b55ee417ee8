"""What a skill shows to a model: its instruction, options, a few examples, and the inputs as named blocks."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentfleet import runner
from agentfleet.errors import TraceError
from agentfleet.graph import types
from agentfleet.graph.examples import Example
from agentfleet.graph.signature import place
from agentfleet.graph.trace import Ask
from agentfleet.prompt import Block, Prompt, Shown

if TYPE_CHECKING:
    from agentfleet.graph.step import Step
    from agentfleet.schema import Output

SHOWN_EXAMPLES = 4
"""Examples in one prompt (one of each option first): small models have little context. Heads learn from all."""
SHOWN_OPTIONS = 8
"""Options of a closed answer up to which every one of them is shown once."""
SHOWN_LENGTH = 600
"""Characters of inputs up to which an example is short enough to be shown."""


def instruction_of(fn: Callable[..., Any], name: str, prompt: str | Path | None) -> str:
    """The instruction: `prompt` (text, or a file beside the function's), else the docstring. Raises TraceError."""
    if isinstance(prompt, Path):
        path = Path(inspect.getfile(fn)).parent / prompt
        try:
            prompt = path.read_text(encoding="utf-8")
        except OSError as error:
            raise TraceError(f"{name}: cannot read the instruction from {path}: {error.strerror}") from error
    text = inspect.cleandoc(prompt if prompt is not None else fn.__doc__ or "").strip()
    if not text:
        stripped = " (python -OO strips docstrings: run without it)" if sys.flags.optimize >= 2 else ""
        raise TraceError(f"{name} has no instruction: write a docstring, or prompt=...{stripped}.{place(fn)}")
    return text


def build_prompt(step: Step[..., Any], inputs: Mapping[str, Any], parts: Sequence[Any] | None) -> Prompt:
    """The prompt of one call; `parts` is what the body's ``ask`` got, None for all inputs."""
    named = [(n, inputs[n]) for n in (p.name for p in step.params) if n in inputs]
    pieces = named if parts is None else _name_parts(step, inputs, parts)
    blocks = tuple(Block(name, _text(step, name, value)) for name, value in pieces)
    names = [name for name, _ in pieces]
    only = names if all(name in inputs for name in names) else None
    instruction = step.instruction + _tools(step) if step.kind == "plan" else step.instruction
    return Prompt(instruction, blocks, _options(step.output), _shown(step, only))


def _name_parts(step: Step[..., Any], inputs: Mapping[str, Any], parts: Sequence[Any]) -> list[tuple[str, Any]]:
    """Parts that are inputs get their names and the signature's order; others are numbered and keep their place."""
    found = [_input_of(inputs, part) for part in parts]
    taken: set[str] = set()
    slots: list[tuple[str, Any]] = []
    for index, (names, part) in enumerate(zip(found, parts, strict=True), start=1):
        name = next((n for n in names if n not in taken), f"part_{index}")
        taken.add(name)
        slots.append((name, part))
    order = [p.name for p in step.params]
    sorted_named = iter(sorted((s for s in slots if s[0] in order), key=lambda s: order.index(s[0])))
    return [next(sorted_named) if slot[0] in order else slot for slot in slots]


def _input_of(inputs: Mapping[str, Any], part: Any) -> list[str]:
    same = [name for name, value in inputs.items() if value is part]
    equal = [n for n, value in inputs.items() if type(value) is type(part) and value is not part and value == part]
    return [*same, *equal]


def _text(step: Step[..., Any], name: str, value: Any) -> str:
    if type(value) is str:
        return value
    for param in step.params:
        if param.name == name:
            return param.codec.dump(value)
    from agentfleet.schema import codec

    return codec(Any).dump(value)


def _options(output: Output | None) -> tuple[tuple[str, str], ...]:
    if output is None or output.kind != "closed":
        return ()
    if len(output.questions) == 1:
        return tuple((option.text, option.about) for option in output.questions[0].options)
    return tuple((q.name, " or ".join(option.text for option in q.options)) for q in output.questions)


def _shown(step: Step[..., Any], names: Sequence[str] | None) -> tuple[Shown, ...]:
    if step.kind == "plan":
        return ()
    shown = []
    for example in _chosen(step):
        pieces = [(n, v) for n, v in example.inputs.items() if names is None or n in names]
        blocks = tuple(Block(name, _text(step, name, value)) for name, value in pieces)
        if blocks and sum(len(block.text) for block in blocks) <= SHOWN_LENGTH:
            shown.append(Shown(blocks, _answer(step, example.output)))
    return tuple(shown)


def _chosen(step: Step[..., Any]) -> list[Example]:
    """A few examples, each answer once before any comes twice; the file's order otherwise."""
    first: list[Example] = []
    rest: list[Example] = []
    seen: set[str] = set()
    for example in step.examples:
        answer = step.codec.dump(example.output)
        (rest if answer in seen else first).append(example)
        seen.add(answer)
    if step.output is not None and step.output.kind == "closed":
        return first[: SHOWN_OPTIONS if len(first) <= SHOWN_OPTIONS else SHOWN_EXAMPLES]
    return [*first, *rest][:SHOWN_EXAMPLES]


def _answer(step: Step[..., Any], value: Any) -> str:
    """An answer as a model should have written it."""
    output = step.output
    if output is None:
        return step.codec.dump(value)
    if output.kind == "text":
        return str(value)
    text = output.dump(value)
    if output.kind == "closed" and len(output.questions) == 1:
        import json

        scalar = json.loads(text)
        for option in output.questions[0].options:
            if option.value == scalar and type(option.value) is type(scalar):
                return option.text
    return text


def _tools(step: Step[..., Any]) -> str:
    """The tools of a planner and the form of a plan, for the end of its instruction."""
    lines = ["", "", "Tools:"]
    for tool in step.tools:
        about = (tool.__doc__ or "").strip().splitlines()
        inputs = ", ".join(f"{p.name}: {types.describe(p.annotation)}" for p in tool.params)
        lines.append(f"- {tool.name}({inputs}) -> {types.describe(tool.returns)}{': ' + about[0] if about else ''}")
    lines.append(
        'Answer with {"steps": [{"id": "s1", "tool": NAME, "with": {ARGUMENT: VALUE or {"ref": PATH}}}], "result": ID}.'
        " A PATH is an input, an earlier step's id, or a field of either (found.order_id)."
    )
    return "\n".join(lines)


def show_prompt(step: Step[..., Any], inputs: Mapping[str, Any]) -> str:
    """The whole prompt for people: runs the body up to its ``ask``."""
    token = runner.asking.set(True)
    try:
        value = step.fn(**inputs)
    except Ask as asked:
        return build_prompt(step, inputs, asked.parts).text()
    finally:
        runner.asking.reset(token)
    return f"(answered by the body, no model is asked: {value!r})"
