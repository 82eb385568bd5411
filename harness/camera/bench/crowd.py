"""Readers of a soak: some stay, some come and go, a few mean harm."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import socket
from collections import Counter, deque
from typing import TYPE_CHECKING, TypeAlias

from harness.camera.reader.drain import Drain
from harness.camera.serve.packed import frame_interleaved
from harness.camera.wire.rtsp import Request
from harness.errors import PeerError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Generator, Mapping

    from harness.camera.reader.drain import Reader

    Misdeeds: TypeAlias = Generator[None, None, None]

STAY_SHARE = 0.75  # of the readers; the others come and go
STAY_S = (5.0, 60.0)  # how long they do
RUDE_SHARE = 0.5  # of those that go: without a word
ABUSERS = 7  # at the same time
ABUSE_S = 30.0  # then the next one comes
STEP_S = 1.0  # between two misdeeds
CONNECT_TIMEOUT_S = 1.0


class Crowd:
    """Keeps `sessions` readers on a server's `/camera-N`, every second one by UDP."""

    def __init__(self, drain: Drain, port: int, sessions: int, rng: random.Random) -> None:
        self._drain = drain
        self._port = port
        self._rng = rng
        self._staying = round(sessions * STAY_SHARE)
        self._due = [(0.0, number) for number in range(sessions)]  # a heap: when who comes or goes
        self._present: dict[int, Reader] = {}
        self._parted = Counter[str]()  # what those that left had counted
        self.counts = Counter[str]()

    def step(self, now_s: float) -> None:
        """One reader at most comes or goes, where it is time."""
        if not self._due or self._due[0][0] > now_s:
            return
        _, number = heapq.heappop(self._due)
        reader = self._present.pop(number, None)
        if reader is None:
            self._come(number, now_s)
        else:
            self._go(number, reader, now_s)

    def totals(self) -> dict[str, int]:
        """Frames received and missed by all readers so far, also by those that left."""
        present = self._present.values()
        return {
            "frames": self._parted["frames"] + sum(reader.frames for reader in present),
            "missed": self._parted["missed"] + sum(reader.missed for reader in present),
        }

    def _come(self, number: int, now_s: float) -> None:
        udp = number % 2 == 1
        try:
            reader = self._drain.connect("127.0.0.1", self._port, f"/camera-{number}", udp=udp)
        except PeerError:
            self.counts["refused"] += 1
            heapq.heappush(self._due, (now_s + STAY_S[0], number))
            return
        self.counts["came"] += 1
        self._present[number] = reader
        if number >= self._staying:
            heapq.heappush(self._due, (now_s + self._rng.uniform(*STAY_S), number))

    def _go(self, number: int, reader: Reader, now_s: float) -> None:
        self._parted["frames"] += reader.frames
        self._parted["missed"] += reader.missed
        if reader.sock.fileno() >= 0:  # else the server has ended it, which `Drain.lost` counts
            self._drain.leave(reader, rudely=self._rng.random() < RUDE_SHARE)
        self.counts["left"] += 1
        heapq.heappush(self._due, (now_s + self._rng.uniform(0.0, STAY_S[0]), number))


class Abuse:
    """A few readers at a time that break the rules, each in its way, until its time is over.

    A kind is a generator that owns its connection: a step of it is one misdeed.
    """

    def __init__(self, port: int, cameras: int, rng: random.Random) -> None:
        self._port = port
        self._cameras = cameras
        self._rng = rng
        self._kinds = itertools.cycle(KINDS.items())
        self._present: deque[tuple[float, Misdeeds]] = deque()  # until when, in that order
        self._next_s = 0.0
        self.counts = Counter[str]()

    def step(self, now_s: float) -> None:
        """One more misdeed of each, where it is time."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + STEP_S
        while self._present and now_s >= self._present[0][0]:
            self._present.popleft()[1].close()
        if len(self._present) < ABUSERS:
            name, kind = next(self._kinds)
            path = f"/camera-{self._rng.randrange(self._cameras)}"
            self._present.append((now_s + ABUSE_S, kind(self._port, path, self._rng)))
            self.counts[name] += 1
        for _, misdeeds in self._present:
            with contextlib.suppress(OSError, PeerError):  # the server has had enough of it
                next(misdeeds, None)

    def close(self) -> None:
        while self._present:
            self._present.pop()[1].close()


def _connection(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=CONNECT_TIMEOUT_S)
    sock.setblocking(False)
    return sock


def _request(method: str, port: int, path: str, *headers: tuple[str, str]) -> bytes:
    uri = f"rtsp://127.0.0.1:{port}{path}"
    return Request((("CSeq", "1"), *headers), method=method, uri=uri).to_bytes()


def _silent(port: int, _path: str, _rng: random.Random) -> Misdeeds:
    with _connection(port):
        while True:
            yield


def _slow(port: int, path: str, _rng: random.Random) -> Misdeeds:
    """One byte of a request at a time."""
    with _connection(port) as sock:
        for byte in _request("OPTIONS", port, path):
            sock.send(bytes((byte,)))
            yield


def _garbage(port: int, _path: str, rng: random.Random) -> Misdeeds:
    with _connection(port) as sock:
        while True:
            sock.send(rng.randbytes(500))
            yield


def _noise(port: int, _path: str, rng: random.Random) -> Misdeeds:
    """Interleaved data on any channel, of which nothing makes sense."""
    with _connection(port) as sock:
        while True:
            sock.send(frame_interleaved(rng.randrange(256), rng.randbytes(1000)) * 10)
            yield


def _setups(port: int, path: str, _rng: random.Random) -> Misdeeds:
    """Asks for a track over and over, and plays none."""
    offer = ("Transport", "RTP/AVP;unicast;client_port=5000-5001")
    with _connection(port) as sock:
        while True:
            sock.send(_request("SETUP", port, f"{path}/trackID=0", offer) * 20)
            yield


def _asking(port: int, path: str, _rng: random.Random) -> Misdeeds:
    """Asks, and never reads an answer."""
    with _connection(port) as sock:
        while True:
            sock.send(_request("DESCRIBE", port, path) * 200)
            yield


def _deaf(port: int, path: str, _rng: random.Random) -> Misdeeds:
    """Plays, and reads nothing of what comes."""
    with Drain() as never_polled:
        never_polled.connect("127.0.0.1", port, path)
        while True:
            yield


KINDS: Mapping[str, Callable[[int, str, random.Random], Misdeeds]] = {
    "silent": _silent,
    "slow": _slow,
    "garbage": _garbage,
    "noise": _noise,
    "setups": _setups,
    "asking": _asking,
    "deaf": _deaf,
}
