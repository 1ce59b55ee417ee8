"""`order`, `gist`, `invoice`: numbers and sums are read by code, and doubt is said."""

from __future__ import annotations

import pytest
from agentfleet.stock.skills.gist.skill import gist
from agentfleet.stock.skills.invoice.skill import Invoice, invoice, printed_totals
from agentfleet.stock.skills.order.skill import Order, amounts, misspelt, order, order_numbers

from agentfleet.testing import scripted


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It cost 49.90 for order AB-123456.", [49.9]),
        ("49,90 € bitte", [49.9]),
        ("€ 1.299,00", [1299.0]),
        ("$1,299.00 please", [1299.0]),
        ("1'250.- CHF", [1250.0]),
        ("120 euros and again 120,00 €", [120.0]),
        ("599 kr", [599.0]),
        ("£12.99 then £5", [12.99, 5.0]),
        ("nothing of value in 2026, on 12 May at 14:30, 3 pieces of 60 cm", []),
        ("version 2.10.11 and 15.03.2026", []),
        ("it weighs 2,50 kg", []),
        ("order AB-123456", []),
        ("1.299,00 and 12,000.00", [1299.0, 12000.0]),
    ],
)
def test_amounts(text: str, found: list[float]) -> None:
    assert amounts(text) == found


def test_order_numbers() -> None:
    assert order_numbers("AB-123456, AB-123456 and CD-654321; not XAB-123456, AB-1234567 or ab-123456") == [
        "AB-123456",
        "CD-654321",
    ]
    assert misspelt("AB-12345 or ab-123456 or AB-123456") == ["AB-12345", "ab-123456"]


def refused(found: Order | None, email: str) -> str:
    for check in order.checks:
        try:
            check(found, email)
        except ValueError as error:
            return str(error)
    return ""


GOOD = "Please refund 20.00 for AB-123456."


def test_one_of_each_is_taken() -> None:
    assert refused(Order(order_id="AB-123456", amount=20), GOOD) == ""
    assert "answer with these" in refused(Order(order_id="AB-123456", amount=2), GOOD)
    assert "answer with these" in refused(None, GOOD)


@pytest.mark.parametrize(
    "email",
    [
        "Refund 20.00 for AB-123456 or CD-123456.",
        "Refund 20.00, or was it 30.00, for AB-123456.",
        "Refund 20.00 for AB-123456, on the bill it says AB-12345.",
    ],
)
def test_several_are_unclear(email: str) -> None:
    assert "unclear" in refused(Order(order_id="AB-123456", amount=20), email)


def test_quotes_do_not_count() -> None:
    assert refused(Order(order_id="AB-123456", amount=20), GOOD + "\n> CD-111111 for 30.00") == ""
    assert "not name both" in refused(Order(order_id="AB-123456", amount=20), "My money back.\n> AB-123456 20.00")


def test_large_and_empty_sums_need_a_person() -> None:
    assert "second look" in refused(Order(order_id="AB-123456", amount=12_000), "Refund 12,000.00 for AB-123456.")
    assert "second look" in refused(Order(order_id="AB-123456", amount=0), "Refund 0.00 for AB-123456.")


def test_nothing_to_find_asks_no_model() -> None:
    for email in ("", "Where is it?", "AB-123456 please", "20.00 please", "> AB-123456 20.00"):
        assert "answered by the body" in order.prompt(email=email)


def gist_refused(text: str, email: str) -> str:
    for check in gist.checks:
        try:
            check(text, email)
        except ValueError as error:
            return str(error)
    return ""


def test_gist_says_no_new_numbers() -> None:
    email = "Please send order AB-123456, 1,299.00 paid, and my chair, which is late. " * 20
    answers = ["Wants order AB-999999.", "Wants 50 back.", "Wants order AB-123456 for 1299."]
    with scripted({"gist": answers}):
        run = gist.run(email=email)
    assert run.value == answers[-1]
    assert [attempt.problem.split(" ")[0] for attempt in run.steps["gist"].attempts] == ["'AB-999999'", "'50'", ""]


def test_gist_is_short() -> None:
    email = "Where is my chair?"
    assert "empty" in gist_refused(" ", email)
    assert "characters" in gist_refused("x" * 300, email)


def test_a_short_mail_is_its_own_gist() -> None:
    assert "Where is my chair?" in gist.prompt(email="Subject: chair\n\nHello,\nWhere is my chair?")
    assert "'The e-mail is empty.'" in gist.prompt(email="")
    assert "answered by the body" not in gist.prompt(email="The chair is lost and so am I, " * 60)


INVOICE = "Invoice no. 77-A\nHammer 10.00\nSubtotal 10.00\nVAT 1.90\nTotal due 11.90"


def test_invoice_totals() -> None:
    assert printed_totals(INVOICE) == [11.9]
    assert printed_totals("Zwischensumme 10,00\nGesamtbetrag: 1.011,90 EUR") == [1011.9]
    for check in invoice.checks:
        check(Invoice(number="77-A", total=11.9), INVOICE, "EUR")
    with pytest.raises(ValueError, match="printed as 11.9"):
        for check in invoice.checks:
            check(Invoice(number="77-A", total=10), INVOICE, "EUR")
    with pytest.raises(ValueError, match="no invoice number"):
        for check in invoice.checks:
            check(Invoice(number="Invoice", total=11.9), INVOICE, "EUR")
