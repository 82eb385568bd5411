"""Independent clients read the camera: PyAV (FFmpeg's libraries), aiortsp, the ffmpeg program."""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from aiortsp.rtsp.reader import RTSPReader

from harness.camera.wire.rtp import Depacketiser, Packet
from harness.record.framecode import FrameCode, read, resolve

if TYPE_CHECKING:
    from harness.camera.picture.clip import Clip
    from harness.camera.serve.live import Camera
    from harness.camera.serve.server import CameraServer
    from tests.camera.conftest import Until

FRAMES = 40
LEAST_DELAY = {"rtsp_transport": "tcp", "analyzeduration": "0", "probesize": "32"}


def with_user(url: str, user: str) -> str:
    return url.replace("rtsp://", f"rtsp://{user}@")


def code_of(frame: av.VideoFrame) -> FrameCode | None:
    return read(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8))


def read_with_pyav(
    url: str, count: int = FRAMES, over_the_end: bool = False
) -> list[tuple[float, FrameCode | None]]:
    """(arrival, code) of the first frames, at least until the clip begins anew; blocks."""
    seen: list[tuple[float, FrameCode | None]] = []
    with av.open(url, options=LEAST_DELAY, timeout=(10, 10)) as container:
        for frame in container.decode(video=0):
            seen.append((time.monotonic(), code_of(frame)))
            first, last = seen[0][1], seen[-1][1]
            wrapped = first is not None and last is not None and last.index < first.index
            if len(seen) >= count and (wrapped or not over_the_end):
                return seen
    return seen


def check(camera: Camera, seen: list[tuple[float, FrameCode | None]]) -> list[int]:
    """Codes are this clip's and consecutive, capture times those of the camera's clock."""
    clip, frames = camera.clip, []
    for now_s, code in seen:
        assert code is not None
        assert code.clip_id == clip.id
        loop, captured_s = resolve(code, camera.epoch_s, clip.duration_s, now_s)
        frame = loop * len(clip.access_units) + code.index
        assert captured_s == pytest.approx(camera.captured_s(frame), abs=2e-6)
        assert captured_s <= now_s
        frames.append(frame)
    assert frames == list(range(frames[0], frames[0] + len(frames)))
    return frames


@pytest.mark.parametrize("own_port", [False, True])
async def test_pyav(server: CameraServer, clip: Clip, own_port: bool, until: Until) -> None:
    camera = server.add("door", clip, "/door", own_port=own_port)
    camera.epoch_s -= 3.5  # the clip ends while it is read
    frames = check(camera, await asyncio.to_thread(read_with_pyav, camera.url, FRAMES, True))
    assert frames[0] // 240 < frames[-1] // 240
    await until(lambda: camera.sessions[0].ended_s is not None)
    (account,) = camera.sessions
    assert account.first_index == frames[0]
    assert account.last_index is not None
    assert account.last_index >= frames[-1]
    assert account.frames_sent == account.last_index - frames[0] + 1


@pytest.mark.parametrize("scheme", ["basic", "digest"])
async def test_pyav_with_credentials(server: CameraServer, clip: Clip, scheme: str) -> None:
    camera = server.add(
        "door", clip, "/live?channel=1", "admin", "s3cret", scheme=scheme, fast_start=True
    )
    assert "s3cret" not in camera.url
    url = with_user(camera.url, "admin:s3cret")
    check(camera, await asyncio.to_thread(read_with_pyav, url, 30))
    for wrong in (camera.url, with_user(camera.url, "admin:guess")):
        with pytest.raises(av.error.HTTPUnauthorizedError):
            await asyncio.to_thread(read_with_pyav, wrong, 1)
    assert len(camera.sessions) == 1


async def test_pyav_without_being_told_to_use_tcp(server: CameraServer, clip: Clip) -> None:
    """FFmpeg asks for UDP first; 461 makes it ask for TCP."""
    camera = server.add("door", clip, "/door", fast_start=True)

    def first() -> FrameCode | None:
        with av.open(camera.url, timeout=(10, 10)) as container:
            return code_of(next(container.decode(video=0)))

    assert await asyncio.to_thread(first) is not None


async def test_pyav_is_told_what_is_missing(server: CameraServer, clip: Clip) -> None:
    camera = server.add("door", clip, "/door")
    with pytest.raises(av.error.HTTPNotFoundError):
        await asyncio.to_thread(read_with_pyav, camera.url.replace("door", "none"), 1)


@pytest.mark.parametrize("user", ["", "admin:s3cret"])
async def test_aiortsp(server: CameraServer, clip: Clip, user: str) -> None:
    name, _, password = user.partition(":")
    camera = server.add("door", clip, "/door", name, password)
    url = with_user(camera.url, user) if user else camera.url
    url = url.replace("rtsp://", "rtspt://")  # aiortsp's name for RTSP over TCP
    depacketiser, decoder = Depacketiser(), av.CodecContext.create("h264", "r")
    seen: list[tuple[float, FrameCode | None]] = []
    async with asyncio.timeout(15), RTSPReader(url) as reader:
        async for packet in reader.iter_packets():
            for unit in depacketiser.feed(Packet.from_bytes(bytes(packet))):
                assert unit.lost == 0
                data = av.Packet(b"".join(b"\0\0\0\1" + nal for nal in unit.nals))
                pictures = decoder.decode(data)
                seen.extend((time.monotonic(), code_of(picture)) for picture in pictures)
            if len(seen) >= 30:
                break
        statistics = reader.session.stats
        runner = reader._runner
    await asyncio.gather(runner, return_exceptions=True)
    frames = check(camera, seen)
    assert camera.sessions[0].first_index == frames[0]
    assert statistics.lost == 0


async def test_ffmpeg_program(server: CameraServer, clip: Clip) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("the ffmpeg program is not installed")
    camera = server.add("door", clip, "/door", fast_start=True)
    arguments = ["-v", "error", "-rtsp_transport", "tcp", "-i", camera.url, "-frames:v", "30"]
    process = await asyncio.create_subprocess_exec(
        program, *arguments, "-f", "null", "-", stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert camera.sessions[0].frames_sent >= 30
