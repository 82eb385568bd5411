"""An appliance's side of the control plane on real sockets: MQTT and HTTPS over mutual TLS.

Everything goes through the appliance's `Link`, so that a broken uplink is a broken connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import aiomqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness.appliance.effect import LinkLost, MessageArrived
from harness.errors import Corrupt, LinkDown, NotFound, PeerError, PeerRefused, PeerTimeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
    from pathlib import Path

    from harness.engine.process.link import Link

KEEP_ALIVE_MIN_S = 2
KEEP_ALIVE_S = 30.0
ANSWER_TIMEOUT_S = 10.0
DOCUMENT_TIMEOUT_S = 60.0  # for all of a small document, however it drips
# Slower than this a download is given up and tried again: a server must not hold a device for ever.
SLOWEST_BYTES_PER_S = 4096.0
TRANSFER_SILENCE_S = 5.0  # no bytes for this long: the transfer is given up and resumed later
_REFUSED = frozenset({2, 4, 5, 0x85, 0x86, 0x87})  # CONNACK: client id, credentials, not authorised
_CLOSED_EARLY = "connection closed before CONNACK, as for a certificate that is not accepted"
_UNSPECIFIED = 0x80  # what the client library calls any end of a connection that it did not ask for


class _Socket(ssl.SSLSocket):
    """Closed for sure when nobody holds it any more.

    The MQTT library forgets a socket whose handshake fails, and Python itself one whose peer
    was gone before the handshake began.
    """

    def __del__(self) -> None:
        self.close()


class _Client(aiomqtt.Client):
    """An MQTT client that notices when the connection ends before CONNACK.

    With TLS 1.3 that is how a refused certificate looks; aiomqtt waits for its time-out then.
    """

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None
    ) -> None:
        if not self._connected.done():
            self._loop.call_soon_threadsafe(self._closed_early, self._connected)
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _closed_early(self, connected: asyncio.Future[None]) -> None:
        if not connected.done():
            connected.set_exception(aiomqtt.MqttError(_CLOSED_EARLY))
            connected.exception()  # seen, even if nobody waits for it any more


class Session:
    """One MQTT connection: from CONNECT to whatever ends it."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        client: _Client,
        arrive: Callable[[object], None],
    ) -> None:
        self.client = client
        self.up = False
        self._group = group
        self._arrive = arrive
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._beats: set[asyncio.Task[None]] = set()
        self._task = group.create_task(self._run())

    async def opened(self, timeout_s: float) -> None:
        """Wait for CONNACK. Raises `LinkDown`, `PeerTimeout`, `PeerRefused`."""
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._opened)
        except TimeoutError:
            self.drop()
            raise PeerTimeout(f"no answer to MQTT CONNECT in {timeout_s:g} s") from None

    async def _run(self) -> None:
        # Connecting happens in a thread that cannot be cancelled: it is always waited for, so
        # that its socket is closed and not left to the garbage collector. So it is no task of
        # the group, which would cancel it when it ends early.
        entering = asyncio.create_task(self._enter())
        try:
            refused = await asyncio.shield(entering)
        except asyncio.CancelledError:
            while not entering.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({entering})
            if entering.result() is None:
                await self._leave()
            raise
        if refused is not None:
            self._opened.set_exception(_problem(refused))
            self._opened.exception()  # seen, even if nobody waits any more
            return
        self.up = True
        self._opened.set_result(None)
        reason = "closed"
        try:
            async for message in self.client.messages:
                self._arrive(MessageArrived(str(message.topic), _object(message.payload)))
        except aiomqtt.MqttError as error:
            reason = _why(error)
        finally:
            self.up = False
            for beat in self._beats:
                beat.cancel()
            await self._leave()
        self._arrive(LinkLost(reason))

    async def _enter(self) -> aiomqtt.MqttError | None:
        """Connect. Outcome: what went wrong, if anything did."""
        try:
            await self.client.__aenter__()
        except aiomqtt.MqttError as error:
            # What it came from holds the frames of the handshake, and those the socket.
            error.__context__ = None
            return error
        return None

    async def _leave(self) -> None:
        with contextlib.suppress(aiomqtt.MqttError):
            await self.client.__aexit__(None, None, None)

    def beat(self, topic: str, payload: Mapping[str, Any], every_s: float) -> None:
        self.keep(self._beat(topic, payload, every_s))

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Work that goes on until the connection ends."""
        task = self._group.create_task(work)
        self._beats.add(task)
        task.add_done_callback(self._beats.discard)

    async def _beat(self, topic: str, payload: Mapping[str, Any], every_s: float) -> None:
        with contextlib.suppress(aiomqtt.MqttError):
            while True:
                await asyncio.sleep(every_s)
                await self.client.publish(topic, json.dumps(payload), qos=1)

    def drop(self) -> None:
        """End without a word to the owner; `ended` waits until nothing is left."""
        self._arrive = _ignore
        if not self._task.cancelling():  # cancelled twice, it could not leave in good order
            self._task.cancel()

    async def ended(self) -> None:
        # Not gather: whoever waits may be cancelled, and what ends must not be cancelled twice.
        await asyncio.wait({self._task, *self._beats})


class Uplink:
    """TLS identity, MQTT session and HTTPS of one appliance. PEM files live in `directory`.

    `services`, host:port, plays every service that an image may ask for; without it they are
    looked for where they say. Those that are `blocked` do not answer, as behind a firewall.
    """

    def __init__(
        self,
        group: asyncio.TaskGroup,
        link: Link,
        directory: Path,
        time_scale: float,
        *,
        services: str = "",
        blocked: frozenset[str] = frozenset(),
    ) -> None:
        self.services = services
        self.blocked = blocked
        self.group = group
        self.link = link
        self.directory = directory
        self.keep_alive_s = max(KEEP_ALIVE_MIN_S, round(KEEP_ALIVE_S / time_scale))
        self._tls: ssl.SSLContext | None = None
        self._session: Session | None = None
        self._http: aiohttp.ClientSession | None = None
        self._leaving: set[asyncio.Task[Any]] = set()

    @staticmethod
    def make_key(common_name: str) -> tuple[str, str]:
        """A P-256 key and a certificate request for it, both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        request = x509.CertificateSigningRequestBuilder().subject_name(name)
        signed = request.sign(key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return private.decode(), signed.public_bytes(serialization.Encoding.PEM).decode()

    async def use_identity(self, certificate: str, key: str, authority: str) -> None:
        self._tls = await asyncio.to_thread(self._context, certificate, key, authority)
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    def _context(self, certificate: str, key: str, authority: str) -> ssl.SSLContext:
        paths = []
        for name, text in (("identity.pem", certificate), ("identity.key", key)):
            path = self.directory / name
            path.unlink(missing_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(fd, "w", encoding="ascii") as file:
                file.write(text)
            paths.append(path)
        try:
            context = ssl.create_default_context(cadata=authority)
            context.load_cert_chain(paths[0], paths[1])
            context.sslsocket_class = _Socket
        except (ssl.SSLError, ValueError) as error:
            raise Corrupt(f"TLS identity: {error}", hint="provision the appliance again") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    # --- MQTT --------------------------------------------------------------------------------

    async def connect(
        self, endpoint: str, client_id: str, timeout_s: float, arrive: Callable[[object], None]
    ) -> None:
        await self.disconnect()
        host, _, port = endpoint.rpartition(":")
        local = await self.link.port(host, int(port))
        client = _Client(
            self.link.host,
            local,
            identifier=client_id,
            tls_context=self._tls,
            keepalive=self.keep_alive_s,
            timeout=min(timeout_s, ANSWER_TIMEOUT_S),
        )
        self._session = Session(self.group, client, arrive)
        await self._session.opened(timeout_s)

    async def disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.drop()
            await session.ended()

    def drop(self) -> None:
        """Power is gone: connections end at once, without farewell."""
        session, http = self._let_go()
        if session is not None:
            self._leave(session.ended())
        if http is not None:
            self._leave(http.close())

    async def close(self) -> None:
        """As `drop`, for good, and wait for the end; needs no task of a group that is ending."""
        self.link.cut()
        session, http = self._let_go()
        if session is not None:
            await session.ended()
        if http is not None:
            await http.close()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def _let_go(self) -> tuple[Session | None, aiohttp.ClientSession | None]:
        self.link.reset_all()
        session, self._session = self._session, None
        http, self._http = self._http, None
        if session is not None:
            session.drop()
        return session, http

    async def subscribe(self, topics: tuple[str, ...]) -> None:
        with _as_link_down():
            await self._need().client.subscribe([(topic, 1) for topic in topics])

    async def publish(self, topic: str, payload: Mapping[str, Any]) -> None:
        with _as_link_down():
            await self._need().client.publish(topic, json.dumps(payload), qos=1)

    def beat(self, topic: str, payload: Mapping[str, Any], every_s: float) -> None:
        self._need().beat(topic, payload, every_s)

    def _need(self) -> Session:
        if self._session is None or not self._session.up:
            raise LinkDown("no connection to the control plane")
        return self._session

    # --- HTTPS -------------------------------------------------------------------------------

    async def get(self, url: str, limit: int) -> bytes:
        with _as_peer_error(url):
            async with asyncio.timeout(DOCUMENT_TIMEOUT_S), await self._open(url, {}) as response:
                _refuse_status(response, url)
                body = await response.content.read(limit + 1)
                while len(body) <= limit and (more := await response.content.read(limit)):
                    body += more
        if len(body) > limit:
            raise PeerRefused(f"{url}: larger than {limit} bytes")
        return body

    async def post(self, url: str, document: Mapping[str, Any]) -> None:
        with _as_peer_error(url):
            async with await self._open(url, {}, json.dumps(document).encode()) as response:
                _refuse_status(response, url)

    def post_every(self, url: str, document: Mapping[str, Any], every_s: float) -> None:
        """Now and again until the MQTT session ends; what is lost on the way is lost."""
        self._need().keep(self._post_every(url, document, every_s))

    async def _post_every(self, url: str, document: Mapping[str, Any], every_s: float) -> None:
        while True:
            with contextlib.suppress(PeerError):
                await self.post(url, document)
            await asyncio.sleep(every_s)

    async def stream(
        self, url: str, start: int, until: int, size: int, chunk: int
    ) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `until`, of `size`, in pieces of `chunk`.

        What comes beyond is not read. Raises `PeerRefused` when the content has another size.
        """
        part = start > 0 or until < size
        headers = {"Range": f"bytes={start}-{until - 1}"} if part else {}
        left = until - start
        with _as_peer_error(url):
            async with await self._open(url, headers) as response:
                _refuse_status(response, url)
                _refuse_size(response, url, start, size)
                piece = bytearray()
                clock = asyncio.get_running_loop().time
                since_s = clock()
                async for data in response.content.iter_any():
                    piece += data[: left - len(piece)]
                    if clock() - since_s > chunk / SLOWEST_BYTES_PER_S:
                        raise PeerTimeout(f"{url}: slower than {SLOWEST_BYTES_PER_S:g} bytes/s")
                    while len(piece) >= chunk:
                        yield bytes(piece[:chunk])
                        left -= chunk
                        del piece[:chunk]
                        since_s = clock()
                    if len(piece) >= left:
                        break
                if piece:
                    yield bytes(piece)

    async def reach(self, endpoint: str, timeout_s: float) -> None:
        """Connect over the link and hang up. Raises `LinkDown` or `PeerTimeout`."""
        host, _, port = (self.services or endpoint).rpartition(":")
        try:
            async with asyncio.timeout(timeout_s):
                if endpoint in self.blocked:
                    await asyncio.Event().wait()
                await self.link.reach(host, int(port))
        except TimeoutError:
            raise PeerTimeout(f"{endpoint}: no answer in {timeout_s:g} s") from None
        except (OSError, ValueError) as error:
            raise LinkDown(f"{endpoint}: {error}") from None

    async def _open(
        self, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> aiohttp.ClientResponse:
        """GET, or POST of a body."""
        parts = urlsplit(url)
        local = await self.link.port(parts.hostname or "", parts.port or 443)
        if self._http is None:
            timeout = aiohttp.ClientTimeout(
                total=None, sock_connect=ANSWER_TIMEOUT_S, sock_read=TRANSFER_SILENCE_S
            )
            connector = aiohttp.TCPConnector(ssl=self._tls or True, limit=8)
            self._http = aiohttp.ClientSession(connector=connector, timeout=timeout)
        relayed = parts._replace(netloc=f"{self.link.host}:{local}").geturl()
        if body is not None:
            return await self._http.post(relayed, headers=headers, data=body)
        return await self._http.get(relayed, headers=headers)

    def _leave(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.group.create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


def _number(error: BaseException) -> int | None:
    """The MQTT reason code of an error, if it has one."""
    code = getattr(error, "rc", None)
    return getattr(code, "value", code)


def _why(error: aiomqtt.MqttError) -> str:
    """What ended a connection, as far as the library tells."""
    cause = error.__cause__ or error
    return "connection closed" if _number(cause) == _UNSPECIFIED else str(cause)


def _problem(error: aiomqtt.MqttError) -> Exception:
    if _number(error) in _REFUSED:
        return PeerRefused(f"MQTT CONNECT refused: {error}")
    return LinkDown(f"MQTT: {error}")


@contextlib.contextmanager
def _as_link_down() -> Any:
    try:
        yield
    except aiomqtt.MqttError as error:
        raise LinkDown(f"MQTT: {error}") from None


@contextlib.contextmanager
def _as_peer_error(url: str) -> Any:
    try:
        yield
    except TimeoutError:
        raise PeerTimeout(f"{url}: no answer") from None
    except aiohttp.ClientError as error:
        raise LinkDown(f"{url}: {error or type(error).__name__}") from None


def _refuse_status(response: aiohttp.ClientResponse, url: str) -> None:
    if response.status == 404:
        raise NotFound(f"{url}: 404 {response.reason}")
    if response.status not in (200, 206):
        raise PeerRefused(f"{url}: {response.status} {response.reason}")


def _refuse_size(response: aiohttp.ClientResponse, url: str, start: int, size: int) -> None:
    """Raise when the whole content is not `size` bytes, as far as the answer says."""
    if response.status == 206:
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        said = int(total) if total.isdigit() else size
    elif start:
        raise PeerRefused(f"{url}: answers without the range that was asked for")
    else:
        said = size if response.content_length is None else response.content_length
    if said != size:
        raise PeerRefused(f"{url}: {said} bytes, not {size}")


def _object(payload: Any) -> Mapping[str, Any]:
    """A message that is not a JSON object says nothing; programs see an empty one."""
    try:
        value = json.loads(payload)
    except (ValueError, TypeError):
        return {}
    return value if isinstance(value, dict) else {}


def _ignore(_message: object) -> None:
    pass
