"""Faults of a camera's port and answers, seen from sockets and programs that are not ours."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import socket
from typing import TYPE_CHECKING

import av
import pytest

from harness.errors import InputError
from harness.fault.camera import (
    Blackhole,
    BrokenPipe,
    CameraFault,
    HalfOpen,
    NotFound,
    Offline,
    Password,
    Refused,
    SlowDescribe,
    Teardown,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.connection import Connection
    from harness.camera.serve.live import Camera
    from harness.camera.serve.server import CameraServer
    from tests.camera.conftest import Until

PATIENCE_S = 10.0
BYE = 203  # RFC 3550, 12.1


class Plain:
    """RTSP over a bare socket."""

    def __init__(self, url: str) -> None:
        self.url = url
        host, port = url.removeprefix("rtsp://").partition("/")[0].rsplit(":", 1)
        self.address = (host, int(port))
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._sequence = 0
        self._data = b""
        self.session = ""

    async def connect(self) -> Plain:
        async with asyncio.timeout(PATIENCE_S):
            await self._loop.sock_connect(self.socket, self.address)
        return self

    def send(self, method: str, more: str = "", target: str = "") -> None:
        self._sequence += 1
        lines = f"{method} {target or self.url} RTSP/1.0\r\nCSeq: {self._sequence}\r\n"
        session = f"Session: {self.session}\r\n" if self.session else ""
        self.socket.send(f"{lines}{session}{more}\r\n".encode())

    async def ask(self, method: str, more: str = "", target: str = "") -> int:
        """The status of the answer; media before it is thrown away."""
        self.send(method, more, target)
        return await self.answer()

    async def answer(self) -> int:
        while True:
            if await self._need(1) == b"$":
                await self.media()
                continue
            while b"\r\n\r\n" not in self._data:
                await self._more()
            head, _, self._data = self._data.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            if length:
                await self._need(int(length[1]))
                self._data = self._data[int(length[1]) :]
            session = re.search(rb"session: *(\w+)", head, re.IGNORECASE)
            self.session = session[1].decode() if session else self.session
            return int(head.split()[1])

    async def media(self) -> tuple[int, bytes]:
        """Channel and packet of the next interleaved frame."""
        head = await self._need(4)
        assert head[:1] == b"$"
        end = 4 + int.from_bytes(head[2:4], "big")
        data = (await self._need(end))[4:end]
        self._data = self._data[end:]
        return head[1], data

    async def play(self) -> Plain:
        transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        assert await self.ask("SETUP", transport, f"{self.url}/trackID=0") == 200
        assert await self.ask("PLAY") == 200
        await self.media()
        return self

    async def rest(self) -> list[tuple[int, bytes]]:
        """All media until the connection ends; `ConnectionError` where that is a reset."""
        media = []
        with contextlib.suppress(EOFError):
            while True:
                media.append(await self.media())
        return media

    async def _need(self, size: int) -> bytes:
        while len(self._data) < size:
            await self._more()
        return self._data[:size]

    async def _more(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            data = await self._loop.sock_recv(self.socket, 65536)
        if not data:
            raise EOFError
        self._data += data


class Plains:
    """Makes them, and closes them all."""

    def __init__(self) -> None:
        self.made: list[Plain] = []

    def new(self, url: str) -> Plain:
        self.made.append(Plain(url))
        return self.made[-1]


@pytest.fixture
async def plains() -> AsyncIterator[Plains]:
    plains = Plains()
    yield plains
    for plain in plains.made:
        plain.socket.close()


@pytest.fixture
async def camera(server: CameraServer, clip: Clip) -> Camera:
    return server.add("door", clip, "/door", own_port=True, fast_start=True)


async def pictures_by_ffmpeg(url: str) -> bool:
    """Whether FFmpeg's libraries decode a picture. Raises what they meet."""

    def first() -> bool:
        options = {"rtsp_transport": "tcp"}
        with av.open(url, options=options, timeout=(PATIENCE_S, PATIENCE_S)) as container:
            return next(container.decode(video=0)).width > 0

    return await asyncio.to_thread(first)


# --- what FFmpeg makes of it ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Offline(), ConnectionRefusedError),
        (Refused(), ConnectionRefusedError),
        (NotFound(), av.error.HTTPNotFoundError),
        (Password(), av.error.HTTPUnauthorizedError),
        (Password("new"), av.error.HTTPUnauthorizedError),
        (BrokenPipe(), av.error.FFmpegError),
    ],
    ids=["offline", "refused", "not-found", "password", "new-password", "broken-pipe"],
)
async def test_ffmpeg_fails_and_reads_again(
    server: CameraServer, clip: Clip, fault: CameraFault, error: type[Exception]
) -> None:
    camera = server.add("door", clip, "/door", "u", "old", own_port=True, fast_start=True)
    url = camera.url.replace("//", "//u:old@")
    camera.inject(fault)
    assert fault in camera.faults
    with pytest.raises(error):
        await pictures_by_ffmpeg(url)
    if fault == Password("new"):
        assert await pictures_by_ffmpeg(camera.url.replace("//", "//u:new@"))
    camera.heal(type(fault))
    assert not camera.faults
    assert await pictures_by_ffmpeg(url)


