"""Readers that mean harm or are broken: nothing of it reaches the others, nothing is left."""

from __future__ import annotations

import asyncio
import errno
import random
import resource
import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from harness.camera.reader.drain import Drain
from harness.camera.serve import capacity
from harness.camera.serve import outbox as outbox_module
from harness.camera.serve.connection import FIRST_REQUEST_S_MAX
from harness.camera.serve.packed import frame_interleaved
from harness.camera.serve.server import CameraServer
from harness.camera.wire.rtcp import ReportBlock, receiver_report
from harness.camera.wire.rtsp import Request, Response
from tests.camera.conftest import ANSWER_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.live import Camera
    from tests.camera.conftest import Client, Connect, Until

HALF_OPEN = 500
MANY = 10_000
STRANGER = """
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
kept = []
for number in range(int(sys.argv[2])):
    kept.append(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
    if number % 2:
        kept[-1].sendall(b"OPTIONS rtsp://127.0.0.1/door RTSP/1.0\\r\\nCSeq: 1\\r\\n")
sys.stdin.read()
"""
OFFER = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CameraServer]:
    """That the whole machine may be too slow for a moment is not the matter here."""
    monkeypatch.setattr("harness.camera.serve.live.LATE_MAX_S", 30.0)
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


async def test_ten_thousand_half_open_connections(
    server: CameraServer,
    camera: Camera,
    watcher: Client,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of them have begun a request. They belong to another process: files are scarce."""
    monkeypatch.setattr("harness.camera.serve.connection.FIRST_REQUEST_S_MAX", 600.0)
    if capacity.raise_file_limit() < MANY + capacity.FILES_BESIDE:
        pytest.skip(f"this system allows a process fewer than {MANY} files")
    stranger = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STRANGER, str(server.port), str(MANY)),
        stdin=asyncio.subprocess.PIPE,
    )
    assert stranger.stdin is not None
    try:
        async with asyncio.timeout(60):
            while server.connections < MANY + 1:
                await watcher.take(5)  # which asserts that no packet is missing
        assert camera.sessions[0].frames_dropped_at_sender == 0
        late = await asyncio.open_connection("127.0.0.1", server.port)
        late[1].write(request(camera))
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            assert (await late[0].readline()).startswith(b"RTSP/1.0 200")
        late[1].close()
        monkeypatch.setattr("harness.camera.serve.connection.FIRST_REQUEST_S_MAX", 0.0)
        await until(lambda: server.connections == 1)  # the server has looked after all of them
        await unharmed(watcher, camera)
    finally:
        stranger.stdin.close()
        await stranger.wait()


async def test_connections_are_bounded(
    server: CameraServer, camera: Camera, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes when it is full is told so."""
    monkeypatch.setattr("harness.camera.serve.capacity.CONNECTIONS_MAX", 3)
    clients = [await connect(camera.url) for _ in range(3)]
    for client in clients:
        assert (await client.ask("OPTIONS", "*")).status == 200
    refused = await connect(camera.url)
    answer = await refused.event()
    assert isinstance(answer, Response)
    assert answer.status == 503
    assert await refused.hung_up()
    assert server.connections == 3
    await clients[0].close()
    await clients[1].ask("OPTIONS", "*")
    assert (await (await connect(camera.url)).ask("OPTIONS", "*")).status == 200


async def test_no_file_left_is_no_end(
    server: CameraServer,
    camera: Camera,
    watcher: Client,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What else the process opens may leave it none; the next reader waits until there is one."""
    monkeypatch.setattr("harness.camera.serve.listener.ACCEPT_RETRY_S", 0.05)
    listener = server._listeners[None]
    real, failures = listener._socket, 3

    class Full:
        """A listening socket of a process that has run out of files, for a while."""

        def fileno(self) -> int:
            return real.fileno()

        def close(self) -> None:
            real.close()

        def accept(self) -> tuple[socket.socket, object]:
            nonlocal failures
            if failures:
                failures -= 1
                raise OSError(errno.EMFILE, "too many open files")
            return real.accept()

    monkeypatch.setattr(listener, "_socket", Full())
    late = await connect(camera.url)
    assert (await late.ask("OPTIONS", "*")).status == 200
    assert failures == 0
    await unharmed(watcher, camera)


def test_how_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some files stay for everything else; and there is an end to it where there are plenty."""
    for soft, most in ((1024, 1024 - capacity.FILES_BESIDE), (10, 1), (10**9, 16_384)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, 10**9))
        assert capacity.connections_max() == most


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


async def test_readers_that_stop_reading(
    server: CameraServer,
    camera: Camera,
    watcher: Client,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What waits for them is bounded, the rest is dropped and counted, they stay welcome."""
    monkeypatch.setattr("harness.camera.serve.connection.KERNEL_BUFFER_BYTES", 4096)
    monkeypatch.setattr(outbox_module, "BACKLOG_BYTES_MAX", 8192)
    with Drain(1500) as never_polled:
        for _ in range(10):
            connected = asyncio.to_thread(
                never_polled.connect, "127.0.0.1", server.port, camera.path
            )
            (await connected).sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf = camera.sessions[1:]
        async with asyncio.timeout(15):
            while not all(account.frames_dropped_at_sender > 20 for account in deaf):
                await watcher.take(5)
                for connection in server._listeners[None].connections:
                    assert connection.outbox.backlog_bytes <= 8192
        assert all(account.ended_s is None for account in deaf)
        assert camera.sessions[0].frames_dropped_at_sender == 0
    await until(lambda: server.connections == 1)
    for account in deaf:
        sent, dropped = account.frames_sent, account.frames_dropped_at_sender
        assert account.first_index is not None
        assert account.last_index is not None
        assert sent + dropped >= account.last_index - account.first_index + 1
    await unharmed(watcher, camera)


async def test_requests_in_bulk(camera: Camera, watcher: Client, connect: Connect) -> None:
    """Thousands at once: all are answered, in order, and nobody else waits for it."""
    client = await connect(camera.url)
    client.send(b"".join(request(camera, cseq=str(number)) for number in range(5000)))
    frames = asyncio.ensure_future(watcher.take(20))
    for number in range(5000):
        answer = await client.event()
        assert isinstance(answer, Response)
        assert (answer.status, answer.header("CSeq")) == (200, str(number))
    await frames
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
