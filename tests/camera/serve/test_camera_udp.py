"""RTP and RTCP over UDP: sockets, bursts, accounts, and who may be sent to."""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket
from typing import TYPE_CHECKING

import pytest

from harness.camera.serve import udp as udp_module
from harness.camera.serve.outbox import SessionAccount
from harness.camera.serve.packed import BURST_BYTES_MAX, SEGMENTS_MAX, PackedClip, _pack, _runs
from harness.camera.serve.server import CameraServer
from harness.camera.serve.udp import UdpCarrier, bind_pair, segmentation_offload
from harness.camera.wire.rtcp import ReportBlock, goodbye, receiver_report
from harness.camera.wire.rtp import Packet, SenderReport
from harness.camera.wire.transport import ClientPorts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.live import Camera
    from tests.camera.conftest import Client, Connect, Until

PLAIN_AND_BURSTS = [
    False,
    pytest.param(
        True,
        marks=pytest.mark.skipif(not segmentation_offload(), reason="no UDP_SEGMENT here"),
    ),
]


class Ear:
    """A reader's pair of ports."""

    def __init__(self) -> None:
        self.media, self.control = bind_pair("127.0.0.1")
        self.port: int = self.media.getsockname()[1]

    async def packet(self) -> Packet:
        return Packet.from_bytes(await self._receive(self.media))

    async def report(self) -> bytes:
        return await self._receive(self.control)

    async def frames(self, count: int) -> list[Packet]:
        """All packets of the next `count` frames."""
        packets: list[Packet] = []
        while sum(packet.marker for packet in packets) < count:
            packets.append(await self.packet())
        return packets

    async def _receive(self, sock: socket.socket) -> bytes:
        async with asyncio.timeout(10):
            return await asyncio.get_running_loop().sock_recv(sock, 65536)

    def close(self) -> None:
        self.media.close()
        self.control.close()


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()
    yield ear
    ear.close()


@pytest.fixture(params=PLAIN_AND_BURSTS, ids=lambda on: "bursts" if on else "plain")
async def either(request: pytest.FixtureRequest) -> AsyncIterator[CameraServer]:
    async with CameraServer(segment=request.param) as server:
        yield server


async def set_up(client: Client, camera: Camera, ear: Ear, extra: str = "") -> dict[str, str]:
    """The parameters of the Transport that SETUP answers."""
    offer = f"RTP/AVP;unicast;client_port={ear.port}-{ear.port + 1}{extra}"
    answer = await client.ask("SETUP", f"{camera.url}/trackID=0", ("Transport", offer))
    assert answer.status == 200
    protocol, _, rest = (answer.header("Transport") or "").partition(";")
    assert protocol == "RTP/AVP"
    pairs = (part.partition("=") for part in rest.split(";"))
    return {name: value for name, _, value in pairs}


async def play(client: Client, camera: Camera, ear: Ear) -> dict[str, str]:
    transport = await set_up(client, camera, ear)
    assert (await client.ask("PLAY", camera.url)).status == 200
    return transport


async def test_setup_says_ports_and_source(
    server: CameraServer, clip: Clip, connect: Connect, ear: Ear
) -> None:
    camera = server.add("door", clip, "/door")
    transport = await set_up(await connect(camera.url), camera, ear)
    assert transport["client_port"] == f"{ear.port}-{ear.port + 1}"
    rtp_port, rtcp_port = map(int, transport["server_port"].split("-"))
    assert rtp_port % 2 == 0
    assert rtcp_port == rtp_port + 1
    assert int(transport["ssrc"], 16) == camera.ssrc


