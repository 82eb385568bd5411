"""Faults of a camera's packets and pictures, seen by aiortsp and by FFmpeg's libraries."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import av
import numpy as np
import pytest
from aiortsp.rtsp.reader import RTSPReader

from harness.camera.serve.server import CameraServer
from harness.fault.camera import CameraFault, Freeze, Jitter, Loss
from harness.record import framecode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.live import Camera
    from harness.camera.serve.outbox import SessionAccount

    Well = Callable[[list[Any]], bool]

PATIENCE_S = 15.0
BOTH = pytest.mark.parametrize("transport", ["tcp", "udp"])
T = TypeVar("T")


@pytest.fixture
async def server(cache_dir: Path) -> AsyncIterator[CameraServer]:
    async with CameraServer(cache_dir=cache_dir) as server:
        yield server


@pytest.fixture
async def camera(server: CameraServer, clip: Clip) -> Camera:
    return server.add("door", clip, "/door", fast_start=True)


class Window(Generic[T]):
    """The newest things that came; `until` waits for what they look like."""

    def __init__(self, size: int) -> None:
        self._seen: deque[T] = deque(maxlen=size)
        self._more = asyncio.Event()

    def add(self, item: T) -> None:
        self._seen.append(item)
        self._more.set()

    def clear(self) -> None:
        self._seen.clear()

    async def until(self, well: Well) -> None:
        """Until the newest of them, as many as there may be, satisfy `well`."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self._seen) < (self._seen.maxlen or 0) or not well(list(self._seen)):
                self._more.clear()
                await self._more.wait()


def account_of(camera: Camera) -> SessionAccount:
    return camera.sessions[-1]


# --- packets --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """An RTP packet as aiortsp gave it."""

    sequence: int
    stamp: int
    ssrc: int
    payload: bytes
    came_s: float


class Packets(Window[Seen]):
    """A reader of the library aiortsp."""

    async def watch(self, url: str, transport: str) -> None:
        scheme = "rtspt" if transport == "tcp" else "rtsp"
        loop = asyncio.get_running_loop()
        async with RTSPReader(url.replace("rtsp", scheme, 1)) as reader:
            runner = reader._runner
            try:
                async for packet in reader.iter_packets():
                    self.add(Seen(packet.seq, packet.ts, packet.ssrc, packet.data, loop.time()))
            finally:
                runner.cancel()
                await asyncio.gather(runner, return_exceptions=True)


@pytest.fixture
async def packets(camera: Camera, transport: str) -> AsyncIterator[Packets]:
    packets = Packets(120)
    watching = asyncio.ensure_future(packets.watch(camera.url, transport))
    await packets.until(healthy)
    yield packets
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


def steps(seen: list[Seen]) -> list[int]:
    """From each sequence number to the next; 1 where nothing is wrong."""
    return [(two.sequence - one.sequence + 0x8000 & 0xFFFF) - 0x8000 for one, two in pairwise(seen)]


def ticks(seen: list[Seen]) -> list[int]:
    """From each time stamp to the next; a frame of the clip lasts 1500."""
    return [
        (two.stamp - one.stamp + (1 << 31) & 0xFFFFFFFF) - (1 << 31) for one, two in pairwise(seen)
    ]


def healthy(seen: list[Seen]) -> bool:
    return set(steps(seen)) == {1} and set(ticks(seen)) <= {0, 1500}


def lossy(seen: list[Seen]) -> bool:
    return sum(step > 1 for step in steps(seen)) > 10 and min(steps(seen)) > 0


def late(seen: list[Seen]) -> bool:
    """Against the earliest of them some come late. A busy machine makes it more, not less."""
    offsets = [one.came_s - (one.stamp - seen[0].stamp & 0xFFFFFFFF) / 90_000 for one in seen]
    return max(offsets) - min(offsets) > 0.1


@BOTH
@pytest.mark.parametrize(
    ("fault", "bit"),
    [
        (Loss(rate=0.2, seed=3), lossy),
        (Jitter(most_s=0.5), late),
    ],
    ids=lambda value: getattr(value, "verb", ""),
)
async def test_packets(camera: Camera, packets: Packets, fault: CameraFault, bit: Well) -> None:
    camera.inject(fault)
    packets.clear()
    await packets.until(bit)
    camera.heal(type(fault))
    await packets.until(healthy)
    account = account_of(camera)
    assert account.frames_dropped_at_sender == 0
    assert account.frames_sent + sum(account.frames_lost.values()) == (
        camera.next_frame - (account.first_index or 0)
    )
    assert camera.trouble.detour is None


# --- pictures -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture as FFmpeg decoded it; `index` is what its frame code says."""

    pts: int
    index: int | None
    size: tuple[int, int]
    brightness: float
    key: bool


class Pictures(Window[Shown]):
    """A reader of FFmpeg's libraries, in a thread."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._stop = threading.Event()

    def watch(self, url: str, loop: asyncio.AbstractEventLoop) -> None:
        options = {"rtsp_transport": "tcp", "analyzeduration": "0", "probesize": "32"}
        with av.open(url, options=options, timeout=(PATIENCE_S, PATIENCE_S)) as container:
            for frame in container.decode(video=0):
                if self._stop.is_set():
                    return
                image = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
                code = framecode.read(image)
                index = None if code is None else code.index
                size = (frame.width, frame.height)
                bright = float(image[:, :, 1].mean())
                shown = Shown(frame.pts or 0, index, size, bright, bool(frame.key_frame))
                loop.call_soon_threadsafe(self.add, shown)

    def stop(self) -> None:
        self._stop.set()


@pytest.fixture
async def pictures(camera: Camera) -> AsyncIterator[Pictures]:
    pictures = Pictures(12)
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(pictures.watch, camera.url, loop))
        await pictures.until(moving)
        yield pictures
        pictures.stop()


def moving(seen: list[Shown]) -> bool:
    """One frame after the other, each saying who it is."""
    indexes = [one.index for one in seen]
    return None not in indexes and all((b - a) % 240 == 1 for a, b in pairwise(indexes))  # type: ignore[operator]


def frozen_at(index: int) -> Well:
    def frozen(seen: list[Shown]) -> bool:
        stamps = [one.pts for one in seen]
        return {one.index for one in seen} == {index} and all(b > a for a, b in pairwise(stamps))

    return frozen


@pytest.mark.parametrize(
    ("fault", "bit"),
    [(Freeze(at_s=1.5), frozen_at(90))],
    ids=lambda value: getattr(value, "verb", ""),
)
async def test_pictures(camera: Camera, pictures: Pictures, fault: CameraFault, bit: Well) -> None:
    await camera.prepare_fault(fault)
    camera.inject(fault)
    await pictures.until(bit)
    camera.heal()
    await pictures.until(moving)
    account = account_of(camera)
    assert account.frames_sent == camera.next_frame - (account.first_index or 0)
