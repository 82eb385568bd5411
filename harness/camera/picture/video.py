"""Clips from a user's own video file, for cameras that repeat it for ever.

H.264 that cameras could send as it is (a constant frame rate, a key frame often enough, no
B-frames) is taken over bit by bit; everything else is encoded anew. Frames carry their identity
in an SEI message; with `strip` it is drawn into the picture too, which takes encoding. Before it
is used a file is decoded from end to end once, so a damaged one is refused and never sent.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from harness.camera.picture import encode
from harness.camera.picture.cache import default_cache_dir
from harness.camera.picture.clip import CLIP_FRAMES_MAX, RATE_FPS_MAX, Clip, ClipSpec, encoded
from harness.camera.wire import h264
from harness.errors import InputError
from harness.record import framecode
from harness.scenario.coding import Coding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import av
    import numpy as np
    from av.container import InputContainer
    from numpy.typing import NDArray

FILE_BYTES_MAX = 4 << 30
GOP_S_MAX = 4.0  # readers wait so long for their first picture
GOP_S = 1.0  # where it is encoded anew
PIXELS_MAX = 3840 * 2160
RATE_TOLERANCE_FRAMES = 0.45  # how far a frame may be from where a constant rate has it
BITS_PER_PIXEL = 0.1  # what encoding anew aims at; surveillance cameras use about as much
KBPS_MIN = 300
MISSING_S_MAX = 0.5  # of what a file says it has: edit lists and last frames differ by less
_READ_BYTES = 1 << 20
_STRICT = {"err_detect": "explode"}  # decoders hide damage unless told otherwise


@dataclass(frozen=True, slots=True)
class _Survey:
    """What one pass over the file found. `times` are those of the pictures, as they are shown."""

    codec: str
    width_px: int
    height_px: int
    times: tuple[Fraction, ...]
    keys: tuple[int, ...]  # packets that a decoder may begin with
    reordered: bool
    octets: int
    rate: Fraction

    @property
    def steady(self) -> bool:
        """Whether all pictures are where a constant rate has them."""
        return all(
            abs((time - self.times[0]) * self.rate - n) <= RATE_TOLERANCE_FRAMES
            for n, time in enumerate(self.times)
        )

    @property
    def gop_frames(self) -> int:
        ends = [*self.keys[1:], len(self.times)]
        return max(end - key for key, end in zip(self.keys, ends, strict=True))

    @property
    def as_it_is(self) -> bool:
        """Whether a camera could send the packets of the file themselves."""
        return (
            self.codec == "h264"
            and self.steady
            and not self.reordered
            and self.keys[:1] == (0,)
            and self.gop_frames <= GOP_S_MAX * self.rate
            and self.width_px % 2 == self.height_px % 2 == 0
        )


def load_video(path: Path, cache_dir: Path | None = None, *, strip: bool = False) -> Clip:
    """A clip of the first video stream of `path`: any file that FFmpeg reads. Blocks.

    Raises `InputError` for what is no video, cannot be decoded to its end, or is too long.
    """
    digest = _digest(path)
    survey = _survey(path)
    remux = survey.as_it_is and not strip
    spec = _spec(survey, f"{digest} {'remux' if remux else 'strip' if strip else 'encode'}")
    directory = cache_dir if cache_dir is not None else default_cache_dir()

    def make(spec: ClipSpec) -> Iterator[encode.AccessUnit]:
        return _remux(path, spec) if remux else _encode(path, survey, spec, strip=strip)

    return Clip(spec, encoded(spec, directory, make), (), spec.key)


def _spec(survey: _Survey, source: str) -> ClipSpec:
    """A clip of the same length and size; sizes must be even where it is encoded anew."""
    width, height = survey.width_px & ~1, survey.height_px & ~1
    first, last = survey.times[0], survey.times[-1]
    frames = len(survey.times) if survey.steady else round((last - first) * survey.rate) + 1
    if frames > CLIP_FRAMES_MAX:
        raise InputError(
            f"a video of {frames} frames", hint=f"up to {CLIP_FRAMES_MAX}: cut a part out of it"
        )
    remux = source.endswith("remux")
    kbps = float(survey.octets * 8 * survey.rate / len(survey.times) / 1000)
    wanted = BITS_PER_PIXEL * width * height * float(survey.rate) / 1000
    return ClipSpec(
        width_px=width,
        height_px=height,
        rate_fps=float(survey.rate),
        duration_s=float(frames / survey.rate),
        gop_frames=survey.gop_frames if remux else max(1, round(GOP_S * survey.rate)),
        bitrate_kbps=max(1, round(kbps)) if remux else max(KBPS_MIN, round(wanted)),
        objects=0,
        seed=0,
        coding=Coding(sei=True),
        source=source,
    )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputError(f"{path} is larger than {FILE_BYTES_MAX >> 30} GiB", hint="cut it")
        with path.open("rb") as file:
            while data := file.read(_READ_BYTES):
                digest.update(data)
    except OSError as error:
        raise InputError(
            f"cannot read the video {path}: {error.strerror}", hint="check the path"
        ) from error
    return digest.hexdigest()


def _open(path: Path) -> tuple[InputContainer, av.VideoStream]:
    import av  # takes 0.1 s

    try:
        container = av.open(str(path), options={"protocol_whitelist": "file"})
    except av.error.FFmpegError as error:
        raise InputError(
            f"{path} is not a video that can be read: {error.strerror}",
            hint="an MP4 that was cut off lacks its index; FFmpeg must be able to read the file",
        ) from error
    if not container.streams.video:
        container.close()
        raise InputError(f"{path} has no video in it", hint="give a file with a video stream")
    stream = container.streams.video[0]
    if getattr(stream, "codec_context", None) is None:  # of a file cut off where it says so
        container.close()
        raise InputError(f"{path}: nothing says how its video is coded", hint="give a whole file")
    stream.codec_context.options = _STRICT
    return container, stream


def _survey(path: Path) -> _Survey:
    """Decode the whole file and note what is in it."""
    container, stream = _open(path)
    times: list[Fraction] = []
    keys: list[int] = []
    stamps: list[int] = []
    octets, sizes = 0, set()
    with container:
        for number, packet in enumerate(_packets(path, container, stream)):
            if packet.size:
                octets += packet.size
                stamps.append(packet.pts if packet.pts is not None else len(stamps))
                if packet.is_keyframe and _is_start(stream, bytes(packet)):
                    keys.append(number)
            for frame in _decode(path, packet, times):
                times.append(_time(frame, stream, len(times)))
                sizes.add((frame.width, frame.height))
        _check(path, container, stream, times, sizes)
        width, height = next(iter(sizes))
        rate = _rate(stream, times)
        codec = stream.codec_context.name
    return _Survey(
        codec,
        width,
        height,
        tuple(times),
        tuple(keys),
        stamps != sorted(stamps),
        octets,
        rate,
    )


def _is_start(stream: av.VideoStream, data: bytes) -> bool:
    """Whether a decoder can begin with this key frame: H.264 calls others key frames too."""
    if stream.codec_context.name != "h264":
        return True
    extradata = bytes(stream.codec_context.extradata or b"")
    if not extradata.startswith(b"\x01"):
        return any(h264.nal_type(nal) == h264.NAL_IDR for nal in h264.split_annex_b(data))
    length, position = (extradata[4] & 3) + 1, 0  # AVCC: every unit behind its length
    while position + length < len(data):
        if data[position + length] & 0x1F == h264.NAL_IDR:
            return True
        position += length + int.from_bytes(data[position : position + length], "big")
    return False


def _packets(
    path: Path, container: InputContainer, stream: av.VideoStream
) -> Iterator[av.Packet[av.VideoStream]]:
    import av

    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise InputError(f"{path} is cut off or damaged", hint="make the file anew")
            yield packet
    except av.error.FFmpegError as error:
        raise InputError(
            f"{path} cannot be read to its end: {error.strerror}", hint="make the file anew"
        ) from error


def _decode(
    path: Path, packet: av.Packet[av.VideoStream], before: list[Fraction]
) -> list[av.VideoFrame]:
    import av

    try:
        return packet.decode()
    except av.error.FFmpegError as error:
        raise InputError(
            f"{path} is damaged after frame {len(before)}: {error.strerror}",
            hint="make the file anew, or cut the good part out of it",
        ) from error


def _time(frame: av.VideoFrame, stream: av.VideoStream, number: int) -> Fraction:
    """When `frame` is shown; by counting where the file does not say."""
    if frame.pts is None or frame.time_base is None:
        return number / (stream.average_rate or Fraction(25))
    return frame.pts * Fraction(frame.time_base)


def _length_s(container: InputContainer, stream: av.VideoStream) -> float:
    """How long the file says its video is; 0 where it does not (other streams may be longer)."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / 1e6
    return 0.0


