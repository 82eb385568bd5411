"""Media over UDP by way of a link: what passes, and what cutting and silencing does to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.camera.picture.clip import Clip, ClipSpec, load_clip
from harness.camera.serve.server import CameraServer
from harness.engine.process.gateway import HEAD_BYTES_MAX, Gateway, _Splitter
from harness.engine.process.link import Link
from harness.runtime.rtsp import TCP, UDP, RtspClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from harness.camera.serve.live import Camera
    from harness.runtime.assembler import Unit

WAIT_S = 15.0
LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Key frames of some tens of packets, every third of a second."""
    spec = ClipSpec(640, 360, 15, 2, 5, 1500, 3, 7)
    return load_clip(spec, tmp_path_factory.mktemp("clips"))


@pytest.fixture
async def camera(clip: Clip) -> AsyncIterator[Camera]:
    async with CameraServer() as server:
        yield server.add("door", clip, "/door", "root", "p@ss", own_port=True)


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    async with asyncio.TaskGroup() as group:
        link = Link(group, media=True)
        yield link
        await link.close()


class Reader:
    """A camera node's client behind the link, reading in threads; `units` are all that came."""

    def __init__(self, url: str, transport: str) -> None:
        self.client = RtspClient(url, "root", "p@ss", 1.5, transport)
        self.units: list[Unit] = []

    async def read(self, count: int) -> None:
        """`count` units more."""
        async with asyncio.timeout(WAIT_S):
            await asyncio.to_thread(self._read, count)

    def _read(self, count: int) -> None:
        if not self.units:
            self.client.open()
            self._flow = self.client.units()
        for _ in range(count):
            self.units.append(next(self._flow))

    @property
    def lost(self) -> int:
        return sum(unit.lost for unit in self.units)


@pytest.fixture
async def reader(camera: Camera, link: Link) -> AsyncIterator[Callable[[str], Reader]]:
    made: list[Reader] = []
    host, _, port = camera.url.removeprefix("rtsp://").partition("/")[0].partition(":")
    local = await link.port(host, int(port))

    def reader(transport: str) -> Reader:
        made.append(Reader(f"rtsp://{LOOPBACK}:{local}/door", transport))
        return made[-1]

    yield reader
    for one in made:
        await asyncio.to_thread(one.client.release)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("transport", [TCP, UDP])
async def test_media_passes_whole(
    camera: Camera, reader: Callable[[str], Reader], clip: Clip, transport: str
) -> None:
    one = reader(transport)
    await one.read(20)
    assert one.client.transport == transport
    (session,) = camera.sessions
    assert (session.transport, session.datagrams_refused, one.lost) == (transport, 0, 0)
    first = session.first_index or 0
    sent = [clip.access_units[(first + n) % len(clip.access_units)].nals for n in range(20)]
    assert [unit.nals for unit in one.units] == sent


async def test_reports_pass_the_other_way(
    camera: Camera, reader: Callable[[str], Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.runtime.rtsp.REPORT_EVERY_S", 0.1)
    await reader(UDP).read(10)
    await until(lambda: camera.sessions[0].reception is not None)


async def test_a_camera_without_udp_says_so_through_it(
    camera: Camera, reader: Callable[[str], Reader]
) -> None:
    camera.transports = frozenset({"tcp"})
    one = reader(UDP)
    await one.read(3)
    assert one.client.transport == TCP


async def test_silence_loses_datagrams_and_ends_with_the_link_restored(
    camera: Camera, link: Link, reader: Callable[[str], Reader]
) -> None:
    one = reader(UDP)
    await one.read(5)
    link.hush()
    with pytest.raises(TimeoutError):
        await one.read(100)
    before = len(one.units)
    await link.restore()
    other = reader(UDP)
    await other.read(5)
    first, second = camera.sessions
    await until(lambda: first.frames_sent > before)  # it went on sending, and none came
    assert (second.transport, other.lost) == ("udp", 0)


async def test_a_short_silence_is_loss_that_the_reader_counts(
    camera: Camera, link: Link, reader: Callable[[str], Reader]
) -> None:
    one = reader(UDP)
    await one.read(5)
    link.hush()
    sent = camera.sessions[0].frames_sent
    await until(lambda: camera.sessions[0].frames_sent >= sent + 6)
    await link.restore()
    await one.read(20)
    assert 4 <= one.lost <= 9
    (session,) = camera.sessions
    assert 0 <= session.frames_sent - len(one.units) - one.lost <= 2


async def test_a_cut_ends_the_connection_and_its_datagrams(
    camera: Camera, link: Link, reader: Callable[[str], Reader]
) -> None:
    one = reader(UDP)
    await one.read(5)
    link.cut()
    with pytest.raises(ConnectionError):
        await one.read(100)
    await until(lambda: camera.sessions[0].ended_s is not None)
    assert link.halves == set()
    with pytest.raises(ConnectionError):
        await reader(UDP).read(1)
    await link.restore()
    await reader(UDP).read(5)


# --- bytes ----------------------------------------------------------------------------------------

SETUP = (
    b"SETUP rtsp://h/door/trackID=0 RTSP/1.0\r\nCSeq: 3\r\n"
    b"Transport: RTP/AVP;unicast;client_port=5000-5001\r\nAuthorization: Digest x\r\n\r\n"
)
PLAY = b"PLAY rtsp://h/door RTSP/1.0\r\nCSeq: 4\r\nContent-Length: 3\r\n\r\nabc"
MEDIA = b"$\x01\x00\x05hello"


@given(st.lists(st.sampled_from([PLAY, MEDIA, b"OPTIONS * RTSP/1.0\n\n"]), max_size=5), st.data())
def test_bytes_are_split_into_whole_messages_however_they_come(
    messages: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    splitter = _Splitter()
    assert [message for piece in pieces for message in splitter.feed(piece)] == messages
    assert (splitter.rest(), splitter.astray) == (b"", False)


@given(st.lists(st.binary(max_size=60), max_size=8))
async def test_whatever_is_said_passes_unchanged_but_for_ports(pieces: list[bytes]) -> None:
    gateway = Gateway(asyncio.get_running_loop(), LOOPBACK, LOOPBACK, lambda: True)
    for piece in pieces:
        assert gateway.answer(piece) == piece  # nothing was asked
    gateway.close()


async def test_what_is_no_rtsp_passes_as_it_is_from_then_on() -> None:
    gateway = Gateway(asyncio.get_running_loop(), LOOPBACK, LOOPBACK, lambda: True)
    assert gateway.request(b"x" * HEAD_BYTES_MAX) == b""
    assert gateway.request(b"yz") == b"x" * HEAD_BYTES_MAX + b"yz"
    assert gateway.request(SETUP) == SETUP
    gateway.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"RTSP/1.0 461 Unsupported Transport\r\nCSeq: 3\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nTransport: RTP/AVP;unicast;client_port=1-2\r\n\r\n",
    ],
)
async def test_a_setup_that_is_not_granted_leaves_no_sockets(answer: bytes) -> None:
    gateway = Gateway(asyncio.get_running_loop(), LOOPBACK, LOOPBACK, lambda: True)
    asked = gateway.request(SETUP)
    assert asked != SETUP
    assert asked.partition(b"client_port=")[0] == SETUP.partition(b"client_port=")[0]
    assert asked.endswith(b"\r\nAuthorization: Digest x\r\n\r\n")
    assert gateway.answer(answer[:30]) == b""
    assert gateway.answer(answer[30:] + MEDIA) == answer + MEDIA
    assert gateway._open == []
