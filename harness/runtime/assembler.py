"""Packets in order to access units (RFC 6184: single NAL unit, STAP-A, FU-A), and what is missing.

The marker ends a frame at once, a new time stamp does where there is no marker. A NAL unit of
which a part is missing is left out, as live555 does; a frame that has no slice left is lost. How
many frames were lost without a trace follows from the time stamps.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.runtime.rtp import ticks_between

if TYPE_CHECKING:
    from harness.runtime.reorder import Ordered

ACCESS_UNIT_BYTES_MAX = 8 << 20
START_CODE = b"\x00\x00\x00\x01"
STEPS_KEPT = 15  # the shortest of them is the time of a frame
_STAP_A, _FU_A = 24, 28
_SLICES = range(1, 6)  # nal_unit_type of what holds picture (ITU-T H.264, table 7-1)


class FrameTooLarge(Exception):
    """Neither markers nor new time stamps end a frame of this camera."""


@dataclass(frozen=True, slots=True)
class Unit:
    """An access unit; `lost` frames before it never came whole. `damaged`: it lacks a part."""

    nals: tuple[bytes, ...]
    timestamp: int
    lost: int = 0
    damaged: bool = False
    restarted: bool = False  # the first one of a sender that began anew

    @property
    def annex_b(self) -> bytes:
        return b"".join(START_CODE + nal for nal in self.nals)


@dataclass(slots=True)
class _Frame:
    """What has come of one frame."""

    timestamp: int
    nals: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    damaged: bool = False


class Assembler:
    """Of one stream."""

    def __init__(self) -> None:
        self._frame: _Frame | None = None
        self._fragment: bytearray | None = None
        self._last: int | None = None  # time stamp of the last frame that ended
        self._steps: deque[int] = deque(maxlen=STEPS_KEPT)  # from frame to frame, in ticks
        self._lost = 0
        self._restarted = False
        self._beside: list[bytes] = []  # parameter sets that came in a frame of their own

    def feed(self, ordered: Ordered) -> list[Unit]:
        """The access units that this packet ends. Raises `FrameTooLarge`."""
        packet, done = ordered.packet, []
        if ordered.restarted:
            self._begin_anew()
        if ordered.lost:
            self._drop_fragment()
        if self._frame is not None and self._frame.timestamp != packet.timestamp:
            self._frame.damaged |= ordered.lost > 0
            done += self._finish()
        if self._frame is None:
            self._frame = self._begin(packet.timestamp, ordered.lost)
        elif ordered.lost:
            self._frame.damaged = True
        if ordered.lost and not self._frame.nals and not _begins_picture(packet.payload):
            self._frame.damaged = True
        self._take(self._frame, packet.payload)
        if packet.marker:
            done += self._finish()
        return done

    def _begin_anew(self) -> None:
        """The clock is another one: nothing is known of what was lost in between."""
        self._drop_fragment()
        if self._frame is not None:
            self._lost += 1
        self._frame, self._last = None, None
        self._restarted = True

    def _begin(self, timestamp: int, lost_packets: int) -> _Frame:
        step = 0 if self._last is None else ticks_between(self._last, timestamp)
        if not lost_packets and step:
            self._steps.append(abs(step))
        elif lost_packets and self._steps:
            missing = round(step / min(self._steps)) - 1
            self._lost += max(0, min(missing, lost_packets))
        return _Frame(timestamp)

    def _finish(self) -> list[Unit]:
        frame, self._frame = self._frame, None
        assert frame is not None
        self._drop_fragment(frame)
        if not any(_kind(nal) in _SLICES for nal in frame.nals):
            if frame.damaged:
                self._lost += 1
                self._last = frame.timestamp
            else:
                self._beside = frame.nals
            return []
        nals, lost, restarted = (*self._beside, *frame.nals), self._lost, self._restarted
        self._beside, self._lost, self._restarted = [], 0, False
        self._last = frame.timestamp
        return [Unit(nals, frame.timestamp, lost, frame.damaged, restarted)]

    def _drop_fragment(self, frame: _Frame | None = None) -> None:
        frame = frame or self._frame
        if self._fragment is not None and frame is not None:
            frame.damaged = True
        self._fragment = None

    def _take(self, frame: _Frame, payload: bytes) -> None:
        frame.size_bytes += len(payload)
        if frame.size_bytes > ACCESS_UNIT_BYTES_MAX:
            raise FrameTooLarge(f"more than {ACCESS_UNIT_BYTES_MAX} bytes")
        kind = _kind(payload)
        if kind == _STAP_A:
            offset = 1
            while offset + 2 < len(payload):
                size = int.from_bytes(payload[offset : offset + 2], "big")
                frame.nals.append(payload[offset + 2 : offset + 2 + size])
                offset += 2 + size
        elif kind == _FU_A and len(payload) > 1:
            self._take_fragment(frame, payload)
        elif 0 < kind < _STAP_A:
            frame.nals.append(payload)

    def _take_fragment(self, frame: _Frame, payload: bytes) -> None:
        flags = payload[1]
        if flags & 0x80:
            self._drop_fragment(frame)
            self._fragment = bytearray([payload[0] & 0xE0 | flags & 0x1F])
        if self._fragment is None:
            frame.damaged = True  # its beginning is missing
            return
        self._fragment += payload[2:]
        if flags & 0x40:
            frame.nals.append(bytes(self._fragment))
            self._fragment = None


def _kind(nal: bytes) -> int:
    return nal[0] & 0x1F if nal else 0


def _begins_picture(payload: bytes) -> bool:
    """Whether nothing of the frame can have come before: no slice but the first one begins so.

    `first_mb_in_slice`, the first code of a slice, is 0 in the first slice: one bit, set
    (ITU-T H.264, 7.3.3 and 9.1).
    """
    kind = _kind(payload)
    if kind == _FU_A and len(payload) > 2:
        return bool(payload[1] & 0x80) and (
            payload[1] & 0x1F not in _SLICES or bool(payload[2] & 0x80)
        )
    return kind not in _SLICES or (len(payload) > 1 and bool(payload[1] & 0x80))