async def test_a_password_where_none_was_needed(camera: Camera, plains: Plains) -> None:
    plain = await plains.new(camera.url).connect()
    assert await plain.ask("DESCRIBE") == 200
    camera.inject(Password())
    assert await plain.ask("DESCRIBE") == 401
    camera.heal()
    assert await plain.ask("DESCRIBE") == 200


def test_passwords_are_not_shown() -> None:
    assert "new" not in repr(Password("new"))
    with pytest.raises(InputError) as caught:
        Password(5)  # type: ignore[arg-type]
    assert "5" not in str(caught.value)


# --- connecting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Refused(), Blackhole()], ids=repr)
async def test_who_watches_goes_on(camera: Camera, plains: Plains, fault: CameraFault) -> None:
    watcher = await (await plains.new(camera.url).connect()).play()
    camera.inject(fault)
    for _ in range(50):
        await watcher.media()
    assert await watcher.ask("GET_PARAMETER") == 200


async def test_a_black_hole_lets_connecting_time_out(
    server: CameraServer, camera: Camera, clip: Clip, plains: Plains
) -> None:
    other = server.add("yard", clip, "/yard", own_port=True)
    camera.inject(Blackhole())
    lost = plains.new(camera.url)
    lost.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
    await (await plains.new(other.url).connect()).play()
    with pytest.raises(TimeoutError) as caught:
        await lost.connect()
    assert caught.value.errno == errno.ETIMEDOUT  # of the kernel, not of this test
    waiting = asyncio.ensure_future(plains.new(camera.url).connect())
    await (await plains.new(other.url).connect()).play()
    assert not waiting.done()
    camera.heal(Blackhole)  # who knocks still is let in
    await (await waiting).play()
    await (await plains.new(camera.url).connect()).play()


async def test_the_worst_fault_of_a_port_counts(camera: Camera, plains: Plains) -> None:
    url = camera.url
    for fault in (Refused(), Blackhole(), Offline()):
        camera.inject(fault)
    with pytest.raises(ConnectionRefusedError):
        await plains.new(url).connect()
    camera.heal(Offline)
    swallowed = asyncio.ensure_future(plains.new(url).connect())
    await asyncio.sleep(0.05)
    assert not swallowed.done()
    camera.heal(Blackhole)
    with pytest.raises(ConnectionRefusedError):
        await swallowed
    camera.heal(Refused)
    assert camera.url == url
    await (await plains.new(url).connect()).play()


@pytest.mark.parametrize("fault", [Refused(), Blackhole()], ids=repr)
def test_a_shared_port_is_left_alone(server: CameraServer, clip: Clip, fault: CameraFault) -> None:
    camera = server.add("yard", clip, "/yard")
    with pytest.raises(InputError, match=f"camera yard: {fault.verb}") as caught:
        camera.inject(fault)
    assert "port or an address of its own" in caught.value.hint
    assert camera.faults == ()


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_port", [True, False])
async def test_broken_pipe(
    server: CameraServer, clip: Clip, plains: Plains, own_port: bool
) -> None:
    """send() itself fails, with EPIPE and not with ECONNRESET."""
    camera = server.add("yard", clip, "/yard", own_port=own_port)
    watcher = await (await plains.new(camera.url).connect()).play()
    camera.inject(BrokenPipe())
    plain = await plains.new(camera.url).connect()
    assert await plain.ask("OPTIONS") == 200
    with pytest.raises(BrokenPipeError):
        plain.send("DESCRIBE")
    at_once = await plains.new(camera.url).connect()
    with pytest.raises((EOFError, ConnectionError)):
        await at_once.ask("DESCRIBE")
    assert await watcher.ask("OPTIONS") == 200
    camera.heal()
    plain = await plains.new(camera.url).connect()
    assert await plain.ask("OPTIONS") == 200
    assert await plain.ask("DESCRIBE") == 200


async def test_broken_pipe_after_the_challenge(
    server: CameraServer, clip: Clip, plains: Plains
) -> None:
    camera = server.add("yard", clip, "/yard", "u", "p")
    camera.inject(BrokenPipe())
    plain = await plains.new(camera.url).connect()
    assert await plain.ask("DESCRIBE") == 401
    with pytest.raises(BrokenPipeError):
        plain.send("DESCRIBE")


async def test_a_slow_answer_keeps_the_order(camera: Camera, plains: Plains) -> None:
    camera.inject(SlowDescribe(delay_s=300.0))
    slow, other = [await plains.new(camera.url).connect() for _ in range(2)]
    slow.send("DESCRIBE")
    slow.send("OPTIONS")
    assert await other.ask("OPTIONS") == 200
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(slow.socket, 1), 0.1)
    camera.heal()
    assert await slow.answer() == 200
    assert await slow.answer() == 200
    assert await slow.ask("DESCRIBE") == 200


