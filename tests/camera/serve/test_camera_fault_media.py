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

from harness.camera.picture.clip import ClipSpec, load_clip
from harness.camera.picture.variant import load_variant
from harness.camera.serve import server as server_module
from harness.camera.serve.server import CameraServer
from harness.errors import InputError
from harness.fault.camera import (
    BitErrors,
    Black,
    Burst,
    CameraFault,
    Drift,
    Duplicate,
    Freeze,
    Gop,
    Jitter,
    Loss,
    OtherCodec,
    Reorder,
    Resolution,
    SequenceReset,
    SsrcReset,
    TimestampJump,
)
from harness.record import framecode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.live import Camera
    from harness.camera.serve.outbox import SessionAccount

    Well = Callable[[list[Any]], bool]

PATIENCE_S = 15.0
T = TypeVar("T")


@pytest.fixture
async def server(cache_dir: Path) -> AsyncIterator[CameraServer]:
    async with CameraServer(cache_dir=cache_dir) as server:
        yield server


@pytest.fixture(scope="module")
def clip(cache_dir: Path) -> Clip:
    """A second at 60 a second: much of what is tested here is encoded anew."""
    return load_clip(ClipSpec(384, 216, 60.0, 1.0, 20, 600, 2, 11), cache_dir)


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
    packets = Packets(60)
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
    return sum(step > 1 for step in steps(seen)) > 5 and min(steps(seen)) > 0


def late(seen: list[Seen]) -> bool:
    """Against the earliest of them some come late. A busy machine makes it more, not less."""
    offsets = [one.came_s - (one.stamp - seen[0].stamp & 0xFFFFFFFF) / 90_000 for one in seen]
    return max(offsets) - min(offsets) > 0.1


def doubled(seen: list[Seen]) -> bool:
    pairs = [(one, two) for one, two in pairwise(seen) if one.sequence == two.sequence]
    return len(pairs) > 5 and all(one.payload == two.payload for one, two in pairs)


def shuffled(seen: list[Seen]) -> bool:
    """Some come before those that were sent earlier, and all of them come."""
    numbers = {(one.sequence - seen[0].sequence + 0x8000) & 0xFFFF for one in seen}
    missing = max(numbers) - min(numbers) + 1 - len(numbers)
    return sum(step < 0 for step in steps(seen)) > 3 and missing <= 2  # at the ends


def in_bursts(seen: list[Seen]) -> bool:
    """Nothing for most of the time, and then many: a busy machine makes gaps longer."""
    return max(two.came_s - one.came_s for one, two in pairwise(seen)) > 0.3


def fast(seen: list[Seen]) -> bool:
    return set(ticks(seen)) <= {0, 1650} and set(steps(seen)) == {1}


def from_zero(seen: list[Seen]) -> bool:
    return 0 in {one.sequence for one in seen} and set(ticks(seen)) <= {0, 1500}


def renamed(seen: list[Seen]) -> bool:
    return len({one.ssrc for one in seen}) == 2 and healthy(seen)


def jumped(seen: list[Seen]) -> bool:
    return 1500 - 60 * 90_000 in ticks(seen) and set(steps(seen)) == {1}


PACKETS = [
    (Loss(rate=0.2, seed=3), lossy),
    (Duplicate(rate=0.2), doubled),
    (Reorder(rate=0.3), shuffled),
    (Jitter(most_s=0.5), late),
    (Burst(hold_s=0.5), in_bursts),
    (Drift(ppm=100_000.0), fast),
    (SequenceReset(), from_zero),
    (SsrcReset(), renamed),
    (TimestampJump(by_s=-60.0), jumped),
]


@pytest.mark.parametrize(
    ("fault", "bit", "transport"),
    [
        (fault, bit, "udp" if number % 2 and not isinstance(fault, Burst) else "tcp")
        for number, (fault, bit) in enumerate(PACKETS)
    ],
    ids=[fault.verb for fault, _ in PACKETS],
)
async def test_packets(camera: Camera, packets: Packets, fault: CameraFault, bit: Well) -> None:
    camera.inject(fault)
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
    return None not in indexes and all((b - a) % 60 == 1 for a, b in pairwise(indexes))  # type: ignore[operator]


def frozen_at(index: int) -> Well:
    def frozen(seen: list[Shown]) -> bool:
        stamps = [one.pts for one in seen]
        return {one.index for one in seen} == {index} and all(b > a for a, b in pairwise(stamps))

    return frozen


def dark(seen: list[Shown]) -> bool:
    stamps = [one.pts for one in seen]
    return max(one.brightness for one in seen) < 5 and all(b > a for a, b in pairwise(stamps))


def of_size(width_px: int, height_px: int) -> Well:
    """Of that size, and one frame after the other as always."""
    return lambda seen: {one.size for one in seen} == {(width_px, height_px)} and moving(seen)


def with_keys_every(frames: int) -> Well:
    def often(seen: list[Shown]) -> bool:
        keys = [place for place, one in enumerate(seen) if one.key]
        return len(keys) > 1 and {b - a for a, b in pairwise(keys)} == {frames} and moving(seen)

    return often


