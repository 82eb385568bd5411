"""The RTSP client: what it asks, on which ways media comes, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from harness.camera.serve.server import CameraServer
from harness.runtime import rtsp
from harness.runtime.datagram import receive
from harness.runtime.message import RtspBroken
from harness.runtime.rtsp import TCP, UDP, RtspClient, RtspRefused
from harness.runtime.sdp import NotH264
from harness.scenario.quirk import Quirks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.live import Camera
    from harness.runtime.assembler import Unit

WAIT_S = 15.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
def camera() -> Iterator[tuple[str, list[bytes]]]:
    """A camera of canned answers: its address, and the list to put the answers into."""
    answers: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            for answer in answers:
                if not peer.recv(4096):
                    return
                peer.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    host, port = listener.getsockname()
    yield f"rtsp://{host}:{port}/door", answers
    thread.join(5)
    listener.close()


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (b"RTSP/1.0 503 Service Unavailable\r\n\r\n", RtspRefused, "503 Service Unavailable"),
        (b"RTSP/1.0 200 OK\r\n\r\n", NotH264, "no H.264"),
        (b"HTTP/1.1 200 OK\r\n\r\n", RtspBroken, "not an RTSP answer"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n", RtspBroken, "body too long"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n", RtspBroken, "body too long"),
        (b"x" * 20_000, RtspBroken, "header too long"),
        (b"RTSP/1.0 200 OK\r\n", RtspBroken, "closed by the camera"),
    ],
)
def test_strange_answers_are_refused(
    camera: tuple[str, list[bytes]], answer: bytes, error: type[Exception], message: str
) -> None:
    url, answers = camera
    answers += [b"RTSP/1.0 200 OK\r\n\r\n", answer]
    client = RtspClient(url, "", "", timeout_s=5)
    with pytest.raises(error, match=message):
        client.open()
    client.release()


def test_a_camera_that_says_nothing_times_out(camera: tuple[str, list[bytes]]) -> None:
    url, answers = camera
    answers += [b"", b""]
    client = RtspClient(url, "", "", timeout_s=0.1)
    with pytest.raises(TimeoutError):
        client.open()
    client.release()


def test_closing_ends_a_read_that_waits(camera: tuple[str, list[bytes]]) -> None:
    url, answers = camera
    answers += [b"", b""]
    client = RtspClient(url, "", "", timeout_s=10)
    closer = threading.Timer(0.05, client.close)
    closer.start()
    with pytest.raises(RtspBroken):
        client.open()
    closer.join()
    client.release()


# --- a real camera --------------------------------------------------------------------------------


@pytest.fixture
async def cameras() -> AsyncIterator[CameraServer]:
    async with CameraServer() as server:
        yield server


@dataclass
class Reader:
    """A client that reads in a thread of its own; what it got is in `units`."""

    client: RtspClient
    units: list[Unit] = field(default_factory=list)

    async def read(self, count: int) -> None:
        """Until `count` units are here, in all."""
        async with asyncio.timeout(WAIT_S):
            await asyncio.to_thread(self._read, count)

    def _read(self, count: int) -> None:
        if not self.units:
            self.client.open()
            self._flow = self.client.units()
        while len(self.units) < count:
            self.units.append(next(self._flow))


@pytest.fixture
async def read() -> AsyncIterator[Callable[..., Awaitable[Reader]]]:
    readers: list[Reader] = []

    async def read(camera: Camera, transport: str, count: int = 8) -> Reader:
        credentials = camera.credentials
        client = RtspClient(camera.url, credentials.username, credentials.password, 5.0, transport)
        readers.append(Reader(client))
        await readers[-1].read(count)
        return readers[-1]

    yield read
    for reader in readers:
        await asyncio.to_thread(reader.client.release)


@pytest.mark.parametrize("transport", [TCP, UDP])
async def test_frames_come_whole_and_in_order(
    cameras: CameraServer, clip: Clip, read: Callable[..., Awaitable[Reader]], transport: str
) -> None:
    camera = cameras.add("door", clip, "/door", "root", "p@ss")
    reader = await read(camera, transport, 20)
    assert reader.client.transport == transport
    assert [(unit.lost, unit.damaged) for unit in reader.units] == [(0, False)] * 20
    (session,) = camera.sessions
    assert session.transport == transport
    first = session.first_index
    assert first is not None
    sent = [clip.access_units[(first + n) % len(clip.access_units)].nals for n in range(20)]
    assert [unit.nals for unit in reader.units] == sent


async def test_a_camera_without_udp_is_read_over_tcp(
    cameras: CameraServer, clip: Clip, read: Callable[..., Awaitable[Reader]]
) -> None:
    camera = cameras.add("door", clip, "/door", transports=("tcp",))
    reader = await read(camera, UDP)
    assert reader.client.transport == TCP
    assert [session.transport for session in camera.sessions] == ["tcp"]


@pytest.mark.parametrize("transport", [TCP, UDP])
async def test_the_camera_is_told_how_its_packets_arrive(
    cameras: CameraServer,
    clip: Clip,
    read: Callable[..., Awaitable[Reader]],
    monkeypatch: pytest.MonkeyPatch,
    transport: str,
) -> None:
    monkeypatch.setattr(rtsp, "REPORT_EVERY_S", 0.2)
    camera = cameras.add("door", clip, "/door")
    await read(camera, transport, 15)
    (session,) = camera.sessions
    assert session.reception is not None
    assert session.reception.reports >= 2
    assert (session.reception.lost, session.reports_bad) == (0, 0)
    assert session.reception.round_trip_s is not None


async def test_lost_datagrams_are_lost_frames_and_the_sums_agree(
    cameras: CameraServer,
    clip: Clip,
    read: Callable[..., Awaitable[Reader]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One datagram in twelve is taken away, whole frames now and then."""
    numbers = itertools.count()

    def lossy(sock: socket.socket, most: int) -> list[bytes]:
        came = receive(sock, most)
        if most and came and came[0][1] & 0x7F != 96:
            return came  # RTCP
        return [data for data in came if (number := next(numbers)) < 8 or number % 12]

    monkeypatch.setattr(rtsp, "receive", lossy)
    monkeypatch.setattr(rtsp, "REPORT_EVERY_S", 0.2)
    camera = cameras.add("door", clip, "/door")
    reader = await read(camera, UDP, 40)
    lost = sum(unit.lost for unit in reader.units)
    (session,) = camera.sessions
    assert lost > 3
    assert 0 <= session.frames_sent - lost - 40 <= 2  # one or two may be on their way
    assert reader.client.stream.disorder.lost >= lost
    assert session.reception is not None
    assert session.reception.lost > 0


