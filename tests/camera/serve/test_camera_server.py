"""The server over real sockets."""

from __future__ import annotations

import asyncio
import base64
import errno
import itertools
import random
import socket
from typing import TYPE_CHECKING

import pytest

from harness.camera.serve import connection as connection_module
from harness.camera.serve import outbox as outbox_module
from harness.camera.serve.server import CameraServer
from harness.camera.wire.rtp import Packet, SenderReport
from harness.camera.wire.rtsp import Request, Response
from harness.errors import EngineError, InputError

if TYPE_CHECKING:
    from harness.camera.picture.clip import Clip
    from tests.camera.conftest import Connect, Until

TCP = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")


# --- what a client asks ---------------------------------------------------------------------------


async def test_describe(server: CameraServer, clip: Clip, connect: Connect) -> None:
    camera = server.add("door", clip, "/door")
    client = await connect(camera.url)
    answer = await client.ask("DESCRIBE", camera.url, ("Accept", "application/sdp"))
    assert answer.status == 200
    assert answer.header("Content-Type") == "application/sdp"
    assert answer.header("Content-Base") == f"{camera.url}/"
    lines = answer.body.decode().split("\r\n")
    assert "m=video 0 RTP/AVP 96" in lines
    assert "a=rtpmap:96 H264/90000" in lines
    assert "a=framerate:60" in lines
    (fmtp,) = (line for line in lines if line.startswith("a=fmtp:96 "))
    values = dict(part.split("=", 1) for part in fmtp.removeprefix("a=fmtp:96 ").split(";"))
    assert values["packetization-mode"] == "1"
    assert bytes.fromhex(values["profile-level-id"]) == clip.sps[1:4]
    sets = [base64.b64decode(text) for text in values["sprop-parameter-sets"].split(",")]
    assert sets == [clip.sps, clip.pps]


async def test_play_pause_play_teardown(server: CameraServer, clip: Clip, connect: Connect) -> None:
    camera = server.add("door", clip, "/door")
    client = await connect(camera.url)
    answer = await client.play(camera.url)
    info = dict(part.split("=", 1) for part in (answer.header("RTP-Info") or "").split(";"))
    assert info["url"] == f"{camera.url}/trackID=0"
    report, packet = await client.packet(), await client.packet()
    assert (report.channel, packet.channel) == (1, 0)
    first = Packet.from_bytes(packet.payload)
    assert (str(first.sequence), str(first.timestamp)) == (info["seq"], info["rtptime"])
    assert first.ssrc == SenderReport.from_bytes(report.payload).ssrc
    assert (await client.ask("PLAY", camera.url)).status == 200  # changes nothing
    assert (await client.ask("PAUSE", camera.url)).status == 200
    sent = camera.sessions[0].frames_sent
    assert camera.watched == 0
    client.data.clear()
    assert (await client.ask("GET_PARAMETER", camera.url)).status == 200
    assert client.data == []
    assert (await client.ask("PLAY", camera.url)).status == 200
    await client.take(5)
    assert (await client.ask("TEARDOWN", camera.url)).status == 200
    assert camera.sessions[0].frames_sent >= sent + 5
    assert camera.sessions[0].ended_s is not None
    assert (await client.ask("PLAY", camera.url)).status == 454
    client.session = ()
    await client.play(camera.url)
    assert len(camera.sessions) == 2


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("OPTIONS", "/door", (), b"", 200),
        ("OPTIONS", "*", (), b"", 200),
        ("OPTIONS", "/none", (), b"", 200),
        ("GET_PARAMETER", "*", (), b"", 200),
        ("GET_PARAMETER", "/door", (), b"", 200),
        ("SET_PARAMETER", "/door/", (), b"", 200),
        ("GET_PARAMETER", "/door", (), b"position\r\n", 451),
        ("DESCRIBE", "/none", (), b"", 404),
        ("DESCRIBE", "*", (), b"", 200),
        ("DESCRIBE", "/door?user=x", (), b"", 200),
        ("DESCRIBE", "/door", (("Accept", "text/html"),), b"", 406),
        ("DESCRIBE", "/door", (("Accept", "*/*"),), b"", 200),
        ("SETUP", "/none", (TCP,), b"", 404),
        ("SETUP", "/door", (("Transport", "RTP/AVP;multicast;port=5000-5001"),), b"", 461),
        ("SETUP", "/door/trackID=1", (TCP,), b"", 404),
        ("SETUP", "/door", (), b"", 461),
        ("PLAY", "/door", (), b"", 454),
        ("PLAY", "/door", (("Session", "guess"),), b"", 454),
        ("PAUSE", "/door", (), b"", 454),
        ("TEARDOWN", "/door", (), b"", 454),
        ("RECORD", "/door", (), b"", 501),
        ("ANNOUNCE", "/door", (), b"v=0", 501),
    ],
)
async def test_answers(
    server: CameraServer,
    clip: Clip,
    connect: Connect,
    method: str,
    path: str,
    headers: tuple[tuple[str, str], ...],
    body: bytes,
    status: int,
) -> None:
    server.add("door", clip, "/door")
    client = await connect(f"rtsp://127.0.0.1:{server.port}/")
    uri = path if path == "*" else f"rtsp://127.0.0.1:{server.port}{path}"
    assert (await client.ask(method, uri, *headers, body=body)).status == status
    assert (await client.ask("OPTIONS", "*")).status == 200  # the connection is fine


