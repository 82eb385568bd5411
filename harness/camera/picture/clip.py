"""Clips: a scene encoded once to H.264, with the frame code in every picture.

Encoding is what costs, so a clip is encoded once and kept on disk under the hash of all that
went into it; every camera then sends the same access units in an endless loop. The first frame
of a clip is a key frame, so the loop has no seam for a decoder.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

from harness.camera.picture import cache, caption, encode, lens, paint, scene, weather
from harness.camera.picture import coding as encoders
from harness.camera.picture.cache import default_cache_dir
from harness.camera.picture.coding import changed
from harness.camera.picture.encode import AccessUnit
from harness.camera.wire import h264, h265
from harness.errors import InputError
from harness.record import framecode, glyph, reedsolomon, sei, strip
from harness.scenario import coding, look
from harness.scenario.coding import USUAL, Coding
from harness.scenario.look import PLAIN, Look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    Encoder: TypeAlias = "Callable[[ClipSpec], Iterable[AccessUnit]]"

__all__ = ["AccessUnit", "Clip", "ClipSpec", "default_cache_dir", "encoded", "load_clip"]

CLIP_FRAMES_MAX = 36_000  # 20 minutes at 30 frames a second
RATE_FPS_MAX = 120.0
_FRACTION_MAX = 100_000  # 30000/1001 and its kin stay exact
_RECIPE = (
    *(framecode, glyph, reedsolomon, strip, sei),
    *(caption, coding, encode, encoders, h264, h265, lens, look, paint, scene, weather),
)


class Stream(Protocol):
    """The numbers of a camera's stream, as profiles and plans have them."""

    @property
    def width_px(self) -> int: ...

    @property
    def height_px(self) -> int: ...

    @property
    def rate_fps(self) -> float: ...

    @property
    def gop_frames(self) -> int: ...

    @property
    def bitrate_kbps(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """All that a clip depends on. Rates in frames a second, bitrate in kbit/s.

    With `second_size_px` the second half of the clip has another size, so another SPS, as with a
    camera whose resolution is changed while it is watched. `source` is what a clip of a user's
    own video was made from (`picture.video`); it is empty for a scene. With `slow_fps` the
    second half of the clip has only so many frames a second, as with a camera that slows
    down in the dark; what is left out is an access unit without NAL units.
    """

    width_px: int
    height_px: int
    rate_fps: float
    duration_s: float
    gop_frames: int
    bitrate_kbps: int
    objects: int
    seed: int
    coding: Coding = USUAL
    look: Look = PLAIN
    second_size_px: tuple[int, int] | None = None
    source: str = ""
    slow_fps: float = 0.0

    @classmethod
    def of(
        cls,
        stream: Stream,
        *,
        duration_s: float,
        objects: int,
        seed: int,
        slow_rate_fps: float,
        coding: Coding,
        look: Look,
    ) -> Self:
        """What a camera films, of whose stream the numbers are."""
        return cls(
            width_px=stream.width_px,
            height_px=stream.height_px,
            rate_fps=stream.rate_fps,
            duration_s=duration_s,
            gop_frames=stream.gop_frames,
            bitrate_kbps=stream.bitrate_kbps,
            objects=objects,
            seed=seed,
            coding=coding,
            look=look,
            slow_fps=min(slow_rate_fps, stream.rate_fps),
        )

    def __post_init__(self) -> None:
        if self.width_px % 2 or self.height_px % 2:
            raise InputError(
                f"a clip of {self.width_px}x{self.height_px} pixels",
                hint="4:2:0 video needs an even width and an even height",
            )
        if not 0 < self.rate_fps <= RATE_FPS_MAX:
            raise InputError(
                f"a clip at {self.rate_fps} frames a second", hint=f"above 0, up to {RATE_FPS_MAX}"
            )
        if not math.isfinite(self.duration_s) or not 1 <= self.frames <= CLIP_FRAMES_MAX:
            raise InputError(
                f"a clip of {self.duration_s} s at {self.rate_fps} frames a second",
                hint=f"1 to {CLIP_FRAMES_MAX} frames",
            )
        if self.gop_frames < 1 or self.bitrate_kbps < 1:
            raise InputError(
                f"a clip with a key frame every {self.gop_frames} frames at "
                f"{self.bitrate_kbps} kbit/s",
                hint="both are at least 1",
            )
        self._check_parts()

    def _check_parts(self) -> None:
        width, height = self.second_size_px or (self.width_px, self.height_px)
        if self.second_size_px is not None and (width % 2 or height % 2 or self.frames < 2):
            raise InputError(
                f"a clip of {self.frames} frames that changes to {width}x{height} pixels",
                hint="at least 2 frames, and an even width and height",
            )
        if not 0 <= self.slow_fps <= self.rate_fps:
            raise InputError(
                f"a clip at {self.rate_fps} and then {self.slow_fps} frames a second",
                hint="slower, not faster",
            )
        self.coding.check(self.sizes, slows_down=self.slow_fps > 0)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Of the pictures, in pixels: one, or one after the other."""
        first = (self.width_px, self.height_px)
        return (first,) if self.second_size_px is None else (first, self.second_size_px)

    @property
    def frames(self) -> int:
        return round(self.duration_s * self.rate_fps)

    def skips(self, index: int) -> bool:
        """Whether a camera that slows down sends nothing for frame `index`."""
        late = index - self.frames // 2
        return self.slow_fps > 0 and late > 0 and late % round(self.rate_fps / self.slow_fps) > 0

    @property
    def rate(self) -> Fraction:
        return Fraction(self.rate_fps).limit_denominator(_FRACTION_MAX)

    @property
    def key(self) -> str:
        """SHA-256 (hex) of the spec, of the code that renders and encodes, and of its codec."""
        return hashlib.sha256(f"{self._text()}\n{_recipe_digest()}".encode()).hexdigest()

    @property
    def clip_id(self) -> int:
        """16 bits of the spec's hash: what the frame code carries."""
        return int.from_bytes(hashlib.sha256(self._text().encode()).digest()[:2], "big")

    def _text(self) -> str:
        """Options that are not used leave the identity of a clip as it is without them."""
        values = changed(self)
        for name in ("coding", "look"):
            if name in values:
                values[name] = changed(values[name])
        return json.dumps(values, sort_keys=True)

    @property
    def scenes(self) -> tuple[scene.SceneSpec, ...]:
        """What is filmed: once, or in two sizes one after the other."""
        return tuple(
            scene.SceneSpec(
                *size, self.frames, self.rate_fps, self.objects, self.seed, look=self.look
            )
            for size in self.sizes
        )

    def part(self, number: int) -> tuple[int, int]:
        """First frame of part `number` (0 or 1), and the one after its last."""
        if self.second_size_px is None:
            return 0, self.frames
        middle = self.frames // 2
        middle = middle // self.gop_frames * self.gop_frames or middle
        return (middle, self.frames) if number else (0, middle)

    def code(self, index: int) -> framecode.FrameCode:
        """What frame `index` says of itself."""
        return framecode.FrameCode(self.clip_id, index, self.time_us(index))

    def time_us(self, index: int) -> int:
        """When frame `index` is captured, in microseconds since the start of the clip."""
        return round(index * 1_000_000 / self.rate)


@dataclass(frozen=True, slots=True)
class Clip:
    """An encoded clip and the truth about it. `key` names what was encoded, and how.

    With `still` all pictures are that frame of the scene.
    """

    spec: ClipSpec
    access_units: tuple[AccessUnit, ...]
    _scenes: tuple[scene.Scene, ...] = field(repr=False, compare=False)
    key: str
    still: int | None = None

    @property
    def id(self) -> int:
        return self.spec.clip_id

    @property
    def fps(self) -> float:
        return self.spec.rate_fps

    @property
    def duration_s(self) -> float:
        """Length of one loop: exactly the frames times the time of a frame."""
        return float(len(self.access_units) / self.spec.rate)

    @property
    def sps(self) -> bytes:
        """Of H.264."""
        return self._parameter_set(h264.NAL_SPS)

    @property
    def pps(self) -> bytes:
        return self._parameter_set(h264.NAL_PPS)

    def truth(self, index: int) -> tuple[scene.Box, ...]:
        """Boxes of frame `index` (modulo the length of the clip); none in a user's own video."""
        if not self._scenes:
            return ()
        index = index if self.still is None else self.still
        late = index % self.spec.frames >= self.spec.part(0)[1]
        return self._scenes[-1 if late else 0].truth(index)

    def altered(
        self,
        spec: ClipSpec,
        access_units: tuple[AccessUnit, ...],
        key: str,
        *,
        still: int | None,
        black: bool,
    ) -> Clip:
        """The same scene encoded otherwise, as one picture of it, or with nothing to see."""
        return Clip(spec, access_units, () if black else self._scenes, key, still)

    def _parameter_set(self, kind: int) -> bytes:
        return next(nal for nal in self.access_units[0].nals if h264.nal_type(nal) == kind)


def load_clip(spec: ClipSpec, cache_dir: Path | None = None) -> Clip:
    """The clip of `spec`: from the cache, or rendered, encoded and put there. Blocks.

    A damaged cache entry is noticed by its hash and built again. Raises `InputError` when the
    cache directory cannot be written.
    """
    directory = cache_dir if cache_dir is not None else default_cache_dir()
    units = encoded(spec, directory, _encode)
    return Clip(spec, units, tuple(scene.Scene(part) for part in spec.scenes), spec.key)


def encoded(spec: ClipSpec, directory: Path, make: Encoder) -> tuple[AccessUnit, ...]:
    """The access units of `spec` from the cache, or by `make`, and then kept there."""
    units = cache.find(directory, spec.key)
    if units is None:
        units = tuple(make(spec))
        cache.store(directory, spec.key, units)
    return units


def _encode(spec: ClipSpec) -> Iterator[AccessUnit]:
    for number, part in enumerate(spec.scenes):
        begin, end = spec.part(number)
        stream = encode.Stream(
            spec.coding,
            part.width_px,
            part.height_px,
            spec.rate,
            spec.gop_frames,
            spec.bitrate_kbps,
            spec.code,
        )
        shown = range(begin - stream.delay_frames, end - stream.delay_frames)
        sent = [frame for frame in shown if not spec.skips(frame % spec.frames)]
        units = encode.access_units(stream, _pictures(spec, part, sent), spec.frames)
        for frame in shown:
            yield AccessUnit((), key=False) if spec.skips(frame % spec.frames) else next(units)


def _pictures(
    spec: ClipSpec, part: scene.SceneSpec, shown: Sequence[int]
) -> Iterator[tuple[int, scene.Picture]]:
    """One after the other in the same buffer: an encoder has copied one before it gets the next."""
    pictures = scene.Scene(part)
    picture = pictures.render(shown[0])
    for frame in shown:
        index = frame % spec.frames
        pictures.render(index, picture)
        framecode.draw(picture, spec.code(index))
        yield index, picture


@lru_cache(maxsize=1)
def _recipe_digest() -> str:
    """Changes with the code that makes clips and with the codec, so no stale clip is served."""
    digest = hashlib.sha256(version("av").encode())
    for module in (*_RECIPE, sys.modules[__name__]):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()
