"""Plan a search, carry it out, write, and revise a bounded number of times."""

from pydantic import BaseModel

from agentfleet import Plan, ask, extract, graph, plan, repeat, step, summarise


class Note(BaseModel):
    page: str
    text: str


class Mark(BaseModel):
    points: int
    hint: str


class Essay(BaseModel):
    text: str
    mark: Mark | None = None


@step
async def look_up(word: str) -> list[str]:
    return [f"p/{word}"]


@step
async def open_pages(pages: list[str]) -> Note:
    return Note(page=",".join(pages), text="facts")


@plan(tier="large", tools=[look_up, open_pages], at_most=5)
def research(topic: str) -> Plan[list[Note]]:
    """Which pages to open."""
    return ask(topic)


@summarise(tier="small")
def compose(topic: str, notes: list[Note]) -> str:
    """Write from the notes only."""
    return ask(topic, notes)


@extract(tier="small")
def judge(text: str, notes: list[Note]) -> Mark:
    """Points and a hint."""
    return ask(text, notes)


@summarise(tier="small")
def rewrite(essay: Essay, notes: list[Note]) -> str:
    """Follow the hint."""
    if essay.mark is None or essay.mark.points > 7:
        return essay.text
    return ask(essay, notes)


make_essay = step(Essay)


@graph
def round_of_work(essay: Essay, notes: list[Note]) -> Essay:
    text = rewrite(essay, notes)
    return make_essay(text=text, mark=judge(text, notes))


def is_fine(essay: Essay) -> bool:
    return essay.mark is not None and essay.mark.points > 7


finish = repeat(round_of_work, until=is_fine, at_most=3)


@graph
def almanac(topic: str) -> Essay:
    notes = research.carry_out(research(topic))
    return finish(make_essay(text=compose(topic, notes)), notes)
