"""The order of texts without regard to case, as ICU, MySQL and MariaDB have it.

It is that of Unicode Technical Standard 10 on its second level: the letters first, then their
accents. Here it is for ASCII, for Latin letters up to U+017F, for Greek and for Cyrillic; other
letters follow by code point.
"""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import category, combining, normalize

INVISIBLE = re.compile("[\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b-\u200f\u2060-\u2064\ufe0f]")
"""What no collation sees."""

STROKE = "\u0335"
PARTS = str.maketrans(
    {
        "\N{GREEK SMALL LETTER FINAL SIGMA}": "\N{GREEK SMALL LETTER SIGMA}",
        "\N{LATIN SMALL LETTER SHARP S}": f"s{STROKE}s",
        "\N{LATIN SMALL LETTER AE}": f"a{STROKE}e",
        "\N{LATIN SMALL LIGATURE OE}": f"o{STROKE}e",
        "\N{LATIN SMALL LETTER O WITH STROKE}": "o\u0338",
        "\N{LATIN SMALL LETTER D WITH STROKE}": f"d{STROKE}",
        "\N{LATIN SMALL LETTER H WITH STROKE}": f"h{STROKE}",
        "\N{LATIN SMALL LETTER ETH}": "d\u0336",
        "\N{LATIN SMALL LETTER L WITH STROKE}": "l\u0337",
    }
)
"""Letters that are others with an accent, which normalizing does not take apart."""

BEHIND = {"i": "\u0131", "n": "ŋ", "q": "ĸ", "t": "ŧ"} | {
    "д": "ђ",
    "\u0435": "є",
    "з": "\u0455",
    "и": "ійј",
    "л": "љ",
    "н": "њ",
    "т": "ћ",
    "ч": "џ",
}
"""Letters, and those that come right behind them in spite of their code points."""

SIGNS = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$"
PLACES = {
    **{sign: chr(place) for place, sign in enumerate(SIGNS)},
    **{
        later: f"{first}{chr(place)}"
        for first, others in BEHIND.items()
        for place, later in enumerate(others, 0xFFF0)
    },
}
"""What stands for a letter or a sign where it is sorted."""

CLASSES = "ZPSNL"
"""Spaces, punctuation, symbols, digits, letters."""

ACCENTS = (
    "\u0301\u0300\u0306\u0302\u030c\u030a\u0308\u030b\u0303\u0307"
    "\u0335\u0336\u0338\u0327\u0337\u0328\u0304"
)
"""The accents in their order: acute, grave, breve, circumflex, caron, ring, diaeresis …"""

KEPT = 10_000
"""Texts whose keys are remembered: an index compares the same ones over and over."""


def letters(text: str) -> str:
    """Return a text without case, each accent behind its letter."""
    if text.isascii():
        return INVISIBLE.sub("", text.lower())
    parted = normalize("NFKD", normalize("NFKD", text).lower()).translate(PARTS)
    found = INVISIBLE.sub("", parted)
    return found.replace("и\u0306", "й")  # that is a letter of its own


@lru_cache(KEPT)
def key(text: str) -> tuple[list[tuple[int, str]], list[str]]:
    """Return what a text is sorted by; two texts with one key are equal."""
    base: list[tuple[int, str]] = []
    accents: list[str] = []
    for letter in letters(text):
        if combining(letter) and base:
            place = ACCENTS.find(letter)
            accents[-1] += letter if place < 0 else chr(place)
        else:
            base.append((CLASSES.find(category(letter)[0]), PLACES.get(letter, letter)))
            accents.append("")
    return base, accents


def compare(one: str, other: str) -> int:
    """Say which of two texts comes later."""
    a, b = key(one), key(other)
    return (a > b) - (a < b)
