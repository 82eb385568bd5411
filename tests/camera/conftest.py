"""A small clip, encoded once a test process, and an RTSP client that shows every event."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, NoReturn

import pytest

from harness.camera.picture.clip import Clip, ClipSpec, load_clip
from harness.camera.serve.server import CameraServer
from harness.camera.wire.rtp import Depacketiser, Packet
from harness.camera.wire.rtsp import Event, Interleaved, Request, Response, RtspCodec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Connect = Callable[[str], Awaitable["Client"]]
    Until = Callable[[Callable[[], bool]], Awaitable[None]]

ANSWER_TIMEOUT_S = 10.0


class Client:
    """One RTSP connection. Interleaved data that comes before an answer is kept in `data`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._codec = RtspCodec()
        self._depacketiser = Depacketiser()
        self._sequence = 0
        self.session: tuple[tuple[str, str], ...] = ()
        self.data: list[Interleaved] = []

    async def ask(
        self, method: str, uri: str, *headers: tuple[str, str], body: bytes = b""
    ) -> Response:
        self._sequence += 1
        own = (("CSeq", str(self._sequence)), *headers, *self.session)
        self.send(Request(own, body=body, method=method, uri=uri).to_bytes())
        while not isinstance(event := await self.event(), Response):
            assert isinstance(event, Interleaved)
            self.data.append(event)
        if event.status < 300:
            assert event.header("CSeq") == str(self._sequence)
        if method == "SETUP" and (session := event.header("Session")):
            self.session = (("Session", session.partition(";")[0]),)
        return event

    async def play(self, url: str, channel: int = 0) -> Response:
        transport = f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        setup = await self.ask("SETUP", f"{url}/trackID=0", ("Transport", transport))
        assert setup.status == 200
        answer = await self.ask("PLAY", url)
        assert answer.status == 200
        return answer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def event(self) -> Event:
        """The next event; `ConnectionError` when the server hangs up."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while (event := self._codec.next_event()) is None:
                data = await self._reader.read(65536)
                if not data:
                    raise ConnectionError("closed")
                self._codec.feed(data)
            return event

    async def packet(self) -> Interleaved:
        """The next interleaved data."""
        if self.data:
            return self.data.pop(0)
        event = await self.event()
        assert isinstance(event, Interleaved)
        return event

    async def take(self, count: int) -> list[int]:
        """RTP time stamps of the next `count` frames, none of which may lack a packet."""
        stamps: list[int] = []
        while len(stamps) < count:
            data = await self.packet()
            if data.channel % 2 == 0:
                for unit in self._depacketiser.feed(Packet.from_bytes(data.payload)):
                    assert unit.lost == 0
                    stamps.append(unit.timestamp)
        return stamps

    async def drain(self) -> NoReturn:
        """Read until the server ends the connection, which raises a `ConnectionError`."""
        while True:
            await self.event()

    async def hung_up(self) -> bool:
        """Whether the server ends the connection; what it still sends is thrown away."""
        try:
            await self.drain()
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def clip(cache_dir: Path) -> Clip:
    """60 frames a second, so that tests of many frames are short; loops after 4 seconds."""
    spec = ClipSpec(
        width_px=384,
        height_px=216,
        rate_fps=60.0,
        duration_s=4.0,
        gop_frames=20,
        bitrate_kbps=600,
        objects=2,
        seed=11,
    )
    return load_clip(spec, cache_dir)


@pytest.fixture
async def server() -> AsyncIterator[CameraServer]:
    async with CameraServer() as server:
        yield server


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """`await connect(url)`: a client connected to the URL's host and port."""
    clients = []

    async def open_client(url: str) -> Client:
        host, port = url.removeprefix("rtsp://").partition("/")[0].rsplit(":", 1)
        client = Client(*await asyncio.open_connection(host, int(port)))
        clients.append(client)
        return client

    yield open_client
    for client in clients:
        await client.close()


@pytest.fixture
def until() -> Until:
    """`await until(condition)`: give the event loop turns until it holds."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while not condition():  # noqa: ASYNC110 - a server's state, which has no event
                await asyncio.sleep(0.005)

    return wait
