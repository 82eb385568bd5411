"""Scenes with ground truth: the same seed gives the same pictures and the same boxes.

Persons (tall, red) and vehicles (wide, blue) move over a grey textured background, below the
strip of the frame code. Every object has a lane of its own while there are lanes left, so that
objects rarely hide one another; where they do, the later one is in front and the truth tells
the part that is seen. Paths are whole periods of a cosine, so the clip repeats without a jump.
`Look` adds night, weather, things in the way, a fisheye lens and writing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from harness.camera.picture import caption, paint, weather
from harness.camera.picture.lens import Fisheye
from harness.errors import InputError
from harness.record.framecode import WIDTH_MIN_PX, strip_height_px
from harness.scenario.look import BICYCLE, LABELS, PERSON, PLAIN, VEHICLE, Look

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Picture: TypeAlias = NDArray[np.uint8]
    Mask: TypeAlias = NDArray[np.bool_]

__all__ = ["LABELS", "PERSON", "VEHICLE", "Box", "Look", "Scene", "SceneSpec"]

LANES_MAX = 5
OBJECTS_MAX = 32
SPEED_WIDTHS_PER_S = 0.12  # mean speed across the picture
SPEED_HEIGHTS_PER_S = 0.03
HEIGHT_SHARE_MIN = 0.09  # of the picture's height: what a detector of stride 8 still finds
_PAINT = {PERSON: paint.person, VEHICLE: paint.vehicle, BICYCLE: paint.bicycle}
_ASPECT = {PERSON: 0.42, VEHICLE: 2.3, BICYCLE: 1.6}  # width over height
_LANE_SHARE = {PERSON: (0.62, 0.8), VEHICLE: (0.42, 0.58), BICYCLE: (0.5, 0.65)}
_POST_WIDTHS = (0.02, 0.05)  # of the picture's width
_WALL_WIDTHS = (0.1, 0.2)
_WALL_HEIGHTS = (0.08, 0.2)  # of the height
_NOISE_MARGIN_PX = 64


@dataclass(frozen=True, slots=True)
class Box:
    """What is seen of one object, as shares of the picture's width and height (0 to 1).

    `track` is the object's number in its scene, where the box is of the truth.
    """

    label: str
    left: float
    top: float
    right: float
    bottom: float
    track: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """Everything a scene depends on. `noise` is the camera's, in luma steps (peak)."""

    width_px: int
    height_px: int
    frames: int
    rate_fps: float
    objects: int
    seed: int
    noise: int = 3
    look: Look = PLAIN

    @property
    def top_px(self) -> int:
        """Rows that the strip of the frame code takes."""
        return strip_height_px(self.width_px)

    @property
    def floor_px(self) -> int:
        """Where the scene ends: the picture's height, or where writing begins."""
        plate = caption.plate_height_px(self.height_px) if self.look.written else 0
        return self.height_px - plate

    def __post_init__(self) -> None:
        if self.width_px < WIDTH_MIN_PX or self.height_px < 3 * strip_height_px(self.width_px):
            raise InputError(
                f"a scene of {self.width_px}x{self.height_px} pixels is too small",
                hint=f"at least {WIDTH_MIN_PX} wide, and no wider than 5 times the height",
            )
        if not 0 <= self.objects <= OBJECTS_MAX:
            raise InputError(
                f"a scene of {self.objects} objects", hint=f"0 to {OBJECTS_MAX} objects"
            )
        if self.frames < 1 or not math.isfinite(self.rate_fps) or self.rate_fps <= 0:
            raise InputError(
                f"a scene of {self.frames} frames at {self.rate_fps} fps",
                hint="at least one frame, and a rate above 0",
            )


@dataclass(frozen=True, slots=True)
class _Mover:
    """One object: its picture, and its path as two cosines (pixels, whole periods a clip)."""

    label: str
    sprite: Picture  # h x w x 3
    mask: Mask  # h x w
    left_px: float
    top_px: float
    range_x_px: float
    range_y_px: float
    periods_x: int
    periods_y: int
    phase_x: float
    phase_y: float

    def corner(self, share: float) -> tuple[int, int]:
        """Left and top in pixels when `share` (0 to 1) of the clip has passed."""
        x = 0.5 - 0.5 * math.cos(math.tau * (self.periods_x * share + self.phase_x))
        y = 0.5 - 0.5 * math.cos(math.tau * (self.periods_y * share + self.phase_y))
        return round(self.left_px + x * self.range_x_px), round(self.top_px + y * self.range_y_px)


