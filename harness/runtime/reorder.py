"""Packets back in their order, for a while and within bounds; what is missing then is lost.

A packet that is ahead of its turn is held until those before it are there, `hold_s` are over, or
more than `packets_max` wait. Whoever comes after that is late and of no use. Numbers far from
what is expected are a sender that began anew, once two of them follow each other (RFC 3550, A.1).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.runtime.rtp import SEQUENCES, steps_between

if TYPE_CHECKING:
    from harness.runtime.rtp import Packet

DROPOUT_MAX = 3000  # RFC 3550, A.1: this far ahead it is loss
MISORDER_MAX = 100  # and this far behind late
PACKETS_MAX = 512


@dataclass(frozen=True, slots=True)
class Ordered:
    """A packet in its turn; `lost` packets before it never came. `restarted`: a new beginning."""

    packet: Packet
    lost: int = 0
    restarted: bool = False


@dataclass(slots=True)
class Disorder:
    """How packets came, counted since the beginning."""

    lost: int = 0
    overtaken: int = 0  # came after one that was sent later, and in time
    late: int = 0  # came when they had been given up
    duplicated: int = 0
    restarts: int = 0


class Reorder:
    """Of one stream. Times are seconds of any clock that does not go back."""

    def __init__(self, hold_s: float, packets_max: int = PACKETS_MAX) -> None:
        self.seen = Disorder()
        self._hold_s = hold_s
        self._packets_max = packets_max
        self._expected: int | None = None
        self._ssrc = 0
        self._held: dict[int, tuple[Packet, float]] = {}
        self._given_up: deque[int] = deque(maxlen=MISORDER_MAX)
        self._stray: Packet | None = None  # far from what is expected: a new beginning, perhaps

    @property
    def deadline_s(self) -> float | None:
        """When `due` has something to give; None while nothing is held."""
        return self._oldest_s + self._hold_s if self._held else None

    def push(self, packet: Packet, now_s: float) -> list[Ordered]:
        """What is in its turn now that `packet` came."""
        if self._expected is None:
            return self._begin(packet)
        if packet.ssrc != self._ssrc:
            return [*self._flush(), *self._begin(packet, anew=True)]
        ahead = steps_between(self._expected, packet.sequence)
        if not -MISORDER_MAX <= ahead <= DROPOUT_MAX:
            return self._stray_came(packet, now_s)
        self._stray = None
        if ahead < 0:
            self._too_late(packet.sequence)
            return []
        if packet.sequence in self._held:
            self.seen.duplicated += 1
            return []
        if ahead == 0:
            self.seen.overtaken += bool(self._held)
            return [self._next(packet, 0), *self._drain()]
        self._held[packet.sequence] = (packet, now_s)
        return self.due(now_s)

    def due(self, now_s: float) -> list[Ordered]:
        """What has waited long enough, or for too many: the packets before it are given up."""
        done: list[Ordered] = []
        while self._held and (
            len(self._held) > self._packets_max or now_s >= self._oldest_s + self._hold_s
        ):
            done += self._skip()
        return done

    @property
    def _oldest_s(self) -> float:
        """When the one came that is held longest."""
        return next(iter(self._held.values()))[1]

    def _begin(self, packet: Packet, *, anew: bool = False) -> list[Ordered]:
        self._expected, self._ssrc = packet.sequence, packet.ssrc
        self._given_up.clear()
        self._stray = None
        self.seen.restarts += anew
        self._expected = (packet.sequence + 1) % SEQUENCES
        return [Ordered(packet, restarted=anew)]

    def _next(self, packet: Packet, lost: int) -> Ordered:
        self._expected = (packet.sequence + 1) % SEQUENCES
        self.seen.lost += lost
        return Ordered(packet, lost)

    def _drain(self) -> list[Ordered]:
        """Those held whose turn it is."""
        done = []
        while self._expected in self._held:
            packet, _ = self._held.pop(self._expected)
            done.append(self._next(packet, 0))
        return done

    def _skip(self) -> list[Ordered]:
        """Give up what is missing before the first one held."""
        assert self._expected is not None
        expected = self._expected
        first = min(self._held, key=lambda sequence: steps_between(expected, sequence))
        lost = steps_between(expected, first)
        recent = range(max(0, lost - MISORDER_MAX), lost)
        self._given_up.extend((expected + step) % SEQUENCES for step in recent)
        packet, _ = self._held.pop(first)
        return [self._next(packet, lost), *self._drain()]

    def _flush(self) -> list[Ordered]:
        """All that is held, with what is missing between given up."""
        done: list[Ordered] = []
        while self._held:
            done += self._skip()
        return done

    def _too_late(self, sequence: int) -> None:
        if sequence in self._given_up:
            self._given_up.remove(sequence)
            self.seen.late += 1
        else:
            self.seen.duplicated += 1

    def _stray_came(self, packet: Packet, now_s: float) -> list[Ordered]:
        stray, self._stray = self._stray, packet
        if stray is None or steps_between(stray.sequence, packet.sequence) != 1:
            return []
        return [*self._flush(), *self._begin(stray, anew=True), *self.push(packet, now_s)]
