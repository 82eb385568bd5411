"""Recordings: every reader gets the clip from its beginning, and it ends."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.camera.serve.playback import Playback, npt_range
from harness.camera.serve.session import VIDEO
from harness.camera.wire.rtcp import parse
from harness.camera.wire.rtp import Depacketiser, Packet

if TYPE_CHECKING:
    from harness.camera.picture.clip import Clip
    from harness.camera.serve.server import CameraServer
    from tests.camera.conftest import Client, Connect, Until


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("npt=0.000-", (0.0, None)),
        ("npt=10-20.5", (10.0, 20.5)),
        ("npt=0:01:05.5-", (65.5, None)),
        ("npt=1:00:00-1:00:01", (3600.0, 3601.0)),
        ("npt=-5", (None, 5.0)),
        ("npt=now-", None),
        ("npt = 3 - ;time=19970123T143720Z", (3.0, None)),
    ],
)
def test_range(header: str, wanted: tuple[float | None, float | None] | None) -> None:
    assert npt_range(header) == wanted


@pytest.mark.parametrize(
    "header", ["", "npt", "npt=5-5", "npt=5-4", "npt=-0", "smpte=0:0:0-", "npt=a-", "npt=1e9-"]
)
def test_range_that_is_none(header: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        npt_range(header)


@given(st.text(), st.text("npt=:.-now0123456789; ", max_size=40))
def test_any_range(text: str, likely: str) -> None:
    for header in (text, f"npt={likely}"):
        try:
            npt_range(header)
        except ValueError:
            continue


async def to_the_end(client: Client) -> tuple[list[Packet], int]:
    """All packets until the goodbye, and the number of whole frames in them."""
    packets: list[Packet] = []
    frames, depacketiser = 0, Depacketiser()
    while True:
        data = await client.packet()
        if data.channel == 1:
            if parse(data.payload).goodbye:
                return packets, frames
            continue
        packets.append(Packet.from_bytes(data.payload))
        units = depacketiser.feed(packets[-1])
        assert all(unit.lost == 0 for unit in units)
        frames += len(units)


async def test_every_reader_gets_it_from_the_beginning_to_the_end(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    camera = server.add("tape", clip, "/tape", on_demand=True)
    readers = [await connect(camera.url) for _ in range(2)]
    description = (await readers[0].ask("DESCRIBE", camera.url)).body.decode()
    assert f"a=range:npt=0-{clip.duration_s:.3f}" in description
    ssrcs = set()
    await readers[0].play(camera.url)
    await readers[1].play(camera.url)
    assert camera.watched == 2
    for (packets, frames), account in zip(
        [await to_the_end(reader) for reader in readers], camera.sessions, strict=True
    ):
        assert frames == len(clip.access_units)
        stamps = [packet.timestamp for packet in packets if packet.marker]
        assert {(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(stamps)} == {1500}
        assert (account.first_index, account.last_index) == (0, frames - 1)
        assert account.frames_sent == frames
        ssrcs.add(packets[0].ssrc)
    assert len(ssrcs) == 2
    assert camera.watched == 0


async def test_a_part_of_it(server: CameraServer, clip: Clip, connect: Connect) -> None:
    camera = server.add("tape", clip, "/tape", on_demand=True)
    client = await connect(camera.url)
    await client.ask("SETUP", f"{camera.url}/trackID=0", ("Transport", "RTP/AVP/TCP"))
    answer = await client.ask("PLAY", camera.url, ("Range", "npt=1.1-1.5"))
    # The key frame at or before 1.1 s is frame 60 of those every 20.
    assert answer.header("Range") == "npt=1.000-1.500"
    packets, frames = await to_the_end(client)
    assert frames == 30
    info = dict(part.split("=", 1) for part in (answer.header("RTP-Info") or "").split(";"))
    assert (int(info["seq"]), int(info["rtptime"])) == (packets[0].sequence, packets[0].timestamp)
    again = await client.ask("PLAY", camera.url, ("Range", "npt=0-0.2"))
    assert again.status == 200
    more, frames = await to_the_end(client)
    assert frames == 12
    assert more[0].sequence == packets[-1].sequence + 1 & 0xFFFF
    assert more[0].timestamp == packets[-1].timestamp + 1500 & 0xFFFFFFFF
    assert camera.sessions[0].frames_sent == 42


@pytest.mark.parametrize("header", ["npt=99-", "npt=3-1", "clock=19961108T142300Z-"])
async def test_a_part_that_is_not_there(
    server: CameraServer, clip: Clip, connect: Connect, header: str
) -> None:
    camera = server.add("tape", clip, "/tape", on_demand=True)
    live = server.add("door", clip, "/door")
    for source, status in ((camera, 457), (live, 200)):  # a live camera ignores it
        client = await connect(source.url)
        await client.ask("SETUP", f"{source.url}/trackID=0", ("Transport", "RTP/AVP/TCP"))
        assert (await client.ask("PLAY", source.url, ("Range", header))).status == status


async def test_pause_and_go_on(server: CameraServer, clip: Clip, connect: Connect) -> None:
    camera = server.add("tape", clip, "/tape", on_demand=True)
    client = await connect(camera.url)
    await client.play(camera.url)
    await client.take(10)
    assert (await client.ask("PAUSE", camera.url)).status == 200
    client.data.clear()
    account = camera.sessions[0]
    sent = account.frames_sent
    assert account.last_index == sent - 1
    answer = await client.ask("PLAY", camera.url)
    assert answer.header("Range") == f"npt={sent / 60:.3f}-{clip.duration_s:.3f}"
    info = dict(part.split("=", 1) for part in (answer.header("RTP-Info") or "").split(";"))
    while (data := await client.packet()).channel != 0:
        pass
    first = Packet.from_bytes(data.payload)
    assert (int(info["seq"]), int(info["rtptime"])) == (first.sequence, first.timestamp)


async def test_after_a_pause_no_frame_is_missing(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    camera = server.add("tape", clip, "/tape", on_demand=True)
    client = await connect(camera.url)
    await client.play(camera.url)
    await client.take(5)
    await client.ask("PAUSE", camera.url)
    await client.ask("PLAY", camera.url, ("Range", "npt=3.9-"))
    await to_the_end(client)
    account = camera.sessions[0]
    assert account.last_index == len(clip.access_units) - 1


async def test_stall_and_resume(
    server: CameraServer, clip: Clip, connect: Connect, until: Until
) -> None:
    camera = server.add("tape", clip, "/tape", on_demand=True)
    client = await connect(camera.url)
    await client.play(camera.url)
    await client.take(3)
    camera.stall()
    sent = camera.sessions[0].frames_sent
    await asyncio.sleep(0.1)  # six frames' time; only what was sent counts
    assert camera.sessions[0].frames_sent == sent
    camera.resume()
    await until(lambda: camera.sessions[0].frames_sent > sent + 3)


async def test_a_reader_that_leaves_leaves_nothing(
    server: CameraServer, clip: Clip, connect: Connect, until: Until
) -> None:
    camera = server.add("tape", clip, "/tape", on_demand=True)
    client = await connect(camera.url)
    await client.play(camera.url)
    await client.take(2)
    await client.close()
    await until(lambda: camera.sessions[0].ended_s is not None)
    assert camera.watched == 0
    await until(lambda: not server._due)


class Full:
    """A carrier that has a backlog."""

    name, reliable, closed = "tcp", True, False

    def __init__(self) -> None:
        self.backlog_bytes = 1
        self.frames: list[int] = []

    def send_unit(self, unit: object, account: object, frame: int) -> bool:
        self.frames.append(frame)
        return True

    def send_packet(self, packet: bytes) -> bool:
        return False

    def send_control(self, data: bytes) -> None: ...

    def close(self) -> None: ...


async def test_a_slow_reader_is_waited_for(server: CameraServer, clip: Clip) -> None:
    camera = server.add("tape", clip, "/tape", on_demand=True)
    session, carrier = camera.open("1", ("127.0.0.1", 5)), Full()
    session.attach(VIDEO, carrier)
    assert isinstance(session, Playback)
    session.play(session.prepare(None))
    for _ in range(3):
        session.emit(session.due_s)
    assert carrier.frames == []
    carrier.backlog_bytes = 0
    for _ in range(3):
        session.emit(session.due_s)
    assert carrier.frames == [0, 1, 2]
    session.close()
