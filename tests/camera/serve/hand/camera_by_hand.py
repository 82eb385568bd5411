"""A camera whose clock is turned by hand, and outboxes that remember what they are given."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.camera.serve import detour as detour_module
from harness.camera.serve import live as live_module
from harness.camera.serve import session as session_module
from harness.camera.serve.live import Camera
from harness.camera.serve.packed import PackedClip
from harness.camera.serve.session import VIDEO, Session, TcpCarrier
from harness.camera.wire.auth import Credentials
from harness.camera.wire.rtp import Packet

if TYPE_CHECKING:
    import pytest

    from harness.camera.picture.clip import Clip
    from harness.camera.picture.variant import Change
    from harness.camera.serve.clockwork import Timed
    from harness.camera.serve.outbox import SessionAccount
    from harness.camera.serve.trouble import Port

PEER = ("127.0.0.1", 5)
BEGAN_S = 1000.0
HALF_WAY_S = 10.0 + 10.5 / 60  # a camera of that age is between key frames 600 and 620


class Clock:
    """Stands for the module `time`: stands still until it is moved."""

    now_s = BEGAN_S

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s + 1.7e9


CLOCK = Clock()


def stop_the_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The camera's time is `CLOCK` until the test ends."""
    monkeypatch.setattr(CLOCK, "now_s", BEGAN_S)
    for module in (live_module, session_module, detour_module):
        monkeypatch.setattr(module, "time", CLOCK)
    return CLOCK


class Clockwork:
    """Turned by hand. It has no ports and no connections; `made` are the pictures of faults."""

    def __init__(self) -> None:
        self.scheduled: list[Timed] = []
        self.made: dict[Change | None, PackedClip] = {}

    def schedule(self, timed: Timed) -> None:
        self.scheduled.append(timed)

    def has_port(self, camera: Camera) -> bool:
        return False

    def set_port(self, camera: Camera, state: Port) -> None: ...

    def reset(self, camera: Camera, *, hushed: bool = False) -> None: ...

    def dismiss(self, camera: Camera) -> None: ...

    def hush(self, camera: Camera) -> None: ...

    def has_pictures(self, camera: Camera, change: Change) -> bool:
        return change in self.made

    async def prepare_pictures(self, camera: Camera, change: Change) -> None: ...

    def pictures(self, camera: Camera, change: Change | None) -> PackedClip:
        return self.made[change]

    def turn_until(self, until_s: float) -> None:
        """All that is due up to `until_s`, in order, each at its moment."""
        while True:
            due = [timed for timed in self.scheduled if timed.due_s < math.inf]
            first = min(due, key=lambda timed: timed.due_s, default=None)
            self.scheduled = list(dict.fromkeys(due))
            if first is None or first.due_s > until_s:
                break
            CLOCK.now_s = max(CLOCK.now_s, first.due_s)
            first.emit(CLOCK.now_s)
        CLOCK.now_s = max(CLOCK.now_s, until_s)


class Sink:
    """An outbox that remembers frames, and refuses them while `full`."""

    def __init__(self) -> None:
        self.blobs: list[bytes] = []
        self.messages: list[bytes] = []
        self.full = False
        self.backlog_bytes = 0
        self.closed = False

    def send(self, data: bytes) -> None:
        self.messages.append(data)

    def send_frame(self, blob: bytearray, account: SessionAccount, frame: int) -> bool:
        if not self.full:
            self.blobs.append(bytes(blob))
            account.count(frame)
        return not self.full

    def packets(self) -> list[Packet]:
        result = []
        for blob in self.blobs:
            position = 0
            while position < len(blob):
                assert blob[position : position + 1] == b"$"
                end = position + 4 + int.from_bytes(blob[position + 2 : position + 4], "big")
                result.append(Packet.from_bytes(blob[position + 4 : end]))
                position = end
        return result


def make(
    clip: Clip,
    age_s: float = HALF_WAY_S,
    fast_start: bool = False,
    clockwork: Clockwork | None = None,
) -> Camera:
    clockwork = clockwork or Clockwork()
    packed = clockwork.made[None] = PackedClip.pack(clip)
    camera = Camera(clockwork, "door", packed, "/door", Credentials("", ""), fast_start=fast_start)
    camera.epoch_s = BEGAN_S - age_s
    return camera


def join(camera: Camera, channel: int = 0) -> tuple[Session, Sink]:
    sink = Sink()
    session = camera.open("1", PEER)
    session.attach(VIDEO, TcpCarrier(sink, channel, channel + 1))  # type: ignore[arg-type]
    camera.start(session, camera.prepare())
    return session, sink


def turn(camera: Camera, frames: int) -> None:
    """The next frames, each at the moment it is due."""
    for _ in range(frames):
        CLOCK.now_s = max(CLOCK.now_s, camera.due_s)
        camera.emit(CLOCK.now_s)
