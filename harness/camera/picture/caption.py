"""Writing over the picture: a camera's name and a clock, in a font of 5 x 7 dots."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from harness.record.glyph import GLYPH_HEIGHT, glyph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture: TypeAlias = NDArray[np.uint8]

LINES_PER_DOT = 180  # a dot is a pixel of a picture of 180 lines, two of one of 360
_PLATE, _INK = 16, 235


def plate_height_px(height_px: int) -> int:
    """Rows along the lower edge that writing covers."""
    return (GLYPH_HEIGHT + 2) * _dot_px(height_px)


def draw(picture: Picture, text: str) -> None:
    """Write `text` on a dark plate along the lower edge of `picture`; what does not fit is cut."""
    height, width = picture.shape[:2]
    dot = _dot_px(height)
    dots = np.concatenate([glyph(letter) for letter in text.upper()], axis=1)
    ink = dots.repeat(dot, axis=0).repeat(dot, axis=1)[:, : width - 2 * dot]
    picture[height - plate_height_px(height) :] = _PLATE
    top = height - plate_height_px(height) + dot
    picture[top : top + ink.shape[0], dot : dot + ink.shape[1]][ink] = _INK


def clock_text(time_us: int) -> str:
    """Hours, minutes, seconds and milliseconds since the start of the clip."""
    seconds, rest = divmod(time_us, 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}.{rest // 1000:03}"


def _dot_px(height_px: int) -> int:
    return max(1, round(height_px / LINES_PER_DOT))
