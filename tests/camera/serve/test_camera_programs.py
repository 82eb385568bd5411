"""The programs that customers use read the camera, each where it is installed.

Every program must bring out decoded frames (or, where it only copies, whole ones), end by
itself or when it is told to, and leave no session behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
import os
import shutil
from typing import TYPE_CHECKING, Any

import av
import pytest
from aiortsp.rtsp.reader import RTSPReader

from harness.camera.serve.server import CameraServer
from harness.camera.wire.rtp import Depacketiser, Packet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.live import Camera
    from tests.camera.conftest import Until

FRAMES = 30
PROGRAM_TIMEOUT_S = 18.0
OUTPUT_BYTES_MAX = 64 << 20
NOBODY = 65534  # VLC refuses to run as root
BOTH = pytest.mark.parametrize("transport", ["tcp", "udp"])
WITH_HTTP = pytest.mark.parametrize("transport", ["tcp", "udp", "http"])


@pytest.fixture
async def server() -> AsyncIterator[CameraServer]:
    async with CameraServer(http_tunnel=True) as server:
        yield server


@pytest.fixture
def camera(server: CameraServer, clip: Clip) -> Camera:
    return server.add("door", clip, "/door", fast_start=True)


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


async def run(*command: str, **options: Any) -> bytes:
    """The output of `command`, which ends well by itself; it is gone in any case."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        **options,
    )
    try:
        async with asyncio.timeout(PROGRAM_TIMEOUT_S):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
    assert process.returncode == 0, errors.decode()[-2000:]
    return output


async def gone(server: CameraServer, camera: Camera, until: Until, transport: str) -> None:
    """The reader got its frames the way it was told to, and is not there any more."""
    await until(lambda: server.connections == 0)
    account = camera.sessions[-1]
    assert account.ended_s is not None
    assert account.frames_sent >= FRAMES
    assert account.frames_dropped_at_sender == 0
    assert account.transport == ("udp" if transport == "udp" else "tcp")
    assert camera.watched == 0


def hashes(output: bytes) -> int:
    """Frames in FFmpeg's `framemd5` format, which has a line for each."""
    return sum(not line.startswith(b"#") for line in output.splitlines())


@WITH_HTTP
async def test_ffmpeg(server: CameraServer, camera: Camera, transport: str, until: Until) -> None:
    arguments = ("-v", "error", "-rtsp_transport", transport, "-i", camera.url)
    output = await run(
        program("ffmpeg"), *arguments, "-frames:v", str(FRAMES), "-f", "framemd5", "-"
    )
    assert hashes(output) == FRAMES
    await gone(server, camera, until, transport)


@BOTH
async def test_ffprobe(server: CameraServer, camera: Camera, transport: str, until: Until) -> None:
    arguments = ("-v", "error", "-rtsp_transport", transport, "-count_packets")
    entries = ("-show_entries", "stream=codec_name,nb_read_packets", "-of", "csv=p=0")
    window = ("-read_intervals", f"%+#{FRAMES}")
    output = await run(program("ffprobe"), *arguments, *window, *entries, camera.url)
    assert output.decode().strip() == f"h264,{FRAMES}"
    await gone(server, camera, until, transport)


async def test_ffmpeg_reads_a_recording_to_its_end(server: CameraServer, clip: Clip) -> None:
    """BYE tells it that nothing more will come."""
    camera = server.add("tape", clip, "/tape", on_demand=True)
    arguments = ("-v", "error", "-rtsp_transport", "tcp", "-i", camera.url)
    output = await run(program("ffmpeg"), *arguments, "-f", "framemd5", "-")
    assert hashes(output) == len(clip.access_units)


@BOTH
async def test_ffprobe_sees_both_tracks(server: CameraServer, clip: Clip, transport: str) -> None:
    camera = server.add("both", clip, "/both", fast_start=True, metadata=True)
    arguments = ("-v", "error", "-rtsp_transport", transport, "-of", "csv=p=0")
    output = await run(
        program("ffprobe"), *arguments, "-show_entries", "stream=codec_type", camera.url
    )
    assert output.decode().split() == ["video", "data"]


