"""The camera's clock and accounts, with a clockwork turned by hand."""

from __future__ import annotations

import asyncio
import math
import socket
from typing import TYPE_CHECKING

import pytest
from camera_by_hand import BEGAN_S, PEER, Clock, Clockwork, join, make, stop_the_clock, turn

from harness.camera.serve import outbox as outbox_module
from harness.camera.serve.live import FRESH_KEY_S, LATE_MAX_S, Camera
from harness.camera.serve.outbox import Outbox, SessionAccount
from harness.camera.serve.packed import PackedClip
from harness.camera.serve.session import Flow
from harness.camera.wire.auth import Credentials
from harness.camera.wire.rtp import SenderReport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.camera.picture.clip import Clip
    from tests.camera.conftest import Until

    Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return stop_the_clock(monkeypatch)


def test_starts_with_the_next_key_frame(clip: Clip) -> None:
    camera = make(clip)
    session, sink = join(camera)
    assert camera.next_frame % 20 == 0
    assert camera.due_s == camera.captured_s(camera.next_frame) > BEGAN_S
    turn(camera, 3)
    assert session.account.first_index == 620
    assert session.account.frames_sent == 3
    assert len(sink.blobs) == 3


def test_starts_at_once_with_a_fresh_key_frame(clip: Clip) -> None:
    camera = make(clip, age_s=10.0 + FRESH_KEY_S / 4)  # frame 600 is a key frame
    session, _ = join(camera)
    assert session.account.first_index == 600
    assert session.account.last_index == camera.next_frame - 1


def test_a_camera_that_runs_ahead(clip: Clip) -> None:
    """By a quarter of its 20 frames: its next key frame comes so much sooner."""
    camera, ahead = make(clip, age_s=0.0), make(clip, age_s=0.0)
    ahead.run_ahead(0.25)
    assert ahead.captured_s(20) == pytest.approx(camera.captured_s(15))
    assert ahead.timestamp(20) == camera.timestamp(20)  # it is only ahead


def test_fast_start_sends_all_since_the_last_key_frame(clip: Clip) -> None:
    camera = make(clip, age_s=10.0 + 18.5 / 60, fast_start=True)
    session, sink = join(camera)
    assert session.account.first_index == 600
    assert camera.next_frame == 619
    assert session.account.frames_sent == len(sink.blobs) == 19
    turn(camera, 5)
    sequence = [packet.sequence for packet in sink.packets()]
    assert sequence == [(sequence[0] + n) & 0xFFFF for n in range(len(sequence))]


def test_a_second_reader_does_not_disturb_the_first(clip: Clip) -> None:
    camera = make(clip, fast_start=True)
    first, first_sink = join(camera)
    turn(camera, 4)
    second, second_sink = join(camera, channel=4)
    turn(camera, 4)
    assert first.account.last_index == second.account.last_index
    assert second.account.first_index == 600
    ahead = first_sink.packets()
    assert second_sink.packets()[-len(ahead) :] == ahead[-len(second_sink.packets()) :]
    assert {blob[1] for blob in first_sink.blobs} == {0}
    assert {blob[1] for blob in second_sink.blobs} == {4}
    sequence = [packet.sequence for packet in ahead]
    assert sequence == [(sequence[0] + n) & 0xFFFF for n in range(len(sequence))]


def test_sequence_and_time_stamps_over_the_loop(clip: Clip) -> None:
    camera = make(clip)
    _, sink = join(camera)
    turn(camera, 600)  # two and a half loops: sequence numbers wrap as well
    packets = sink.packets()
    assert len(sink.blobs) == 600
    start = packets[0]
    assert [p.sequence for p in packets] == [
        (start.sequence + n) & 0xFFFF for n in range(len(packets))
    ]
    stamps = [p.timestamp for p in packets if p.marker]
    assert stamps == [(start.timestamp + 1500 * n) & 0xFFFFFFFF for n in range(600)]
    assert {p.ssrc for p in packets} == {camera.ssrc}


