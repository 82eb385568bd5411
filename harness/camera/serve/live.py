"""One camera, live: its frame clock, who watches it, and what each of them was sent.

Frame `k` of a camera is captured at `epoch_s + k / fps`, whether anybody watches or not; all
that is sent follows from `k` in closed form, so an unwatched camera costs nothing.
"""

from __future__ import annotations

import hashlib
import math
import time
from typing import TYPE_CHECKING, ClassVar

from harness.camera.serve import quirk
from harness.camera.serve.rtp_clock import RtpClock
from harness.camera.serve.session import METADATA, VIDEO, Flow, Session
from harness.camera.serve.trouble import Trouble
from harness.camera.wire.transport import TRANSPORTS
from harness.fault.camera import Offline, Stall
from harness.scenario.quirk import NONE as NO_QUIRKS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.clockwork import Clockwork, Outlet
    from harness.camera.serve.outbox import SessionAccount
    from harness.camera.serve.packed import PackedClip, PackedUnit
    from harness.camera.wire.auth import Credentials
    from harness.fault.camera import CameraFault
    from harness.scenario.quirk import Quirks

FRESH_KEY_S = 0.1  # a key frame as young as this still starts a reader at once
LATE_MAX_S = 1.0  # frames later than this are dropped: a camera does not send the past
ACCOUNTS_MAX = 10_000  # finished sessions remembered per camera


class _Switch:
    """Other pictures, which a running camera takes up at their next key frame."""

    def __init__(self, packed: PackedClip, at: int, due_s: float, camera: Camera) -> None:
        self.packed = packed
        self.at = at
        self.due_s = due_s
        self.waiting: list[Session] = []  # readers that shall see no others
        self._camera = camera

    def emit(self, _now_s: float) -> None:
        self.due_s = math.inf
        self._camera.switch()


class _Gap:
    """Frames that a stall takes, from `first` on; counted when the camera goes on with `at`."""

    def __init__(self, first: int, camera: Camera) -> None:
        self.first = first
        self.at = 0
        self.due_s = math.inf
        self._camera = camera

    def emit(self, _now_s: float) -> None:
        self.due_s = math.inf
        self._camera.close_gap()


