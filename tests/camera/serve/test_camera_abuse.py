"""Readers that mean harm or are broken: nothing of it reaches the others, nothing is left."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest

from harness.camera.serve import outbox as outbox_module
from harness.camera.serve.connection import FIRST_REQUEST_S_MAX
from harness.camera.serve.packed import frame_interleaved
from harness.camera.serve.server import CameraServer
from harness.camera.wire.rtcp import ReportBlock, receiver_report
from harness.camera.wire.rtsp import Request, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.live import Camera
    from tests.camera.conftest import Client, Connect, Until

HALF_OPEN = 500
OFFER = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")


@pytest.fixture
async def server() -> AsyncIterator[CameraServer]:
    async with CameraServer(http_tunnel=True) as server:
        yield server


@pytest.fixture
def camera(server: CameraServer, clip: Clip) -> Camera:
    return server.add("door", clip, "/door", fast_start=True, metadata=True)


@pytest.fixture
async def watcher(camera: Camera, connect: Connect) -> Client:
    """A good reader, which must see every frame whatever happens beside it."""
    client = await connect(camera.url)
    await client.play(camera.url)
    await client.take(2)
    return client


async def unharmed(watcher: Client, camera: Camera) -> None:
    await watcher.take(10)  # `take` asserts that no packet is missing
    assert camera.sessions[0].frames_dropped_at_sender == 0
    assert (await watcher.ask("GET_PARAMETER", camera.url)).status == 200


def request(camera: Camera, method: str = "OPTIONS", cseq: str = "1", **headers: str) -> bytes:
    fields = (("CSeq", cseq), *headers.items())
    return Request(fields, method=method, uri=camera.url).to_bytes()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"x" * 5000, 414),
        (b"OPTIONS * RTSP/1.0\r\n" + b"A: b\r\n" * 65 + b"\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nA: " + b"b" * 5000 + b"\r\n\r\n", 414),
        (b"OPTIONS * RTSP/1.0\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"OPTIONS * RTSP/1.0\r\nContent-Length: -1\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nA b\r\n\r\n", 400),
        (b"OPTIONS * RTSP/2.0\r\n\r\n", 505),
        (b"\r\n" * 40, 400),
        (b"\0\0\0\0\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400),  # TLS to a plain port
    ],
)
async def test_malformed_and_oversized(
    server: CameraServer,
    camera: Camera,
    watcher: Client,
    connect: Connect,
    until: Until,
    data: bytes,
    status: int,
) -> None:
    client = await connect(camera.url)
    client.send(data)
    answer = await client.event()
    assert isinstance(answer, Response)
    assert answer.status == status
    assert await client.hung_up()
    await until(lambda: server.connections == 1)
    await unharmed(watcher, camera)


async def test_slow_loris(
    server: CameraServer, camera: Camera, watcher: Client, connect: Connect, until: Until
) -> None:
    """One byte now and then is no sign of life; only whole messages are."""
    slow = [await connect(camera.url) for _ in range(20)]
    await until(lambda: server.connections == 21)
    connections = [c for c in server._listeners[None].connections if c.session is None]
    begun_s = {connection: connection.heard_s for connection in connections}
    for byte in request(camera)[:-1]:
        for client in slow:
            client.send(bytes((byte,)))
        await asyncio.sleep(0)
    await watcher.take(5)
    for connection in connections:
        assert connection.heard_s == begun_s[connection]
        connection.sweep(begun_s[connection] + FIRST_REQUEST_S_MAX + 1)
    assert server.connections == 1
    await unharmed(watcher, camera)


async def test_half_open_connections(
    server: CameraServer, camera: Camera, watcher: Client, until: Until
) -> None:
    """They wait in silence; they are closed in time, and meanwhile there is room for others."""
    writers = [
        (await asyncio.open_connection("127.0.0.1", server.port))[1] for _ in range(HALF_OPEN)
    ]
    await until(lambda: server.connections == HALF_OPEN + 1)
    await unharmed(watcher, camera)
    now_s = time.monotonic() + FIRST_REQUEST_S_MAX + 1
    for connection in tuple(server._listeners[None].connections):
        connection.sweep(now_s)
    assert server.connections == 1
    for writer in writers:
        writer.close()
    await unharmed(watcher, camera)


async def test_connections_are_bounded(
    server: CameraServer, camera: Camera, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.camera.serve.listener.CONNECTIONS_MAX", 3)
    clients = [await connect(camera.url) for _ in range(3)]
    for client in clients:
        assert (await client.ask("OPTIONS", "*")).status == 200
    assert await (await connect(camera.url)).hung_up()
    assert server.connections == 3


async def test_endless_setups(
    server: CameraServer, camera: Camera, watcher: Client, connect: Connect, until: Until
) -> None:
    client = await connect(camera.url)
    statuses = []
    for number in range(200):
        offer = ("Transport", "RTP/AVP;unicast;client_port=5000-5001")
        answer = await client.ask("SETUP", f"{camera.url}/trackID={number % 2}", offer)
        statuses.append(answer.status)
        if number % 3 == 0:
            client.session = ()
    assert statuses[:2] == [200, 455]
    assert 455 in statuses[2:]
    assert len(camera.sessions) == 2
    await client.close()
    await until(lambda: server.connections == 1)
    for _ in range(50):
        client = await connect(camera.url)
        await client.ask("SETUP", f"{camera.url}/trackID=0", OFFER)
        await client.close()
    await until(lambda: server.connections == 1)
    assert sum(account.ended_s is None for account in camera.sessions) == 1
    await unharmed(watcher, camera)


@pytest.mark.parametrize("cseq", ["", "x", "-1", "1.5", "²"])
async def test_wrong_cseq(camera: Camera, watcher: Client, connect: Connect, cseq: str) -> None:
    client = await connect(camera.url)
    client.send(request(camera, cseq=cseq))
    answer = await client.event()
    assert isinstance(answer, Response)
    assert answer.status == 400
    for number in ("9", "3", "3", "99999999999999999999"):  # out of order: a reader's own affair
        client.send(request(camera, cseq=number))
        answer = await client.event()
        assert isinstance(answer, Response)
        assert (answer.status, answer.header("CSeq")) == (200, number)
    await unharmed(watcher, camera)


async def test_interleaved_garbage(camera: Camera, watcher: Client, connect: Connect) -> None:
    rng = random.Random(3)
    client = await connect(camera.url)
    await client.play(camera.url)
    for _ in range(300):
        data = rng.randbytes(rng.randrange(200))
        client.send(frame_interleaved(rng.randrange(256), data))
    client.send(frame_interleaved(1, b"\x80\xc9\x00\x01abcd"))  # an empty receiver report
    assert (await client.ask("GET_PARAMETER", camera.url)).status == 200
    client.data.clear()
    assert len(await client.take(5)) == 5
    await unharmed(watcher, camera)


async def test_huge_receiver_reports(
    camera: Camera, watcher: Client, connect: Connect, until: Until
) -> None:
    client = await connect(camera.url)
    await client.play(camera.url)
    block = ReportBlock(camera.ssrc, 0.5, 1, 2, 3, 0, 0)
    client.send(frame_interleaved(1, receiver_report(1, block) * 2000))
    client.send(frame_interleaved(1, b"\x9f" + receiver_report(1, block)[1:]))
    account = camera.sessions[1]
    await until(lambda: account.reports_bad == 2)
    assert account.reception is None
    client.send(frame_interleaved(1, receiver_report(1, block)))
    await until(lambda: account.reception is not None)
    await unharmed(watcher, camera)


async def test_who_asks_and_never_reads_is_let_go(
    server: CameraServer,
    camera: Camera,
    watcher: Client,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harness.camera.serve.connection.KERNEL_BUFFER_BYTES", 4096)
    monkeypatch.setattr(outbox_module, "BACKLOG_BYTES_MAX", 8192)
    monkeypatch.setattr(outbox_module, "MESSAGE_BYTES_MAX", 8192)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await until(lambda: server.connections == 2)

    async def ask() -> None:
        while server.connections == 2:
            writer.write(request(camera, "DESCRIBE") * 50)
            await asyncio.sleep(0.001)

    async with asyncio.timeout(15):
        await ask()
    writer.close()
    await unharmed(watcher, camera)


async def test_tunnels_without_their_other_half(
    server: CameraServer, camera: Camera, watcher: Client, until: Until
) -> None:
    writers = []
    for number in range(100):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET / HTTP/1.0\r\nx-sessioncookie: {number}\r\n\r\n".encode())
        writers.append(writer)
    tunnels = server._listeners[None].tunnels
    assert tunnels is not None
    await until(lambda: len(tunnels) == 100)
    now_s = time.monotonic() + server.session_timeout_s + 1
    for connection in tuple(tunnels.values()):
        connection.sweep(now_s)
    assert tunnels == {}
    for writer in writers:
        writer.close()
    await unharmed(watcher, camera)
