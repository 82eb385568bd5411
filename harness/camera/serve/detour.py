"""The way of a camera's frames while something is wrong with it.

A good camera gives its frames to its readers directly. While a fault acts on the way it gives
them to a `Detour`, which takes packets away, spoils them, holds frames back, and passes on what
is left. What happens to a frame follows from the fault's seed and the frame's number alone,
whoever watches and since when, so a pattern repeats. For readers over TCP the packets are lost
before they are framed, as in a camera whose own network stack lost them.
"""

from __future__ import annotations

import math
import random
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.camera.serve.packed import bundle
from harness.camera.wire.rtp import HEADER_BYTES
from harness.fault.camera import (
    BitErrors,
    Burst,
    CameraFault,
    Duplicate,
    HalfOpen,
    Jitter,
    Loss,
    Reorder,
)
from harness.scenario.seed import derive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from harness.camera.serve.clockwork import Timed
    from harness.camera.serve.packed import PackedUnit
    from harness.camera.serve.session import Session

    Acting: TypeAlias = Mapping[type[CameraFault], CameraFault]
    Packets: TypeAlias = list[bytes]
    Spoil: TypeAlias = Callable[[Any, random.Random, Packets], Packets]

HELD_MAX = 4096  # frames on their way: 30 s at the highest rate a clip may have


@dataclass(slots=True)
class Shot:
    """A captured frame on its way to those it is for. `verb` names what holds it back."""

    frame: int
    unit: PackedUnit
    readers: list[Session]
    verb: str = ""
    leaves_s: float = 0.0


def dice(seed: int, verb: str, frame: int) -> random.Random:
    """Chance for one frame, the same whenever it is asked for."""
    return random.Random(derive(seed, verb, str(frame)))


def _lose(fault: Loss, chance: random.Random, packets: Packets) -> Packets:
    return [packet for packet in packets if chance.random() >= fault.rate]


def _flip(fault: BitErrors, chance: random.Random, packets: Packets) -> Packets:
    return [_flipped(packet, fault.rate, chance) for packet in packets]


def _flipped(packet: bytes, rate: float, chance: random.Random) -> bytes:
    """With wrong bits behind the RTP header; from one to the next is a geometric distance."""
    if rate == 0.0:
        return packet
    data = bytearray(packet)
    step = math.log1p(-rate)
    bit = -1
    while True:
        bit += 1 + int(math.log1p(-chance.random()) / step)
        place = HEADER_BYTES + bit // 8
        if place >= len(data):
            return bytes(data)
        data[place] ^= 0x80 >> bit % 8


def _repeat(fault: Duplicate, chance: random.Random, packets: Packets) -> Packets:
    return [packet for packet in packets for _ in range(2 if chance.random() < fault.rate else 1)]


def _swap(fault: Reorder, chance: random.Random, packets: Packets) -> Packets:
    packets, place = packets[:], 0
    while place + 1 < len(packets):
        if chance.random() < fault.rate:
            packets[place : place + 2] = packets[place + 1], packets[place]
            place += 1
        place += 1
    return packets


_DAMAGE: tuple[tuple[type[CameraFault], Spoil], ...] = ((Loss, _lose), (BitErrors, _flip))
_ORDER: tuple[tuple[type[CameraFault], Spoil], ...] = ((Duplicate, _repeat), (Reorder, _swap))


