"""Pictures in, access units out.

Every picture carries its frame code, and with `Coding.sei` every access unit says it too. With
B-frames the encoder sends a picture that is shown later before one that is shown earlier. A live
camera cannot send what it has not captured yet: so all pictures are captured `delay` frames
before they would be shown without B-frames, and an access unit's `lag_frames` says how long
before its sending its picture was captured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.camera.picture.coding import open_encoder
from harness.camera.wire import h264, h265
from harness.record import sei
from harness.scenario.coding import H265, MJPEG, Coding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from fractions import Fraction
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray

    from harness.record.framecode import FrameCode

    Picture: TypeAlias = NDArray[np.uint8]

_H264_DROPPED = (h264.NAL_SEI, h264.NAL_AUD)
_H265_DROPPED = (h265.NAL_AUD, h265.NAL_PREFIX_SEI, h265.NAL_SUFFIX_SEI)


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One frame as NAL units without start codes (one JPEG picture); `key`: decoders may begin."""

    nals: tuple[bytes, ...]
    key: bool
    lag_frames: int = 0


@dataclass(frozen=True, slots=True)
class Stream:
    """What an encoder is opened for. `code` gives the frame code of a captured frame."""

    coding: Coding
    width_px: int
    height_px: int
    rate: Fraction
    gop_frames: int
    bitrate_kbps: int
    code: Callable[[int], FrameCode]

    @property
    def delay_frames(self) -> int:
        """How many frames late a picture may be sent: one where B-frames wait for a later one."""
        return self.coding.b_frames


def access_units(
    stream: Stream, pictures: Iterable[tuple[int, Picture]], total: int
) -> Iterator[AccessUnit]:
    """Encode `pictures`, (index of the captured frame, BGR picture) in the order of showing.

    Frame codes are drawn by the caller. `total` is what indexes are counted modulo.
    """
    import av  # takes 0.1 s: only when there is something to encode

    encoder = open_encoder(
        stream.coding,
        stream.width_px,
        stream.height_px,
        stream.rate,
        stream.gop_frames,
        stream.bitrate_kbps,
    )
    captured: list[int] = []

    def packets() -> Iterator[av.Packet[av.VideoStream]]:
        for shown, (index, picture) in enumerate(pictures):
            captured.append(index)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame = frame.reformat(format=encoder.pix_fmt) if _is_jpeg(stream) else frame
            frame.pts = shown
            yield from encoder.encode(frame)
        yield from encoder.encode(None)

    for sent, packet in enumerate(packets()):
        shown = packet.pts if packet.pts is not None else sent
        lag = stream.delay_frames - (shown - sent)
        code = stream.code(captured[shown] % total)
        yield unit_of(stream.coding, bytes(packet), code, lag)


def unit_of(how: Coding, data: bytes, code: FrameCode, lag_frames: int) -> AccessUnit:
    """An encoded picture as an access unit, with `code` beside it where `how` asks for that."""
    if how.codec == MJPEG:
        return AccessUnit((data,), key=True, lag_frames=lag_frames)
    nals = slices_of(how.codec, h264.split_annex_b(data))
    if how.codec == H265:
        key = any(map(h265.is_key, nals))
    else:
        key = any(h264.nal_type(nal) == h264.NAL_IDR for nal in nals)
    if how.sei:
        message = sei.nal(code, h265=how.codec == H265)
        first = next(n for n, nal in enumerate(nals) if _is_slice(how.codec, nal))
        nals = [*nals[:first], message, *nals[first:]]
    return AccessUnit(tuple(nals), key, lag_frames)


def slices_of(codec: str, nals: Iterable[bytes]) -> list[bytes]:
    """Without SEI and delimiters: encoders write their version and settings there."""
    if codec == H265:
        return [nal for nal in nals if h265.nal_type(nal) not in _H265_DROPPED]
    return [nal for nal in nals if h264.nal_type(nal) not in _H264_DROPPED]


def _is_slice(codec: str, nal: bytes) -> bool:
    if codec == H265:
        return h265.nal_type(nal) <= h265.FIRST_SLICE_ABOVE
    return h264.NAL_SLICE <= h264.nal_type(nal) <= h264.NAL_IDR


def _is_jpeg(stream: Stream) -> bool:
    """FFmpeg's encoder wants full range; the conversion must be asked for."""
    return stream.coding.codec == MJPEG