class Scene:
    """Renders `spec`; `truth` needs no rendering."""

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        rng = np.random.default_rng([spec.seed, 1])
        self._movers = _movers(spec, rng)
        self._fixtures = _occluders(spec, np.random.default_rng([spec.seed, 4]))
        self._falling = weather.falling(
            spec.look,
            spec.height_px,
            spec.width_px,
            spec.frames / spec.rate_fps,
            np.random.default_rng([spec.seed, 5]),
        )
        self._lens = _lens(spec)

    def render(self, index: int, out: Picture | None = None) -> Picture:
        """Frame `index` (of the repeating clip) as H x W x 3 BGR; into `out` when given."""
        spec = self.spec
        if out is None:
            out = np.empty((spec.height_px, spec.width_px, 3), np.uint8)
        frame = index % spec.frames
        self._render_background(frame, out)
        for mover, (left, top) in self._placed(frame / spec.frames):
            height, width = mover.mask.shape
            target = out[top : top + height, left : left + width]
            np.copyto(target, mover.sprite, where=mover.mask[:, :, None])
        if self._falling is not None:
            self._falling.draw(out, frame / spec.frames, spec.top_px)
        if self._lens is not None:
            self._lens.apply(out)
        if spec.look.written:
            caption.draw(out, self._text(frame))
        return out

    def truth(self, index: int) -> tuple[Box, ...]:
        """A box round the visible part of every object that is seen in frame `index`.

        An object is seen when at least a pixel of it is, and at least the share of its area that
        `Look.visibility_min` asks for.
        """
        spec = self.spec
        placed = self._placed(index % spec.frames / spec.frames)
        boxes = []
        for number, (mover, (left, top)) in enumerate(placed[: len(self._movers)]):
            seen = _uncovered(mover.mask, left, top, placed[number + 1 :])
            if seen.sum() < spec.look.visibility_min * mover.mask.sum():
                continue
            bounds = self._bounds(seen, left, top)
            if bounds is not None:
                x0, y0, x1, y1 = bounds
                boxes.append(
                    Box(
                        mover.label,
                        x0 / spec.width_px,
                        y0 / spec.height_px,
                        x1 / spec.width_px,
                        y1 / spec.height_px,
                        number,
                    )
                )
        return tuple(boxes)

    def _placed(self, share: float) -> list[tuple[_Mover, tuple[int, int]]]:
        """Everything that stands in the scene and where its corner is; what is in front last."""
        return [(mover, mover.corner(share)) for mover in (*self._movers, *self._fixtures)]

    def _bounds(self, seen: Mask, left: int, top: int) -> tuple[int, int, int, int] | None:
        if self._lens is not None:
            return self._lens.box(seen, left, top)
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        if len(rows) == 0:
            return None
        return (
            left + int(columns[0]),
            top + int(rows[0]),
            left + int(columns[-1]) + 1,
            top + int(rows[-1]) + 1,
        )

    def _text(self, frame: int) -> str:
        look = self.spec.look
        now = caption.clock_text(round(frame * 1_000_000 / self.spec.rate_fps))
        return "  ".join(part for part in (look.caption, now if look.clock else "") if part)

    def _render_background(self, index: int, out: Picture) -> None:
        if self.spec.noise == 0:
            np.copyto(out, self._background)
            return
        # One tile of noise, looked at from another place in every frame: as good as fresh noise
        # to an encoder and thirty times cheaper. It is signed; uint8 addition wraps as needed,
        # and the background keeps clear of 0 and 255.
        x, y = index * 37 % _NOISE_MARGIN_PX, index * 23 % _NOISE_MARGIN_PX
        noise = self._noise[y : y + self.spec.height_px, x : x + self.spec.width_px]
        np.add(self._background, noise, out=out)

    @cached_property
    def _background(self) -> Picture:
        rng = np.random.default_rng([self.spec.seed, 2])
        street = paint.background(self.spec.height_px, self.spec.width_px, rng)
        return weather.tint(street, self.spec.look)

    @cached_property
    def _noise(self) -> Picture:
        rng = np.random.default_rng([self.spec.seed, 3])
        shape = (self.spec.height_px + _NOISE_MARGIN_PX, self.spec.width_px + _NOISE_MARGIN_PX, 1)
        grey = rng.integers(-self.spec.noise, self.spec.noise + 1, shape, np.int8)
        return np.repeat(grey, 3, axis=2).view(np.uint8)


