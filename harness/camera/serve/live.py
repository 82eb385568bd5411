"""One camera, live: its frame clock, who watches it, and what each of them was sent.

Frame `k` of a camera is captured at `epoch_s + k / fps`, whether anybody watches or not; all
that is sent follows from `k` in closed form, so an unwatched camera costs nothing.
"""

from __future__ import annotations

import hashlib
import math
import time
from typing import TYPE_CHECKING, ClassVar, Protocol

from harness.camera.serve import quirk
from harness.camera.serve.session import METADATA, VIDEO, Flow, Session
from harness.camera.wire import rtp
from harness.camera.wire.transport import TRANSPORTS
from harness.scenario.quirk import NONE as NO_QUIRKS

if TYPE_CHECKING:
    from collections.abc import Collection

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.outbox import SessionAccount
    from harness.camera.serve.packed import PackedClip, PackedUnit
    from harness.camera.wire.auth import Credentials
    from harness.scenario.quirk import Quirks

FRESH_KEY_S = 0.1  # a key frame as young as this still starts a reader at once
LATE_MAX_S = 1.0  # frames later than this are dropped: a camera does not send the past
ACCOUNTS_MAX = 10_000  # finished sessions remembered per camera


class Timed(Protocol):
    """What sends frames by the clock: a live camera, or one reader's playback."""

    due_s: float

    def emit(self, now_s: float) -> None:
        """Send what is due and set `due_s` anew."""


class Clockwork(Protocol):
    """What a camera needs of its server."""

    def schedule(self, timed: Timed) -> None:
        """Have `emit` called when `due_s` comes."""

    def open_port(self, camera: Camera) -> None:
        """Listen for `camera` again, where it has a port of its own."""

    def close_port(self, camera: Camera) -> None:
        """Refuse connections to `camera`, and reset those of its readers."""


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
        self.online = True
        self.stalled = False
        self.sessions: list[SessionAccount] = []
        self.due_s = math.inf  # when `next_frame` is sent; infinite while nobody watches
        self.next_frame = 0
        self._playing: list[Session] = []
        self._rate = clip.clip.spec.rate
        self._fps = float(self._rate)
        # Not random: the same camera of the same site always looks the same on the wire.
        identity = hashlib.sha256(f"{name}\0{path}\0{clip.clip.spec.key}".encode()).digest()
        self.ssrc = int.from_bytes(identity[:4], "big")
        self._timestamp_base = int.from_bytes(identity[4:8], "big")
        self._sequence_base = int.from_bytes(identity[8:10], "big")
        self._rewind_ticks = quirk.rewind_ticks(quirks)

    @property
    def range_text(self) -> str:
        """What can be played, as the session description says it (RFC 2326, C.1.5)."""
        return "npt=now-"

    @property
    def clip(self) -> Clip:
        return self._packed.clip

    @property
    def watched(self) -> int:
        """How many readers get frames now."""
        return len(self._playing)

    def captured_s(self, frame: int) -> float:
        """When camera frame `frame` is captured, on `time.monotonic()`."""
        return self.epoch_s + frame / self._fps

    def timestamp_at(self, now_s: float) -> int:
        """The RTP clock at `now_s`."""
        ticks = round((now_s - self.epoch_s) * rtp.CLOCK_HZ)
        if self._rewind_ticks:
            ticks %= self._rewind_ticks
        return self._timestamp_base + ticks & 0xFFFFFFFF

    def timestamp(self, frame: int) -> int:
        """RTP time stamp of `frame`, exact for rates such as 30000/1001."""
        ticks = frame * rtp.CLOCK_HZ * self._rate.denominator // self._rate.numerator
        if self._rewind_ticks:
            ticks %= self._rewind_ticks
        return self._timestamp_base + ticks & 0xFFFFFFFF

    def sequence(self, frame: int) -> int:
        """RTP sequence number of the first packet of `frame`."""
        return self._sequence_base + self._packed.packets_before(frame) & 0xFFFF

    # --- what a scenario does to a camera ---------------------------------------------------

    def go_offline(self) -> None:
        """As if unplugged: its sessions are reset and connections to it get nowhere."""
        self.online = False
        self._clockwork.close_port(self)

    def go_online(self) -> None:
        """Plugged in again. Its clock went on."""
        if not self.online:
            self._clockwork.open_port(self)
            self.online = True

    def stall(self) -> None:
        """Sessions stay open and get no frames, as with a hung encoder."""
        self.stalled = True
        self._stop_clock()

    def resume(self) -> None:
        """Frames again, from the next key frame on."""
        self.stalled = False
        for session in self._playing:
            session.flow = Flow.STARTING
        if self._playing and self.due_s == math.inf:
            first = self._packed.key_at_or_after(self._frame_now())
            self._start_clock(first, first)

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
        first = self._first_key(live)
        if first <= after:
            first = self._packed.key_at_or_after(max(live, after + 1))
        begin = max(first, live)
        if not self.stalled and (self.due_s == math.inf or begin < self.next_frame):
            self._start_clock(begin, first)
        return first

    def _first_key(self, live: int) -> int:
        if live > 0 and not self.stalled:
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
        self._playing.append(session)
        if self.due_s < math.inf:
            for frame in range(first, self.next_frame):
                session.deliver(frame, self._patched(frame))

    def stop(self, session: Session) -> None:
        """No more frames to `session`; it may start again."""
        if session in self._playing:
            self._playing.remove(session)
        if not self._playing:
            self._stop_clock()

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
        for session in self._playing[:]:
            session.deliver(frame, unit)

    def _catch_up(self) -> None:
        frame = max(self.next_frame, self._frame_now() - 1)
        for session in self._playing:
            session.skip(frame - self.next_frame)
        self.next_frame = frame

    def _patched(self, frame: int) -> PackedUnit:
        unit = self._packed.units[frame % len(self._packed.units)]
        unit.patch(self.sequence(frame), self.timestamp(frame), self.ssrc)
        return unit

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
