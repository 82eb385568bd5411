"""A clip with other pictures, or encoded otherwise: what a camera shows while a fault acts.

Made of the pictures of the clip itself, decoded and encoded again, so it works for scenes and for
a user's own video, and what the pictures say of themselves stays true: the frame code of frame
`k` is in frame `k`. Kept on disk like every clip.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.camera.picture import cache, encode
from harness.camera.picture.coding import changed
from harness.errors import EngineError
from harness.scenario.coding import H264, H265, MJPEG, Codec, Coding

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    import av
    import numpy as np
    from numpy.typing import NDArray

    from harness.camera.picture.clip import Clip, ClipSpec

    Picture = NDArray[np.uint8]

DECODERS = {H264: "h264", H265: "hevc", MJPEG: "mjpeg"}
_START_CODE = b"\0\0\0\1"


@dataclass(frozen=True, slots=True)
class Change:
    """What is otherwise. `still_s` is the moment of the loop that is shown for ever.

    A still or black clip is one group of pictures long. Sizes and `gop_frames` 0, and `codec`
    None: as the clip has it.
    """

    still_s: float | None = None
    black: bool = False
    codec: Codec | None = None
    width_px: int = 0
    height_px: int = 0
    gop_frames: int = 0

    def spec(self, base: ClipSpec) -> ClipSpec:
        """Raises `InputError` for what cannot be encoded."""
        gop = min(self.gop_frames or base.gop_frames, base.frames)
        stands = self.black or self.still_s is not None
        return replace(
            base,
            width_px=self.width_px or base.width_px,
            height_px=self.height_px or base.height_px,
            duration_s=gop / base.rate_fps if stands else base.duration_s,
            gop_frames=gop,
            coding=_coding(base.coding, self.codec or base.coding.codec),
            second_size_px=None,
            slow_fps=0.0,
        )

    def key(self, base: Clip) -> str:
        """SHA-256 (hex) of the clip, of the change and of the code that makes it."""
        own = inspect.getsource(sys.modules[__name__])
        text = f"{base.key}\n{json.dumps(changed(self), sort_keys=True)}\n{own}"
        return hashlib.sha256(text.encode()).hexdigest()

    def still(self, base: Clip) -> int | None:
        """The frame that is shown for ever, if one is."""
        if self.still_s is None:
            return None
        return int(self.still_s * base.fps) % len(base.access_units)


def _coding(base: Coding, codec: Codec) -> Coding:
    """A level may not fit another size, so the encoder chooses one; JPEG has no SEI."""
    if codec == base.codec:
        return replace(base, level="")
    return Coding(codec=codec, rate_control=base.rate_control, sei=base.sei and codec != MJPEG)


def load_variant(
    base: Clip,
    change: Change,
    cache_dir: Path | None = None,
    *,
    stop: threading.Event | None = None,
) -> Clip:
    """`base` with `change`: from the cache, or decoded, encoded and put there. Blocks.

    Raises `InputError` where it cannot be encoded or the cache directory cannot be written, and
    `EngineError` once `stop` is set.
    """
    directory = cache_dir if cache_dir is not None else cache.default_cache_dir()
    spec, key = change.spec(base.spec), change.key(base)
    units = cache.find(directory, key)
    if units is None:
        units = tuple(_until(stop, _encode(base, change, spec)))
        cache.store(directory, key, units)
    still = change.still(base)
    return base.altered(spec, units, key, still=still, black=change.black)


def _until(
    stop: threading.Event | None, units: Iterator[encode.AccessUnit]
) -> Iterator[encode.AccessUnit]:
    for unit in units:
        if stop is not None and stop.is_set():
            raise EngineError("encoding was stopped", hint="nobody waits for it any more")
        yield unit


def _encode(base: Clip, change: Change, spec: ClipSpec) -> Iterator[encode.AccessUnit]:
    stream = encode.Stream(
        spec.coding,
        spec.width_px,
        spec.height_px,
        spec.rate,
        spec.gop_frames,
        spec.bitrate_kbps,
        base.spec.code,
    )
    pictures = _pictures(base, change, spec, stream.delay_frames)
    units = encode.access_units(stream, pictures, base.spec.frames)
    if spec.frames != base.spec.frames:  # a still: nothing is left out
        yield from units
        return
    for unit in base.access_units:
        yield next(units) if unit.nals else unit


def _pictures(
    base: Clip, change: Change, spec: ClipSpec, delay_frames: int
) -> Iterator[tuple[int, Picture]]:
    """(index of the captured frame, BGR picture) in the order of showing."""
    size = (spec.width_px, spec.height_px)
    still = change.still(base)
    if change.black:
        import numpy as np

        black = np.zeros((spec.height_px, spec.width_px, 3), np.uint8)
        return ((index, black) for index in range(spec.frames))
    if still is not None:
        index, frame = _shown_at(base, still)
        picture = _bgr(frame, size)
        return ((index, picture) for _ in range(spec.frames))
    decoded = ((index, _bgr(frame, size)) for index, frame in _decoded(base))
    return _from(decoded, -delay_frames % len(base.access_units))


def _from(pictures: Iterator[tuple[int, Picture]], first: int) -> Iterator[tuple[int, Picture]]:
    """The loop from frame `first` on: one without B-frames begins some frames after one with."""
    ahead = []
    for item in pictures:
        if item[0] == first:
            yield item
            break
        ahead.append(item)
    yield from pictures
    yield from ahead


def _shown_at(base: Clip, wanted: int) -> tuple[int, av.VideoFrame]:
    """The frame at `wanted`, or the last one before it where that was left out."""
    best: tuple[int, av.VideoFrame] | None = None
    for index, frame in _decoded(base):
        if index <= wanted and (best is None or index > best[0]):
            best = index, frame
    assert best is not None  # the first frame of a clip is a key frame
    return best


def _decoded(base: Clip) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames of the loop in the order of showing, with their index in it."""
    import av

    codec = base.spec.coding.codec
    decoder = av.CodecContext.create(DECODERS[codec], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    start = b"" if codec == MJPEG else _START_CODE
    for number, unit in enumerate(base.access_units):
        if not unit.nals:
            continue
        packet = av.Packet(b"".join(start + nal for nal in unit.nals))
        packet.pts = packet.dts = number - unit.lag_frames
        for frame in decoder.decode(packet):
            yield _index(base, frame), frame
    for frame in decoder.decode(None):
        yield _index(base, frame), frame


def _index(base: Clip, frame: av.VideoFrame) -> int:
    assert frame.pts is not None
    return frame.pts % len(base.access_units)


def _bgr(frame: av.VideoFrame, size: tuple[int, int]) -> Picture:
    import numpy as np

    image = frame.to_ndarray(format="bgr24", width=size[0], height=size[1])
    return np.require(image, np.uint8, ["C"])