async def test_a_slow_answer_comes(camera: Camera, plains: Plains) -> None:
    camera.inject(SlowDescribe(delay_s=0.2))
    plain = await plains.new(camera.url).connect()
    loop = asyncio.get_running_loop()
    asked_s = loop.time()
    assert await plain.ask("DESCRIBE") == 200
    assert loop.time() - asked_s >= 0.19
    gone = await plains.new(camera.url).connect()
    gone.send("DESCRIBE")
    gone.socket.close()  # and nothing is left that waits
    await asyncio.sleep(0.3)
    assert camera.trouble.waiting == set()


async def test_too_many_requests_behind_a_slow_one(camera: Camera, plains: Plains) -> None:
    camera.inject(SlowDescribe(delay_s=300.0))
    plain = await plains.new(camera.url).connect()
    for _ in range(40):
        plain.send("DESCRIBE")
    with pytest.raises((ConnectionError, EOFError)):
        await plain.answer()


# --- sessions -------------------------------------------------------------------------------------


async def test_teardown_says_goodbye_and_ends(camera: Camera, plains: Plains) -> None:
    watcher = await (await plains.new(camera.url).connect()).play()
    asking = await plains.new(camera.url).connect()
    camera.inject(Teardown())
    last = (await watcher.rest())[-1]
    assert last[0] == 1
    assert BYE in _kinds(last[1])
    assert camera.faults == ()
    assert camera.sessions[0].ended_s is not None
    assert await asking.ask("OPTIONS") == 200
    await asking.play()


def _kinds(compound: bytes) -> list[int]:
    """Packet types of a compound RTCP packet."""
    kinds = []
    while compound:
        kinds.append(compound[1])
        compound = compound[4 + 4 * int.from_bytes(compound[2:4], "big") :]
    return kinds


async def test_teardown_ends_ffmpeg_on_udp(camera: Camera) -> None:
    def watch() -> int:
        options = {"rtsp_transport": "udp"}
        with av.open(camera.url, options=options, timeout=(PATIENCE_S, PATIENCE_S)) as container:
            count = 0
            for _ in container.demux(video=0):
                count += 1
                if count == 5:
                    loop.call_soon_threadsafe(camera.inject, Teardown())
            return count

    loop = asyncio.get_running_loop()
    assert await asyncio.to_thread(watch) >= 5


@pytest.mark.parametrize("own_port", [True, False])
async def test_half_open(
    server: CameraServer, clip: Clip, plains: Plains, until: Until, own_port: bool
) -> None:
    camera = server.add("yard", clip, "/yard", own_port=own_port, fast_start=True)
    other = server.add("hall", clip, "/hall", fast_start=True)
    watcher = await (await plains.new(camera.url).connect()).play()
    neighbour = await (await plains.new(other.url).connect()).play()
    camera.inject(HalfOpen())
    (account,) = camera.sessions
    sent = account.frames_sent
    late = await plains.new(camera.url).connect()
    late.send("OPTIONS")
    watcher.send("GET_PARAMETER")
    await until(lambda: account.frames_lost.get("half-open", 0) >= 20)
    for connection in _connections(server):
        connection.sweep(connection.heard_s + 1000.0)  # no time-out ends it either
    assert await neighbour.ask("OPTIONS") == 200
    assert account.frames_sent == sent
    assert account.ended_s is None
    with contextlib.suppress(TimeoutError):  # what was on its way, and then nothing
        while True:
            assert await asyncio.wait_for(_recv(watcher), 0.2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(_recv(late), 0.1)
    camera.heal()
    for silent in (watcher, late):
        with pytest.raises(ConnectionResetError):
            await _recv(silent)
    assert all(one.ended_s is not None for one in camera.sessions)
    await (await plains.new(camera.url).connect()).play()


async def _recv(plain: Plain) -> bytes:
    return await asyncio.get_running_loop().sock_recv(plain.socket, 65536)


async def test_a_reader_that_leaves_a_half_open_connection(
    server: CameraServer, camera: Camera, plains: Plains, until: Until
) -> None:
    watcher = await (await plains.new(camera.url).connect()).play()
    camera.inject(HalfOpen())
    watcher.socket.close()
    await until(lambda: server.connections == 0)
    assert camera.sessions[0].ended_s is not None


def _connections(server: CameraServer) -> list[Connection]:
    return [one for listener in server._listeners.values() for one in listener.connections]


# --- recordings -----------------------------------------------------------------------------------


async def test_a_recording_knows_the_faults_of_answers(
    server: CameraServer, clip: Clip, plains: Plains
) -> None:
    tape = server.add("tape", clip, "/tape", on_demand=True)
    tape.inject(NotFound())
    assert await (await plains.new(tape.url).connect()).ask("DESCRIBE") == 404
    tape.heal()
    watcher = await (await plains.new(tape.url).connect()).play()
    with pytest.raises(InputError, match="half-open of a recording") as caught:
        tape.inject(HalfOpen())
    assert "not-found" in caught.value.hint
    tape.inject(Teardown())
    await watcher.rest()
