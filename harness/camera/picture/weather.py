"""Light and weather of a scene. All of it repeats with the clip.

Light and fog change colours the same way in every frame, so they are put into the things a scene
is made of, once. Rain and snow fall in front of it: each drop falls a whole number of times
through the picture in one clip, and where it is follows from the frame's number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from harness.scenario.look import FOG, NIGHT, RAIN, SNOW, Look

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture: TypeAlias = NDArray[np.uint8]

NIGHT_GAIN = 0.45  # street lamps: colours are still there
FOG_SHARE = 0.4  # of what reaches the camera
FOG_GREY = 150.0
DROPS_PER_MEGAPIXEL = {RAIN: 700, SNOW: 450}
_FALL_HEIGHTS_PER_S = {RAIN: 1.4, SNOW: 0.18}
_BRIGHT = {RAIN: 190, SNOW: 235}
_STREAK_HEIGHTS = 0.035  # how long a drop of rain smears
_FLAKE_HEIGHTS = 0.006  # how wide a flake is
_SWAY_WIDTHS = 0.01


def tint(picture: Picture, look: Look) -> Picture:
    """`picture` as it looks in this light and this fog."""
    levels = np.arange(256.0)
    if look.light == NIGHT:
        levels *= NIGHT_GAIN
    if look.weather == FOG:
        grey = FOG_GREY * (NIGHT_GAIN if look.light == NIGHT else 1.0)
        levels = levels * (1 - FOG_SHARE) + grey * FOG_SHARE
    changed: Picture = np.round(levels).astype(np.uint8)[picture]
    return changed


@dataclass(frozen=True, slots=True)
class Falling:
    """Drops of rain or flakes of snow: `top` rows of the picture stay free."""

    kind: str
    x: NDArray[np.float64]  # where each starts, in pixels
    y: NDArray[np.float64]
    falls: NDArray[np.int64]  # whole times through the picture in one clip
    shape: NDArray[np.intp]  # pixels of one drop, (row, column) from where it is
    bright: int

    def draw(self, picture: Picture, share: float, top: int) -> None:
        """Draw all of them when `share` (0 to 1) of the clip has passed."""
        height, width = picture.shape[:2]
        room = height - top
        y = (self.y + share * self.falls * room) % room
        x = self.x
        if self.kind == SNOW:
            x = x + _SWAY_WIDTHS * width * np.sin(2 * np.pi * (share * self.falls + self.y / room))
        rows = (y.astype(np.intp)[:, None] + self.shape[:, 0]) % room + top
        columns = (x.astype(np.intp)[:, None] + self.shape[:, 1]) % width
        picture[rows, columns] = self.bright


def falling(
    look: Look, height_px: int, width_px: int, clip_s: float, rng: np.random.Generator
) -> Falling | None:
    """What falls in this weather, None where nothing does."""
    kind = look.weather
    if kind not in DROPS_PER_MEGAPIXEL:
        return None
    count = max(1, round(DROPS_PER_MEGAPIXEL[kind] * height_px * width_px / 1e6))
    falls = np.maximum(
        1, np.round(rng.uniform(0.8, 1.2, count) * _FALL_HEIGHTS_PER_S[kind] * clip_s)
    )
    if kind == RAIN:
        length = max(2, round(_STREAK_HEIGHTS * height_px))
        shape = np.stack([np.arange(length), np.arange(length) // 6], axis=1)
    else:
        size = max(1, round(_FLAKE_HEIGHTS * height_px))
        shape = np.argwhere(np.ones((size, size)))
    return Falling(
        kind,
        rng.uniform(0, width_px, count),
        rng.uniform(0, height_px, count),
        falls.astype(np.int64),
        shape.astype(np.intp),
        round(_BRIGHT[kind] * (NIGHT_GAIN if look.light == NIGHT else 1.0)),
    )
