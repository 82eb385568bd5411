"""How often a frame's code is still readable after what happens to pictures on their way.

A clip is encoded at a low bitrate and decoded; each picture is scaled, letterboxed or cropped,
or packets of 1,400 bytes are lost before the decoder, which then conceals the damage with what
was there before. `stale` counts pictures that showed an earlier frame's code whole: that is what
such a picture is. `wrong` would be any other code than its own, and must be 0.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from harness.camera.picture.clip import ClipSpec, load_clip
from harness.record import framecode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import av
    from numpy.typing import NDArray

    from harness.camera.picture.clip import Clip

    Picture: TypeAlias = NDArray[np.uint8]

FRAMES = 150
RATE_FPS = 15.0
SIZES = ((640, 360, 140), (1280, 720, 500))  # pixels, kbit/s
LOSSES = (0.01, 0.05)  # of packets
PACKET_BYTES = 1400


def run(cache_dir: Path | None = None, frames: int = FRAMES) -> dict[str, Any]:
    """Read rates by picture size and treatment."""
    results = {}
    for width, height, kbps in SIZES:
        spec = ClipSpec(width, height, RATE_FPS, frames / RATE_FPS, 30, kbps, 5, 3)
        clip = load_clip(spec, cache_dir)
        whole = decode(clip, [b"".join(_start(u.nals)) for u in clip.access_units])
        result = {name: _read_rate(clip, whole, treat) for name, treat in TREATMENTS.items()}
        for share in LOSSES:
            hurt = decode(clip, lossy(clip, share))
            result[f"packets lost {share:.0%}"] = _read_rate(clip, hurt, _full)
        results[f"{width}x{height} at {kbps} kbit/s"] = result
    return results


def decode(clip: Clip, units: Iterable[bytes]) -> list[av.VideoFrame]:
    """Pictures of what a decoder makes of `units`; `pts` is the index of the access unit."""
    import av

    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    frames = []
    for index, data in enumerate(units):
        packet = av.Packet(data)
        packet.pts = index
        try:
            frames += decoder.decode(packet) if data else []
        except av.error.InvalidDataError:
            continue
    return frames + decoder.decode(None)


def lossy(clip: Clip, share: float) -> list[bytes]:
    """Access units of which a `share` of the packets is lost: a slice ends where one is missing."""
    chance = random.Random(clip.id)
    units = []
    for unit in clip.access_units:
        data = b"".join(_start(unit.nals))
        for begin in range(0, len(data), PACKET_BYTES):
            if chance.random() < share:
                data = data[:begin]
                break
        units.append(data)
    return units


def _start(nals: Iterable[bytes]) -> Iterable[bytes]:
    return (b"\0\0\0\1" + nal for nal in nals)


def _read_rate(
    clip: Clip, frames: list[av.VideoFrame], treat: Callable[[av.VideoFrame], Picture]
) -> dict[str, Any]:
    own = stale = wrong = 0
    spent_s = 0.0
    for frame in frames:
        picture = treat(frame)
        began_s = time.perf_counter()
        code = framecode.read(picture)
        spent_s += time.perf_counter() - began_s
        index = frame.pts or 0
        own += code == clip.spec.code(index)
        earlier = code is not None and code.index < index
        stale += earlier and code == clip.spec.code(code.index if code is not None else 0)
        wrong += code is not None and code != clip.spec.code(index) and not earlier
    return {
        "pictures": len(frames),
        "read": own,
        "stale": stale,
        "wrong": wrong,
        "read_ms": round(spent_s / max(1, len(frames)) * 1000, 2),
    }


def _full(frame: av.VideoFrame) -> Picture:
    return np.require(frame.to_ndarray(format="bgr24"), np.uint8)


def _scaled(divisor: int) -> Callable[[av.VideoFrame], Picture]:
    def treat(frame: av.VideoFrame) -> Picture:
        width, height = frame.width // divisor // 2 * 2, frame.height // divisor // 2 * 2
        return np.require(frame.to_ndarray(format="bgr24", width=width, height=height), np.uint8)

    return treat


def _letterboxed(frame: av.VideoFrame) -> Picture:
    """Black on all four sides, as 16:9 in a 4:3 window."""
    bars = ((frame.height // 6, frame.height // 6), (20, 20), (0, 0))
    return np.pad(_full(frame), bars)


def _cropped(left: float, right: float) -> Callable[[av.VideoFrame], Picture]:
    def treat(frame: av.VideoFrame) -> Picture:
        begin, end = round(left * frame.width), round((1 - right) * frame.width)
        return np.ascontiguousarray(_full(frame)[:, begin:end])

    return treat


TREATMENTS: dict[str, Callable[[av.VideoFrame], Picture]] = {
    "full size": _full,
    "half size": _scaled(2),
    "third size": _scaled(3),
    "letterbox": _letterboxed,
    "an eighth cropped on either side": _cropped(1 / 8, 1 / 8),
    "a third cropped on the left": _cropped(1 / 3, 0),
}
