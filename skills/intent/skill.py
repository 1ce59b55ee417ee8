"""What does a customer want? A trained head first; whatever answers, code has the last word."""

from __future__ import annotations

from typing import Literal

from agentfleet.stock.skills.intent.machine import speaks_to_a_machine
from agentfleet.stock.skills.intent.words import asks_money_back, guards, noticed, themes

from agentfleet import ask, classify
from agentfleet.text import own_words

Kind = Literal["refund", "delivery", "complaint", "other"]

SPEAKS_OF: dict[Kind, frozenset[str]] = {
    "refund": frozenset({"money_back", "charged", "sent_back"}),
    "delivery": frozenset({"parcel", "where_when", "redirect"}),
    "complaint": frozenset({"defect", "bad_service", "displeased", "sarcasm", "mend"}),
    "other": frozenset(
        [
            "paperwork",
            "product_question",
            "shop",
            "people_business",
            "account",
            "advertising",
            "pleased",
            "not_for_us",
            "before_buying",
        ]
    ),
}
"""The themes that speak for each kind."""

TOO_LONG = 1_500
"""Words above which a mail is not decided at a glance."""

MARGIN = 3
"""By how many different expressions the mail may speak for another kind before an answer is doubted."""


@classify(tier="nano", up_to="person", min_confidence=0.8)
def intent(email: str) -> Kind:
    """What does the customer who wrote this e-mail to a shop want?

    refund: money back, for whatever reason, and the customer says so. delivery: to know or change when, where or how
    an order arrives, or to have it sent again. complaint: to be heard about bad goods, service or advertising,
    without asking for money. other: anything else (questions before buying, invoices, accounts, jobs, thanks,
    advertising). What is quoted from earlier mails does not count, only the customer's own words.
    """
    if not _says_something(email):
        return "other"
    return ask((own_words(email) or email).replace("#", "# "), noticed(email))


@intent.check
def is_no_instruction(kind: Kind, email: str) -> None:
    """Text that addresses the machine instead of the shop is decided by nobody automatic."""
    if speaks_to_a_machine(email):
        raise ValueError("the e-mail gives instructions to the assistant or system; a person must read it")


@intent.check
def is_of_the_customer(kind: Kind, email: str) -> None:
    """A mail that is all quotes, or forwarded whole, says nothing of its own; what is meant is not ours to guess."""
    if _says_something(email) and not _says_something(own_words(email)):
        raise ValueError("the e-mail has no words of its own, only quoted or forwarded ones; a person must read it")


def _says_something(text: str) -> bool:
    return any(letter.isalnum() for letter in text)


@intent.check
def is_no_book(kind: Kind, email: str) -> None:
    """In very long mails anything can be hidden."""
    if len(email.split()) > TOO_LONG:
        raise ValueError(f"the e-mail has more than {TOO_LONG} words; a person must read it")


@intent.check
def refund_is_asked_for(kind: Kind, email: str) -> None:
    """`refund` stands exactly when the customer's own words ask for money back."""
    if kind != "refund":
        if asks_money_back(email):
            raise ValueError(f"not {kind}: the customer's own words ask for money back")
        return
    if "only_asking" in guards(own_words(email)) or "before_buying" in themes(email):
        raise ValueError("it seems to be a question about the rules, not a request for money back")
    if not asks_money_back(email):
        raise ValueError(
            "no refund: the customer's own words ask for no money back, or only on a condition, or say it has come, or take it back"
        )


@intent.check
def words_speak_for_it(kind: Kind, email: str) -> None:
    """An answer for which nothing in the mail speaks, or much less than for another, is doubted."""
    found = themes(email)
    if not found or not own_words(email):
        return
    said = {name: sum(found.get(theme, 0) for theme in wanted) for name, wanted in SPEAKS_OF.items()}
    likely = max(said, key=lambda name: said[name])
    if said[likely] and not said[kind]:
        raise ValueError(f"nothing in the e-mail speaks of {kind}, but some of its words speak of {likely}")
    if said[likely] - said[kind] >= MARGIN:
        raise ValueError(f"much more in the e-mail speaks of {likely} than of {kind}")
