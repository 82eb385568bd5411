"""A camera's recording: every reader gets the clip from its beginning, at a clock of its own.

Unlike a live camera a recording can be paused, resumed where it stood and played in part
(`Range: npt=`, RFC 2326, 3.6), and it ends: with BYE, after which PLAY begins anew. Sequence
numbers and RTP time stamps go on without a gap over pauses and jumps (RFC 2326, appendix B).
"""

from __future__ import annotations

import math
import re
import secrets
import time
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from harness.camera.serve.live import LATE_MAX_S, Camera
from harness.camera.serve.session import Flow, Session, Start
from harness.camera.wire import rtp

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.camera.serve.packed import PackedClip

_TIME = r"(?:([0-9]{1,4}):([0-5]?[0-9]):)?([0-9]{1,9}(?:\.[0-9]{0,9})?)"
_RANGE = re.compile(rf"npt\s*=\s*(?:(?P<now>now)|{_TIME})?\s*-\s*(?:{_TIME})?\s*(?:;.*)?")


class Playback(Session):
    """One reader of a recording; the server's clockwork calls `emit`."""

    __slots__ = (
        "_base",
        "_clip",
        "_end",
        "_identity",
        "_next",
        "_schedule",
        "_sent",
        "_sequence",
        "due_s",
        "playing",
    )

    def __init__(
        self,
        camera: Recording,
        session_id: str,
        peer: tuple[str, int],
        clip: PackedClip,
        schedule: Callable[[Playback], None],
    ) -> None:
        super().__init__(camera, session_id, peer)
        self._clip = clip
        self._schedule = schedule
        self._identity = secrets.randbits(32)
        self._sequence = secrets.randbits(16)
        self._base = secrets.randbits(32)
        self._next = 0  # frame of the clip that comes next
        self._end = len(clip.units)
        self._sent = 0  # frames on the RTP clock so far
        self.due_s = math.inf
        self.playing = False

    @property
    def ssrc(self) -> int:
        return self._identity

    def prepare(self, wanted: tuple[float | None, float | None] | None) -> Start:
        """Go to where the reader wants to be: to the key frame at or before it."""
        frames, fps = len(self._clip.units), self._clip.clip.fps
        if self._next >= self._end:  # it was played to its end
            self._next, self._end = 0, frames
        if wanted is not None:
            from_s, to_s = wanted
            if from_s is not None:
                frame = min(frames - 1, math.floor(from_s * fps + 1e-6))
                self._next = self._clip.key_at_or_before(frame)
                self.flow = Flow.STARTING
            self._end = frames if to_s is None else min(frames, math.ceil(to_s * fps - 1e-6))
            self._end = max(self._end, self._next + 1)
        begin_s, end_s = self._next / fps, self._end / fps
        stamp = self._stamp(self._sent)
        return Start(self._next, self._sequence, stamp, f"npt={begin_s:.3f}-{end_s:.3f}")

    def play(self, start: Start) -> None:
        """Go on from what `prepare` said; a reader that plays already has only moved."""
        if self.closed or self.playing:
            return
        self.playing = True
        self.wake()
        self.report()

    def wake(self) -> None:
        """Set its clock going, from now on."""
        if self.playing and not self.camera.stalled:
            self.due_s = time.monotonic()
            self._schedule(self)

    def pause(self) -> None:
        self.playing = False
        self.due_s = math.inf

    def close(self) -> None:
        self.pause()
        super().close()

    def emit(self, now_s: float) -> None:
        """The next frame; a reader with a backlog is waited for, nothing is left out."""
        step_s = 1 / self._clip.clip.fps
        video = self.video
        if now_s - self.due_s > LATE_MAX_S:  # this machine was too slow: all later
            self.due_s = now_s
        if video is not None and video.backlog_bytes:
            self.due_s += step_s
            return
        frame = self._next
        unit = self._clip.units[frame]
        unit.patch(self._sequence, self._stamp(self._sent), self._identity)
        self._next = frame + 1
        self._sent += 1
        self._sequence = self._sequence + len(unit.offsets) & 0xFFFF
        self.due_s += step_s
        self.deliver(frame, unit)
        if self._next >= self._end and self.playing:
            self.goodbye()
            self.pause()

    def timestamp_at(self, now_s: float) -> int:
        stamp = self._stamp(self._sent)
        if not self.playing:
            return stamp
        return stamp + round((now_s - self.due_s) * rtp.CLOCK_HZ) & 0xFFFFFFFF

    def timestamp_of(self, frame: int) -> int:
        return self._stamp(self._sent - 1)  # `frame` is the one that was just sent

    def captured_s(self, frame: int) -> float:
        return self.due_s - 1 / self._clip.clip.fps

    def _stamp(self, count: int) -> int:
        rate = self._clip.clip.spec.rate
        return self._base + count * rtp.CLOCK_HZ * rate.denominator // rate.numerator & 0xFFFFFFFF


class Recording(Camera):
    """A camera that plays its clip to every reader from the beginning, and to its end."""

    ranged: ClassVar[bool] = True

    @property
    def range_text(self) -> str:
        return f"npt=0-{self.clip.duration_s:.3f}"

    @property
    def watched(self) -> int:
        return sum(playback.playing for playback in self._playbacks())

    def stop_sending(self) -> None:
        for playback in self._playbacks():
            playback.due_s = math.inf

    def start_sending(self) -> None:
        """They go on where they stood."""
        for playback in self._playbacks():
            playback.wake()

    def close(self, session: Session) -> None:
        super().close(session)
        self._open.pop(session.id, None)

    def _new_session(self, session_id: str, peer: tuple[str, int]) -> Session:
        playback = Playback(self, session_id, peer, self._packed, self._clockwork.schedule)
        self._open[session_id] = playback
        return playback

    def _playbacks(self) -> tuple[Playback, ...]:
        return tuple(self._open.values())

    @cached_property
    def _open(self) -> dict[str, Playback]:
        return {}


def npt_range(header: str) -> tuple[float | None, float | None] | None:
    """Begin and end in seconds of a `Range` header; None where it says neither.

    None for a bound means: as it is. Raises `ValueError` for what is not understood: another
    unit, or a range that ends before it begins.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None:
        raise ValueError(header)
    begin_s = None if match["now"] else _seconds(match.group(2, 3, 4))
    end_s = _seconds(match.group(5, 6, 7))
    if begin_s is None and end_s is None:
        return None
    if end_s is not None and end_s <= (begin_s or 0.0):
        raise ValueError(header)
    return begin_s, end_s


def _seconds(parts: tuple[str | None, ...]) -> float | None:
    hours, minutes, seconds = parts
    if seconds is None:
        return None
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)
