"""Access units to pictures, each with who it says it is; a frame in, a frame out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.codec.context import Flags

from harness.record import framecode, sei
from harness.record.framecode import strip_height_px
from harness.runtime.assembler import START_CODE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from harness.record.framecode import FrameCode
    from harness.runtime.assembler import Unit

DARK_LUMA_MAX = 32  # of 16 (black) to 235
_EVERY_PX = 8  # a look at so many rows and columns is enough


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded frame, and when the last byte of it came.

    `said` is the frame code beside the picture, `seen` the one in it. `damaged`: the decoder, or
    whoever put the frame together, missed a part of it.
    """

    frame: av.VideoFrame
    timestamp: int
    arrived_s: float
    said: FrameCode | None
    seen: FrameCode | None
    damaged: bool

    @property
    def code(self) -> FrameCode | None:
        """Who the frame is: what is said beside it is exact while nobody encodes anew."""
        return self.said or self.seen

    @property
    def mistaken(self) -> bool:
        """What is said and what is seen are two frames."""
        return None not in (self.said, self.seen) and self.said != self.seen

    @property
    def dark(self) -> bool:
        """There is nothing to see, below the strip that may say who the frame is."""
        below = luma(self.frame)[strip_height_px(self.frame.width) :: _EVERY_PX, ::_EVERY_PX]
        return below.size > 0 and int(below.max()) <= DARK_LUMA_MAX

    @property
    def scene(self) -> object:
        """Equal for pictures of the same moment: who they are, or a few of their pixels."""
        return self.seen or luma(self.frame)[::_EVERY_PX, ::_EVERY_PX].tobytes()


class Decoder:
    """H.264 of one connection; `parameter_sets` are those of the session description."""

    def __init__(self, parameter_sets: tuple[bytes, ...]) -> None:
        self._context = av.CodecContext.create("h264", "r")
        self._context.thread_count, self._context.thread_type = 1, "NONE"
        self._context.flags |= Flags.low_delay | Flags.copy_opaque
        self._prefix = b"".join(START_CODE + nal for nal in parameter_sets)

    def decode(self, unit: Unit, arrived_s: float) -> Iterator[Picture]:
        """The pictures that `unit` completes. Raises `av.error.FFmpegError`."""
        packet = av.Packet(self._prefix + unit.annex_b)
        packet.opaque = (unit, arrived_s)  # with B-frames a picture comes out with a later unit
        self._prefix = b""
        for frame in self._context.decode(packet):
            assert isinstance(frame, av.VideoFrame)
            own, own_s = cast("tuple[Unit, float]", frame.opaque)
            yield Picture(
                frame,
                own.timestamp,
                own_s,
                sei.find(own.nals),
                framecode.read(luma(frame)),
                own.damaged or frame.is_corrupt,
            )


def luma(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """The luma plane as it lies: no colour conversion needed."""
    plane = frame.planes[0]
    rows: NDArray[np.uint8] = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
    return rows[: frame.height, : frame.width]
