"""The pictures scenes are made of: persons, vehicles, bicycles, a background. Pure functions.

Objects fill their box: the mask touches all four edges, so the box of an object is the box of
its picture. Colours are BGR. Every part of an object keeps its colour clearly saturated (one
channel at least 60 above both others) and the background never does (at most 12), so that a
detector of colour has a fair task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture: TypeAlias = NDArray[np.uint8]
    Mask: TypeAlias = NDArray[np.bool_]
    Colour: TypeAlias = tuple[int, int, int]

SATURATION_MIN = 60  # of every part of an object
TINT_MAX = 12  # of every part of a background
_SHADE = 0.15  # how far the brightness of one object may differ from the next
_BACKGROUND_RANGE = (70.0, 160.0)

_SKIN: Colour = (100, 120, 220)
_COAT: Colour = (45, 45, 215)
_BAG: Colour = (25, 60, 165)
_TROUSERS: Colour = (40, 30, 165)
_BODY: Colour = (205, 70, 40)
_ROOF: Colour = (185, 60, 35)
_GLASS: Colour = (225, 155, 110)
_WHEEL: Colour = (120, 35, 30)
_FRAME: Colour = (60, 190, 70)
_TYRE: Colour = (40, 150, 45)


def person(height_px: int, width_px: int, rng: np.random.Generator) -> tuple[Picture, Mask]:
    """A walking person: head, coat, arms, two legs. `h x w x 3` picture, `h x w` mask."""
    y, x = _grid(height_px, width_px)
    head = ((x - 0.5) / 0.22) ** 2 + ((y - 0.09) / 0.095) ** 2 <= 1
    coat = (y >= 0.16) & (y < 0.58) & (abs(x - 0.5) <= 0.34 + 0.1 * (y - 0.16))
    arms = (y >= 0.20) & (y < 0.50)
    stride = 0.16 + 0.42 * np.clip((y - 0.58) / 0.42, 0, 1)
    legs = (y >= 0.56) & (abs(abs(x - 0.5) - stride * 0.62) <= 0.17)
    bag = (y >= 0.40) & (y < 0.56) & (x >= 0.62) & (x < 0.90)
    parts = ((legs, _TROUSERS), (arms, _COAT), (coat, _COAT), (head, _SKIN), (bag, _BAG))
    return _assemble(parts, rng)


def vehicle(height_px: int, width_px: int, rng: np.random.Generator) -> tuple[Picture, Mask]:
    """A car from the side: body, roof, windows, two wheels."""
    y, x = _grid(height_px, width_px)
    body = (y >= 0.38) & (y < 0.86)
    roof = (y < 0.45) & (abs(x - 0.47) <= 0.24 + 0.22 * y)
    glass = (y >= 0.09) & (y < 0.36) & (abs(x - 0.47) <= 0.19 + 0.22 * y) & (abs(x - 0.47) > 0.02)
    aspect = width_px / height_px
    wheels = np.zeros_like(body)
    for middle in (0.2, 0.8):
        wheels |= ((x - middle) * aspect) ** 2 + (y - 0.82) ** 2 <= 0.18**2
    wheels |= (y >= 0.95) & (abs(abs(x - 0.5) - 0.3) <= 0.06)
    parts = ((body, _BODY), (roof, _ROOF), (glass, _GLASS), (wheels, _WHEEL))
    return _assemble(parts, rng)


def bicycle(height_px: int, width_px: int, rng: np.random.Generator) -> tuple[Picture, Mask]:
    """A bicycle from the side: two wheels, a frame, saddle and handlebar."""
    y, x = _grid(height_px, width_px)
    aspect = width_px / height_px
    radius = min(0.36, 0.24 * aspect)
    wheels = np.zeros(y.shape, np.bool_)
    for middle in (radius / aspect, 1 - radius / aspect):
        distance = np.hypot((x - middle) * aspect, y - (1 - radius))
        wheels |= (distance <= radius) & (distance >= radius * 0.62)
        wheels |= (y >= 0.95) & (abs(x - middle) <= 0.1)
    wheels |= ((x < 0.06) | (x > 0.94)) & (abs(y - (1 - radius)) <= 0.12)
    frame = (abs(y - 0.4) <= 0.07) & (x > 0.28) & (x < 0.75)
    frame |= (abs(x - 0.32 - 0.1 * y) <= 0.04) & (y > 0.15) & (y < 0.75)
    frame |= (abs(x - 0.72 - 0.1 * y) <= 0.04) & (y < 0.75)
    bar = (y < 0.12) & (x > 0.62) & (x < 0.84)
    return _assemble(((wheels, _TYRE), (frame, _FRAME), (bar, _TYRE)), rng)


def background(height_px: int, width_px: int, rng: np.random.Generator) -> Picture:
    """A grey street: ground under a wall, with texture from coarse to fine."""
    low, high = _BACKGROUND_RANGE
    y, _ = _grid(height_px, width_px)
    horizon = rng.uniform(0.3, 0.5)
    grey = np.where(y < horizon, 132.0, 104.0) + 18 * (y - horizon)
    for cells, strength in ((4, 14.0), (13, 9.0), (41, 7.0)):
        grey = grey + strength * _smooth_noise(height_px, width_px, cells, rng)
    grey = np.clip(grey, low, high)
    tint = rng.uniform(-TINT_MAX / 2, TINT_MAX / 2, 3)
    return np.ascontiguousarray(grey[:, :, None] + tint, np.uint8)


def _grid(height_px: int, width_px: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middles of the pixels as shares of height and width."""
    y = (np.arange(height_px) + 0.5) / height_px
    x = (np.arange(width_px) + 0.5) / width_px
    return np.broadcast_arrays(y[:, None], x[None, :])  # type: ignore[return-value]


def _assemble(
    parts: tuple[tuple[Mask, Colour], ...], rng: np.random.Generator
) -> tuple[Picture, Mask]:
    shade = rng.uniform(1 - _SHADE, 1 + _SHADE / 2)
    mask = np.zeros(parts[0][0].shape, np.bool_)
    picture = np.zeros((*mask.shape, 3), np.uint8)
    for part, colour in parts:
        picture[part] = np.clip(np.array(colour) * shade, 0, 255)
        mask |= part
    return picture, mask


def _smooth_noise(
    height_px: int, width_px: int, cells: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Values in -1..1, linear between random points, `cells` of them across the height."""
    across = max(2, round(cells * width_px / height_px))
    points = rng.uniform(-1, 1, (cells + 1, across + 1))
    rows = np.linspace(0, cells, height_px, endpoint=False)
    columns = np.linspace(0, across, width_px, endpoint=False)
    top, left = rows.astype(np.intp), columns.astype(np.intp)
    down, right = (rows - top)[:, None], columns - left
    upper = points[top][:, left] * (1 - right) + points[top][:, left + 1] * right
    lower = points[top + 1][:, left] * (1 - right) + points[top + 1][:, left + 1] * right
    result: NDArray[np.float64] = upper * (1 - down) + lower * down
    return result
