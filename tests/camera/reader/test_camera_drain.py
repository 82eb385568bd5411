"""The light reader: what it counts, and that it agrees with the server."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.camera.reader.drain import Drain, Reader, Window
from harness.camera.reader.ear import Ear
from harness.camera.serve.packed import frame_interleaved
from harness.camera.serve.server import CameraServer
from harness.camera.serve.udp import segmentation_offload
from harness.camera.wire.rtp import Packet, SenderReport
from harness.errors import LinkDown, PeerRefused

if TYPE_CHECKING:
    from harness.camera.picture.clip import Clip
    from tests.camera.conftest import Until


STEP_TICKS = 1500  # of the clip, which has 60 frames a second


def stream(frames: int) -> bytes:
    """A report that says: RTP 0 was at 1000 s; frames of three packets, every 3000 ticks."""
    data = frame_interleaved(1, SenderReport(1, 1000.0, 0, 0, 0).to_bytes("x"))
    for number in range(frames):
        for part in range(3):
            packet = Packet(number * 3 + part, number * 3000, 1, b"p" * (part * 50), part == 2)
            data += frame_interleaved(0, packet.to_bytes())
    return data


@settings(deadline=None)
@given(st.integers(1, 6), st.lists(st.integers(1, 60), max_size=60))
def test_frames_are_counted_however_the_stream_is_cut(count: int, sizes: list[int]) -> None:
    data = stream(count)
    ours, theirs = socket.socketpair()
    with ours, theirs, Drain() as drain:
        reader = Reader(ours, "", 0.0)
        drain._window = Window(999.0, 2000.0)
        position = 0
        for size in [*sizes, len(data)]:
            piece = data[position : position + size]
            position += size
            if piece:
                joined = bytearray(reader.carry + piece)
                reader.carry = b""
                drain._scan(reader, joined, len(joined), 1001.0)
        assert reader.frames == count
        assert reader.missed == 0
        assert list(drain._window.late_s) == [
            pytest.approx(1.0 - number / 30) for number in range(count)
        ]
        assert len(drain._window.unread_s) == count
        assert reader.need == 0
        assert reader.carry == b""
        assert theirs.recv(100)[:2] == b"$\x01"  # the sender report was answered


def test_missing_frames_are_counted_by_their_time_stamps() -> None:
    with Drain(step_ticks=1500) as drain:
        reader = Reader(None, "", 0.0)  # type: ignore[arg-type]
        for stamp in ((1 << 32) - 1500, 0, 1500, 6000, 7500, 7500, 6000):
            drain._frame(reader, stamp, 0.0)
        assert reader.frames == 7
        assert reader.missed == 2


async def test_drain_reads_the_server(server: CameraServer, clip: Clip) -> None:
    cameras = [server.add(f"c{n}", clip, f"/c{n}", fast_start=True) for n in range(3)]

    def work() -> tuple[Window, list[float], int]:
        with Drain(STEP_TICKS) as drain:
            for camera in cameras:
                drain.connect("127.0.0.1", server.port, camera.path)
            window = drain.measure(0.5, 0.5)
            assert [reader.missed for reader in drain.readers] == [0, 0, 0]
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
    with pytest.raises(LinkDown):
        await asyncio.to_thread(work, "/door")


@pytest.mark.parametrize("segment", [False, segmentation_offload()])
async def test_drain_hears_udp(clip: Clip, segment: bool) -> None:
    async with CameraServer(segment=segment) as server:
        cameras = [server.add(f"c{n}", clip, f"/c{n}", fast_start=True) for n in range(3)]

        def work() -> tuple[Window, list[float], int]:
            with Drain(STEP_TICKS) as drain:
                for number, camera in enumerate(cameras):
                    hurry = number > 0
                    drain.connect("127.0.0.1", server.port, camera.path, udp=True, hurry=hurry)
                window = drain.measure(0.5, 0.5)
                assert [reader.missed for reader in drain.readers] == [0, 0, 0]
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
    ear = Ear(lambda stamp, _: stamps.append(stamp))
    for sequence, marker in ((1, False), (2, True), (3, False), (5, True), (6, False), (7, True)):
        data = Packet(sequence, sequence, 9, b"x", marker).to_bytes()
        assert ear._take(bytearray(data), len(data), len(data)) is marker
    packets = [Packet(8 + n, 30, 9, bytes(10), n == 3).to_bytes() for n in range(4)]
    joined = bytearray(b"".join(packets))
    assert ear._take(joined, len(joined), len(packets[0]))
    assert stamps == [2, 7, 30]
    ear.close()


async def test_a_reader_that_is_behind_is_told_from_a_late_server(
    server: CameraServer, clip: Clip
) -> None:
    """The kernel stamped what came while the reader slept."""
    camera = server.add("door", clip, "/door", fast_start=True)

    def work() -> Window:
        with Drain(STEP_TICKS) as drain:
            drain.connect("127.0.0.1", server.port, camera.path)
            drain.connect("127.0.0.1", server.port, camera.path, udp=True)
            drain.measure(0.2, 0.0)
            drain._window = window = Window(time.time(), time.time() + 10)
            time.sleep(0.5)
            for _ in range(100):
                drain.poll(0)
            return window

    window = await asyncio.to_thread(work)
    waits = sorted(window.unread_s)
    assert waits[-1] > 0.2
    both = [late + unread for late, unread in zip(window.late_s, window.unread_s, strict=True)]
    assert min(both) > -0.01
    assert min(window.late_s) < max(both) - 0.2


@pytest.mark.parametrize("rudely", [False, True])
@pytest.mark.parametrize("udp", [False, True])
async def test_a_reader_may_leave(
    server: CameraServer, clip: Clip, until: Until, udp: bool, rudely: bool
) -> None:
    camera = server.add("door", clip, "/door", fast_start=True)

    def work() -> tuple[int, int]:
        with Drain(STEP_TICKS) as drain:
            stays = drain.connect("127.0.0.1", server.port, camera.path)
            goes = drain.connect("127.0.0.1", server.port, camera.path, udp=udp)
            drain.measure(0.1, 0.0)
            drain.leave(goes, rudely=rudely)
            drain.measure(0.1, 0.0)
            assert list(drain.readers) == [stays]
            return drain.lost, goes.frames

    lost, frames = await asyncio.to_thread(work)
    assert lost == 0
    assert frames > 0
    await until(lambda: server.connections == 0)
    assert len(camera.sessions) == 2


async def test_readers_report(server: CameraServer, clip: Clip, until: Until) -> None:
    camera = server.add("door", clip, "/door", fast_start=True)

    def work() -> None:
        with Drain() as drain:
            for udp in (False, True):
                drain.connect("127.0.0.1", server.port, camera.path, udp=udp)
            drain.measure(0.3, 0.0)

    await asyncio.to_thread(work)
    for account in camera.sessions:
        assert account.reports_bad == 0
        assert account.reception is not None
        assert account.reception.round_trip_s is not None
        assert account.reception.lost == 0
