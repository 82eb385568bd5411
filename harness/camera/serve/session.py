"""One reader of a camera, between SETUP and TEARDOWN: its tracks, and the ways they take.

A *carrier* brings the packets of one track to the reader: `TcpCarrier` inside the RTSP
connection, `UdpCarrier` (udp.py) beside it.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from harness.camera.serve import metadata, packed
from harness.camera.serve.outbox import Reception, SessionAccount
from harness.camera.wire import rtcp, rtp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.camera.serve.live import Camera
    from harness.camera.serve.outbox import Outbox
    from harness.camera.serve.packed import PackedUnit

VIDEO, METADATA = 0, 1  # numbers of the tracks


class Flow(enum.Enum):
    STARTING = "waits for its first key frame"
    FLOWING = "gets every frame"
    SKIPPING = "lost frames, waits for a key frame to go on"


class Carrier(Protocol):
    """How the packets of one track reach the reader. Nothing blocks."""

    @property
    def name(self) -> str:
        """`tcp` or `udp`."""

    @property
    def reliable(self) -> bool:
        """Whether sending notices a reader that is gone."""

    @property
    def backlog_bytes(self) -> int:
        """What still waits to be sent."""

    @property
    def closed(self) -> bool:
        """Nothing can be sent any more."""

    def send_unit(self, unit: PackedUnit, account: SessionAccount, frame: int) -> bool:
        """A frame; False where there is no room for it. `unit` is not kept."""

    def send_packet(self, packet: bytes) -> bool:
        """One RTP packet; False where there is no room for it."""

    def send_control(self, data: bytes) -> None:
        """A compound RTCP packet."""

    def close(self) -> None:
        """Give back what it holds."""


class TcpCarrier:
    """Interleaved with the messages of the RTSP connection (RFC 2326, 10.12)."""

    reliable: ClassVar[bool] = True
    name: ClassVar[str] = "tcp"

    __slots__ = ("channel", "control", "outbox")

    def __init__(self, outbox: Outbox, channel: int, control: int) -> None:
        self.outbox = outbox
        self.channel = channel
        self.control = control

    @property
    def backlog_bytes(self) -> int:
        return self.outbox.backlog_bytes

    @property
    def closed(self) -> bool:
        return self.outbox.closed

    def send_unit(self, unit: PackedUnit, account: SessionAccount, frame: int) -> bool:
        if unit.channel != self.channel:
            unit.set_channel(self.channel)
        return self.outbox.send_frame(unit.blob, account, frame)

    def send_packet(self, packet: bytes) -> bool:
        if self.outbox.backlog_bytes:
            return False
        self.outbox.send(packed.frame_interleaved(self.channel, packet))
        return True

    def send_control(self, data: bytes) -> None:
        self.outbox.send(packed.frame_interleaved(self.control, data))

    def close(self) -> None:
        """The connection is the owner of what this uses."""


@dataclass(frozen=True, slots=True)
class Start:
    """What PLAY answers: the first frame, its RTP header, and the range that is played."""

    first: int
    sequence: int
    timestamp: int
    range: str


class Session:
    """A reader of a live camera."""

    __slots__ = (
        "_octets",
        "_packets",
        "account",
        "camera",
        "flow",
        "id",
        "metadata",
        "video",
    )

    def __init__(self, camera: Camera, session_id: str, peer: tuple[str, int]) -> None:
        self.camera = camera
        self.id = session_id
        self.account = SessionAccount(peer, time.monotonic())
        self.flow = Flow.STARTING
        self.video: Carrier | None = None
        self.metadata: metadata.Track | None = None
        self._packets = 0
        self._octets = 0

    # --- tracks -----------------------------------------------------------------------------

    @property
    def ssrc(self) -> int:
        return self.camera.ssrc

    def ssrc_of(self, track: int) -> int:
        return self.ssrc if track == VIDEO else self.ssrc + 1 & 0xFFFFFFFF

    @property
    def tracks(self) -> tuple[int, ...]:
        """Those that are set up."""
        video = () if self.video is None else (VIDEO,)
        return video if self.metadata is None else (*video, METADATA)

    @property
    def closed(self) -> bool:
        return any(carrier.closed for carrier in self.carriers())

    @property
    def lively(self) -> bool:
        """Whether what is sent arrives, as far as sending can tell."""
        video = self.video
        if video is None or not video.reliable or self.flow is not Flow.FLOWING:
            return False
        return not video.backlog_bytes

    def carriers(self) -> Iterator[Carrier]:
        if self.video is not None:
            yield self.video
        if self.metadata is not None:
            yield self.metadata.carrier

    def attach(self, track: int, carrier: Carrier) -> None:
        if track == VIDEO:
            self.video = carrier
            self.account.transport = carrier.name
        else:
            self.metadata = metadata.Track(carrier, self.ssrc_of(METADATA))

    def detach(self, track: int) -> None:
        """TEARDOWN of one track."""
        self.goodbye(track)
        if track == VIDEO and self.video is not None:
            self.video.close()
            self.video = None
        elif track == METADATA and self.metadata is not None:
            self.metadata.carrier.close()
            self.metadata = None

    # --- playing ----------------------------------------------------------------------------

    def prepare(self, _wanted: tuple[float | None, float | None] | None) -> Start:
        """Set the clock going; a live camera plays what is now, whatever was wanted."""
        sent = self.account.last_index
        first = self.camera.prepare(-1 if sent is None else sent)
        camera = self.camera
        return Start(first, camera.first_sequence(first), camera.timestamp(first), "npt=now-")

    def sequences(self, start: Start) -> Iterator[tuple[int, int]]:
        """Of each track, the sequence number that it starts with."""
        if self.video is not None:
            yield VIDEO, start.sequence
        if self.metadata is not None:
            yield METADATA, self.metadata.sequence

    def play(self, start: Start) -> None:
        """Send frames from what `prepare` said."""
        self.camera.start(self, start.first)

    def pause(self) -> None:
        self.camera.stop(self)

    def close(self) -> None:
        self.camera.close(self)
        for carrier in self.carriers():
            carrier.close()

    def deliver(self, frame: int, unit: PackedUnit) -> None:
        """Send `unit`, patched for this camera and `frame`, unless this reader must wait."""
        if not unit.offsets:  # the camera left this frame out
            return
        video = self.video
        if video is not None:
            if self.flow is not Flow.FLOWING:
                if not unit.key or video.backlog_bytes:
                    self.account.frames_dropped_at_sender += self.flow is Flow.SKIPPING
                    return
                self.flow = Flow.FLOWING
            if video.send_unit(unit, self.account, frame):
                self._packets += len(unit.offsets)
                self._octets += unit.octets
            else:
                self.account.frames_dropped_at_sender += 1
                self.flow = Flow.SKIPPING
        if self.metadata is not None:
            self.describe(frame)

    def owed(self, *, key: bool) -> bool:
        """Whether a frame that is captured now is for this reader; `key`: it may begin with it.

        Only asked while a fault acts on the way of the frames; `deliver` answers it itself.
        """
        if self.flow is Flow.STARTING:
            if not key or (self.video is not None and self.video.backlog_bytes):
                return False
            self.flow = Flow.FLOWING
        return True

    def lose(self, verb: str, frames: int = 1) -> None:
        """The fault `verb` took frames that were owed."""
        if self.video is not None:
            self.account.lose(verb, frames)

    def skip(self, frames: int) -> None:
        """This machine was too slow: `frames` frames are never sent."""
        if self.flow is not Flow.STARTING:
            self.account.frames_dropped_at_sender += frames
            self.flow = Flow.SKIPPING

    def timestamp_at(self, now_s: float) -> int:
        """The RTP clock of this session at `now_s`."""
        return self.camera.timestamp_at(now_s)

    def timestamp_of(self, frame: int) -> int:
        return self.camera.timestamp(frame)

    def captured_s(self, frame: int) -> float:
        return self.camera.captured_s(frame)

    def describe(self, frame: int) -> None:
        """The truth about `frame`, on the metadata track."""
        if self.metadata is not None:
            boxes = self.camera.shown.truth(frame)
            wall_s = time.time() + self.captured_s(frame) - time.monotonic()
            document = metadata.document(boxes, wall_s)
            self.metadata.send(document, self.timestamp_of(frame))

    # --- reports ----------------------------------------------------------------------------

    def report(self) -> None:
        """Send RTCP sender reports: which wall time the RTP clock stands for (RFC 3550, 6.4)."""
        if not self.camera.quirks.silent_rtcp:
            for track in self.tracks:
                self._report(track, b"")

    def goodbye(self, only: int | None = None) -> None:
        """Say that no more will come: of all tracks, or `only` of one (RFC 3550, 6.6)."""
        if self.camera.quirks.silent_rtcp:
            return
        for track in self.tracks:
            if only in (None, track):
                self._report(track, rtcp.goodbye(self.ssrc_of(track)))

    def _report(self, track: int, rest: bytes) -> None:
        now_s = time.monotonic()
        side = self.metadata
        if track == METADATA and side is not None:
            ssrc, carrier, sent = side.ssrc, side.carrier, (side.packets, side.octets)
        elif self.video is not None:
            ssrc, carrier, sent = self.ssrc, self.video, (self._packets, self._octets)
        else:
            return
        report = rtp.SenderReport(ssrc, time.time(), self.timestamp_at(now_s), *sent)
        carrier.send_control(report.to_bytes(self.camera.name) + rest)

    def receive_control(self, data: bytes) -> bool:
        """What the reader reports; whether it was RTCP at all."""
        try:
            feedback = rtcp.parse(data)
        except rtp.BadRtp:
            self.account.reports_bad += 1
            return False
        for block in feedback.blocks:
            if block.ssrc == self.ssrc:
                before = self.account.reception
                self.account.reception = Reception(
                    fraction_lost=block.fraction_lost,
                    lost=block.lost,
                    jitter_ms=block.jitter * 1000 / rtp.CLOCK_HZ,
                    round_trip_s=block.round_trip_s(time.time()),
                    heard_s=time.monotonic(),
                    reports=1 if before is None else before.reports + 1,
                )
        return True
