"""The way of a camera's frames while something is wrong with it.

A good camera gives its frames to its readers directly. While a fault acts on the way it gives
them to a `Detour`, which takes packets away, holds frames back, and passes on what is left. What
happens to a frame follows from the fault's seed and the frame's number alone, whoever watches
and since when, so a pattern repeats. For readers over TCP the packets are lost before they are
framed, as in a camera whose own network stack lost them.
"""

from __future__ import annotations

import math
import random
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from harness.camera.serve.packed import bundle
from harness.fault.camera import CameraFault, HalfOpen, Jitter, Loss
from harness.scenario.seed import derive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.camera.serve.live import Timed
    from harness.camera.serve.packed import PackedUnit
    from harness.camera.serve.session import Session

    Acting: TypeAlias = Mapping[type[CameraFault], CameraFault]
    Packets: TypeAlias = list[bytes]

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


def lose(fault: Loss, frame: int, packets: Packets) -> Packets:
    chance = dice(fault.seed, fault.verb, frame).random
    return [packet for packet in packets if chance() >= fault.rate]


class Detour:
    """An outlet of the camera; the server's clockwork calls `emit` for what it holds back."""

    def __init__(
        self, acting: Acting, playing: list[Session], schedule: Callable[[Detour], None]
    ) -> None:
        """`acting` and `playing` are the camera's own, and change under way."""
        self._acting = acting
        self._playing = playing
        self._schedule: Callable[[Timed], None] = schedule  # type: ignore[assignment]
        self._held: deque[Shot] = deque()  # by the time they leave
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
        packets = self._disturb(frame, whole)
        if not packets:
            _take(readers, Loss.verb)
            for reader in readers:
                reader.describe(frame)
            return
        if packets != whole:
            for reader in readers:
                reader.account.frames_damaged += 1
        left = bundle(packets, first=unit.first, key=unit.key)
        self._send(Shot(frame, left, readers))

    def _disturb(self, frame: int, packets: Packets) -> Packets:
        loss = self._acting.get(Loss)
        if isinstance(loss, Loss):
            packets = lose(loss, frame, packets)
        return packets

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
        jitter = self._acting.get(Jitter)
        if not isinstance(jitter, Jitter):
            return now_s
        shot.verb = jitter.verb
        return now_s + jitter.most_s * dice(jitter.seed, jitter.verb, shot.frame).random()

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
        for shot in self._held:
            if reader in shot.readers:
                shot.readers.remove(reader)
                reader.lose(shot.verb)

    def flush(self) -> None:
        """Send all that is held back at once."""
        self.due_s = math.inf
        while self._held:
            _deliver(self._held.popleft())


def _deliver(shot: Shot) -> None:
    for reader in tuple(shot.readers):
        reader.deliver(shot.frame, shot.unit)


def _take(readers: Iterable[Session], verb: str) -> None:
    for reader in readers:
        reader.lose(verb)