def well(seen: list[Shown]) -> bool:
    keys = sum(one.key for one in seen)
    return keys <= 1 and of_size(384, 216)(seen)


PICTURES = [
    (Freeze(at_s=0.5), frozen_at(30)),
    (Black(), dark),
    (Resolution(), of_size(192, 108)),
    (Resolution(width_px=256, height_px=144), of_size(256, 144)),
    (Gop(frames=5), with_keys_every(5)),
]


@pytest.mark.parametrize(
    ("fault", "bit"), PICTURES, ids=["freeze", "black", "half", "smaller", "gop"]
)
async def test_pictures(camera: Camera, pictures: Pictures, fault: CameraFault, bit: Well) -> None:
    await camera.prepare_fault(fault)
    camera.inject(fault)
    await pictures.until(bit)
    camera.heal()
    await pictures.until(well)
    account = account_of(camera)
    assert account.frames_sent == camera.next_frame - (account.first_index or 0)


async def test_one_picture_fault_takes_the_place_of_another(
    camera: Camera, pictures: Pictures
) -> None:
    for fault, bit in PICTURES[:2]:
        await camera.prepare_fault(fault)
        camera.inject(fault)
        await pictures.until(bit)
    assert camera.faults == (Black(),)
    camera.heal(Freeze)  # which does not act any more
    assert camera.faults == (Black(),)


def first_picture(url: str) -> tuple[str, int]:
    """Codec and size of what FFmpeg decodes."""
    with av.open(url, options={"rtsp_transport": "tcp"}, timeout=(PATIENCE_S, PATIENCE_S)) as one:
        frame = next(one.decode(video=0))
        return one.streams.video[0].codec_context.name, frame.width


@pytest.mark.parametrize(("codec", "name"), [("h265", "hevc"), ("mjpeg", "mjpeg")])
async def test_another_codec(camera: Camera, codec: str, name: str) -> None:
    assert await asyncio.to_thread(first_picture, camera.url) == ("h264", 384)
    await camera.prepare_fault(OtherCodec(codec))
    camera.inject(OtherCodec(codec))
    assert await asyncio.to_thread(first_picture, camera.url) == (name, 384)
    camera.heal()
    assert await asyncio.to_thread(first_picture, camera.url) == ("h264", 384)


@pytest.mark.parametrize("transport", ["tcp"])
async def test_another_codec_in_an_open_session(camera: Camera, packets: Packets) -> None:
    """Not a packet is missing, and the payload is JPEG (RFC 2435, 3.1: type 1, the size / 8)."""
    await camera.prepare_fault(OtherCodec("mjpeg"))
    camera.inject(OtherCodec("mjpeg"))
    await packets.until(
        lambda seen: healthy(seen) and all(one.payload[6:8] == bytes((48, 27)) for one in seen)
    )
    camera.heal()
    await packets.until(
        lambda seen: healthy(seen) and all(one.payload[6:8] != bytes((48, 27)) for one in seen)
    )


async def test_pictures_that_cannot_be_encoded(server: CameraServer, cache_dir: Path) -> None:
    spec = ClipSpec(386, 218, 10.0, 0.5, 5, 100, 1, 1)
    camera = server.add("odd", load_clip(spec, cache_dir), "/odd")
    with pytest.raises(InputError, match="motion JPEG of 386x218") as caught:
        await camera.prepare_fault(OtherCodec("mjpeg"))
    assert "multiples of 8" in caught.value.hint
    with pytest.raises(InputError, match="51x108 pixels"):
        await camera.prepare_fault(Resolution(width_px=51))


async def test_bit_errors_spoil_pictures(camera: Camera, pictures: Pictures) -> None:
    camera.inject(BitErrors(rate=1e-3))
    await pictures.until(lambda seen: not moving(seen))
    camera.heal()
    await pictures.until(well)
    account = account_of(camera)
    assert account.frames_damaged > 0
    assert account.frames_sent == camera.next_frame - (account.first_index or 0)


@pytest.mark.parametrize("transport", ["tcp"])
async def test_frames_go_on_while_pictures_are_made(
    server: CameraServer,
    clip: Clip,
    camera: Camera,
    packets: Packets,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_end, made = threading.Event(), 0

    def slowly(*arguments: Any, **more: Any) -> Clip:
        nonlocal made
        made += 1
        assert may_end.wait(PATIENCE_S)
        return load_variant(*arguments, **more)

    monkeypatch.setattr(server_module, "load_variant", slowly)
    making = asyncio.gather(*(camera.prepare_fault(Black()) for _ in range(2)))
    before = account_of(camera).frames_sent
    await packets.until(lambda _: account_of(camera).frames_sent > before + 20)
    assert not making.done()
    may_end.set()
    await making
    twin = server.add("twin", clip, "/twin")
    await twin.prepare_fault(Black())  # of the same kind: nothing to make
    twin.inject(Black())
    assert twin.shown.truth(0) == ()
    assert made == 1
