"""Every bad habit is seen by a client, and tolerated by the clients that tolerate it."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import av
import pytest
from aiortsp.rtsp.reader import RTSPReader

from harness.camera.serve import quirk
from harness.camera.wire import h264
from harness.camera.wire.rtp import Depacketiser, Packet
from harness.camera.wire.rtsp import Interleaved, Request, Response
from harness.scenario.quirk import NONE, Quirks

if TYPE_CHECKING:
    from harness.camera.picture.clip import Clip
    from harness.camera.serve.packed import PackedClip
    from harness.camera.serve.server import CameraServer
    from tests.camera.conftest import Connect, Until

TCP = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")
UDP = ("Transport", "RTP/AVP;unicast;client_port=50000-50001")
FRAMES = 12
TICKS = 1500  # of a frame at 60 a second
TOLERATED = [
    Quirks(content_base="missing"),
    Quirks(content_base="wrong-host"),
    Quirks(content_base="no-scheme"),
    Quirks(rtp_info="missing"),
    Quirks(rtp_info="zero-rtptime"),
    Quirks(sdp_origin="blanks"),
    Quirks(sdp_origin="missing"),
    Quirks(parameter_sets="stream"),
    Quirks(parameter_sets="sdp"),
    Quirks(lower_case_headers=True),
    Quirks(silent_rtcp=True),
    Quirks(timestamp_reset_s=0.2),
    Quirks(get_parameter_unknown=True),
    Quirks(tcp_only=True),
    Quirks(clients_max=1),
    Quirks(stale_sessions_s=30.0),
    Quirks(session_timeout_s=7.0),
]


def made(**values: Any) -> Quirks:
    return replace(NONE, **values)


def named(quirks: Quirks) -> str:
    return "-".join((*quirks.names, *(str(getattr(quirks, name)) for name in quirks.names)))


def test_every_quirk_is_tried_on_clients() -> None:
    tried = {name for quirks in TOLERATED for name in quirks.names}
    assert tried == {field.name for field in fields(Quirks)}
    assert NONE.names == ()


def frames_by_pyav(url: str) -> int:
    """Pictures that FFmpeg's libraries decode, up to `FRAMES`. Blocks."""
    options = {"rtsp_transport": "tcp", "analyzeduration": "0", "probesize": "32"}
    with av.open(url, options=options, timeout=(10, 10)) as container:
        return sum(1 for _ in itertools.islice(container.decode(video=0), FRAMES))


async def units_by_aiortsp(url: str) -> int:
    """Access units without loss that aiortsp fetches, up to `FRAMES`."""
    depacketiser, units = Depacketiser(), 0
    async with asyncio.timeout(15), RTSPReader(url.replace("rtsp://", "rtspt://")) as reader:
        async for packet in reader.iter_packets():
            units += sum(u.lost == 0 for u in depacketiser.feed(Packet.from_bytes(bytes(packet))))
            if units >= FRAMES:
                break
        runner = reader._runner
    await asyncio.gather(runner, return_exceptions=True)
    return units


@pytest.mark.parametrize("quirks", TOLERATED, ids=named)
async def test_tolerated_by_pyav(server: CameraServer, clip: Clip, quirks: Quirks) -> None:
    camera = server.add("door", clip, "/door", fast_start=True, quirks=quirks)
    assert await asyncio.to_thread(frames_by_pyav, camera.url) == FRAMES


@pytest.mark.parametrize("quirks", TOLERATED, ids=named)
async def test_tolerated_by_aiortsp(server: CameraServer, clip: Clip, quirks: Quirks) -> None:
    camera = server.add("door", clip, "/door", fast_start=True, quirks=quirks)
    assert await units_by_aiortsp(camera.url) >= FRAMES


async def test_tcp_only_makes_ffmpeg_ask_again(server: CameraServer, clip: Clip) -> None:
    camera = server.add("door", clip, "/door", fast_start=True, quirks=Quirks(tcp_only=True))

    def first() -> bool:
        with av.open(camera.url, timeout=(10, 10)) as container:
            return next(container.decode(video=0)).width == clip.spec.width_px

    assert await asyncio.to_thread(first)
    assert camera.sessions[-1].transport == "tcp"


# --- what a client sees ---------------------------------------------------------------------------


async def described(server: CameraServer, clip: Clip, connect: Connect, quirks: Quirks) -> Response:
    camera = server.add("door", clip, "/door", quirks=quirks)
    client = await connect(camera.url)
    return await client.ask("DESCRIBE", camera.url)


@pytest.mark.parametrize(
    ("how", "seen"),
    [
        ("right", "rtsp://127.0.0.1:{port}/door/"),
        ("missing", None),
        ("wrong-host", "rtsp://192.168.1.108/door/"),
        ("no-scheme", "127.0.0.1:{port}/door/"),
    ],
)
async def test_content_base(
    server: CameraServer, clip: Clip, connect: Connect, how: str, seen: str | None
) -> None:
    quirks = made(content_base=how)
    answer = await described(server, clip, connect, quirks)
    wanted = None if seen is None else seen.format(port=server.port)
    assert answer.header("Content-Base") == wanted