async def test_frames_and_reports(
    either: CameraServer, clip: Clip, connect: Connect, ear: Ear
) -> None:
    camera = either.add("door", clip, "/door", fast_start=True)
    client = await connect(camera.url)
    transport = await play(client, camera, ear)
    packets = await ear.frames(40)
    for before, after in itertools.pairwise(packets):
        assert after.sequence == before.sequence + 1 & 0xFFFF
    stamps = [packet.timestamp for packet in packets if packet.marker]
    assert {(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(stamps)} == {1500}
    assert {packet.ssrc for packet in packets} == {int(transport["ssrc"], 16)}
    report = SenderReport.from_bytes(await ear.report())
    assert report.ssrc == camera.ssrc
    account = camera.sessions[0]
    assert account.transport == "udp"
    assert account.frames_sent >= 40
    assert account.frames_dropped_at_sender == account.datagrams_refused == 0


async def test_both_transports_carry_the_same_packets(
    either: CameraServer, clip: Clip, connect: Connect, ear: Ear
) -> None:
    camera = either.add("door", clip, "/door", fast_start=True)
    one, other = await connect(camera.url), await connect(camera.url)
    await play(one, camera, ear)
    await other.play(camera.url, channel=4)
    by_udp = {packet.sequence: packet for packet in await ear.frames(30)}
    by_tcp: dict[int, Packet] = {}
    while len(by_tcp) < len(by_udp):
        data = await other.packet()
        if data.channel == 4:
            packet = Packet.from_bytes(data.payload)
            by_tcp[packet.sequence] = packet
    common = by_udp.keys() & by_tcp.keys()
    assert len(common) > 10
    assert all(by_udp[sequence] == by_tcp[sequence] for sequence in common)


async def test_goodbye_on_teardown_and_at_the_servers_end(
    clip: Clip, connect: Connect, ear: Ear
) -> None:
    async with CameraServer() as server:
        camera = server.add("door", clip, "/door", fast_start=True)
        client = await connect(camera.url)
        await play(client, camera, ear)
        await ear.frames(2)
        assert (await client.ask("TEARDOWN", camera.url)).status == 200
        reports = [await ear.report(), await ear.report()]
        assert reports[-1].endswith(goodbye(camera.ssrc))
        client.session = ()
        await play(client, camera, ear)
        await ear.report()
    assert (await ear.report()).endswith(goodbye(camera.ssrc))


async def test_receiver_reports_are_kept_and_are_a_sign_of_life(
    server: CameraServer, clip: Clip, connect: Connect, ear: Ear, until: Until
) -> None:
    camera = server.add("door", clip, "/door")
    client = await connect(camera.url)
    transport = await play(client, camera, ear)
    address = ("127.0.0.1", int(transport["server_port"].partition("-")[2]))
    (connection,) = server._listeners[None].connections
    connection.heard_s = 0.0
    account = camera.sessions[0]
    ear.control.sendto(b"garbage", address)
    ear.control.sendto(b"\x81\xc9\xff\xff" + b"x" * 60_000, address)  # says 256 KB, is 60
    await until(lambda: account.reports_bad == 2)
    assert connection.heard_s == 0.0
    sent = SenderReport.from_bytes(await ear.report())
    last = round((sent.wall_s + 2_208_988_800) * 65536) & 0xFFFFFFFF
    block = ReportBlock(camera.ssrc, 0.25, 3, 77, 900, last, 0)
    ear.control.sendto(receiver_report(5, block), address)
    await until(lambda: account.reception is not None)
    assert connection.heard_s > 0.0
    reception = account.reception
    assert reception is not None
    assert (reception.fraction_lost, reception.lost, reception.jitter_ms) == (0.25, 3, 10.0)
    assert reception.round_trip_s is not None
    assert reception.round_trip_s < 10
    ear.control.sendto(receiver_report(5, block), address)
    await until(lambda: account.reception is not None and account.reception.reports == 2)


async def test_nobody_else_is_heard(
    server: CameraServer, clip: Clip, connect: Connect, ear: Ear, until: Until
) -> None:
    camera = server.add("door", clip, "/door")
    transport = await play(await connect(camera.url), camera, ear)
    address = ("127.0.0.1", int(transport["server_port"].partition("-")[2]))
    account = camera.sessions[0]
    report = receiver_report(5, ReportBlock(camera.ssrc, 1.0, 9, 9, 9, 0, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(report, address)
    ear.control.sendto(b"mine", address)  # comes later, and is heard
    await until(lambda: account.reports_bad == 1)
    assert account.reception is None


async def test_the_reader_alone_is_sent_to(
    server: CameraServer, clip: Clip, connect: Connect, ear: Ear
) -> None:
    """`destination` of another host is not followed (RFC 2326, 16: it makes a weapon)."""
    camera = server.add("door", clip, "/door", fast_start=True)
    client = await connect(camera.url)
    await set_up(client, camera, ear, ";destination=192.0.2.1")
    assert (await client.ask("PLAY", camera.url)).status == 200
    await ear.frames(2)
    carrier = camera._playing[0].video
    assert isinstance(carrier, UdpCarrier)
    assert carrier._media.getpeername() == ("127.0.0.1", ear.port)
    assert carrier._control.getpeername() == ("127.0.0.1", ear.port + 1)


async def test_a_closed_port_ends_nothing(
    either: CameraServer, clip: Clip, connect: Connect, until: Until
) -> None:
    camera = either.add("door", clip, "/door", fast_start=True)
    ear = Ear()
    client = await connect(camera.url)
    await play(client, camera, ear)
    await ear.frames(2)
    ear.close()
    account = camera.sessions[0]
    await until(lambda: account.datagrams_refused > 3)
    sent = account.frames_sent
    await until(lambda: account.frames_sent > sent + 5)
    assert account.frames_dropped_at_sender == 0
    assert (await client.ask("GET_PARAMETER", camera.url)).status == 200


async def test_a_silent_reader_times_out(
    server: CameraServer, clip: Clip, connect: Connect, ear: Ear
) -> None:
    """Frames that go out by UDP say nothing of whether somebody is there."""
    camera = server.add("door", clip, "/door", fast_start=True)
    client = await connect(camera.url)
    await play(client, camera, ear)
    await ear.frames(3)
    (connection,) = server._listeners[None].connections
    connection.sweep(connection.heard_s + server.session_timeout_s - 1)
    assert server.connections == camera.watched == 1
    connection.sweep(connection.heard_s + server.session_timeout_s + 1)
    assert camera.sessions[0].ended_s is not None
    assert server.connections == 0
    assert await client.hung_up()


async def test_no_port_left_is_said(
    server: CameraServer, clip: Clip, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_host: str) -> tuple[socket.socket, socket.socket]:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(udp_module, "bind_pair", none_left)
    camera = server.add("door", clip, "/door")
    client = await connect(camera.url)
    offer = ("Transport", "RTP/AVP;unicast;client_port=5000-5001")
    assert (await client.ask("SETUP", f"{camera.url}/trackID=0", offer)).status == 503
    await client.play(camera.url)


@pytest.mark.parametrize("transports", [("tcp",), ("udp",)])
async def test_a_camera_may_lack_a_transport(
    server: CameraServer, clip: Clip, connect: Connect, ear: Ear, transports: tuple[str, ...]
) -> None:
    camera = server.add("door", clip, "/door", transports=transports)
    offers = {
        "udp": f"RTP/AVP/UDP;unicast;client_port={ear.port}-{ear.port + 1}",
        "tcp": "RTP/AVP/TCP;unicast;interleaved=0-1",
    }
    for name, offer in offers.items():
        client = await connect(camera.url)
        answer = await client.ask("SETUP", f"{camera.url}/trackID=0", ("Transport", offer))
        assert answer.status == (200 if name in transports else 461)


def test_pairs_are_even_and_odd() -> None:
    for _ in range(20):
        one, other = bind_pair("127.0.0.1")
        with one, other:
            port = one.getsockname()[1]
            assert port % 2 == 0
            assert other.getsockname()[1] == port + 1


def test_runs_are_what_the_kernel_can_cut() -> None:
    blob = memoryview(bytes(200_000))
    sizes = [20, 1412, 1412, 700, 700, 701, *[1412] * 100, 5]
    views, begin = [], 0
    for size in sizes:
        views.append(blob[begin : begin + size])
        begin += size
    runs = _runs(tuple(views))
    assert [view for run in runs for view in run] == views
    assert [len(run) for run in runs][:3] == [1, 3, 1]
    for run in runs:
        assert len(run) <= SEGMENTS_MAX
        assert sum(map(len, run)) <= BURST_BYTES_MAX
        assert {len(view) for view in run[:-1]} <= {len(run[0])}
        assert len(run[-1]) <= len(run[0])


class Deaf:
    """A media socket whose sends end as told: an error, or None for success."""

    def __init__(self, *ends: OSError | None) -> None:
        self.ends = list(ends)
        self.sent: list[bytes] = []

    def sendmsg(self, views: tuple[memoryview, ...], _ancillary: object) -> None:
        self._next(list(views))

    def send(self, view: memoryview) -> None:
        self._next([view])

    def _next(self, views: list[memoryview]) -> None:
        end = self.ends.pop(0) if self.ends else None
        if end is not None:
            raise end
        self.sent += map(bytes, views)

    def close(self) -> None: ...


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
FULL = BlockingIOError(errno.EAGAIN, "full")
TOO_BIG = OSError(errno.EMSGSIZE, "too big")


@pytest.mark.parametrize(
    ("segment", "ends", "whole", "refused", "lost"),
    [
        (False, (), True, 0, 0),
        (False, (REFUSED,), True, 1, 1),
        (False, (None, REFUSED, REFUSED), True, 2, 2),
        (False, (None, FULL), False, 0, None),
        (False, (REFUSED, FULL), False, 1, None),
        (True, (), True, 0, 0),
        (True, (None, TOO_BIG), True, 0, 0),  # falls back to one send a packet
        (True, (TOO_BIG, None, REFUSED), True, 1, 1),
        (True, (FULL,), False, 0, None),
    ],
)
async def test_errors_in_the_middle_of_a_frame(
    segment: bool,
    ends: tuple[OSError | None, ...],
    whole: bool,
    refused: int,
    lost: int | None,
) -> None:
    loop = asyncio.get_running_loop()
    carrier = UdpCarrier(
        loop, "127.0.0.1", "127.0.0.1", ClientPorts(9, 10), lambda _: None, segment=segment
    )
    real, deaf = carrier._media, Deaf(*ends)
    carrier._media = deaf  # type: ignore[assignment]
    unit = _pack([bytes(20), *[bytes(1400)] * 4, bytes(200)], 0, True)
    account = SessionAccount(("127.0.0.1", 9), 0.0)
    assert carrier.send_unit(unit, account, 7) is whole
    assert account.frames_sent == whole
    assert account.datagrams_refused == refused
    if lost is not None:
        assert len(deaf.sent) == len(unit.offsets) - lost
    carrier.close()
    real.close()
    assert not carrier.send_unit(unit, account, 8)


def test_datagrams_are_the_packets_of_the_blob(clip: Clip) -> None:
    for unit in PackedClip.pack(clip).units[:25]:
        unit.patch(65530, 9, 4711)
        packets = [Packet.from_bytes(bytes(view)) for view in unit.datagrams()]
        assert [p.sequence for p in packets] == [
            65530 + n & 0xFFFF for n in range(len(unit.offsets))
        ]
        assert {p.ssrc for p in packets} == {4711}
        assert sum(len(p.payload) for p in packets) == unit.octets
        assert [p.marker for p in packets] == [False] * (len(packets) - 1) + [True]