def _check(
    path: Path,
    container: InputContainer,
    stream: av.VideoStream,
    times: list[Fraction],
    sizes: set[tuple[int, int]],
) -> None:
    if not times:
        raise InputError(f"no picture of {path} can be decoded", hint="make the file anew")
    said_s = _length_s(container, stream)
    there_s = float(times[-1] - times[0])
    if said_s - there_s > MISSING_S_MAX:
        raise InputError(
            f"{path} is cut off: {there_s:.1f} of {said_s:.1f} s are there",
            hint="make the file anew",
        )
    if len(sizes) > 1:
        raise InputError(f"{path} changes its size: {sorted(sizes)}", hint="one size a file")
    width, height = next(iter(sizes))
    if width * height > PIXELS_MAX or min(width, height) < 16:
        raise InputError(f"{path} is {width}x{height} pixels", hint="16x16 to 3840x2160")


def _rate(stream: av.VideoStream, times: list[Fraction]) -> Fraction:
    """Frames a second: as the file says if that agrees with its times, else by its times."""
    length = times[-1] - times[0]
    measured = (len(times) - 1) / length if length > 0 else Fraction(25)
    said = stream.average_rate
    rate = Fraction(said) if said and abs(said / measured - 1) < Fraction(1, 50) else measured
    return min(rate, Fraction(round(RATE_FPS_MAX))).limit_denominator(1001)