@pytest.mark.parametrize("how", ["right", "missing", "zero-rtptime"])
async def test_rtp_info(server: CameraServer, clip: Clip, connect: Connect, how: str) -> None:
    camera = server.add("door", clip, "/door", quirks=made(rtp_info=how))
    client = await connect(camera.url)
    info = (await client.play(camera.url)).header("RTP-Info")
    assert (info is None) == (how == "missing")
    assert (info or "").endswith(";rtptime=0") == (how == "zero-rtptime")
    assert (await client.take(1))[0] != 0


@pytest.mark.parametrize(
    ("how", "origin"),
    [("right", "o=- "), ("missing", None), ("blanks", "o=RTSP Session 0 0 IN IP4 0.0.0.0")],
)
async def test_sdp_origin(
    server: CameraServer, clip: Clip, connect: Connect, how: str, origin: str | None
) -> None:
    answer = await described(server, clip, connect, made(sdp_origin=how))
    lines = [line for line in answer.body.decode().split("\r\n") if line.startswith("o=")]
    assert len(lines) == (origin is not None)
    assert all(line.startswith(origin or "") for line in lines)
    assert answer.header("Content-Length") == str(len(answer.body))


@pytest.mark.parametrize("where", ["both", "stream", "sdp"])
async def test_parameter_sets(
    server: CameraServer, clip: Clip, connect: Connect, where: str
) -> None:
    camera = server.add("door", clip, "/door", fast_start=True, quirks=made(parameter_sets=where))
    client = await connect(camera.url)
    body = (await client.ask("DESCRIBE", camera.url)).body
    assert (b"sprop-parameter-sets=" in body) == (where != "stream")
    assert b"packetization-mode=1;profile-level-id=" in body
    await client.play(camera.url)
    depacketiser = Depacketiser()
    nals: list[bytes] = []
    while not any(h264.nal_type(nal) == h264.NAL_IDR for nal in nals):
        data = await client.packet()
        if data.channel == 0:
            for unit in depacketiser.feed(Packet.from_bytes(data.payload)):
                nals += unit.nals
    kinds = {h264.nal_type(nal) for nal in nals}
    assert ({h264.NAL_SPS, h264.NAL_PPS} <= kinds) == (where != "sdp")
    assert (h264.NAL_SPS in kinds) == (where != "sdp")


def test_other_codecs_keep_their_parameter_sets() -> None:
    nals = (bytes((7,)), bytes((0x40, 1)))
    assert quirk.carried(Quirks(parameter_sets="sdp"), "h265", nals) == nals
    assert quirk.carried(Quirks(parameter_sets="sdp"), "h264", nals) == nals[1:]


async def test_cameras_share_packets_unless_they_pack_otherwise(
    server: CameraServer, clip: Clip
) -> None:
    packed: list[PackedClip] = [
        server.add(f"{n}", clip, f"/{n}", quirks=quirks)._packed
        for n, quirks in enumerate((NONE, Quirks(silent_rtcp=True), Quirks(parameter_sets="sdp")))
    ]
    assert packed[0] is packed[1]
    assert packed[2].packets < packed[0].packets or packed[2] is not packed[0]


async def test_lower_case_headers(server: CameraServer, clip: Clip) -> None:
    camera = server.add("door", clip, "/door", quirks=Quirks(lower_case_headers=True))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    headers = (("CSeq", "1"),)
    writer.write(Request(headers, method="DESCRIBE", uri=camera.url).to_bytes())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    names = [line.partition(":")[0] for line in head[1:] if line]
    assert names == ["cseq", "content-type", "content-base", "content-length"]
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("silent", [False, True])
async def test_rtcp_silence(
    server: CameraServer, clip: Clip, connect: Connect, silent: bool
) -> None:
    camera = server.add("door", clip, "/door", quirks=Quirks(silent_rtcp=silent))
    client = await connect(camera.url)
    await client.play(camera.url)
    seen = [await client.packet() for _ in range(10)]
    assert any(data.channel == 1 for data in seen) != silent
    await client.ask("TEARDOWN", camera.url)
    assert any(data.channel == 1 for data in client.data) != silent  # BYE


