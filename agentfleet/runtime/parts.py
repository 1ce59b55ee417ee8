"""A prompt that is too long for a rung, put in parts that fit: for skills with ``split=True``.

The longest text that the skill reads is cut; everything else stands in every part.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from agentfleet.markers import alternatives, items_of
from agentfleet.prompt import Block, Prompt
from agentfleet.routing.ladder import Joined, Piece, Split
from agentfleet.schema import Output, codec
from agentfleet.split import Found, cut, join, part_output, shape_of
from agentfleet.verbatim import narrow

if TYPE_CHECKING:
    from agentfleet.graph.step import Step

Count: TypeAlias = Callable[[Prompt, Output], Awaitable[int | None]]
"""Tokens of a prompt for an output."""

MOST_PARTS: Final = 64
SPARE: Final = 0.9
"""Share of the room that a part's text takes at most; the rest is for asking again."""
TIGHTER: Final = 0.85
"""What the size of a part is multiplied with when one of them does not fit."""
TRIES: Final = 8

_NOTES: Final = {
    "list": "You are shown one part of a longer text: give what stands in this part.",
    "fields": "You are shown one part of a longer text: null for what this part does not say.",
    "value": "You are shown one part of a longer text: null if this part does not say it.",
    "text": "You are shown one part of a longer text: sum up this part.",
}


@dataclass(frozen=True, slots=True)
class Splitter:
    """What one step asks of parts. `texts`: of what it reads; `long`: number of the one that is cut."""

    step: Step[..., Any]
    texts: tuple[str, ...]
    long: int
    shape: str
    output: Output

    @classmethod
    def of(cls, step: Step[..., Any], parts: Sequence[Any], texts: Sequence[str]) -> Splitter | None:
        """None where there is no text to cut, or the step does not want it."""
        lengths = {number: len(part) for number, part in enumerate(parts) if type(part) is str}
        if not step.split or not lengths:
            return None
        long = max(lengths, key=lengths.__getitem__)
        if step.kind == "summarise":
            return cls(step, tuple(texts), long, "text", Output("text", str, {"type": "string"}))
        return cls(step, tuple(texts), long, shape_of(step.declared, step.name), part_output(step.declared, step.name))

    async def split(self, prompt: Prompt, room: int, count: Count) -> Split | str:
        """Parts of a prompt that fit into `room` tokens each, or why there are none."""
        place, text = self._block(prompt)
        asked = replace(prompt, instruction=f"{prompt.instruction}\n\n{_NOTES[self.shape]}", notes=())
        whole, empty = await count(asked, self.output), await count(_with(asked, place, ""), self.output)
        if whole is None or empty is None:
            return "the tokens of its parts cannot be counted"
        if empty >= room:
            return f"all but the longest text takes {empty} tokens, which leaves no room for parts of it"
        size = int(len(text) * SPARE * (room - empty) / max(whole - empty, 1))
        for _ in range(TRIES):
            spans = cut(text, max(size, 2))
            if len(spans) > MOST_PARTS:
                return f"it would have to be put in {len(spans)} parts, and {MOST_PARTS} is the most"
            prompts = [_with(asked, place, text[start:end]) for start, end in spans]
            if all([(await count(one, self.output) or 0) <= room for one in prompts]):
                return Split(self._pieces(prompts, place), self._joining(prompt, text, spans))
            size = int(size * TIGHTER)
        return "no part of it is small enough"

    def _block(self, prompt: Prompt) -> tuple[int, str]:
        """Place and text of the block that is cut; once it was summed up, its text is another."""
        original = self.texts[self.long]
        texts = [block.text for block in prompt.blocks]
        place = texts.index(original) if original in texts else max(range(len(texts)), key=lambda n: len(texts[n]))
        return place, texts[place]

    def _pieces(self, prompts: Sequence[Prompt], place: int) -> tuple[Piece, ...]:
        """Those that may hold something: where a Verbatim field has no candidate, nobody is asked."""
        pieces = []
        for number, prompt in enumerate(prompts, start=1):
            texts = (*self.texts[: self.long], prompt.blocks[place].text, *self.texts[self.long + 1 :])
            narrowed = narrow(self.output, texts)
            if not (narrowed.settled or narrowed.problem or self._is_empty(narrowed.output, texts)):
                pieces.append(Piece(number, len(prompts), prompt, narrowed.output, texts))
        return tuple(pieces)

    def _is_empty(self, output: Output, texts: Sequence[str]) -> bool:
        """Can the answer to a part only be that nothing is there?"""
        if self.shape == "list":
            items = narrow(replace(output, type=_item(output.type)), texts)
            return items.settled or bool(items.problem)
        fields = output.schema.get("properties", {}).values() if self.shape == "fields" else [output.schema]
        return bool(fields) and all(part.get("enum") == [None] for part in fields)

    def _joining(
        self, prompt: Prompt, text: str, spans: Sequence[tuple[int, int]]
    ) -> Callable[[Mapping[int, Any]], Joined]:
        if self.shape == "text":
            return lambda values: self._summed_up(prompt, len(text), values)
        return lambda values: self._joined(text, spans, values)

    def _summed_up(self, prompt: Prompt, length: int, values: Mapping[int, Any]) -> Joined:
        told = "\n\n".join(str(values[number]) for number in sorted(values))
        if len(told) > length * SPARE:
            return Joined(told, "the summaries of its parts are not shorter than the text")
        return Joined(prompt=_with(prompt, self._block(prompt)[0], told))

    def _joined(self, text: str, spans: Sequence[tuple[int, int]], values: Mapping[int, Any]) -> Joined:
        found = []
        for number in sorted(values):
            start, end = spans[number - 1]
            before = text[start : spans[number - 2][1]] if number > 1 else ""
            found.append(Found(number, _data(self.output.type, values[number]), before, text[start:end]))
        told, problem = join(self.step.declared, shape_of(self.step.declared, self.step.name), found)
        assert self.step.output is not None
        return Joined(json.loads(told) or "" if self.step.output.kind == "text" else told, problem)


def _with(prompt: Prompt, place: int, text: str) -> Prompt:
    """The prompt with another text in one of its blocks."""
    blocks = list(prompt.blocks)
    blocks[place] = Block(blocks[place].name, text)
    return replace(prompt, blocks=tuple(blocks))


def _data(annotation: Any, value: Any) -> Any:
    """A value as JSON data, under the names that it has in JSON."""
    adapter = codec(annotation).adapter
    return json.loads(adapter.dump_json(value, by_alias=True, warnings="none"))


def _item(annotation: Any) -> Any:
    return items_of(alternatives(annotation)[0][0])[0]