def _uncovered(
    mask: Mask, left: int, top: int, front: Iterable[tuple[_Mover, tuple[int, int]]]
) -> Mask:
    """`mask` with its corner at (left, top), less what the objects in `front` of it cover."""
    height, width = mask.shape
    seen = mask
    for other, (other_left, other_top) in front:
        x, y = other_left - left, other_top - top
        other_height, other_width = other.mask.shape
        if x >= width or y >= height or x + other_width <= 0 or y + other_height <= 0:
            continue
        seen = seen.copy() if seen is mask else seen
        cover = other.mask[max(0, -y) : height - y, max(0, -x) : width - x]
        part = seen[max(0, y) : y + other_height, max(0, x) : x + other_width]
        part &= ~cover
    return seen


def _movers(spec: SceneSpec, rng: np.random.Generator) -> tuple[_Mover, ...]:
    labels = spec.look.labels
    first = int(rng.integers(len(labels)))
    lanes = max(1, min(spec.objects, LANES_MAX))
    top = spec.top_px
    lane_px = (spec.floor_px - top) // lanes
    return tuple(
        _mover(
            spec,
            labels[(first + number) % len(labels)],
            top + number % lanes * lane_px,
            lane_px,
            rng,
        )
        for number in range(spec.objects)
    )


def _mover(
    spec: SceneSpec, label: str, lane_top_px: int, lane_px: int, rng: np.random.Generator
) -> _Mover:
    share, size = rng.uniform(*_LANE_SHARE[label]), spec.look.size
    height = min(round(share * lane_px * size), round(0.3 * spec.height_px * size))
    least = math.ceil(HEIGHT_SHARE_MIN * min(1.0, size) * spec.height_px)
    height = min(lane_px, max(height, least))
    width = min(round(height * _ASPECT[label]), spec.width_px // 3)
    sprite, mask = _PAINT[label](height, width, rng)
    sprite = weather.tint(sprite, spec.look)
    clip_s = spec.frames / spec.rate_fps
    free_x, free_y = spec.width_px - width, lane_px - height
    periods, range_x = _there_and_back(free_x, SPEED_WIDTHS_PER_S * spec.width_px * clip_s)
    periods_y, range_y = _there_and_back(free_y, SPEED_HEIGHTS_PER_S * spec.height_px * clip_s)
    return _Mover(
        label=label,
        sprite=sprite,
        mask=mask,
        left_px=rng.uniform(0, free_x - range_x),
        top_px=lane_top_px + rng.uniform(0, free_y - range_y),
        range_x_px=range_x,
        range_y_px=range_y,
        periods_x=periods,
        periods_y=periods_y,
        phase_x=rng.uniform(),
        phase_y=rng.uniform(),
    )


def _there_and_back(free_px: float, way_px: float) -> tuple[int, float]:
    """Periods and range of a path about `way_px` long that stays within `free_px`."""
    if way_px <= 2 * free_px:
        return 1, way_px / 2
    return max(1, round(way_px / (2 * max(free_px, 1)))), free_px


def _occluders(spec: SceneSpec, rng: np.random.Generator) -> tuple[_Mover, ...]:
    """Posts over the whole height, and low walls, in turn: grey, before all objects."""
    room = spec.floor_px - spec.top_px
    fixtures = []
    for number in range(spec.look.occluders):
        post = number % 2 == 0
        width = max(
            2, round(rng.uniform(*(_POST_WIDTHS if post else _WALL_WIDTHS)) * spec.width_px)
        )
        share = 1.0 if post else rng.uniform(*_WALL_HEIGHTS)
        height = max(2, round(share * room))
        sprite = weather.tint(paint.background(height, width, rng), spec.look)
        left = rng.uniform(0, spec.width_px - width)
        top = spec.top_px + rng.uniform(0, room - height)
        mask = np.ones((height, width), np.bool_)
        fixtures.append(_Mover("", sprite, mask, left, top, 0.0, 0.0, 0, 0, 0.0, 0.0))
    return tuple(fixtures)


def _lens(spec: SceneSpec) -> Fisheye | None:
    if not spec.look.fisheye_deg:
        return None
    edge_px = max(spec.top_px, spec.height_px - spec.floor_px)
    fixed_px = spec.height_px / 2 - edge_px
    return Fisheye(spec.width_px, spec.height_px, spec.look.fisheye_deg, fixed_px)
