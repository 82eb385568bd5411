"""A fisheye lens: where in the picture each point of a flat scene comes to lie.

A point of the scene at distance r from the middle is seen under the angle atan(r / f); an
equidistant fisheye puts it at a distance proportional to that angle (as in the data sheets of
such lenses, r = k * angle). k is chosen so that what touches the upper or lower edge of the
scene's usable part stays there: the whole scene is in the picture, and the rest is black.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture: TypeAlias = NDArray[np.uint8]
    Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Fisheye:
    """`angle_deg` is that of the scene's corners; `fixed_px` the radius that stays as it is."""

    width_px: int
    height_px: int
    angle_deg: float
    fixed_px: float

    @property
    def _focal_px(self) -> float:
        return (
            math.hypot(self.width_px, self.height_px) / 2 / math.tan(math.radians(self.angle_deg))
        )

    @property
    def _per_radian_px(self) -> float:
        return self.fixed_px / math.atan(self.fixed_px / self._focal_px)

    def forward(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Where points of the scene (pixels from its upper left corner) are in the picture."""
        dx, dy = x - self.width_px / 2, y - self.height_px / 2
        radius = np.maximum(np.hypot(dx, dy), 1e-9)
        scale = self._per_radian_px * np.arctan(radius / self._focal_px) / radius
        return self.width_px / 2 + dx * scale, self.height_px / 2 + dy * scale

    def apply(self, picture: Picture) -> None:
        """Bend `picture` (H x W x 3) in place; black where there is no scene."""
        sources, outside = self._sources
        flat = picture.reshape(-1, 3)
        flat[:] = flat.take(sources, axis=0)
        flat[outside] = 0

    def box(self, seen: NDArray[np.bool_], left: int, top: int) -> tuple[int, int, int, int] | None:
        """Left, top, right, bottom (pixels, the last two excluded) of what is `seen`.

        `seen` is a mask of the scene with its corner at (left, top). None where no pixel of the
        picture shows any of it.
        """
        rows, columns = np.nonzero(seen)
        if len(rows) == 0:
            return None
        # Two neighbours of the mask may lie more than a pixel apart: look where they could be.
        x, y = self.forward(
            left + columns[:, None] + np.array([0.0, 1.0, 0.0, 1.0]),
            top + rows[:, None] + np.array([0.0, 0.0, 1.0, 1.0]),
        )
        x0, y0 = max(0, math.floor(x.min())), max(0, math.floor(y.min()))
        x1, y1 = min(self.width_px, math.ceil(x.max())), min(self.height_px, math.ceil(y.max()))
        sources = self._sources[0].reshape(self.height_px, self.width_px)[y0:y1, x0:x1]
        down, right = np.divmod(sources, self.width_px)
        down, right = down - top, right - left
        inside = (down >= 0) & (right >= 0) & (down < seen.shape[0]) & (right < seen.shape[1])
        inside[inside] = seen[down[inside], right[inside]]
        down, right = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if len(down) == 0:
            return None
        return (
            x0 + int(right[0]),
            y0 + int(down[0]),
            x0 + int(right[-1]) + 1,
            y0 + int(down[-1]) + 1,
        )

    @cached_property
    def _sources(self) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The scene's pixel for every pixel of the picture, and where there is none."""
        y, x = np.mgrid[0.5 : self.height_px, 0.5 : self.width_px]
        dx, dy = x - self.width_px / 2, y - self.height_px / 2
        radius = np.maximum(np.hypot(dx, dy), 1e-9)
        angle = np.minimum(radius / self._per_radian_px, math.radians(89.0))
        scale = self._focal_px * np.tan(angle) / radius
        column = np.floor(self.width_px / 2 + dx * scale).astype(np.intp)
        row = np.floor(self.height_px / 2 + dy * scale).astype(np.intp)
        outside = (row < 0) | (column < 0) | (row >= self.height_px) | (column >= self.width_px)
        return np.where(outside, 0, row * self.width_px + column).ravel(), outside.ravel()