def test_two_cameras_of_one_clip_do_not_share_headers(clip: Clip) -> None:
    packed = PackedClip.pack(clip)
    cameras = [
        Camera(Clockwork(), name, packed, f"/{name}", Credentials("", ""), fast_start=False)
        for name in ("door", "yard")
    ]
    sinks = [join(camera)[1] for camera in cameras]
    for _ in range(5):
        turn(cameras[0], 1)
        turn(cameras[1], 1)
    for camera, sink in zip(cameras, sinks, strict=True):
        assert {p.ssrc for p in sink.packets()} == {camera.ssrc}
        sequence = [p.sequence for p in sink.packets()]
        assert sequence == [(sequence[0] + n) & 0xFFFF for n in range(len(sequence))]
    assert cameras[0].ssrc != cameras[1].ssrc


def test_a_reader_that_falls_behind_goes_on_at_a_key_frame(clip: Clip) -> None:
    camera = make(clip)
    session, sink = join(camera)
    other, _ = join(camera)
    turn(camera, 7)
    sink.full = True
    turn(camera, 3)
    sink.full = False
    assert session.flow is Flow.SKIPPING
    turn(camera, 20)
    account = session.account
    assert account.frames_dropped_at_sender == 13
    assert account.frames_sent + account.frames_dropped_at_sender == 30
    assert other.account.frames_sent == 30
    marked = [packet.timestamp for packet in sink.packets() if packet.marker]
    assert marked[7] - marked[6] & 0xFFFFFFFF == 14 * 1500


def test_a_reader_with_a_backlog_waits_for_a_key_frame_with_room(clip: Clip) -> None:
    camera = make(clip)
    session, sink = join(camera)
    turn(camera, 2)
    sink.full, sink.backlog_bytes = True, 1000
    turn(camera, 1)
    sink.full = False
    turn(camera, 30)  # past a key frame, but the backlog is still there
    assert session.account.frames_sent == 2
    assert session.account.frames_dropped_at_sender == 31
    sink.backlog_bytes = 0
    turn(camera, 20)
    assert session.account.frames_sent > 2


def test_a_machine_that_is_too_slow_drops_and_counts(clip: Clip, clock: Clock) -> None:
    camera = make(clip)
    session, _ = join(camera)
    turn(camera, 2)
    late = camera.next_frame
    clock.now_s += 2 * LATE_MAX_S  # as if the process had slept
    camera.emit(clock.now_s)
    assert camera.next_frame == late + 120
    turn(camera, 20)
    account = session.account
    assert account.frames_dropped_at_sender > 0
    assert account.first_index is not None
    assert account.frames_sent + account.frames_dropped_at_sender == (
        camera.next_frame - account.first_index
    )


def test_stall_and_resume(clip: Clip, clock: Clock) -> None:
    camera = make(clip)
    session, sink = join(camera)
    turn(camera, 5)
    camera.stall()
    assert camera.due_s == math.inf
    clock.now_s += 1.0
    camera.resume()
    assert camera.next_frame % 20 == 0
    turn(camera, 3)
    packets = sink.packets()
    assert [p.sequence for p in packets] == [
        (packets[0].sequence + n) & 0xFFFF for n in range(len(packets))
    ]
    stamps = [p.timestamp for p in packets if p.marker]
    assert (stamps[5] - stamps[4]) & 0xFFFFFFFF > 30 * 1500
    assert session.account.frames_sent == 8
    assert session.account.frames_dropped_at_sender == 0


def test_start_while_stalled_gets_frames_after_resume(clip: Clip) -> None:
    camera = make(clip, fast_start=True)
    camera.stall()
    session, sink = join(camera)
    assert camera.due_s == math.inf
    assert sink.blobs == []
    camera.resume()
    turn(camera, 2)
    assert session.account.frames_sent == 2