class Camera:
    """A camera of a `CameraServer`, which makes it. `path` is its place on the server."""

    ranged: ClassVar[bool] = False  # a reader gets what is now, whatever range it asks for

    def __init__(
        self,
        clockwork: Clockwork,
        name: str,
        clip: PackedClip,
        path: str,
        credentials: Credentials,
        *,
        fast_start: bool,
        quirks: Quirks = NO_QUIRKS,
        transports: Collection[str] = TRANSPORTS,
        metadata: bool = False,
    ) -> None:
        self._clockwork = clockwork
        self._packed = clip
        self._own = clip
        self.name = name
        self.path = path
        self.credentials = credentials
        self.fast_start = fast_start
        self.quirks = quirks
        self.transports = frozenset(transports)
        self.tracks = (VIDEO, METADATA) if metadata else (VIDEO,)
        self.places = quirk.Places(quirks)
        self.url = ""
        self.epoch_s = time.monotonic()
        self.sessions: list[SessionAccount] = []
        self.due_s = math.inf  # when `next_frame` is sent; infinite while nobody watches
        self.next_frame = 0
        self._playing: list[Session] = []
        self._outlets: Sequence[Outlet] = self._playing
        self._coming: _Switch | None = None
        self._gap: _Gap | None = None
        rate = clip.clip.spec.rate
        self._fps = float(rate)
        # Not random: the same camera of the same site always looks the same on the wire.
        identity = hashlib.sha256(f"{name}\0{path}\0{clip.clip.spec.key}".encode()).digest()
        self.ssrc = int.from_bytes(identity[:4], "big")
        self._sequence_base = int.from_bytes(identity[8:10], "big")
        base = int.from_bytes(identity[4:8], "big")
        self._clock = RtpClock(rate, base, quirk.rewind_ticks(quirks))
        self._stamp = self._clock.stamp
        self.trouble = Trouble(self, clockwork)

    @property
    def range_text(self) -> str:
        """What can be played, as the session description says it (RFC 2326, C.1.5)."""
        return "npt=now-"

    @property
    def clip(self) -> Clip:
        """The camera's own, whatever a fault shows instead."""
        return self._own.clip

    @property
    def shown(self) -> Clip:
        """What it sends now."""
        return self._packed.clip

    @property
    def offered(self) -> Clip:
        """What a reader that comes now will see."""
        return self.shown if self._coming is None else self._coming.packed.clip

    @property
    def playing(self) -> list[Session]:
        """The readers that get frames now. The list stays the same and changes."""
        return self._playing

    @property
    def watched(self) -> int:
        """How many readers get frames now."""
        return len(self._playing)

    @property
    def online(self) -> bool:
        return Offline not in self.trouble.acting

    @property
    def stalled(self) -> bool:
        return Stall in self.trouble.acting

    @property
    def faults(self) -> tuple[CameraFault, ...]:
        """Those that act now."""
        return tuple(self.trouble.acting.values())

    def run_ahead(self, share: float) -> None:
        """Be ahead of a new camera by this share of the time between two key frames.

        Cameras of a site do not run in step. Here it would hurt them: key frames are several
        times as large as others, and those of all cameras would be due at the same moment.
        """
        self.epoch_s -= share * self.clip.spec.gop_frames / self._fps

    def captured_s(self, frame: int) -> float:
        """When camera frame `frame` is captured, on `time.monotonic()`."""
        return self.epoch_s + frame / self._fps

    def timestamp_at(self, now_s: float) -> int:
        """The RTP clock at `now_s`."""
        return self._clock.stamp_after(now_s - self.epoch_s)

    def timestamp(self, frame: int) -> int:
        """RTP time stamp of `frame`."""
        return self._stamp(frame)

    def sequence(self, frame: int) -> int:
        """RTP sequence number of the first packet of `frame`."""
        return self._sequence_base + self._packed.packets_before(frame) & 0xFFFF

    def first_sequence(self, frame: int) -> int:
        """Of a frame that a reader will begin with, maybe with pictures that are to come."""
        coming = self._coming
        if coming is None:
            return self.sequence(frame)
        ahead = coming.packed.packets_before(frame) - coming.packed.packets_before(coming.at)
        return self.sequence(coming.at) + ahead & 0xFFFF

    # --- what a scenario does to a camera ---------------------------------------------------

    async def prepare_fault(self, fault: CameraFault) -> None:
        """Make the pictures that `fault` needs, so that `inject` can be called. Takes time."""
        await self.trouble.prepare(fault)

    def inject(self, fault: CameraFault) -> None:
        """Let `fault` act, beside the others. Raises `InputError` where it cannot."""
        self.trouble.inject(fault)

    def heal(self, kind: type[CameraFault] | None = None) -> None:
        """End the fault of `kind`, or all of them. Its clock went on."""
        self.trouble.heal(kind)

    def go_offline(self) -> None:
        """As if unplugged: its sessions are reset and connections to it get nowhere."""
        self.inject(Offline())

    def go_online(self) -> None:
        """Plugged in again. Its clock went on."""
        self.heal(Offline)

    def stall(self) -> None:
        """Sessions stay open and get no frames, as with a hung encoder."""
        self.inject(Stall())

    def resume(self) -> None:
        """Frames again, from the next key frame on."""
        self.heal(Stall)

    # --- what a fault does to a camera ------------------------------------------------------

    def stop_sending(self) -> None:
        if self._gap is None and self.due_s < math.inf:
            self._gap = _Gap(self.next_frame, self)
        elif self._gap is not None:  # stalled again before it went on
            self._gap.due_s = math.inf
        self._stop_clock()

    def start_sending(self) -> None:
        """From the next key frame on; what is captured before it is lost."""
        if not self._playing or self.due_s < math.inf:
            return
        first = self._packed.key_at_or_after(self._frame_now())
        for session in self._playing:
            if session.flow is not Flow.STARTING:
                session.flow = Flow.SKIPPING
        if self._gap is not None:
            self._gap.at, self._gap.due_s = first, self._just_before(first)
            self._clockwork.schedule(self._gap)
        self._start_clock(first, first)

    def close_gap(self) -> None:
        """The camera goes on: what the stall took is known for everybody."""
        gap, self._gap = self._gap, None
        if gap is not None:
            for session in self._playing:
                self._lose_in(gap, session, gap.at)

    def _lose_in(self, gap: _Gap, session: Session, until: int) -> None:
        if session.flow is not Flow.STARTING:
            session.lose(Stall.verb, self._captured_between(gap.first, until))

    def _just_before(self, frame: int) -> float:
        """A moment between `frame` and the one before."""
        return (self.captured_s(frame - 1) + self.captured_s(frame)) / 2

    def turn_off_to(self, detour: Outlet | None) -> None:
        """Frames go to `detour`, which passes them on; with None to the readers again."""
        self._outlets = self._playing if detour is None else [detour]

    def restart_sequence(self, first: int) -> None:
        """The next packet has the sequence number `first`."""
        self._sequence_base += first - self.sequence(self.next_frame)

    def change_ssrc(self) -> None:
        """To the one that always follows the one it has."""
        digest = hashlib.sha256(f"{self.name}\0{self.path}\0{self.ssrc}".encode()).digest()
        self.ssrc = int.from_bytes(digest[:4], "big")

    def jump(self, by_s: float) -> None:
        """Time stamps go on `by_s` later, or earlier."""
        self._clock.jump(by_s)

    def drift(self, ppm: float) -> None:
        """The RTP clock is so much too fast from the next frame on; 0: it is right."""
        self._clock.drift(ppm, self.next_frame if self.due_s < math.inf else self._frame_now())

    def show(self, packed: PackedClip) -> None:
        """Send other pictures, of the same rate, from their next key frame on."""
        waiting = [] if self._coming is None else self._coming.waiting
        if self._coming is not None:
            self._coming.due_s, self._coming = math.inf, None
        if self.due_s == math.inf or packed is self._packed:
            self._take_up(packed, waiting)
            return
        at = packed.key_at_or_after(self.next_frame)
        self._coming = _Switch(packed, at, self._just_before(at), self)
        self._coming.waiting = waiting
        self._clockwork.schedule(self._coming)

    def _wait_or_stop(self) -> None:
        """Nobody gets frames: wait for those who want the coming ones, if there are any."""
        coming = self._coming
        if coming is None or not coming.waiting:
            self._stop_clock()
            return
        coming.due_s, self._coming = math.inf, None
        self.next_frame, self.due_s = coming.at, self.captured_s(coming.at)
        self._take_up(coming.packed, coming.waiting)
        self._clockwork.schedule(self)

    def switch(self) -> None:
        """The moment has come; unless the clock has jumped over it, then there is another."""
        coming = self._coming
        if coming is None:
            return
        if self.next_frame == coming.at:
            self._coming = None
            self._take_up(coming.packed, coming.waiting)
        else:
            self.show(coming.packed)

    def _take_up(self, packed: PackedClip, waiting: list[Session]) -> None:
        """Sequence numbers go on without a gap."""
        before = self._packed.packets_before(self.next_frame)
        self._sequence_base += before - packed.packets_before(self.next_frame)
        self._packed = packed
        self._playing.extend(waiting)

    # --- readers ----------------------------------------------------------------------------

    def open(self, session_id: str, peer: tuple[str, int]) -> Session:
        """A reader; it gets nothing before `Session.attach` and `Session.play`."""
        session = self._new_session(session_id, peer)
        self.sessions.append(session.account)
        self.places.enter(session_id)
        if len(self.sessions) > ACCOUNTS_MAX:
            ended = next((a for a in self.sessions if a.ended_s is not None), None)
            if ended is not None:
                self.sessions.remove(ended)
        return session

    def _new_session(self, session_id: str, peer: tuple[str, int]) -> Session:
        return Session(self, session_id, peer)

    def prepare(self, after: int = -1) -> int:
        """Set the clock going for a reader; the frame it gets first, which is a key frame.

        That is the next one, or the last one if it is still fresh (with `fast_start`: however
        old it is; all frames since then come at once). Frames up to `after` are not sent again.
        """
        live = self._frame_now() if self.due_s == math.inf else self._next_unsent()
        if self._coming is not None:
            return self._coming.packed.key_at_or_after(max(self._coming.at, after + 1))
        first = self._first_key(live)
        if first <= after:
            first = self._packed.key_at_or_after(max(live, after + 1))
        begin = max(first, live)
        if not self.stalled and (self.due_s == math.inf or begin < self.next_frame):
            self._start_clock(begin, first)
        return first

    def _first_key(self, live: int) -> int:
        if live > 0 and not self.stalled and self.trouble.detour is None:
            last = self._packed.key_at_or_before(live - 1)
            if self.fast_start or time.monotonic() - self.captured_s(last) <= FRESH_KEY_S:
                return max(0, last)
        return self._packed.key_at_or_after(live)

    def start(self, session: Session, first: int) -> None:
        """Send frames to `session` from `first` on, which is what `prepare` said."""
        if session in self._playing or session.closed:
            return
        session.flow = Flow.STARTING
        session.report()
        if self._coming is not None:
            if session not in self._coming.waiting:
                self._coming.waiting.append(session)
            return
        self._playing.append(session)
        if self.due_s < math.inf:
            for frame in range(first, self.next_frame):
                session.deliver(frame, self._patched(frame))

    def stop(self, session: Session) -> None:
        """No more frames to `session`; it may start again."""
        if session in self._playing:
            self._playing.remove(session)
            if self._gap is not None:
                self._lose_in(self._gap, session, self._frame_now())
            if self.trouble.detour is not None:
                self.trouble.detour.forget(session)
        elif self._coming is not None and session in self._coming.waiting:
            self._coming.waiting.remove(session)
        if not self._playing:
            self._wait_or_stop()

    def close(self, session: Session) -> None:
        self.stop(session)
        self.places.leave(session.id)
        if session.account.ended_s is None:
            session.account.ended_s = time.monotonic()

    def emit(self, now_s: float) -> None:
        """Send the frame that is due to everybody who watches, and move on to the next."""
        if not self._playing:
            self._stop_clock()
            return
        if now_s - self.due_s > LATE_MAX_S:
            self._catch_up()
        frame = self.next_frame
        unit = self._patched(frame)
        self.next_frame = frame + 1
        self.due_s = self.captured_s(frame + 1)
        for outlet in self._outlets[:]:
            outlet.deliver(frame, unit)

    def _catch_up(self) -> None:
        frame = max(self.next_frame, self._frame_now() - 1)
        skipped = self._captured_between(self.next_frame, frame)
        for session in self._playing:
            session.skip(skipped)
        self.next_frame = frame

    def _patched(self, frame: int) -> PackedUnit:
        unit = self._packed.units[frame % len(self._packed.units)]
        unit.patch(self.sequence(frame), self._stamp(frame), self.ssrc)
        return unit

    def _captured_between(self, first: int, end: int) -> int:
        """Frames from `first` on, before `end`, that the camera does not leave out."""
        return max(0, self._packed.frames_before(end) - self._packed.frames_before(first))

    def _frame_now(self) -> int:
        """The first frame that is not captured yet."""
        return max(0, math.floor((time.monotonic() - self.epoch_s) * self._fps) + 1)

    def _next_unsent(self) -> int:
        """Of a running clock. It may be set on a key frame that is still to come."""
        return min(self.next_frame, self._frame_now())

    def _start_clock(self, frame: int, first: int) -> None:
        """Be due at `frame`; `first`, at or before it, is the first frame that somebody gets."""
        if self.due_s == math.inf and first > self.next_frame:
            # No gap in the sequence after a pause of the camera: it sent nothing meanwhile.
            self._sequence_base += self.sequence(self.next_frame) - self.sequence(first)
        self.next_frame = frame
        self.due_s = self.captured_s(frame)
        self._clockwork.schedule(self)

    def _stop_clock(self) -> None:
        self.due_s = math.inf
        if self._gap is not None and not self._playing:
            self._gap.due_s, self._gap = math.inf, None  # nobody misses anything
        if self._coming is not None:  # nobody has to wait for a key frame
            self.show(self._coming.packed)
