"""Several tracks in one session: aggregate control, and the metadata that tells the truth."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from harness.camera.picture.scene import Box
from harness.camera.serve import metadata
from harness.camera.wire.rtcp import goodbye
from harness.camera.wire.rtp import Packet, SenderReport

if TYPE_CHECKING:
    from harness.camera.picture.clip import Clip
    from harness.camera.serve.live import Camera
    from harness.camera.serve.server import CameraServer
    from tests.camera.conftest import Client, Connect

TT = "{http://www.onvif.org/ver10/schema}"


async def set_up(client: Client, camera: Camera, *tracks: int) -> None:
    for track in tracks:
        offer = f"RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1}"
        answer = await client.ask("SETUP", f"{camera.url}/trackID={track}", ("Transport", offer))
        assert answer.status == 200


async def packets(client: Client, count: int) -> dict[int, list[Packet]]:
    """By channel, until every RTP channel seen has `count`."""
    found: dict[int, list[Packet]] = {}
    while not found or min(map(len, found.values())) < count:
        data = await client.packet()
        if data.channel % 2 == 0:
            found.setdefault(data.channel, []).append(Packet.from_bytes(data.payload))
    return found


async def test_two_tracks_in_one_session(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    camera = server.add("door", clip, "/door", fast_start=True, metadata=True)
    client = await connect(camera.url)
    description = (await client.ask("DESCRIBE", camera.url)).body.decode()
    assert "m=application 0 RTP/AVP 107" in description
    assert "a=rtpmap:107 vnd.onvif.metadata/90000" in description
    assert description.index("a=control:trackID=0") < description.index("a=control:trackID=1")
    await set_up(client, camera, 0, 1)
    assert len(camera.sessions) == 1
    answer = await client.ask("PLAY", camera.url)
    infos = [
        dict(part.split("=", 1) for part in info.split(";"))
        for info in (answer.header("RTP-Info") or "").split(",")
    ]
    assert [info["url"] for info in infos] == [f"{camera.url}/trackID={n}" for n in (0, 1)]
    found = await packets(client, 20)
    for info, (_, track) in zip(infos, sorted(found.items()), strict=True):
        assert (int(info["seq"]), int(info["rtptime"])) == (track[0].sequence, track[0].timestamp)
        for before, after in itertools.pairwise(track):
            assert after.sequence == before.sequence + 1 & 0xFFFF
        assert len({packet.ssrc for packet in track}) == 1
    assert found[0][0].ssrc != found[2][0].ssrc
    assert {p.timestamp for p in found[2]} <= {p.timestamp for p in found[0]}


async def test_metadata_is_the_truth_of_its_frame(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    camera = server.add("door", clip, "/door", fast_start=True, metadata=True)
    client = await connect(camera.url)
    await set_up(client, camera, 1)
    assert (await client.ask("PLAY", camera.url)).status == 200
    seen = 0
    for packet in (await packets(client, 10))[2]:
        assert packet.payload_type == metadata.PAYLOAD_TYPE
        frame = next(n for n in range(600) if camera.timestamp(n) == packet.timestamp)
        boxes = ElementTree.fromstring(packet.payload).iter(f"{TT}BoundingBox")
        lefts = [(float(box.attrib["left"]) + 1) / 2 for box in boxes]
        assert lefts == pytest.approx([box.left for box in clip.truth(frame)], abs=1e-4)
        seen += len(lefts)
    assert seen
    assert camera.sessions[0].frames_sent == 0  # no video was asked for


async def test_reports_of_every_track(server: CameraServer, clip: Clip, connect: Connect) -> None:
    camera = server.add("door", clip, "/door", metadata=True)
    client = await connect(camera.url)
    await set_up(client, camera, 0, 1)
    await client.ask("PLAY", camera.url)
    ours = [await client.packet(), await client.packet()]
    assert [data.channel for data in ours] == [1, 3]
    reports = [SenderReport.from_bytes(data.payload) for data in ours]
    assert reports[1].ssrc == reports[0].ssrc + 1 & 0xFFFFFFFF


async def test_teardown_of_one_track_and_of_the_rest(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    camera = server.add("door", clip, "/door", fast_start=True, metadata=True)
    client = await connect(camera.url)
    await set_up(client, camera, 0, 1)
    await client.ask("PLAY", camera.url)
    await packets(client, 3)
    assert (await client.ask("TEARDOWN", f"{camera.url}/trackID=1")).status == 200
    byes = [data for data in client.data if data.channel == 3]
    assert byes[-1].payload.endswith(goodbye(camera.ssrc + 1 & 0xFFFFFFFF))
    client.data.clear()
    assert list(await packets(client, 5)) == [0]
    assert camera.watched == 1
    assert (await client.ask("TEARDOWN", f"{camera.url}/trackID=1")).status == 404
    assert (await client.ask("TEARDOWN", f"{camera.url}/trackID=0")).status == 200
    assert camera.sessions[0].ended_s is not None
    assert (await client.ask("PLAY", camera.url)).status == 454


async def test_one_track_cannot_be_played_alone_in_a_session_of_two(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    camera = server.add("door", clip, "/door", metadata=True)
    client = await connect(camera.url)
    offer = ("Transport", "RTP/AVP/TCP;unicast")
    assert (await client.ask("SETUP", camera.url, offer)).status == 459
    for track in (0, 1):
        answer = await client.ask("SETUP", f"{camera.url}/trackID={track}", offer)
        assert f"interleaved={2 * track}-{2 * track + 1}" in (answer.header("Transport") or "")
    assert (await client.ask("PLAY", f"{camera.url}/trackID=0")).status == 460
    assert (await client.ask("PAUSE", f"{camera.url}/trackID=0")).status == 460
    assert (await client.ask("PLAY", camera.url)).status == 200


async def test_channels_are_not_shared(server: CameraServer, clip: Clip, connect: Connect) -> None:
    camera = server.add("door", clip, "/door", metadata=True)
    client = await connect(camera.url)
    await set_up(client, camera, 0)
    for offer, status in (("1-2", 461), ("0-1", 461), ("8-9", 200)):
        answer = await client.ask(
            "SETUP",
            f"{camera.url}/trackID=1",
            ("Transport", f"RTP/AVP/TCP;unicast;interleaved={offer}"),
        )
        assert answer.status == status


async def test_sequence_goes_on_after_a_pause(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    camera = server.add("door", clip, "/door", fast_start=True)
    client = await connect(camera.url)
    await client.play(camera.url)
    seen = (await packets(client, 5))[0]
    assert (await client.ask("PAUSE", camera.url)).status == 200
    seen += [Packet.from_bytes(data.payload) for data in client.data if data.channel == 0]
    last = seen[-1]
    client.data.clear()
    answer = await client.ask("PLAY", camera.url)
    info = dict(part.split("=", 1) for part in (answer.header("RTP-Info") or "").split(";"))
    first = (await packets(client, 1))[0][0]
    assert (int(info["seq"]), int(info["rtptime"])) == (first.sequence, first.timestamp)
    assert first.sequence == last.sequence + 1 & 0xFFFF


def test_document() -> None:
    boxes = (Box("person", 0.0, 0.25, 0.5, 1.0), Box("kite", 0.5, 0.5, 0.75, 0.75))
    text = metadata.document(boxes, 1_700_000_000.25)
    (frame,) = ElementTree.fromstring(text).iter(f"{TT}Frame")
    assert frame.attrib["UtcTime"] == "2023-11-14T22:13:20.250Z"
    assert [kind.text for kind in frame.iter(f"{TT}Type")] == ["Human", "kite"]
    box = next(frame.iter(f"{TT}BoundingBox"))
    sides = [float(box.attrib[side]) for side in ("left", "top", "right", "bottom")]
    assert sides == [-1.0, 0.5, 0.0, -1.0]


def test_a_long_document_takes_several_packets() -> None:
    class Wire:
        sent: list[Packet]

        def send_packet(self, packet: bytes) -> bool:
            self.sent.append(Packet.from_bytes(packet))
            return len(self.sent) < 5

    wire = Wire()
    wire.sent = []
    track = metadata.Track(wire, 0x1FFFF)  # type: ignore[arg-type]
    track.send(b"x" * 3000, 90)
    assert [p.marker for p in wire.sent] == [False, False, True]
    assert [p.sequence for p in wire.sent] == [0xFFFF, 0, 1]
    assert b"".join(p.payload for p in wire.sent) == b"x" * 3000
    track.send(b"y" * 3000, 91)  # the second packet finds no room
    assert (track.packets, track.dropped) == (4, 1)