def test_an_unwatched_camera_has_no_clock(clip: Clip) -> None:
    camera = make(clip)
    assert camera.due_s == math.inf
    session, sink = join(camera)
    assert camera.due_s < math.inf
    camera.stop(session)
    assert camera.due_s == math.inf
    camera.emit(BEGAN_S)  # a tick that was under way
    assert sink.blobs == []
    camera.close(session)
    assert session.account.ended_s is not None


def test_sender_report_maps_the_clocks(clip: Clip) -> None:
    camera = make(clip)
    session, sink = join(camera)
    turn(camera, 4)
    session.report()
    for number, message in enumerate(sink.messages):
        assert message[:2] == b"$\x01"
        report = SenderReport.from_bytes(message[4:])
        assert abs(camera.timestamp_at(report.wall_s - 1.7e9) - report.timestamp) <= 1
        assert (report.packets > 0) == (number == 1)
    packets = sink.packets()
    assert report.packets == len(packets)
    assert report.octets == sum(len(packet.payload) for packet in packets)


def test_time_stamps_agree_with_the_clock(clip: Clip) -> None:
    camera = make(clip)
    for frame in (0, 1, 59, 100_000):
        ticks = camera.timestamp_at(camera.captured_s(frame)) - camera.timestamp(frame)
        assert abs((ticks + 5 & 0xFFFFFFFF) - 5) <= 1


# --- the outbox ---------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    yield ours, theirs
    ours.close()
    theirs.close()


async def read_all(sock: socket.socket, count: int) -> bytes:
    data = b""
    async with asyncio.timeout(10):
        while len(data) < count:
            data += await asyncio.get_running_loop().sock_recv(sock, 65536)
    return data


async def test_outbox_keeps_order_and_counts_whole_frames(
    pair: Pair,
) -> None:
    ours, theirs = pair
    lost: list[int] = []
    outbox = Outbox(asyncio.get_running_loop(), ours, lambda: lost.append(1))
    account = SessionAccount(PEER, 0.0)
    sent = [bytes((65 + n,)) * 30_000 for n in range(4)]
    blob = bytearray(sent[0])
    assert outbox.send_frame(blob, account, 7)
    assert account.frames_sent == 0  # the kernel took only a part
    blob[:] = b"?" * len(blob)  # the next camera patches the same blob
    outbox.send(sent[1])
    assert outbox.send_frame(bytearray(sent[2]), account, 8)
    assert outbox.backlog_bytes > 60_000
    assert await read_all(theirs, 90_000) == b"".join(sent[:3])
    assert outbox.backlog_bytes == 0
    assert (account.frames_sent, account.first_index, account.last_index) == (2, 7, 8)
    outbox.close()
    assert lost == []


async def test_outbox_is_bounded(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "BACKLOG_BYTES_MAX", 50_000)
    ours, _ = pair
    lost: list[int] = []
    outbox = Outbox(asyncio.get_running_loop(), ours, lambda: lost.append(1))
    account = SessionAccount(PEER, 0.0)
    results = [outbox.send_frame(bytearray(20_000), account, n) for n in range(5)]
    assert results[0]
    assert not results[-1]
    assert outbox.backlog_bytes <= 50_000
    for _ in range(20):
        outbox.send(bytes(10_000))
    assert lost
    outbox.close()


async def test_outbox_settles_the_frame_under_way_as_sent(pair: Pair, until: Until) -> None:
    ours, theirs = pair
    outbox = Outbox(asyncio.get_running_loop(), ours, lambda: outbox.close())
    account = SessionAccount(PEER, 0.0)
    for frame in range(3):
        outbox.send_frame(bytearray(40_000), account, frame)
    theirs.close()
    await until(lambda: outbox.closed)
    assert (account.frames_sent, account.last_index) == (1, 0)
    assert account.frames_dropped_at_sender == 2
    assert not outbox.send_frame(bytearray(5), account, 9)
