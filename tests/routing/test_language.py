"""Languages by small words and scripts: ordinary sentences are told apart, and what says nothing has no language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentfleet.routing.language import SMALL, language_of

SENTENCES = {
    "en": [
        "My parcel has not arrived and I would like to know where it is.",
        "Please cancel the order that I placed on Monday; the shoes are too small for me.",
        "What is the price of the blue one?",
    ],
    "de": [
        "Mein Paket ist noch nicht angekommen, bitte sagen Sie mir, wo es ist.",
        "Ich möchte die Bestellung von gestern stornieren.",
        "Die Rechnung stimmt nicht mit dem Angebot überein.",
    ],
    "fr": [
        "Je n'ai pas reçu mon colis, pouvez-vous me dire où il est ?",
        "Bonjour, la facture du mois dernier est fausse et je voudrais un remboursement pour les deux.",
    ],
    "es": [
        "No he recibido el paquete y quiero saber dónde está.",
        "Hola, por favor cancelen el pedido que hice para mi hermana.",
    ],
    "it": [
        "Il pacco non è arrivato e vorrei sapere dove si trova.",
        "La fattura della settimana scorsa non è giusta, ho pagato di più.",
    ],
    "nl": [
        "Mijn pakket is nog niet aangekomen en ik wil graag weten waar het is.",
        "De factuur van de vorige maand is niet juist, kan ik een nieuwe krijgen?",
    ],
    "pt": [
        "A minha encomenda não chegou e eu gostaria de saber o que se passa.",
        "O valor da fatura não está certo, você pode enviar uma nova para mim?",
    ],
    "pl": ["Moja paczka nie dotarła i nie wiem, co się z nią stało.", "Proszę o zwrot pieniędzy za to zamówienie."],
    "ru": ["Моя посылка ещё не пришла, где она?"],
    "uk": ["Моя посилка ще не прийшла, підкажіть, де її шукати?"],
    "ja": ["荷物がまだ届いていません。どこにありますか。"],
    "zh": ["我的包裹还没有到,请问在哪里?"],
    "ko": ["제 소포가 아직 도착하지 않았습니다."],
    "el": ["Το πακέτο μου δεν έχει φτάσει."],
    "ar": ["لم يصل طردي بعد"],
    "he": ["החבילה שלי עדיין לא הגיעה"],
    "hi": ["मेरा पार्सल अभी तक नहीं आया है"],
    "th": ["พัสดุของฉันยังไม่มาถึง"],
}


@pytest.mark.parametrize(("language", "text"), [(name, text) for name, texts in SENTENCES.items() for text in texts])
def test_sentences(language: str, text: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    "text", ["", "   ", "AB-123456", "42 17 3.5", "Zurich Basel Bern", "ok", "lorem ipsum dolor sit amet"]
)
def test_what_says_nothing_has_no_language(text: str) -> None:
    assert language_of(text) == ""


def test_a_foreign_word_or_name_does_not_change_the_language() -> None:
    assert language_of("Please send the 東京 catalogue and the one for Αθήνα to my address in the city.") == "en"


def test_half_one_language_half_another_is_neither() -> None:
    assert language_of("The parcel is not here and I want it. Das Paket ist nicht da und ich will es.") == ""


@given(st.text(max_size=200))
def test_any_text_has_a_known_language_or_none(text: str) -> None:
    found = language_of(text)
    assert found == "" or (
        len(found) == 2 and found in {*SMALL, "ja", "ko", "zh", "uk", "ru", "el", "he", "ar", "hi", "th"}
    )