async def test_second_setup_is_out_of_place(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    camera = server.add("door", clip, "/door")
    client = await connect(camera.url)
    assert (await client.ask("SETUP", f"{camera.url}/trackID=0", TCP)).status == 200
    assert (await client.ask("SETUP", f"{camera.url}/trackID=0", TCP)).status == 455


async def test_a_session_belongs_to_its_camera(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    door, yard = server.add("door", clip, "/door"), server.add("yard", clip, "/yard")
    client = await connect(door.url)
    assert (await client.ask("SETUP", f"{door.url}/trackID=0", TCP)).status == 200
    assert (await client.ask("PLAY", yard.url)).status == 454
    assert (await client.ask("PLAY", door.url)).status == 200


async def test_request_without_cseq(server: CameraServer, clip: Clip, connect: Connect) -> None:
    camera = server.add("door", clip, "/door")
    client = await connect(camera.url)
    client.send(Request(method="OPTIONS", uri="*").to_bytes())
    answer = await client.event()
    assert isinstance(answer, Response)
    assert answer.status == 400


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"GET / HTTP/1.1\r\n\r\n", 400), (b"A * RTSP/3.0\r\n\r\n", 505), (b"x" * 5000, 414)],
)
async def test_broken_protocol_is_answered_and_hung_up(
    server: CameraServer, clip: Clip, connect: Connect, data: bytes, status: int
) -> None:
    camera = server.add("door", clip, "/door")
    client = await connect(camera.url)
    client.send(data)
    answer = await client.event()
    assert isinstance(answer, Response)
    assert answer.status == status
    assert await client.hung_up()
    assert server.connections == 0