@pytest.mark.parametrize("transport", [TCP, UDP])
async def test_who_is_done_leaves_and_frees_the_place(
    cameras: CameraServer,
    clip: Clip,
    read: Callable[..., Awaitable[Reader]],
    transport: str,
) -> None:
    quirks = Quirks(clients_max=1, stale_sessions_s=60.0)
    camera = cameras.add("door", clip, "/door", quirks=quirks)
    one = await read(camera, transport)
    await asyncio.to_thread(one.client.close)
    await asyncio.to_thread(one.client.release)
    await until(lambda: camera.sessions[0].ended_s is not None)
    await read(camera, transport)  # 453 to who comes too soon


@pytest.mark.parametrize("transport", [TCP, UDP])
async def test_the_end_of_the_camera_ends_the_stream(
    clip: Clip, read: Callable[..., Awaitable[Reader]], transport: str
) -> None:
    async with CameraServer() as server:
        reader = await read(server.add("door", clip, "/door"), transport)
    with pytest.raises(RtspBroken):
        await reader.read(1_000)


async def test_a_camera_that_stalls_times_out(
    cameras: CameraServer, clip: Clip, read: Callable[..., Awaitable[Reader]]
) -> None:
    camera = cameras.add("door", clip, "/door")
    reader = await read(camera, UDP)
    reader.client._timeout_s = 0.3
    camera.stall()
    with pytest.raises(TimeoutError):
        await reader.read(1_000)


async def test_a_nonce_that_expires_does_not_end_the_stream(
    cameras: CameraServer, clip: Clip, read: Callable[..., Awaitable[Reader]]
) -> None:
    quirks = Quirks(session_timeout_s=2.0)
    camera = cameras.add("door", clip, "/door", "root", "p", quirks=quirks, nonce_life_s=0.3)
    reader = await read(camera, UDP, 45)  # three seconds: without signs of life it ends after two
    assert len(camera.sessions) == 1
    assert reader.units[-1].lost == 0


# --- signs of life --------------------------------------------------------------------------------

DESCRIPTION = b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"


class Canned:
    """A camera that answers as it is told and writes down what it was asked."""

    def __init__(self, public: str, *, alive: str = "200 OK") -> None:
        self.asked: list[str] = []
        self._public, self._alive = public, alive
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        host, port = self._listener.getsockname()
        self.url = f"rtsp://{host}:{port}/door"

    def close(self) -> None:
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        peer, _ = self._listener.accept()
        with peer, contextlib.suppress(ConnectionError):  # who leaves waits for no answer
            while request := peer.recv(4096):
                while request[:1] == b"$":
                    request = request[4 + int.from_bytes(request[2:4], "big") :]
                if request:
                    self.asked.append(request.split()[0].decode())
                    peer.sendall(self._answer(self.asked[-1]))

    def _answer(self, method: str) -> bytes:
        status, body = "200 OK", b""
        headers = {"Session": "1;timeout=2", "Public": self._public}
        if method == "DESCRIBE":
            body = DESCRIPTION
            headers["Content-Length"] = str(len(body))
        if "PLAY" in self.asked and method != "PLAY":
            status = self._alive
        lines = [f"RTSP/1.0 {status}", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    ("public", "answer", "signs"),
    [
        ("OPTIONS, GET_PARAMETER, PLAY", "200 OK", ["GET_PARAMETER", "GET_PARAMETER"]),
        ("OPTIONS, PLAY", "200 OK", ["OPTIONS", "OPTIONS"]),
        ("OPTIONS, GET_PARAMETER", "501 Not Implemented", ["GET_PARAMETER", "OPTIONS"]),
    ],
)
def test_life_is_shown_by_what_the_camera_knows(public: str, answer: str, signs: list[str]) -> None:
    camera = Canned(public, alive=answer)
    client = RtspClient(camera.url, "", "", timeout_s=2.3)
    client.open()
    with pytest.raises(TimeoutError):  # no video comes, but two signs of life go
        next(client.units())
    client.release()
    camera.close()
    assert camera.asked == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", *signs, "TEARDOWN"]


def test_a_session_that_the_camera_forgot_is_over() -> None:
    camera = Canned("GET_PARAMETER", alive="454 Session Not Found")
    client = RtspClient(camera.url, "", "", timeout_s=5)
    client.open()
    with pytest.raises(RtspBroken, match="forgotten"):
        next(client.units())
    client.release()
    camera.close()
