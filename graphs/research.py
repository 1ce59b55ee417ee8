"""Research in a local folder: plan the searches, carry them out, write, then critique and revise a few times.

Reads only text files below the folder it is given; nothing leaves the machine unless the fleet names a cloud model.
"""

from __future__ import annotations

import re
from pathlib import Path

from agentfleet.stock.skills.critique.skill import PASS, Review, critique
from pydantic import BaseModel

from agentfleet import Plan, ask, graph, plan, repeat, step, summarise

SUFFIXES = (".md", ".txt", ".rst")
MOST_FILES = 2_000
MOST_BYTES = 200_000
PASSAGE = 600
_WORD = re.compile(r"\w{3,}")


class Finding(BaseModel):
    """A passage and the file it stands in."""

    source: str
    text: str


class Draft(BaseModel):
    """A text and what was last said about it."""

    text: str
    review: Review | None = None


@step
def search(folder: str, query: str) -> list[Finding]:
    """The three passages of the folder's text files that share most words with the query."""
    wanted = set(_words(query))
    scored = []
    for path in _files(Path(folder)):
        for passage in _passages(path.read_text(encoding="utf-8", errors="replace")):
            shared = len(wanted & set(_words(passage)))
            if shared:
                scored.append((-shared, path.name, passage))
    return [Finding(source=name, text=passage) for _, name, passage in sorted(scored)[:3]]


def _files(folder: Path) -> list[Path]:
    """Text files below the folder, in order of name; links that lead out of it are left alone."""
    if not folder.is_dir():
        raise ValueError(f"no such folder: {folder}")
    root = folder.resolve()
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in SUFFIXES and path.is_file() and path.resolve().is_relative_to(root)
    ]
    return [path for path in found[:MOST_FILES] if path.stat().st_size <= MOST_BYTES]


def _passages(text: str) -> list[str]:
    return [part.strip()[:PASSAGE] for part in re.split(r"\n\s*\n", text) if part.strip()]


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


@plan(tier="small", up_to="frontier", tools=[search], at_most=4)
def research(question: str, folder: str) -> Plan[list[list[Finding]]]:
    """Which searches in the folder answer the question: one to four, each a few words that stand in the texts."""
    return ask(question, folder)


@step
def gather(found: list[list[Finding]]) -> list[Finding]:
    """All passages, each once."""
    unique = {(one.source, one.text): one for part in found for one in part}
    return list(unique.values())


@step
def texts(findings: list[Finding]) -> list[str]:
    """The passages with their sources, as a reader wants them."""
    return [f"{one.source}: {one.text}" for one in findings]


@summarise(tier="small", up_to="frontier")
def write(question: str, sources: list[str]) -> str:
    """Answer the question from the sources only, in a few sentences, and name the files you used."""
    if not sources:
        return "The folder holds nothing about this question."
    return ask(question, *sources)


@summarise(tier="small", up_to="frontier")
def revise(draft: Draft, sources: list[str]) -> str:
    """Rewrite the draft as its review advises, from the sources only."""
    if draft.review is None or draft.review.score >= PASS or not sources:
        return draft.text
    return ask(draft, *sources)


make_draft = step(Draft)


@graph
def improve(draft: Draft, sources: list[str]) -> Draft:
    """One round: revise, then judge."""
    text = revise(draft, sources)
    return make_draft(text=text, review=critique(text, sources))


def good_enough(draft: Draft) -> bool:
    """Does the review leave nothing to change?"""
    return draft.review is not None and draft.review.score >= PASS


polish = repeat(improve, until=good_enough, at_most=3)


@graph
def answer(question: str, folder: str) -> Draft:
    """An answer from the text files of a folder, improved up to three times."""
    sources = texts(gather(research.carry_out(research(question, folder))))
    return polish(make_draft(text=write(question, sources)), sources)