def _remux(path: Path, spec: ClipSpec) -> Iterator[encode.AccessUnit]:
    """The file's own access units, with parameter sets before every key frame."""
    from av.bitstream import BitStreamFilterContext

    container, stream = _open(path)
    with container:
        annex_b = not (stream.codec_context.extradata or b"").startswith(b"\x01")
        convert = None if annex_b else BitStreamFilterContext("h264_mp4toannexb", stream)
        sets: list[bytes] = []
        if annex_b:
            sets = _parameter_sets(bytes(stream.codec_context.extradata or b""))
        index = 0
        for packet in _packets(path, container, stream):
            for whole in convert.filter(packet) if convert else [packet]:
                data = bytes(whole)
                if not data:
                    continue
                sets = _parameter_sets(data) or sets
                unit = encode.unit_of(spec.coding, data, spec.code(index), 0)
                if unit.key and not _parameter_sets(data):
                    unit = encode.AccessUnit((*sets, *unit.nals), key=True)
                yield unit
                index += 1


def _parameter_sets(data: bytes) -> list[bytes]:
    kinds = (h264.NAL_SPS, h264.NAL_PPS)
    return [nal for nal in h264.split_annex_b(data) if h264.nal_type(nal) in kinds]


def _encode(
    path: Path, survey: _Survey, spec: ClipSpec, *, strip: bool
) -> Iterator[encode.AccessUnit]:
    stream = encode.Stream(
        spec.coding,
        spec.width_px,
        spec.height_px,
        spec.rate,
        spec.gop_frames,
        spec.bitrate_kbps,
        spec.code,
    )
    return encode.access_units(stream, _pictures(path, survey, spec, strip=strip), spec.frames)


def _pictures(
    path: Path, survey: _Survey, spec: ClipSpec, *, strip: bool
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """At a constant rate: a picture is shown again, or left out, where the file's rate varies."""
    import numpy as np

    index, decoded = 0, 0
    container, stream = _open(path)
    with container:
        for packet in _packets(path, container, stream):
            for frame in _decode(path, packet, list(survey.times[:decoded])):
                decoded += 1
                until = spec.frames
                if decoded < len(survey.times):
                    ahead = (survey.times[decoded] - survey.times[0]) * spec.rate
                    until = min(until, decoded if survey.steady else math.floor(ahead + 0.5))
                while index < until:
                    image = frame.to_ndarray(
                        format="bgr24", width=spec.width_px, height=spec.height_px
                    )
                    picture = np.require(image, np.uint8, ["C", "W"])
                    if strip:
                        _draw(picture, spec.code(index), path)
                    yield index, picture
                    index += 1


def _draw(picture: NDArray[np.uint8], code: framecode.FrameCode, path: Path) -> None:
    try:
        framecode.draw(picture, code)
    except ValueError as error:
        raise InputError(f"{path}: {error}", hint="leave the frame code to the SEI") from error
