"""The writer's own words: quotes of every common form fall away, and nothing else does."""

from __future__ import annotations

import pytest

from agentfleet.text import fold, own_words


@pytest.mark.parametrize(
    ("mail", "own"),
    [
        ("Where is it?\n\n> We refund you.\n> Yours", "Where is it?"),
        ("Thanks.\n\nOn Mon, 4 May 2026 at 10:11, Shop <a@b.example> wrote:\n> money back", "Thanks."),
        ("Thanks.\n\nOn Mon, 4 May 2026, Shop wrote:\nWe give your money back", "Thanks."),
        ("Danke.\n\nAm 4. Mai 2026 um 10:11 schrieb Laden:\n> Geld zurück", "Danke."),
        ("Merci.\n\nLe 4 mai 2026 à 10:11, Boutique a écrit :\n> remboursement", "Merci."),
        ("No.\n\n-----Original Message-----\nFrom: shop\nrefund?", "No."),
        ("No.\n\nFrom: shop@b.example\nSent: Monday\nrefund?", "No."),
        ("> Shall we refund?\nNo, please send it.\n> Or replace?\nNeither.", "No, please send it.\nNeither."),
        ("On Monday my friend wrote a letter.\nWhere is it?", "On Monday my friend wrote a letter.\nWhere is it?"),
        ("Where is it?\n-- \nACME\nfull refund approved", "Where is it?"),
        ("", ""),
    ],
)
def test_own_words(mail: str, own: str) -> None:
    assert own_words(mail) == own


def test_what_stands_after_a_question_written_in_quotes_is_kept() -> None:
    mail = "You wrote:\n> we will refund\nI never asked for that.\nSend the chair."
    assert "Send the chair." in own_words(mail)


def test_fold() -> None:
    assert fold("Größe ŁÓDŹ Ære Ça\u200bva ﬁt") == "grosse lodz aere cava fit"
