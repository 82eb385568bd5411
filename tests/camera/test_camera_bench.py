from __future__ import annotations

import asyncio
import json
import os
from array import array
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.camera import bench
from harness.camera.picture.clip import Clip, ClipSpec
from harness.camera.reader.drain import Drain, Window, _Reader
from harness.camera.reader.ear import Ear
from harness.camera.serve.packed import frame_interleaved
from harness.camera.serve.server import CameraServer
from harness.camera.serve.udp import segmentation_offload
from harness.camera.wire.rtp import Packet, SenderReport
from harness.errors import LinkDown, PeerRefused

if TYPE_CHECKING:
    from pathlib import Path


def stream(frames: int) -> bytes:
    """A report that says: RTP 0 was at 1000 s; frames of three packets, every 3000 ticks."""
    data = frame_interleaved(1, SenderReport(1, 1000.0, 0, 0, 0).to_bytes("x"))
    for number in range(frames):
        for part in range(3):
            packet = Packet(number * 3 + part, number * 3000, 1, b"p" * (part * 50), part == 2)
            data += frame_interleaved(0, packet.to_bytes())
    return data


@given(st.integers(1, 6), st.lists(st.integers(1, 60), max_size=60))
def test_frames_are_counted_however_the_stream_is_cut(count: int, sizes: list[int]) -> None:
    data = stream(count)
    with Drain() as drain:
        reader = _Reader(None, 0.0)  # type: ignore[arg-type]
        drain._window = Window(999.0, 2000.0)
        position = 0
        for size in [*sizes, len(data)]:
            piece = data[position : position + size]
            position += size
            if piece:
                joined = bytearray(reader.carry + piece)
                reader.carry = b""
                drain._scan(reader, joined, len(joined))
        assert reader.frames == count
        assert isinstance(drain._window.late_s, array)
        assert len(drain._window.late_s) == count
        assert reader.need == 0
        assert reader.carry == b""


async def test_drain_reads_the_server(server: CameraServer, clip: Clip) -> None:
    cameras = [server.add(f"c{n}", clip, f"/c{n}", fast_start=True) for n in range(3)]

    def work() -> tuple[Window, list[float], int]:
        with Drain() as drain:
            for camera in cameras:
                drain.connect("127.0.0.1", server.port, camera.path)
            window = drain.measure(0.5, 0.5)
            return window, list(drain.first_frames_s()), drain.lost

    window, first_s, lost = await asyncio.to_thread(work)
    assert len(first_s) == 3
    assert lost == 0
    assert len(window.late_s) == pytest.approx(3 * 0.5 * 60, abs=3)
    assert min(window.late_s) > -0.01


async def test_drain_says_why_not(server: CameraServer, clip: Clip) -> None:
    camera = server.add("door", clip, "/door")

    def work(path: str) -> None:
        with Drain() as drain:
            drain.connect("127.0.0.1", server.port, path)

    with pytest.raises(PeerRefused, match="404"):
        await asyncio.to_thread(work, "/none")
    camera.go_offline()
    with pytest.raises((LinkDown, ConnectionError)):
        await asyncio.to_thread(work, "/door")


def test_bench_measures(tmp_path: Path) -> None:
    spec = ClipSpec(
        width_px=192,
        height_px=108,
        rate_fps=30.0,
        duration_s=1.0,
        gop_frames=10,
        bitrate_kbps=100,
        objects=1,
        seed=1,
    )
    cores = os.sched_getaffinity(0)
    result = bench.run(0.4, [2], tmp_path, spec)
    assert os.sched_getaffinity(0) == cores
    json.dumps(result)
    assert tuple(result["modes"]) == bench.MODES
    for mode in result["modes"].values():
        if "missing" in mode:
            continue
        level = mode["levels"][-1]
        assert level["sessions"] == 2
        assert level["refused"] == level["lost"] == 0
        assert level["frames"] > 0
        assert level["cpu_us_per_frame"] > 0
        assert mode["sessions"] in (0, 2)
    assert result["bare"]["frames"] > 0