class Detour:
    """An outlet of the camera; the server's clockwork calls `emit` for what it holds back."""

    def __init__(
        self, acting: Acting, playing: list[Session], schedule: Callable[[Timed], None]
    ) -> None:
        """`acting` and `playing` are the camera's own, and change under way."""
        self._acting = acting
        self._playing = playing
        self._schedule = schedule
        self._held: deque[Shot] = deque()  # by the time they leave
        self._behind: Shot | None = None  # goes behind the next frame
        self._burst: Burst | None = None
        self._burst_began_s = 0.0
        self.due_s = math.inf

    def deliver(self, frame: int, unit: PackedUnit) -> None:
        """A frame of the camera, patched; `unit` is not kept."""
        if not unit.offsets:  # the camera left this frame out
            return
        readers = [reader for reader in self._playing if reader.owed(key=unit.key)]
        if HalfOpen in self._acting:
            _take(readers, HalfOpen.verb)
            return
        whole = [bytes(view) for view in unit.datagrams()]
        packets = self._spoil(_DAMAGE, frame, whole)
        if not packets:
            _take(readers, Loss.verb)
            for reader in readers:
                reader.describe(frame)
            return
        if packets != whole:
            for reader in readers:
                reader.account.frames_damaged += 1
        packets = self._spoil(_ORDER, frame, packets)
        left = bundle(packets, first=unit.first, key=unit.key)
        self._pass_on(Shot(frame, left, readers))

    def _spoil(
        self, ways: tuple[tuple[type[CameraFault], Spoil], ...], frame: int, packets: Packets
    ) -> Packets:
        for kind, spoil in ways:
            fault: Any = self._acting.get(kind)
            if fault is not None:
                packets = spoil(fault, dice(fault.seed, kind.verb, frame), packets)
        return packets

    def _pass_on(self, shot: Shot) -> None:
        """At its place, or behind the next frame."""
        behind, self._behind = self._behind, None
        if behind is None and self._changes_places(shot):
            shot.verb = Reorder.verb
            self._behind = shot
            return
        self._send(shot)
        if behind is not None:
            self._send(behind)

    def _changes_places(self, shot: Shot) -> bool:
        """Whether a frame of one packet, which has no place to change inside, comes later."""
        fault = self._acting.get(Reorder)
        if not isinstance(fault, Reorder) or len(shot.unit.offsets) > 1:
            return False
        return dice(fault.seed, fault.verb, shot.frame).random() < fault.rate

    # --- in time, or later ------------------------------------------------------------------

    def _send(self, shot: Shot) -> None:
        now_s = time.monotonic()
        leaves_s = self._leaves_s(shot, now_s)
        if leaves_s <= now_s and not self._held:
            _deliver(shot)
        elif len(self._held) >= HELD_MAX:
            _take(shot.readers, shot.verb)
        else:
            shot.leaves_s = max(leaves_s, self._held[-1].leaves_s if self._held else 0.0)
            self._held.append(shot)
            self._wind()

    def _leaves_s(self, shot: Shot, now_s: float) -> float:
        leaves_s = now_s
        jitter, burst = self._acting.get(Jitter), self._acting.get(Burst)
        if isinstance(jitter, Jitter):
            shot.verb = jitter.verb
            leaves_s += jitter.most_s * dice(jitter.seed, jitter.verb, shot.frame).random()
        if isinstance(burst, Burst):
            shot.verb = burst.verb
            leaves_s = self._next_burst_s(burst, now_s, leaves_s)
        return leaves_s

    def _next_burst_s(self, burst: Burst, now_s: float, after_s: float) -> float:
        """The bursts are counted from the first frame that the fault met."""
        if burst is not self._burst:
            self._burst, self._burst_began_s = burst, now_s
        number = math.floor((after_s - self._burst_began_s) / burst.hold_s) + 1
        return self._burst_began_s + number * burst.hold_s

    def emit(self, now_s: float) -> None:
        """Send what was held back until now."""
        while self._held and self._held[0].leaves_s <= now_s:
            _deliver(self._held.popleft())
        self.due_s = self._held[0].leaves_s if self._held else math.inf

    def _wind(self) -> None:
        if self.due_s == math.inf:
            self.due_s = self._held[0].leaves_s
            self._schedule(self)

    # --- ends -------------------------------------------------------------------------------

    def forget(self, reader: Session) -> None:
        """`reader` gets no more: what is held back for it is lost."""
        for shot in self._waiting():
            if reader in shot.readers:
                shot.readers.remove(reader)
                reader.lose(shot.verb)

    def flush(self) -> None:
        """Send all that is held back at once."""
        self.due_s = math.inf
        waiting = tuple(self._waiting())
        self._held.clear()
        self._behind = None
        for shot in waiting:
            _deliver(shot)

    def _waiting(self) -> Iterator[Shot]:
        yield from self._held
        if self._behind is not None:
            yield self._behind


def _deliver(shot: Shot) -> None:
    for reader in tuple(shot.readers):
        reader.deliver(shot.frame, shot.unit)


def _take(readers: Iterable[Session], verb: str) -> None:
    for reader in readers:
        reader.lose(verb)
