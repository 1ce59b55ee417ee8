"""Strings that must be copied from a text, in the middle of a JSON Schema: llguidance knows substrings in Lark grammars
only, so what leads to such a string is written in Lark, and all the rest stays JSON Schema inside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from agentfleet.backends.llama_cpp.numbers import bound_numbers
from agentfleet.decoding import COPIED, MAX_ITEMS, MAX_STRING
from agentfleet.verbatim.folding import WITHOUT_BLANKS

_WHOLE = re.compile(rf"[^\W{WITHOUT_BLANKS}-\U0010ffff]+(?:-[^\W{WITHOUT_BLANKS}-\U0010ffff]+)*|.", re.DOTALL)
"""A word with its hyphens, else one sign: what a copy takes whole or not at all."""
COMPACT: Final = {"whitespace_flexible": False}


class Inexpressible(ValueError):
    """A string to be copied stands where no grammar can hold it."""


def holds_copies(schema: Any) -> bool:
    """Is there a string in this schema that must be copied from a text?"""
    return any(COPIED in part for part in _parts(schema))


def without_copies(schema: Any) -> Any:
    """The same schema with strings that may be any."""
    if isinstance(schema, Mapping):
        return {key: without_copies(part) for key, part in schema.items() if key != COPIED}
    return [without_copies(part) for part in schema] if isinstance(schema, list) else schema


def lark_of(schema: Mapping[str, Any]) -> str:
    """The Lark grammar of a schema. Raises Inexpressible where a copy stands in what Lark does not get: a dict, allOf."""
    return _Lark(schema).text()


def _parts(schema: Any) -> Iterator[Mapping[str, Any]]:
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            yield part
        waiting += part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ()


class _Lark:
    """The rules of one schema, in the order in which they are needed."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.definitions: Mapping[str, Any] = root.get("$defs", {})
        self.rules: list[str] = []
        self.named: dict[str, str] = {}
        self.leading = self._leading()

    def _leading(self) -> set[str]:
        """The definitions through which one comes to a copy."""
        found: set[str] = set()
        while True:
            more = {name for name, part in self.definitions.items() if name not in found and self._leads(part, found)}
            if not more:
                return found
            found |= more

    def _leads(self, part: Any, leading: set[str]) -> bool:
        inside = {key: value for key, value in part.items() if key != "$defs"} if isinstance(part, Mapping) else part
        return any(COPIED in one or _referred(one) in leading for one in _parts(inside))

    def text(self) -> str:
        start = self.of(self.root)
        return "\n".join([f"start: {start}", *self.rules])

    def rule(self, body: str, letter: str = "r") -> str:
        name = f"{letter}{len(self.rules)}"
        self.rules.append(f"{name}: {body}")
        return name

    def of(self, part: Mapping[str, Any]) -> str:
        """The name of a rule for a part."""
        if COPIED in part:
            return self._copy(part)
        if not self._leads(part, self.leading):
            return self._json(part)
        if "$ref" in part:
            return self._definition(str(_referred(part)))
        if "anyOf" in part:
            return self.rule(" | ".join([self.of(other) for other in part["anyOf"]]))
        if part.get("type") == "object" and part.get("properties"):
            return self._object(part["properties"])
        if part.get("type") == "array" and "items" in part and "prefixItems" not in part:
            return self._array(part)
        raise Inexpressible(f"a copy inside {', '.join(sorted(part))}")

    def _definition(self, name: str) -> str:
        if name not in self.named:
            self.named[name] = f"d{len(self.named)}"  # known before it is written, since it may hold itself
            body = self.of(self.definitions[name])
            self.rules.append(f"{self.named[name]}: {body}")
        return self.named[name]

    def _object(self, fields: Mapping[str, Any]) -> str:
        words = []
        for number, (name, part) in enumerate(fields.items()):
            key = f"{',' if number else '{'}{json.dumps(name, ensure_ascii=False)}:"
            words += [_quoted(key), self.of(part)]
        return self.rule(" ".join([*words, _quoted("}")]))

    def _array(self, part: Mapping[str, Any]) -> str:
        item = self.of(part["items"])
        least, most = part.get("minItems", 0), part.get("maxItems", MAX_ITEMS)
        if most == 0:
            return self.rule(_quoted("[]"))
        some = f'"[" {item} ("," {item}){{{max(least - 1, 0)},{most - 1}}} "]"'
        return self.rule(some if least else f"{_quoted('[]')} | {some}")

    def _copy(self, part: Mapping[str, Any]) -> str:
        """A run of whole words that begins and ends with no blank, in the escapes of JSON."""
        sources = []
        for text in part[COPIED]:
            signs = [_escaped(sign) for sign in _WHOLE.findall(text)]
            sources.append(self.rule(f"%regex {json.dumps({'substring_chunks': signs}, ensure_ascii=False)}", "S"))
        most = max(part.get("maxLength", MAX_STRING), 2)
        copy = self.rule(f"({' | '.join(sources)}) & /(?s:[^ ](.{{0,{most - 2}}}[^ ])?)/", "C")
        return self.rule(f'"\\"" {copy} "\\""')

    def _json(self, part: Mapping[str, Any]) -> str:
        own = self._reached(part)
        whole = {**bound_numbers(dict(part)), "x-guidance": COMPACT}
        if own:
            whole["$defs"] = {name: bound_numbers(self.definitions[name]) for name in own}
        return self.rule(f"%json {json.dumps(whole, ensure_ascii=False)}")

    def _reached(self, part: Mapping[str, Any]) -> list[str]:
        """The definitions that a part needs."""
        found: dict[str, None] = {}
        waiting = [part]
        while waiting:
            names = [name for one in _parts(waiting.pop()) if (name := _referred(one)) and name not in found]
            found.update(dict.fromkeys(names))
            waiting += [self.definitions[name] for name in names if name in self.definitions]
        return list(found)


def _referred(part: Mapping[str, Any]) -> str | None:
    """The name of the definition that a part refers to."""
    reference = part.get("$ref")
    return reference.rsplit("/", 1)[-1] if isinstance(reference, str) else None


def _quoted(text: str) -> str:
    """A literal of Lark."""
    return json.dumps(text, ensure_ascii=False)


def _escaped(sign: str) -> str:
    """A piece of text as it stands inside a JSON string. Half a character, which no answer can hold, becomes "?"."""
    return json.dumps(sign.encode("utf-8", "replace").decode(), ensure_ascii=False)[1:-1]