def test_a_mode_that_the_kernel_lacks_is_named(
    tmp_path: Path, clip: Clip, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "segmentation_offload", lambda: False)
    result = bench.run(0.1, [1], cache_dir, clip.spec, modes=(bench.UDP_SEGMENTED,))
    assert "UDP_SEGMENT" in result["modes"][bench.UDP_SEGMENTED]["missing"]


@pytest.mark.parametrize(
    ("capacity", "limit", "cpu_share", "tried"),
    [
        (1000, 6400, 0.99, [1000, 1250]),
        (1000, 6400, 0.5, [1000, 1250, 1250]),
        (9999, 6400, 0.5, [1000, 1250, 1562]),  # enough: the limit is above
        (700, 6400, 1.0, [1000, 800, 640]),
        (100, 6400, 1.0, [1000, 800, 640]),  # enough: nothing reached
        (9999, 900, 0.5, [900]),
    ],
)
def test_search(capacity: int, limit: int, cpu_share: float, tried: list[int]) -> None:
    def measure(count: int) -> dict[str, object]:
        return {"sessions": count, "reached": count <= capacity, "cpu_share": cpu_share}

    assert [level["sessions"] for level in bench._search(measure, 1000, limit)] == tried


def test_search_ends_when_the_time_is_over() -> None:
    def measure(count: int) -> dict[str, object]:
        return {"sessions": count, "reached": True, "cpu_share": 0.5}

    assert len(bench._search(measure, 1000, 6400, until_s=0.0)) == 1


def test_summary_says_whether_the_limit_was_found() -> None:
    def level(sessions: int, reached: bool) -> dict[str, object]:
        return {"sessions": sessions, "reached": reached, "cpu_us_per_frame": 10.0}

    bare = {"cpu_us_per_frame": 5.0}
    missed = bench._summary([level(500, True), level(1000, True), level(1250, False)], bare)
    assert (missed["sessions"], missed["limit_found"], missed["frames_ratio"]) == (1000, True, 0.5)
    assert not bench._summary([level(500, True), level(1000, True)], bare)["limit_found"]
    nothing = bench._summary([level(500, False)], bare)
    assert (nothing["sessions"], nothing["limit_found"], nothing["frames_ratio"]) == (0, True, None)


@pytest.mark.parametrize("segment", [False, segmentation_offload()])
async def test_drain_hears_udp(clip: Clip, segment: bool) -> None:
    async with CameraServer(segment=segment) as server:
        cameras = [server.add(f"c{n}", clip, f"/c{n}", fast_start=True) for n in range(3)]

        def work() -> tuple[Window, list[float], int]:
            with Drain() as drain:
                for number, camera in enumerate(cameras):
                    hurry = number > 0
                    drain.connect("127.0.0.1", server.port, camera.path, udp=True, hurry=hurry)
                window = drain.measure(0.5, 0.5)
                return window, list(drain.first_frames_s()), drain.lost

        window, first_s, lost = await asyncio.to_thread(work)
    assert len(first_s) == 3
    assert lost == 0
    assert len(window.late_s) == pytest.approx(3 * 0.5 * 60, abs=3)
    assert {account.transport for camera in cameras for account in camera.sessions} == {"udp"}


async def test_drain_notices_that_a_udp_session_is_lost(clip: Clip) -> None:
    async with CameraServer() as server:
        camera = server.add("door", clip, "/door", fast_start=True)
        with Drain() as drain:

            def connect() -> None:
                drain.connect("127.0.0.1", server.port, camera.path, udp=True)

            await asyncio.to_thread(connect)
            camera.go_offline()
            await asyncio.to_thread(drain.measure, 0.1, 0.1)
            assert drain.lost == 1


def test_a_frame_with_a_missing_packet_is_not_counted() -> None:
    stamps: list[int] = []
    ear = Ear(stamps.append)
    for sequence, marker in ((1, False), (2, True), (3, False), (5, True), (6, False), (7, True)):
        data = Packet(sequence, sequence, 9, b"x", marker).to_bytes()
        assert ear._take(bytearray(data), len(data), len(data)) is marker
    packets = [Packet(8 + n, 30, 9, bytes(10), n == 3).to_bytes() for n in range(4)]
    joined = bytearray(b"".join(packets))
    assert ear._take(joined, len(joined), len(packets[0]))
    assert stamps == [2, 7, 30]
    ear.close()
