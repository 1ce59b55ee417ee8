"""Months and small counts as people write them in words, in the languages of the stock: so that a summary may say them
in digits.
"""

from __future__ import annotations

import re

from agentfleet.text import fold

_WORD = re.compile(r"[^\W\d_]+")
_MONTHS = (
    "january jan januar janvier enero ene gennaio gen janeiro januari stycznia styczen",
    "february feb februar februari fevrier febrero febbraio fevereiro fev lutego luty",
    "march mar marz maerz mars marzo marco maart mrt marca marzec marts",
    "april apr avril abril abr aprile kwietnia kwiecien",
    "may mai mayo maggio mag maio mei maja maj",
    "june jun juni juin junio giugno giu junho czerwca czerwiec",
    "july jul juli juillet julio luglio lug julho lipca lipiec",
    "august aug aout agosto ago augustus sierpnia sierpien augusti",
    "september sep sept septembre septiembre settembre set setembro wrzesnia wrzesien",
    "october oct oktober okt octobre octubre ottobre ott outubro out pazdziernika pazdziernik",
    "november nov novembre noviembre novembro listopada listopad",
    "december dec dezember dez decembre diciembre dic dicembre dezembro grudnia grudzien desember",
)
_COUNTS = {
    0: "zero none null cero",
    1: "one a an once single ein eine einen einem einer eins un une uno una um uma een en et ett jeden jedna jedno",
    2: "two both twice pair couple double zwei zwo beide beiden zweimal deux dos ambos due dois duas twee dwa dwie tva to",
    3: "three thrice triple drei dreimal trois tres tre drie trzy",
    4: "four vier quatre cuatro quattro quatro cztery fyra fire",
    5: "five funf fuenf cinq cinco cinque vijf piec fem",
    6: "six sechs seis sei zes szesc sex seks",
    7: "seven sieben sept siete sette sete zeven siedem sju syv",
    8: "eight acht huit ocho otto oito osiem atta otte atte",
    9: "nine neun neuf nueve nove negen dziewiec nio ni",
    10: "ten zehn dix diez dieci dez tien dziesiec tio ti",
    11: "eleven elf onze undici",
    12: "twelve dozen zwolf zwoelf dutzend douze doce dodici doze twaalf dwanascie tolv",
}

MONTHS = {name: number for number, names in enumerate(_MONTHS, start=1) for name in names.split()}
"""Folded name of a month → its number."""
COUNTS = {word: number for number, words in _COUNTS.items() for word in words.split()}
"""Folded word → the count that it stands for."""


def counts_in(text: str) -> set[float]:
    """The small counts (0 to 12) that a text says in words: two, zwei, deux … Articles count as one."""
    return {float(COUNTS[word]) for word in _WORD.findall(fold(text)) if word in COUNTS}