async def test_the_clock_starts_anew(server: CameraServer, clip: Clip, connect: Connect) -> None:
    camera = server.add("door", clip, "/door", quirks=Quirks(timestamp_reset_s=0.2))
    client = await connect(camera.url)
    await client.play(camera.url)
    stamps = await client.take(30)
    steps = [(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(stamps)]
    back = (TICKS - 12 * TICKS) & 0xFFFFFFFF
    assert set(steps) == {TICKS, back}
    assert 2 <= steps.count(back) <= 3
    now_s = time.monotonic()
    ticks = (camera.timestamp_at(now_s) - camera.timestamp(0)) & 0xFFFFFFFF
    assert 0 <= ticks < 12 * TICKS


async def test_get_parameter_is_unknown(server: CameraServer, clip: Clip, connect: Connect) -> None:
    camera = server.add("door", clip, "/door", quirks=Quirks(get_parameter_unknown=True))
    client = await connect(camera.url)
    public = (await client.ask("OPTIONS", camera.url)).header("Public") or ""
    assert "DESCRIBE" in public
    assert "SET_PARAMETER" in public
    assert "GET_PARAMETER" not in public
    await client.play(camera.url)
    assert (await client.ask("GET_PARAMETER", camera.url)).status == 501
    (connection,) = server._listeners[None].connections
    connection.heard_s = 0.0
    assert (await client.ask("OPTIONS", camera.url)).status == 200
    assert connection.heard_s > 0.0  # keeps the session alive


async def test_tcp_only(server: CameraServer, clip: Clip, connect: Connect) -> None:
    camera = server.add("door", clip, "/door", quirks=Quirks(tcp_only=True))
    client = await connect(camera.url)
    track = f"{camera.url}/trackID=0"
    assert (await client.ask("SETUP", track, UDP)).status == 461
    both = ("Transport", f"{UDP[1]},RTP/AVP/TCP;unicast;interleaved=4-5")
    answer = await client.ask("SETUP", track, both)
    assert answer.status == 200
    assert "interleaved=4-5" in (answer.header("Transport") or "")


async def test_session_timeout(server: CameraServer, clip: Clip, connect: Connect) -> None:
    camera = server.add("door", clip, "/door", quirks=Quirks(session_timeout_s=7.0))
    client = await connect(camera.url)
    answer = await client.ask("SETUP", f"{camera.url}/trackID=0", TCP)
    assert (answer.header("Session") or "").endswith(";timeout=7")
    (connection,) = server._listeners[None].connections
    connection.sweep(connection.heard_s + 6.0)
    assert server.connections == 1
    connection.sweep(connection.heard_s + 8.0)
    assert server.connections == 0


# --- places ---------------------------------------------------------------------------------------


async def test_one_reader_too_many(
    server: CameraServer, clip: Clip, connect: Connect, until: Until
) -> None:
    camera = server.add("door", clip, "/door", quirks=Quirks(clients_max=1))
    other = server.add("yard", clip, "/yard")
    first, second = await connect(camera.url), await connect(camera.url)
    await first.play(camera.url)
    refused = await second.ask("SETUP", f"{camera.url}/trackID=0", TCP)
    assert refused.status == 453
    assert refused.reason == "Not Enough Bandwidth"
    await (await connect(other.url)).play(other.url)
    await first.close()
    await until(lambda: camera.places.free)
    await second.play(camera.url)
    assert len(await second.take(2)) == 2


async def test_who_leaves_without_a_word_keeps_the_place(
    server: CameraServer, clip: Clip, connect: Connect, until: Until
) -> None:
    quirks = Quirks(clients_max=2, stale_sessions_s=600.0)
    camera = server.add("door", clip, "/door", quirks=quirks)
    polite, rude = await connect(camera.url), await connect(camera.url)
    await polite.play(camera.url)
    await rude.play(camera.url)
    await rude.close()
    await until(lambda: camera.watched == 1)
    assert camera.places.taken == 2
    late = await connect(camera.url)
    assert (await late.ask("SETUP", f"{camera.url}/trackID=0", TCP)).status == 453
    assert (await polite.ask("TEARDOWN", camera.url)).status == 200
    assert camera.places.taken == 1
    await late.play(camera.url)


def test_places_by_the_clock() -> None:
    now = [100.0]
    places = quirk.Places(Quirks(clients_max=2, stale_sessions_s=30.0), lambda: now[0])
    places.enter("a")
    places.enter("b")
    assert not places.free
    places.leave("a")
    places.leave("a")
    places.leave("stranger")
    assert (places.taken, places.free) == (2, False)
    now[0] = 110.0
    places.leave("b")
    places.part("b")
    assert (places.taken, places.free) == (1, True)
    now[0] = 130.0
    assert places.taken == 0


def test_places_without_limit_remember_only_so_many() -> None:
    places = quirk.Places(Quirks(stale_sessions_s=30.0), lambda: 0.0)
    for number in range(quirk.STALE_MAX + 10):
        places.enter(str(number))
        places.leave(str(number))
    assert places.taken == quirk.STALE_MAX
    assert places.free


def test_a_good_camera_is_left_alone() -> None:
    response = Response((("Content-Base", "rtsp://h/"),), body=b"x", status=200)
    assert quirk.dress(NONE, response) is response
    request = Request((UDP,), method="SETUP", uri="rtsp://h/door")
    assert quirk.hear(NONE, request) is request


async def test_interleaved_data_is_never_dressed(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    camera = server.add("door", clip, "/door", quirks=Quirks(lower_case_headers=True))
    client = await connect(camera.url)
    await client.play(camera.url)
    assert isinstance(await client.packet(), Interleaved)
