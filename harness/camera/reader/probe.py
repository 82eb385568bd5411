"""Read any camera as a stranger would and say what is to be said about its stream.

Shares no protocol code with the camera server: one plain DESCRIBE tells authentication
(`inquiry`), FFmpeg (PyAV) gets the media. FFmpeg's parser would hold every frame back until the
next one begins, so it is left out: a frame has arrived with its last packet. Frames that come in
a burst at the start (since the last key frame) are counted and not timed.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from harness.camera.reader import inquiry
from harness.camera.reader.findings import Frame, Latency, burst, continuity, frame_s, latency
from harness.errors import InputError, LinkDown, PeerRefused, PeerTimeout
from harness.record import framecode, sei

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av
    from av.container import InputContainer

    from harness.record.framecode import FrameCode

Transport = Literal["tcp", "udp"]
TIMEOUT_S = 5.0  # to connect, for an answer, for the next packet
FIRST_FRAME_S_MAX = 15.0  # some cameras have a key frame every ten seconds
SECONDS_MAX = 600.0
FRAME_BYTES_MAX = 16 << 20
GAP_FRAMES = 2.5  # a longer pause between two arrivals is a gap
_H265 = "hevc"
_OPTIONS = {"fflags": "nobuffer+noparse+nofillin", "analyzeduration": "0", "probesize": "32"}


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """`identity` says where frames were identified by: "sei", "strip" or "none".

    `lost` and `duplicated` are None where frames say no number. `problems` are for people; a
    stream without any is fit for an appliance.
    """

    url: str
    transport: str
    authentication: str
    codec: str
    width_px: int
    height_px: int
    declared_fps: float | None
    measured_fps: float | None
    duration_s: float
    frames: int
    first_frame_s: float
    bytes_per_s: float
    gaps: int
    longest_gap_ms: float
    latency: Latency | None
    identity: str
    lost: int | None
    duplicated: int | None
    timestamp_jumps: int
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class _Stream:
    """What was read."""

    codec: str = ""
    width_px: int = 0
    height_px: int = 0
    time_base: Fraction = Fraction(1, 90_000)
    reordered: bool = False
    ended: str = ""
    by_sei: int = 0
    by_strip: int = 0
    pictures: dict[int | None, FrameCode] = field(default_factory=dict)


def probe(
    url: str,
    seconds: float = 5.0,
    transport: Transport = "tcp",
    username: str = "",
    password: str = "",
    *,
    epoch_s: float | None = None,
    clip_s: float | None = None,
) -> ProbeReport:
    """Watch the camera at `url` for `seconds` from its first frame on. Blocks.

    With `epoch_s` (Unix time at which the camera's clip began) and `clip_s` (its length) latency
    is measured against the time in the frames. Raises `InputError` for an address that is none,
    `LinkDown`, `PeerTimeout`, and `PeerRefused` for 401, 404 and other answers.
    """
    if not 0 < seconds <= SECONDS_MAX:
        raise InputError(f"a probe of {seconds} s", hint=f"above 0, up to {SECONDS_MAX:.0f}")
    target = inquiry.Target.parse(url, username, password)
    answer = inquiry.describe(target, TIMEOUT_S)
    _check(target, answer)
    stream, began_s = _Stream(), time.monotonic()
    frames = list(_read(target, transport, stream, seconds))
    for frame in frames:
        if frame.code is None and frame.pts in stream.pictures:
            frame.code = stream.pictures[frame.pts]
            stream.by_strip += 1
    if not frames:
        raise PeerTimeout(
            f"{target.url} sends no video: {stream.ended}", hint="the session is open and silent"
        )
    epoch = (epoch_s, clip_s) if epoch_s is not None and clip_s else None
    return _report(target, transport, answer, stream, frames, began_s, epoch)


def _check(target: inquiry.Target, answer: inquiry.Answer) -> None:
    if answer.status == 401 and target.username:
        return
    if answer.status == 401:
        raise PeerRefused(
            f"{target.url} wants credentials ({', '.join(answer.schemes) or 'no scheme named'})",
            hint="give a user name and a password",
        )
    if answer.status == 404:
        raise PeerRefused(
            f"{target.url}: 404, there is no such stream", hint="check the path of the address"
        )
    if answer.status != 200:
        raise PeerRefused(
            f"{target.url} answers {answer.status} {answer.reason}", hint="RFC 2326, 7.1.1"
        )


def _read(
    target: inquiry.Target, transport: Transport, stream: _Stream, seconds: float
) -> Iterator[Frame]:
    """Frames as they come; `stream.ended` says why no more do."""
    import av  # takes 0.1 s

    try:
        with av.open(
            target.full_url,
            options={"rtsp_transport": transport, **_OPTIONS},
            timeout=(TIMEOUT_S, TIMEOUT_S),
        ) as container:
            yield from _identified(container, stream, seconds)
    except (av.error.ExitError, av.error.TimeoutError):
        stream.ended = f"nothing came for {TIMEOUT_S:g} s"
    except av.error.HTTPUnauthorizedError as error:
        raise PeerRefused(
            f"{target.url} does not accept the credentials: 401", hint="check user and password"
        ) from error
    except av.error.FFmpegError as error:
        if stream.codec:
            stream.ended = f"broken: {error.strerror}"
            return
        raise LinkDown(
            f"{target.url} cannot be opened over {transport}: {error.strerror}",
            hint="the camera may not offer this transport: try the other one",
        ) from error


def _identified(container: InputContainer, stream: _Stream, seconds: float) -> Iterator[Frame]:
    """Whole frames, with what they say of themselves."""
    if not container.streams.video:
        raise PeerRefused("the camera offers no video", hint="is it a stream of sound or data?")
    source = container.streams.video[0]
    context = source.codec_context
    context.thread_count = 1
    stream.codec, stream.time_base = context.name, Fraction(source.time_base or stream.time_base)
    for frame, data in _whole(container, source, stream, seconds):
        frame.code = sei.find_annex_b(data, h265=stream.codec == _H265)
        if frame.code is not None:
            stream.by_sei += 1
        if frame.code is None or not stream.width_px:
            _decode(context, data, frame.pts, stream)
        yield frame


def _whole(
    container: InputContainer, source: av.VideoStream, stream: _Stream, seconds: float
) -> Iterator[tuple[Frame, bytes]]:
    """Packets of one time stamp put together; the last frame, which may lack some, is left out."""
    frame, data = None, bytearray()
    until_s = time.monotonic() + FIRST_FRAME_S_MAX
    stream.ended = "the camera ended the stream"
    for packet in container.demux(source):
        now_s = time.monotonic()
        if packet.size == 0:
            continue
        if frame is None:
            until_s = now_s + seconds
        if frame is None or packet.pts != frame.pts or len(data) > FRAME_BYTES_MAX:
            if frame is not None:
                yield frame, bytes(data)
            frame, data = Frame(packet.pts, now_s), bytearray()
        frame.arrived_s = now_s
        frame.octets += packet.size
        frame.wall_s = _wall_s(packet)
        data += bytes(packet)
        if now_s > until_s:
            stream.ended = ""
            return


def _wall_s(packet: av.Packet[av.VideoStream]) -> float | None:
    """The capture time that FFmpeg made of RTCP sender reports: int64 microseconds, Unix time."""
    for side in packet.iter_sidedata():
        if side.data_type == "prft":
            return int.from_bytes(bytes(side)[:8], "little", signed=True) / 1e6
    return None


def _decode(context: av.VideoCodecContext, data: bytes, pts: int | None, stream: _Stream) -> None:
    import av
    import numpy as np

    packet = av.Packet(data)
    packet.pts = pts
    try:
        decoded = context.decode(packet)
    except av.error.InvalidDataError:  # until the first key frame, and after losses
        return
    stream.reordered = bool(context.has_b_frames)
    for picture in decoded:
        stream.width_px, stream.height_px = picture.width, picture.height
        code = framecode.read(np.asarray(picture.to_ndarray(format="gray"), np.uint8))
        if code is not None:
            stream.pictures[picture.pts] = code


# --- what follows from the frames -----------------------------------------------------------------


def _report(
    target: inquiry.Target,
    transport: str,
    answer: inquiry.Answer,
    stream: _Stream,
    frames: list[Frame],
    began_s: float,
    epoch: tuple[float, float] | None,
) -> ProbeReport:
    usual_s = frame_s(frames, stream.time_base)
    timed = frames[burst(frames, stream.time_base, usual_s) :]
    length_s = frames[-1].arrived_s - frames[0].arrived_s
    timed_s = timed[-1].arrived_s - timed[0].arrived_s
    pauses_s = [after.arrived_s - before.arrived_s for before, after in pairwise(timed)]
    if stream.reordered:
        frames = sorted(frames, key=lambda frame: frame.pts or 0)
    known = stream.by_sei + stream.by_strip > 0
    lost, duplicated, jumps = continuity(frames, stream.time_base, usual_s)
    longest_ms = max(pauses_s, default=0.0) * 1000
    problems = [] if stream.codec == "h264" else [f"not H.264: the stream is {stream.codec}"]
    problems += [stream.ended] if stream.ended else []
    return ProbeReport(
        url=target.url,
        transport=transport,
        authentication=", ".join(answer.schemes) or "none",
        codec=stream.codec,
        width_px=stream.width_px,
        height_px=stream.height_px,
        declared_fps=answer.frame_rate,
        measured_fps=round((len(timed) - 1) / timed_s, 3) if timed_s > 0 else None,
        duration_s=round(length_s, 3),
        frames=len(frames),
        first_frame_s=round(frames[0].arrived_s - began_s, 4),
        bytes_per_s=round(sum(f.octets for f in timed[1:]) / timed_s) if timed_s > 0 else 0,
        gaps=sum(pause_s > GAP_FRAMES * usual_s for pause_s in pauses_s) if usual_s else 0,
        longest_gap_ms=round(longest_ms, 1),
        latency=latency(timed, time.time() - time.monotonic(), epoch),
        identity="sei" if stream.by_sei else "strip" if known else "none",
        lost=lost if known else None,
        duplicated=duplicated if known else None,
        timestamp_jumps=jumps,
        problems=tuple(problems),
    )