@WITH_HTTP
async def test_gstreamer(
    server: CameraServer, camera: Camera, transport: str, until: Until
) -> None:
    elements = ("rtspsrc", "rtph264depay", "h264parse", "avdec_h264")
    launch = program("gst-launch-1.0")
    await _require_elements(*elements)
    source = f"location={camera.url}"
    if transport == "http":
        source = source.replace("rtsp://", "rtsph://")
    protocols = "tcp" if transport == "http" else transport
    pipeline = (
        f"rtspsrc {source} protocols={protocols} latency=0 ! rtph264depay ! h264parse ! "
        f"avdec_h264 ! identity eos-after={FRAMES + 1} ! fdsink"
    )
    output = await run(launch, "-q", *pipeline.split())
    spec = camera.clip.spec
    assert len(output) == FRAMES * spec.width_px * spec.height_px * 3 // 2  # 4:2:0
    await gone(server, camera, until, transport)


async def _require_elements(*names: str) -> None:
    inspect = program("gst-inspect-1.0")
    for name in names:
        process = await asyncio.create_subprocess_exec(
            inspect, "--exists", name, stderr=asyncio.subprocess.DEVNULL
        )
        if await process.wait() != 0:
            pytest.skip(f"GStreamer has no {name}")


@BOTH
async def test_mpv(server: CameraServer, camera: Camera, transport: str, until: Until) -> None:
    options = ("--no-config", "--really-quiet", "--ovc=rawvideo", "--of=framemd5", "--o=-")
    output = await run(
        program("mpv"), *options, f"--rtsp-transport={transport}", f"--frames={FRAMES}", camera.url
    )
    assert hashes(output) == FRAMES
    await gone(server, camera, until, transport)


@BOTH
async def test_vlc(server: CameraServer, camera: Camera, transport: str, until: Until) -> None:
    path = program("cvlc")
    options: dict[str, Any] = {"env": {**os.environ, "HOME": "/tmp"}, "cwd": "/"}
    if os.geteuid() == 0:
        options |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    if b"live555" not in await run(path, "--list", **options):
        pytest.skip("this VLC has no live555, which it needs for RTSP")
    way = "--rtsp-tcp" if transport == "tcp" else "--no-rtsp-tcp"
    sink = "#std{access=file,mux=ts,dst=-}"
    output = await run(
        path, "-q", way, camera.url, "--sout", sink, "--run-time", "3", "vlc://quit", **options
    )
    with av.open(io.BytesIO(output), "r") as container:
        assert len(list(container.decode(video=0))) >= FRAMES
    await gone(server, camera, until, transport)


@BOTH
async def test_opencv(
    server: CameraServer,
    camera: Camera,
    transport: str,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if importlib.util.find_spec("cv2") is None:
        pytest.skip("OpenCV is not installed")
    cv2: Any = importlib.import_module("cv2")
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", f"rtsp_transport;{transport}")

    def read() -> int:
        capture = cv2.VideoCapture(camera.url, cv2.CAP_FFMPEG)
        try:
            return sum(capture.read()[0] for _ in range(FRAMES))
        finally:
            capture.release()

    assert await asyncio.to_thread(read) == FRAMES
    await gone(server, camera, until, transport)


@WITH_HTTP
async def test_pyav(server: CameraServer, camera: Camera, transport: str, until: Until) -> None:
    def read() -> int:
        options = {"rtsp_transport": transport}
        with av.open(camera.url, options=options, timeout=(10, 10)) as container:
            for count, _ in enumerate(container.decode(video=0), 1):
                if count == FRAMES:
                    return count
        return 0

    assert await asyncio.to_thread(read) == FRAMES
    await gone(server, camera, until, transport)


@BOTH
async def test_aiortsp(server: CameraServer, camera: Camera, transport: str, until: Until) -> None:
    scheme = "rtspt://" if transport == "tcp" else "rtsp://"  # its names for them
    depacketiser, frames = Depacketiser(), 0
    async with (
        asyncio.timeout(15),
        RTSPReader(camera.url.replace("rtsp://", scheme)) as reader,
    ):
        async for packet in reader.iter_packets():
            units = depacketiser.feed(Packet.from_bytes(bytes(packet)))
            assert all(unit.lost == 0 for unit in units)
            frames += len(units)
            if frames >= FRAMES:
                break
        runner = reader._runner
    await asyncio.gather(runner, return_exceptions=True)
    assert frames >= FRAMES
    await gone(server, camera, until, transport)
