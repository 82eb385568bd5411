"""The encoders that carry a `Coding` out. They are FFmpeg's, through PyAV.

Besides H.264 there are H.265 and motion JPEG, for what an appliance does with a camera that does
not send H.264.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from harness.scenario.coding import CBR, H264, H265, MJPEG, VBR

if TYPE_CHECKING:
    from fractions import Fraction

    import av

    from harness.scenario.coding import Coding

_ENCODERS = {H264: "libx264", H265: "libx265", MJPEG: "mjpeg"}
_JPEG_QUALITY_MAX = 31


def changed(value: object) -> dict[str, object]:
    """Fields of a dataclass that differ from their defaults, and those that have none."""
    fields = dataclasses.fields(value)  # type: ignore[arg-type]
    return {
        field.name: getattr(value, field.name)
        for field in fields
        if getattr(value, field.name) != field.default
    }


def open_encoder(
    coding: Coding, width_px: int, height_px: int, rate: Fraction, gop_frames: int, kbps: int
) -> av.VideoCodecContext:
    """An encoder that gives the same bytes for the same pictures: one thread, no look-ahead."""
    import av  # takes 0.1 s: only when there is something to encode

    encoder = av.CodecContext.create(_ENCODERS[coding.codec], "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height = width_px, height_px
    encoder.pix_fmt = "yuvj420p" if coding.codec == MJPEG else "yuv420p"
    encoder.framerate, encoder.time_base = rate, 1 / rate
    encoder.bit_rate = kbps * 1000
    encoder.gop_size = gop_frames
    encoder.thread_count = 1
    encoder.options = _OPTIONS[coding.codec](coding, gop_frames, kbps)
    return encoder


def _x264(coding: Coding, gop_frames: int, kbps: int) -> dict[str, str]:
    """As surveillance cameras encode: one slice, key frames at a fixed distance."""
    parameters: dict[str, int | str] = {
        "keyint": gop_frames,
        "min-keyint": gop_frames,
        "scenecut": 0,
        "bframes": coding.b_frames,
        "threads": 1,
        "sliced-threads": 0,
        "slices": 1,
        "repeat-headers": 1,
        **_vbv(coding, kbps),
    }
    if coding.b_frames:
        parameters |= {"b-adapt": 0, "b-pyramid": "none"}
    if coding.rate_control == CBR:
        parameters["filler"] = 1
    options = {"preset": "veryfast", "tune": "zerolatency", "profile": coding.profile}
    if coding.level:
        options["level"] = coding.level
    return {**options, "x264-params": _joined(parameters)}


def _x265(coding: Coding, gop_frames: int, kbps: int) -> dict[str, str]:
    parameters: dict[str, int | str] = {
        "keyint": gop_frames,
        "min-keyint": gop_frames,
        "scenecut": 0,
        "bframes": 0,
        "pools": "none",
        "frame-threads": 1,
        "repeat-headers": 1,
        "info": 0,
        "log-level": "none",
        **_vbv(coding, kbps),
    }
    if coding.rate_control == CBR:
        parameters["strict-cbr"] = 1
    return {"preset": "ultrafast", "tune": "zerolatency", "x265-params": _joined(parameters)}


def _mjpeg(_coding: Coding, _gop_frames: int, _kbps: int) -> dict[str, str]:
    """RTP knows no Huffman tables but the usual ones (RFC 2435, 3.1)."""
    return {"huffman": "default", "qmin": "2", "qmax": str(_JPEG_QUALITY_MAX)}


def _vbv(coding: Coding, kbps: int) -> dict[str, int | str]:
    """The buffer of a decoder at the other end, in kbit."""
    if coding.rate_control == VBR:
        return {"vbv-maxrate": 2 * kbps, "vbv-bufsize": 4 * kbps}
    return {"vbv-maxrate": kbps, "vbv-bufsize": kbps}


def _joined(parameters: dict[str, int | str]) -> str:
    return ":".join(f"{name}={value}" for name, value in parameters.items())


_OPTIONS = {H264: _x264, H265: _x265, MJPEG: _mjpeg}
