"""Machine-readable identity of a video frame, drawn into the picture itself.

88 bits, most significant first: clip 16, index 24, time 32, CRC-16/CCITT 16. They are followed
by 11 check bytes of a Reed-Solomon code (`reedsolomon`), and the 22 bytes fill the strip's cells
column by column, two columns a byte: so a patch that is garbled by a lost packet, or an end that
is cropped away, costs few bytes. Half of the strip is enough where it is known which half. What
the code puts right must then match the CRC, so a wrong identity is not read.
"""

from __future__ import annotations

import binascii
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from harness.record import reedsolomon, strip
from harness.record.strip import (
    CELLS,
    GUARD_CELLS,
    ROWS,
    WIDTH_MIN_PX,
    Place,
    strip_height_px,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture: TypeAlias = NDArray[np.uint8]

# What others need to know of the strip they draw or find is part of this interface.
__all__ = [
    "CLIP_MAX",
    "CODE_BYTES",
    "INDEX_MAX",
    "TIME_US_MAX",
    "WIDTH_MIN_PX",
    "FrameCode",
    "draw",
    "read",
    "resolve",
    "strip_height_px",
]

CODE_BYTES = 11
CHECK_BYTES = 11
WORD_BYTES = CODE_BYTES + CHECK_BYTES
CLIP_MAX = (1 << 16) - 1
INDEX_MAX = (1 << 24) - 1
TIME_US_MAX = (1 << 32) - 1
# How many of the most doubtful bytes are taken as lost, one try after the other. One check byte
# is always left to tell a right word from a wrong one, besides the CRC.
ERASURE_TRIES = (0, 3, 6, 9)
ERASURES_MAX = CHECK_BYTES - 1
_CRC_START = 0xFFFF  # so that an all-black strip is no code


@dataclass(frozen=True, slots=True)
class FrameCode:
    """Which clip, which of its frames, and when in the clip (microseconds) it was captured."""

    clip_id: int
    index: int
    time_us: int

    def __post_init__(self) -> None:
        for name, value, most in (
            ("clip_id", self.clip_id, CLIP_MAX),
            ("index", self.index, INDEX_MAX),
            ("time_us", self.time_us, TIME_US_MAX),
        ):
            if not 0 <= value <= most:
                raise ValueError(f"{name} {value} does not fit the frame code: 0 to {most}")

    def to_bytes(self) -> bytes:
        body = (
            self.clip_id.to_bytes(2, "big")
            + self.index.to_bytes(3, "big")
            + self.time_us.to_bytes(4, "big")
        )
        return body + binascii.crc_hqx(body, _CRC_START).to_bytes(2, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> FrameCode | None:
        """None when the checksum does not match."""
        body, check = data[:-2], int.from_bytes(data[-2:], "big")
        if len(data) != CODE_BYTES or binascii.crc_hqx(body, _CRC_START) != check:
            return None
        clip_id, index, time_us = body[:2], body[2:5], body[5:]
        return cls(
            int.from_bytes(clip_id, "big"),
            int.from_bytes(index, "big"),
            int.from_bytes(time_us, "big"),
        )


def draw(image: Picture, code: FrameCode) -> None:
    """Draw `code` into `image` in place: H x W x 3 BGR, or an H x W luma plane (16 to 235)."""
    word = reedsolomon.encode(code.to_bytes(), CHECK_BYTES)
    bits = np.unpackbits(np.frombuffer(word, np.uint8))
    strip.paint(image, bits.reshape(-1, ROWS).T)


def read(image: Picture) -> FrameCode | None:
    """The code in `image` (H x W x 3 BGR or H x W luma, uint8), None where none is readable."""
    usual = _measure(image, strip.whole(image.shape[1]))
    if usual is not None and (code := FrameCode.from_bytes(usual.word[:CODE_BYTES])) is not None:
        return code
    place = strip.locate(image)
    found = usual if place is None else _measure(image, place)
    if found is not None and (code := _correct(found)) is not None:
        return code
    return None if place is None else _read_cropped(image, place)


@dataclass(frozen=True, slots=True)
class _Reading:
    """Bytes as they were seen, and how sure each is: 0 (could be either) to about 1."""

    word: bytes
    sure: NDArray[np.float32]


def _measure(image: Picture, place: Place) -> _Reading | None:
    cells = strip.sample(image, place)
    levels = None if cells is None else strip.levels(cells)
    if cells is None or levels is None:
        return None
    middle, half = levels
    return _reading(((cells - middle) / half)[:, GUARD_CELLS:-GUARD_CELLS])


def _reading(data: NDArray[np.float32]) -> _Reading:
    """From the data cells: above 0 is white."""
    bits = data.T.reshape(WORD_BYTES, 8)
    return _Reading(np.packbits(bits > 0).tobytes(), np.abs(bits).min(axis=1))


def _correct(reading: _Reading) -> FrameCode | None:
    """Errors put right; the bytes that were hardest to read are taken as lost if need be."""
    doubtful = np.argsort(reading.sure, kind="stable").tolist()
    for count in ERASURE_TRIES:
        data = reedsolomon.decode(reading.word, CHECK_BYTES, doubtful[:count])
        code = None if data is None else FrameCode.from_bytes(data)
        if code is not None:
            return code
    return None


def _read_cropped(image: Picture, bars: Place) -> FrameCode | None:
    """Where the ends of the strip are cut off: what is missing counts as lost bytes."""
    place = strip.locate_cropped(image, bars)
    cells = None if place is None else strip.sample(image, place)
    levels = None if cells is None else strip.seen_levels(cells)
    if cells is None or levels is None:
        return None
    middle, half = levels
    seen = (cells - middle) / half
    for shift in strip.shifts(seen > 0):
        columns = np.zeros((ROWS, CELLS), np.float32)
        columns[:, shift : shift + seen.shape[1]] = seen
        reading = _reading(columns[:, GUARD_CELLS:-GUARD_CELLS])
        lost = np.flatnonzero(reading.sure == 0).tolist()
        if len(lost) > ERASURES_MAX:
            continue
        data = reedsolomon.decode(reading.word, CHECK_BYTES, lost)
        code = None if data is None else FrameCode.from_bytes(data)
        if code is not None:
            return code
    return None


def resolve(code: FrameCode, epoch_s: float, clip_s: float, now_s: float) -> tuple[int, float]:
    """Which loop of the clip a frame seen at `now_s` belongs to, and when it was captured.

    A camera repeats its clip of `clip_s` seconds from `epoch_s` on, so the capture time is the
    newest one with this clip time that is not after `now_s` (one microsecond is granted, the
    resolution of the code). Right as long as the frame is younger than one clip. A negative loop
    says that the frame cannot come from this camera's clock.
    """
    in_clip_s = code.time_us / 1e6
    loop = math.floor((now_s + 1e-6 - epoch_s - in_clip_s) / clip_s)
    return loop, epoch_s + loop * clip_s + in_clip_s
