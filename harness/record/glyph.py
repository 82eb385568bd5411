"""A font of 5 x 7 dots, for what cameras and displays write over pictures."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

GLYPH_HEIGHT, GLYPH_WIDTH = 7, 5
# Seven rows a glyph, five bits each, the leftmost dot highest; two digits in base 32 a row.
_GLYPHS = {
    "0": "0e11131519110e", "1": "040c040404040e", "2": "0e11010204081f", "3": "1f02040201110e",
    "4": "02060a121f0202", "5": "1f101e0101110e", "6": "0608101e11110e", "7": "1f010204080808",
    "8": "0e11110e11110e", "9": "0e11110f01020c", "A": "0e11111f111111", "B": "1e11111e11111e",
    "C": "0e11101010110e", "D": "1c12111111121c", "E": "1f10101e10101f", "F": "1f10101e101010",
    "G": "0e11101711110f", "H": "1111111f111111", "I": "0e04040404040e", "J": "0702020202120c",
    "K": "11121418141211", "L": "1010101010101f", "M": "111b1515111111", "N": "11111915131111",
    "O": "0e11111111110e", "P": "1e11111e101010", "Q": "0e11111115120d", "R": "1e11111e141211",
    "S": "0f10100e01011e", "T": "1f040404040404", "U": "1111111111110e", "V": "11111111110a04",
    "W": "11111115151b11", "X": "11110a040a1111", "Y": "1111110a040404", "Z": "1f01020408101f",
    " ": "00000000000000", "-": "0000001f000000", ".": "00000000000c0c", ":": "000c0c000c0c00",
    "/": "01010204081010", "_": "0000000000001f", "#": "0a0a1f0a1f0a0a", "?": "0e110102040004",
}  # fmt: skip


@lru_cache(maxsize=256)
def glyph(letter: str) -> NDArray[np.bool_]:
    """Dots of a letter and the space after it; a question mark for one the font does not have."""
    rows = bytes.fromhex(_GLYPHS.get(letter, _GLYPHS["?"]))
    bits = np.unpackbits(np.frombuffer(rows, np.uint8)[:, None], axis=1)[:, -GLYPH_WIDTH:]
    return np.pad(bits.astype(np.bool_), ((0, 0), (0, 1)))
