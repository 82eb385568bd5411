"""RTSP inside TLS, inside HTTP, and inside both."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import ipaddress
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from harness.camera.serve.server import CameraServer
from harness.camera.wire import tunnel
from harness.camera.wire.rtsp import Request, Response, RtspError
from harness.camera.wire.tls import TlsSocket
from harness.fault.camera import BrokenPipe, HalfOpen, Teardown
from tests.camera.conftest import Client

if TYPE_CHECKING:
    from pathlib import Path

    from harness.camera.picture.clip import Clip
    from tests.camera.conftest import Connect, Until


@pytest.fixture(scope="session")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context and that of a client which trusts it and nobody else."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = _certificate(folder)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate, key)
    return ours, ssl.create_default_context(cafile=str(certificate))


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "camera")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private


class TunnelClient(Client):
    """A `Client` whose requests go by the POST half."""

    def __init__(
        self, reader: asyncio.StreamReader, get: asyncio.StreamWriter, post: asyncio.StreamWriter
    ) -> None:
        super().__init__(reader, get)
        self.post = post

    def send(self, data: bytes) -> None:
        self.post.write(base64.b64encode(data))

    async def close(self) -> None:
        self.post.close()
        await super().close()


async def open_tunnel(
    port: int, cookie: str, context: ssl.SSLContext | None = None
) -> TunnelClient:
    reader, get = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    get.write(f"GET /door HTTP/1.0\r\nx-sessioncookie: {cookie}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"application/x-rtsp-tunnelled" in head
    _, post = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    post.write(
        f"POST /door HTTP/1.0\r\nX-SessionCookie: {cookie}\r\n"
        f"Content-Type: {tunnel.TYPE}\r\nContent-Length: 32767\r\n\r\n".encode()
    )
    return TunnelClient(reader, get, post)


# --- TLS ------------------------------------------------------------------------------------------


async def test_frames_over_tls(
    clip: Clip, contexts: tuple[ssl.SSLContext, ssl.SSLContext], until: Until
) -> None:
    ours, theirs = contexts
    async with CameraServer(tls=ours) as server:
        camera = server.add("door", clip, "/door", "admin", "s3cret", fast_start=True)
        assert camera.url.startswith("rtsps://127.0.0.1:")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=theirs)
        client = Client(reader, writer)
        assert (await client.ask("DESCRIBE", camera.url)).status == 401
        camera = server.add("yard", clip, "/yard", fast_start=True)
        offer = ("Transport", "RTP/AVP;unicast;client_port=5000-5001")  # not inside TLS
        assert (await client.ask("SETUP", f"{camera.url}/trackID=0", offer)).status == 461
        await client.play(camera.url)
        await client.take(30)
        await client.close()
        await until(lambda: server.connections == 0)


async def test_who_speaks_no_tls_is_hung_up(
    clip: Clip, contexts: tuple[ssl.SSLContext, ssl.SSLContext], connect: Connect, until: Until
) -> None:
    async with CameraServer(tls=contexts[0]) as server:
        server.add("door", clip, "/door")
        client = await connect(f"rtsp://127.0.0.1:{server.port}/door")
        client.send(Request((("CSeq", "1"),), method="OPTIONS", uri="*").to_bytes())
        assert await client.hung_up()
        await until(lambda: server.connections == 0)


class Congested:
    """A TLS socket that takes records of 16 bytes, and now and then none."""

    def __init__(self) -> None:
        self.taken = b""
        self.calls = 0

    def send(self, data: memoryview) -> int:
        self.calls += 1
        if self.calls % 3 == 0:
            raise ssl.SSLWantWriteError
        piece = bytes(data[:16])
        self.taken += piece
        return len(piece)


def test_tls_sends_all_that_fits() -> None:
    sock = TlsSocket.__new__(TlsSocket)
    wire = Congested()
    sock._tls = wire  # type: ignore[assignment]
    data, done, refusals = bytes(range(100)), 0, 0
    while done < len(data):
        try:
            done += sock.send(data[done:])
        except BlockingIOError:
            refusals += 1
    assert wire.taken == data
    assert refusals == 0  # a refusal after something went is a short count


# --- HTTP -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_tls", [False, True])
async def test_frames_over_http(
    clip: Clip,
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    with_tls: bool,
    until: Until,
) -> None:
    ours, theirs = contexts if with_tls else (None, None)
    async with CameraServer(http_tunnel=True, tls=ours) as server:
        camera = server.add("door", clip, "/door", fast_start=True)
        client = await open_tunnel(server.port, "a1", theirs)
        offer = ("Transport", "RTP/AVP;unicast;client_port=5000-5001")
        assert (await client.ask("SETUP", f"{camera.url}/trackID=0", offer)).status == 461
        await client.play(camera.url)
        await client.take(20)
        assert (await client.ask("TEARDOWN", camera.url)).status == 200
        await client.close()
        await until(lambda: server.connections == 0)
        assert server._listeners[None].tunnels == {}


@pytest.mark.parametrize("with_tls", [False, True])
async def test_faults_reach_who_is_inside(
    clip: Clip, contexts: tuple[ssl.SSLContext, ssl.SSLContext], with_tls: bool, until: Until
) -> None:
    ours, theirs = contexts if with_tls else (None, None)
    async with CameraServer(http_tunnel=True, tls=ours) as server:
        camera = server.add("door", clip, "/door", fast_start=True)
        for number, fault in enumerate((HalfOpen(), Teardown(), BrokenPipe())):
            client = await open_tunnel(server.port, f"c{number}", theirs)
            if isinstance(fault, BrokenPipe):
                camera.inject(fault)
                assert (await client.ask("OPTIONS", camera.url)).status == 200
            else:
                await client.play(camera.url)
                await client.take(5)
                camera.inject(fault)
            if isinstance(fault, HalfOpen):
                account = camera.sessions[-1]
                await until(lambda: account.frames_lost.get("half-open", 0) > 5)  # noqa: B023
                assert server.connections == 2
                assert account.ended_s is None
                camera.heal()
            assert await client.hung_up()
            camera.heal()
            with contextlib.suppress(ConnectionError):
                await client.close()
            await until(lambda: server.connections == 0)


async def test_plain_rtsp_goes_on_beside_tunnels(clip: Clip, connect: Connect) -> None:
    async with CameraServer(http_tunnel=True) as server:
        camera = server.add("door", clip, "/door", fast_start=True)
        client = await connect(camera.url)
        await client.play(camera.url)
        await client.take(3)
        slow = await connect(camera.url)  # GET_PARAMETER begins like GET
        for piece in (b"GE", b"T_PARAMETER * RTSP/1.0\r\nCS", b"eq: 7\r\n\r\n"):
            slow.send(piece)
            await asyncio.sleep(0)
        answer = await slow.event()
        assert isinstance(answer, Response)
        assert answer.header("CSeq") == "7"


async def test_a_new_post_half_replaces_the_old_one(clip: Clip, until: Until) -> None:
    async with CameraServer(http_tunnel=True) as server:
        camera = server.add("door", clip, "/door")
        client = await open_tunnel(server.port, "a1")
        assert (await client.ask("OPTIONS", camera.url)).status == 200
        old = client.post
        _, client.post = await asyncio.open_connection("127.0.0.1", server.port)
        client.post.write(b"POST / HTTP/1.1\r\nx-sessioncookie: a1\r\n\r\n")
        assert (await client.ask("OPTIONS", camera.url)).status == 200
        await until(lambda: server.connections == 2)
        old.close()
        await client.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /door HTTP/1.0\r\nx-sessioncookie: unknown\r\n\r\n", b"HTTP/1.0 404"),
        (b"GET /door HTTP/1.0\r\nx-sessioncookie: a1\r\n\r\n", b"HTTP/1.0 400"),  # taken
        (b"GET /door HTTP/1.0\r\n\r\n", b"RTSP/1.0 400"),
        (b"GET " + b"x" * 9000, b"RTSP/1.0 414"),
        (b"GET / HTTP/9\r\n\r\n", b"RTSP/1.0 400"),
    ],
)
async def test_tunnels_that_are_none(clip: Clip, head: bytes, status: bytes) -> None:
    async with CameraServer(http_tunnel=True) as server:
        server.add("door", clip, "/door")
        client = await open_tunnel(server.port, "a1")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head)
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(status)
        assert (await client.ask("OPTIONS", "*")).status == 200
        writer.close()
        await client.close()


async def test_a_body_that_is_no_base64(clip: Clip, until: Until) -> None:
    async with CameraServer(http_tunnel=True) as server:
        server.add("door", clip, "/door")
        client = await open_tunnel(server.port, "a1")
        assert (await client.ask("OPTIONS", "*")).status == 200
        client.post.write(b"!!!!????")
        await until(lambda: server.connections == 1)  # the POST half is gone
        await client.close()


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.integers(1, 7))
def test_base64_in_pieces(messages: list[bytes], size: int) -> None:
    text = b"\r\n".join(base64.b64encode(message) for message in messages)
    stream, found = tunnel.Base64Stream(), b""
    for begin in range(0, len(text), size):
        found += stream.feed(text[begin : begin + size])
    assert found == b"".join(messages)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    for work in (
        lambda: tunnel.take_head(bytearray(data)),
        lambda: tunnel.take_head(bytearray(b"GET / HTTP/1.0\r\n" + data + b"\r\n\r\n")),
        lambda: tunnel.Base64Stream().feed(data),
    ):
        with contextlib.suppress(RtspError):
            work()
