"""The probe against our cameras: what it says is what the camera did."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import threading
import time
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from harness.camera.picture.clip import Clip, ClipSpec, load_clip
from harness.camera.reader import probe as probe_module
from harness.camera.reader.findings import Frame, burst, continuity, frame_s, latency
from harness.camera.reader.inquiry import Target
from harness.camera.reader.probe import probe
from harness.camera.serve.packed import PackedClip
from harness.cli.app import run
from harness.errors import Corrupt, InputError, LinkDown, PeerRefused, PeerTimeout
from harness.record.framecode import FrameCode
from harness.scenario.coding import H265, MJPEG, Codec, Coding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.camera.reader.probe import ProbeReport, Transport
    from harness.camera.serve.live import Camera
    from harness.camera.serve.server import CameraServer

TICKS = Fraction(1, 90_000)
SPEC = ClipSpec(
    width_px=384,
    height_px=216,
    rate_fps=30.0,
    duration_s=2.0,
    gop_frames=15,
    bitrate_kbps=400,
    objects=1,
    seed=5,
    coding=Coding(sei=True),
)


@pytest.fixture(scope="session")
def marked(cache_dir: Path) -> Clip:
    """A clip with SEI."""
    return load_clip(SPEC, cache_dir)


async def ask(camera: Camera, seconds: float = 1.0, transport: Transport = "tcp") -> ProbeReport:
    epoch_s = camera.epoch_s + time.time() - time.monotonic()
    clip_s = camera.clip.duration_s
    return await asyncio.to_thread(
        probe, camera.url, seconds, transport, epoch_s=epoch_s, clip_s=clip_s
    )


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_good_camera_over_the_loop(
    server: CameraServer, marked: Clip, transport: Transport
) -> None:
    camera = server.add("door", marked, "/door", fast_start=True)
    camera.epoch_s -= 1.4  # the clip begins anew while it is read
    report = await ask(camera, 1.2, transport)
    assert (report.codec, report.width_px, report.height_px) == ("h264", 384, 216)
    assert report.declared_fps == 30
    assert report.measured_fps == pytest.approx(30, abs=3)
    assert report.identity == "sei"
    assert (report.lost, report.duplicated, report.timestamp_jumps) == (0, 0, 0)
    assert report.frames >= 30
    assert report.bytes_per_s == pytest.approx(400_000 / 8, rel=0.5)
    assert report.latency is not None
    assert report.latency.source == "embedded"
    assert 0 <= report.latency.p50_ms <= report.latency.p99_ms < 2000
    assert report.authentication == "none"
    assert report.problems == ()
    json.dumps(report.to_json())


async def test_frames_are_known_by_the_picture_without_sei(
    server: CameraServer, clip: Clip
) -> None:
    camera = server.add("door", clip, "/door", fast_start=True)
    report = await asyncio.to_thread(probe, camera.url, 0.6)
    assert report.identity == "strip"
    assert (report.lost, report.duplicated) == (0, 0)
    assert report.latency is not None
    assert report.latency.source == "rtcp"
    assert -5 < report.latency.p50_ms < 2000


@pytest.mark.parametrize(("codec", "name"), [(H265, "hevc"), (MJPEG, "mjpeg")])
async def test_what_is_not_h264_is_said(
    server: CameraServer, cache_dir: Path, codec: Codec, name: str
) -> None:
    spec = dataclasses.replace(SPEC, coding=Coding(codec=codec, sei=codec == H265))
    camera = server.add("door", load_clip(spec, cache_dir), "/door", fast_start=True)
    report = await ask(camera)
    assert (report.codec, report.width_px, report.height_px) == (name, 384, 216)
    assert report.problems == (f"not H.264: the stream is {name}",)
    assert report.identity == ("sei" if codec == H265 else "strip")
    assert (report.lost, report.duplicated, report.timestamp_jumps) == (0, 0, 0)


async def test_b_frames_are_in_order_by_their_time_stamps(
    server: CameraServer, cache_dir: Path
) -> None:
    spec = dataclasses.replace(SPEC, coding=Coding(b_frames=2, sei=True))
    camera = server.add("door", load_clip(spec, cache_dir), "/door", fast_start=True)
    report = await ask(camera)
    assert report.latency is not None
    assert report.latency.p50_ms > 1000 / 30  # a B-frame waits for a later frame
    assert (report.duplicated, report.timestamp_jumps) == (0, 0)
    assert report.lost is not None
    assert report.lost <= 2  # of the group that was not read to its end


async def test_frames_that_a_camera_leaves_out(server: CameraServer, marked: Clip) -> None:
    """Units 20 and 21 of the clip are sent as those before them once more."""
    units = list(marked.access_units)
    units[20] = units[21] = units[19]
    lame = dataclasses.replace(marked, access_units=tuple(units))
    camera = server.add("door", lame, "/door", fast_start=True)
    camera.epoch_s -= 0.4
    report = await ask(camera, 0.8)
    assert (report.lost, report.duplicated) == (2, 2)


@pytest.mark.parametrize(("scheme", "name"), [("basic", "basic"), ("digest", "digest MD5")])
async def test_authentication(server: CameraServer, marked: Clip, scheme: str, name: str) -> None:
    camera = server.add("door", marked, "/door", "admin", "p@ss:w", scheme=scheme, fast_start=True)
    report = await asyncio.to_thread(probe, camera.url, 0.3, "tcp", "admin", "p@ss:w")
    assert report.authentication == name
    assert "p@ss" not in json.dumps(report.to_json())
    with pytest.raises(PeerRefused, match=f"wants credentials .{name}"):
        await asyncio.to_thread(probe, camera.url, 0.3)
    with pytest.raises(PeerRefused, match="401") as caught:
        await asyncio.to_thread(probe, camera.url, 0.3, "tcp", "admin", "guess")
    assert "guess" not in str(caught.value)


async def test_a_camera_that_says_no(server: CameraServer, marked: Clip) -> None:
    camera = server.add("door", marked, "/door", own_port=True)
    with pytest.raises(PeerRefused, match="404"):
        await asyncio.to_thread(probe, f"rtsp://127.0.0.1:{server.port}/none", 0.3)
    camera.go_offline()
    with pytest.raises(LinkDown, match="refuses"):
        await asyncio.to_thread(probe, camera.url, 0.3)


async def test_a_stream_that_stalls_or_ends(
    server: CameraServer, marked: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "TIMEOUT_S", 0.5)
    camera = server.add("door", marked, "/door", own_port=True)
    camera.stall()
    with pytest.raises(PeerTimeout, match="no video"):
        await asyncio.to_thread(probe, camera.url, 0.3)
    camera.resume()

    async def later(what: str) -> None:
        await asyncio.sleep(0.8)
        getattr(camera, what)()

    for what, problem in (("stall", "nothing came"), ("go_offline", "ended|broken")):
        report, _ = await asyncio.gather(asyncio.to_thread(probe, camera.url, 5.0), later(what))
        assert report.frames > 0
        assert len(report.problems) == 1
        assert any(word in report.problems[0] for word in problem.split("|"))
        camera.resume()


@pytest.fixture
def odd_server() -> Iterator[tuple[int, list[bytes]]]:
    """A port that answers the next connection with the bytes put into the list, or not at all."""
    answers: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                if answers:
                    connection.sendall(answers[0])
                else:
                    connection.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], answers
        thread.join()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", Corrupt),
        (b"RTSP/1.0 503 Service Unavailable\r\n\r\n", PeerRefused),
        (b"RTSP/1.0 401\r\nWWW-Authenticate: Digest algorithm=SHA-256\r\n\r\n", PeerRefused),
        (b"\0" * 5000, Corrupt),
        (None, PeerTimeout),
    ],
)
def test_odd_answers(
    odd_server: tuple[int, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes | None,
    error: type[Exception],
) -> None:
    monkeypatch.setattr(probe_module, "TIMEOUT_S", 0.3)
    port, answers = odd_server
    answers += [answer] if answer is not None else []
    with pytest.raises(error):
        probe(f"rtsp://127.0.0.1:{port}/door", 0.2)


@pytest.mark.parametrize(
    ("url", "seconds"),
    [("http://h/", 1.0), ("rtsp://", 1.0), ("rtsp://h:x/", 1.0), ("rtsp://h", 0)],
)
def test_wrong_use(url: str, seconds: float) -> None:
    with pytest.raises(InputError) as caught:
        probe(url, seconds)
    assert caught.value.hint


def test_target() -> None:
    target = Target.parse("rtsp://me:s%40t@cam.local/a?b=1")
    assert (target.url, target.port) == ("rtsp://cam.local/a?b=1", 554)
    assert (target.username, target.password) == ("me", "s@t")
    assert target.full_url == "rtsp://me:s%40t@cam.local/a?b=1"
    assert Target.parse("rtsps://cam.local", "you", "x").port == 322


async def test_the_command(
    server: CameraServer, marked: Clip, clip: Clip, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = server.add("door", marked, "/door", fast_start=True)
    command = ["camera", "probe", camera.url, "--seconds", "0.4"]
    assert await asyncio.to_thread(run, [*command, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["schema"], value["codec"], value["identity"]) == (1, "h264", "sei")
    assert await asyncio.to_thread(run, command) == 0
    assert "h264 384x216 over tcp" in capsys.readouterr().out
    assert await asyncio.to_thread(run, [*command[:2], camera.url + "x"]) == 1
    assert "404" in capsys.readouterr().err
    assert await asyncio.to_thread(run, [*command, "--epoch", "1"]) == 2


# --- what follows from frames ---------------------------------------------------------------------


def frames(*items: tuple[int, int | None, float]) -> list[Frame]:
    """(ticks, index, arrival)"""
    return [
        Frame(ticks, at, 1, None, None if index is None else FrameCode(7, index, index * 40_000))
        for ticks, index, at in items
    ]


def test_continuity() -> None:
    smooth = frames(*((n * 3600, n, n * 0.04) for n in range(5)))
    assert frame_s(smooth, TICKS) == pytest.approx(0.04)
    assert continuity(smooth, TICKS, 0.04) == (0, 0, 0)
    holes = frames((0, 0, 0), (3600, 1, 0), (14_400, 4, 0), (18_000, 4, 0), (21_600, 5, 0))
    assert continuity(holes, TICKS, 0.04) == (2, 1, 0)
    jump = frames((0, 0, 0), (903_600, 1, 0), (907_200, 2, 0), (0, 3, 0))
    assert continuity(jump, TICKS, 0.04) == (0, 0, 2)
    loop = frames((0, 98, 0), (3600, 99, 0), (10_800, 1, 0))  # frame 0 is missing
    assert continuity(loop, TICKS, 0.04) == (1, 0, 0)
    unknown = frames((0, None, 0), (3600, None, 0), (200_000, None, 0), (100, None, 0))
    assert continuity(unknown, TICKS, 0.04) == (0, 0, 2)


def test_a_burst_at_the_start_is_not_timed() -> None:
    late = [0.0, 0.001, 0.002, 0.03, 0.07, 0.11]
    seen = frames(*((n * 3600, n, at) for n, at in enumerate(late)))
    assert burst(seen, TICKS, 0.04) == 2
    assert burst(seen[3:], TICKS, 0.04) == 0
    assert burst(seen[:1], TICKS, 0.0) == 0


def test_latency_by_the_epoch_and_by_sender_reports() -> None:
    seen = frames(*((n * 3600, n, 50.0 + n * 0.04 + 0.01) for n in range(20)))
    by_code = latency(seen, 1000.0, (1050.0, 4.0))
    assert by_code is not None
    assert by_code.source == "embedded"
    assert by_code.p50_ms == pytest.approx(10, abs=0.1)
    assert latency(seen, 1000.0, None) is None
    for frame in seen:
        frame.wall_s = frame.arrived_s + 1000.0 - 0.02
    by_report = latency(seen, 1000.0, None)
    assert by_report is not None
    assert by_report.source == "rtcp"
    assert by_report.p99_ms == pytest.approx(20, abs=0.1)


def test_b_frames_are_stamped_with_their_capture(cache_dir: Path) -> None:
    spec = dataclasses.replace(SPEC, coding=Coding(b_frames=2))
    packed = PackedClip.pack(load_clip(spec, cache_dir))
    assert {unit.lag_ticks for unit in packed.units} == {0, 3000, 6000, 9000}
    packed.units[0].patch(1, 10, 2)  # an I-frame: two frame times ago
    assert int.from_bytes(packed.units[0].blob[8:12], "big") == (10 - 6000) % 2**32
