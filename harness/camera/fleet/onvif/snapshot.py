"""A still picture of a camera: its last key frame as JPEG."""

from __future__ import annotations

import time
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from harness.camera.picture.variant import DECODERS

if TYPE_CHECKING:
    from harness.camera.serve.live import Camera

CACHED_MAX = 64


def snapshot(camera: Camera) -> bytes:
    """JPEG of the last key frame that the camera captured. Blocks for the time of one frame."""
    clip = camera.shown
    units = clip.access_units
    index = int((time.monotonic() - camera.epoch_s) * clip.fps) % len(units)
    while not units[index].key:
        index -= 1
    return _jpeg(units[index].nals, DECODERS[clip.spec.coding.codec])


@lru_cache(maxsize=CACHED_MAX)
def _jpeg(nals: tuple[bytes, ...], codec: str) -> bytes:
    import av  # only where a picture is asked for

    decoder, encoder = av.CodecContext.create(codec, "r"), av.CodecContext.create("mjpeg", "w")
    assert isinstance(decoder, av.VideoCodecContext)
    assert isinstance(encoder, av.VideoCodecContext)
    packet = av.Packet(b"".join(b"\0\0\0\1" + nal for nal in nals))
    picture = next(iter((*decoder.decode(packet), *decoder.decode(None))))
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
    encoder.time_base = Fraction(1)
    still = picture.reformat(format="yuvj420p")
    still.pts = 0
    return b"".join(bytes(part) for part in (*encoder.encode(still), *encoder.encode(None)))