async def test_garbage_of_all_kinds_leaves_the_server_well(
    server: CameraServer, clip: Clip, connect: Connect, until: Until
) -> None:
    camera = server.add("door", clip, "/door")
    rng = random.Random(8)
    request = Request((("CSeq", "1"), TCP), method="SETUP", uri=f"{camera.url}/trackID=0")
    for _ in range(40):
        client = await connect(camera.url)
        data = bytearray(request.to_bytes() * 2)
        for _ in range(rng.randrange(1, 9)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        client.send(bytes(data[: rng.randrange(1, len(data))]))
        await client.close()
    await until(lambda: server.connections == 0)
    assert all(account.ended_s is not None for account in camera.sessions)
    watcher = await connect(camera.url)
    await watcher.play(camera.url)
    assert len(await watcher.take(3)) == 3


# --- frames ---------------------------------------------------------------------------------------


async def test_frames_over_the_end_of_the_clip(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    camera = server.add("door", clip, "/door")
    camera.epoch_s -= clip.duration_s - 0.3
    client = await connect(camera.url)
    await client.play(camera.url, channel=8)
    stamps = await client.take(10)
    account = camera.sessions[0]
    assert account.first_index is not None
    assert account.last_index is not None
    while account.last_index // 240 == account.first_index // 240:
        stamps += await client.take(10)
    stamps += await client.take(20)
    steps = {(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(stamps)}
    assert steps == {1500}
    assert account.frames_sent == account.last_index - account.first_index + 1
    assert stamps[0] == camera.timestamp(account.first_index)


async def test_all_readers_see_the_same_live_position(
    server: CameraServer, clip: Clip, connect: Connect
) -> None:
    camera = server.add("door", clip, "/door", fast_start=True)
    one, two = await connect(camera.url), await connect(camera.url)
    await one.play(camera.url)
    await one.take(5)
    await two.play(camera.url, channel=2)
    await two.take(5)
    first, second = camera.sessions
    assert first.first_index is not None
    assert second.first_index is not None
    assert first.last_index == second.last_index
    assert first.first_index % 20 == second.first_index % 20 == 0
    assert camera.watched == 2


async def test_a_reader_that_does_not_read_loses_frames_at_a_key_frame(
    server: CameraServer,
    clip: Clip,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    until: Until,
) -> None:
    monkeypatch.setattr(connection_module, "KERNEL_BUFFER_BYTES", 4096)
    monkeypatch.setattr(outbox_module, "BACKLOG_BYTES_MAX", 8192)
    camera = server.add("door", clip, "/door", fast_start=True)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", server.port))
        for number, (method, uri) in enumerate(
            (("SETUP", f"{camera.url}/trackID=0"), ("PLAY", camera.url)), 1
        ):
            session = await loop.sock_recv(sock, 4096) if number == 2 else b""
            identity = session.partition(b"Session: ")[2].partition(b";")[0].decode()
            headers = (("CSeq", str(number)), TCP, ("Session", identity))
            await loop.sock_sendall(sock, Request(headers, method=method, uri=uri).to_bytes())
        await until(lambda: bool(camera.sessions))
        account = camera.sessions[0]
        await until(lambda: account.frames_dropped_at_sender > 5)
        reader, writer = await asyncio.open_connection(sock=sock.dup())
        stamps: list[int] = []
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(15):
            while len(stamps) < 2 or (stamps[-1] - stamps[-2]) & 0xFFFFFFFF == 1500:
                head = await reader.readexactly(4)
                payload = await reader.readexactly(int.from_bytes(head[2:], "big"))
                if head[1] == 0 and (packet := Packet.from_bytes(payload)).marker:
                    stamps.append(packet.timestamp)
        writer.close()
    keys = {camera.timestamp(frame) for frame in range(0, 2400, 20)}
    assert stamps[-1] in keys
    await until(lambda: account.ended_s is not None)
    total = account.frames_sent + account.frames_dropped_at_sender
    assert total >= (account.last_index or 0) - (account.first_index or 0) + 1


async def test_account_of_a_reader_that_leaves(
    server: CameraServer, clip: Clip, connect: Connect, until: Until
) -> None:
    camera = server.add("door", clip, "/door")
    client = await connect(camera.url)
    await client.play(camera.url)
    await client.take(4)
    (account,) = camera.sessions
    assert account.ended_s is None
    await client.close()
    await until(lambda: account.ended_s is not None)
    assert account.peer[0] == "127.0.0.1"
    assert account.frames_sent >= 4
    assert account.frames_sent + account.frames_dropped_at_sender >= (
        (account.last_index or 0) - (account.first_index or 0) + 1
    )
    assert camera.watched == server.connections == 0


async def test_many_short_sessions_leave_no_timers(
    server: CameraServer, clip: Clip, connect: Connect, until: Until
) -> None:
    """A camera that is started anew again and again must not be ticked more than once."""
    camera = server.add("door", clip, "/door", fast_start=True)
    client = await connect(camera.url)
    await client.play(camera.url)
    for _ in range(30):
        await client.ask("PAUSE", camera.url)
        await client.ask("PLAY", camera.url)
    client.data.clear()
    sent = camera.sessions[0].frames_sent
    index = camera.next_frame
    await until(lambda: camera.next_frame >= index + 40)
    assert camera.sessions[0].frames_sent - sent == camera.next_frame - index
    assert len(server._due) == 1


# --- the server itself ----------------------------------------------------------------------------


async def test_adding(server: CameraServer, clip: Clip) -> None:
    door = server.add("door", clip, "door/")
    assert door.url == f"rtsp://127.0.0.1:{server.port}/door"
    assert door.clip is clip
    for name, path, scheme in (
        ("door", "/other", "digest"),
        ("other", "/door", "digest"),
        ("new\nline", "/x", "digest"),
        ("x", "/with blank", "digest"),
        ("x", "/ü", "digest"),
        ("x", "/x", "sha"),
    ):
        with pytest.raises(InputError) as caught:
            server.add(name, clip, path, scheme=scheme)
        assert caught.value.hint
    assert server.add("own", clip, "/door", own_port=True).url != door.url


async def test_not_running(clip: Clip) -> None:
    with pytest.raises(EngineError, match="not running"):
        CameraServer().add("door", clip, "/door")


async def test_port_taken(server: CameraServer) -> None:
    with pytest.raises(EngineError, match="cannot listen") as caught:
        async with CameraServer(port=server.port):
            pass
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EADDRINUSE


async def test_leaving_the_server_closes_everything(clip: Clip, connect: Connect) -> None:
    async with CameraServer() as server:
        camera = server.add("door", clip, "/door", own_port=True)
        url = camera.url
        client = await connect(url)
        await client.play(url)
        await client.take(2)
    assert await client.hung_up()
    assert camera.sessions[0].ended_s is not None
    with pytest.raises(ConnectionRefusedError):
        await connect(url)
