"""What `local_engine.py` reads and asks: short mails, their types, a longer text with eight questions. Only data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from agentfleet.prompt import Block, Prompt, Shown


class Order(BaseModel):
    """Four fields, two of them closed or bounded: the shape of most extractions."""

    model_config = ConfigDict(extra="forbid")
    order_id: Annotated[str, Field(max_length=12)]
    item: Annotated[str, Field(max_length=24)]
    pieces: Annotated[int, Field(ge=1, le=9)]
    wants: Literal["refund", "exchange", "delivery", "other"]


class Note(BaseModel):
    """One free string: here a grammar can save nothing."""

    model_config = ConfigDict(extra="forbid")
    text: Annotated[str, Field(max_length=150)]


Label = Literal["return", "repair", "payment", "delivery", "other"]
"""Five labels; the benchmark stops if one of them is more than one token of the model."""


class One(BaseModel):
    """One question on a text; with its options about 15 tokens."""

    the_customer_wants_his_money_back: bool


class Eight(BaseModel):
    """Eight such questions."""

    the_customer_wants_his_money_back: bool
    he_wants_a_visit_at_his_home: bool
    the_parcel_was_open_or_came_late: bool
    somebody_promised_to_call_him_back: bool
    the_bill_was_paid_before_the_reminder: bool
    he_wants_to_have_an_answer_within: Literal["days", "weeks", "months"]
    the_first_team_that_should_read_it: Literal["sales", "support", "finance"]
    how_he_feels_about_our_shop_now: Literal["happy", "neutral", "angry"]


MAILS = (
    "Order AB-104233: the kettle leaks from its base. I want my money back.",
    "Hi, where are the two lamps of order CK-220981? They should have come on Monday.",
    "Please change the blue coat in order FS-619034 for a red one, size 40.",
    "My order GH-300417, three bowls, came with one bowl in pieces. Refund please.",
    "Could you send the invoice for order JJ-118820, one desk, once more?",
    "The chair of order KL-552109 wobbles. I would rather have another one.",
    "It has been nine days. Where is my order MN-660042 with the four cushions?",
    "Order PQ-771300: I got one tea pot instead of two. When will the other come?",
    "I sent the shoes of RS-882214 back last week and see no money yet.",
    "Does the toaster of order TU-930077 have a longer cord as well?",
    "The mirror of order VW-140392 is cracked across. Take it back, please.",
    "Order XY-251663, five towels: the colour is wrong, please swap them.",
    "My neighbour got my parcel, order ZA-362001, a clock. Where is it now?",
    "The kite of order BC-473318 was a present and came too late. Refund?",
    "Please put the six glasses of order DE-584650 at the back door.",
    "Order FG-695127: the radio hums. I would like a new one of the same kind.",
    "I never got the second pillow of order HI-706541. Can you look?",
    "Cancel order JK-817904, one rug, and pay the amount back to my card.",
    "The pan of LM-928316 is fine, thank you. Is there a lid for it?",
    "Order NO-139728, two shelves: one is too short. Exchange it, please.",
)
NOTE = "Write one sentence that says what the customer wants, as JSON."
EXTRACT = "Read the mail to our shop. Answer with JSON: order_id, item, pieces, wants."
DECIDE = "Which kind of mail is this?"
LETTER = "Answer the questions about the letter as JSON."

_SHOWN = (
    ("Order QA-100200: both spoons are bent, I want the money back.", "QA-100200", "spoons", 2, "refund"),
    ("When will the tent of order QB-300400 arrive?", "QB-300400", "tent", 1, "delivery"),
)

SENTENCES = (
    "I ordered a coffee machine in your shop at the end of March and paid for it on the same day.",
    "The parcel came a week late and the box was open on one side.",
    "The machine itself looked fine, but it does not get warm, however long I wait.",
    "On the phone a friendly person said that somebody would call me back, which nobody did.",
    "Meanwhile I have had a reminder for a bill that I had already paid.",
    "I have been a customer for eleven years and would like to remain one.",
    "Please tell me what happens next, and when I may count on an answer.",
    "My sister bought the same machine and has nothing but praise for it.",
    "I could bring it back to the shop in town if that is of any help.",
    "The number of the order is on the sheet that I have put into this letter.",
)


def letter(tokens: int) -> str:
    """A text of about this many tokens (19 a sentence)."""
    return " ".join(SENTENCES[i % len(SENTENCES)] for i in range(max(1, round(tokens / 19))))


OPTIONS = (
    ("return", "the customer wants to give something back or have money back"),
    ("repair", "something is broken or does not work and should be mended or exchanged"),
    ("payment", "an invoice, a bill, a card or an amount that is wrong"),
    ("delivery", "where the parcel is, when it will come, or to which door"),
    ("other", "anything else, also a question about a thing that is fine"),
)
_DECIDED = (
    ("When will the tent of order QB-300400 arrive?", "delivery"),
    ("You took 49 EUR from my card twice for order QC-500600.", "payment"),
    ("The zip of the bag in order QD-700800 came off. Can you mend it?", "repair"),
)


def decide_prompt(mail: str) -> Prompt:
    """Five described options and three worked examples before the mail."""
    shown = tuple(Shown((Block("mail", text),), answer) for text, answer in _DECIDED)
    return Prompt(DECIDE, (Block("mail", mail),), OPTIONS, examples=shown)


def extract_prompt(mail: str) -> Prompt:
    """Two worked examples before the mail, so that most of the prompt is the same for all mails."""
    shown = tuple(
        Shown((Block("mail", text),), Order(order_id=a, item=b, pieces=c, wants=d).model_dump_json())  # type: ignore[arg-type]
        for text, a, b, c, d in _SHOWN
    )
    return Prompt(EXTRACT, (Block("mail", mail),), examples=shown)
