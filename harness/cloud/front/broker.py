"""The MQTT broker inside the control plane: amqtt's protocol, our identity and routing.

A client is who its certificate says: client id and common name must be the same, the plane must
admit them, and topics are its own only. There is no routing between clients: what arrives goes
to the plane, what the plane publishes goes to the client it names. Sessions start anew with
every connection, because devices ask for everything again when they connect.

A message is acknowledged when what followed from it is on disk, and what follows leaves then too.

amqtt 0.12 asks for client certificates without requiring them, treats topics that begin with
`$` as forbidden, ignores keep-alive on the broker's side and acknowledges what it has only put
into a queue; all four are put right here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig
from amqtt.errors import AMQTTError, MQTTError
from amqtt.mqtt.connack import NOT_AUTHORIZED, ConnackPacket
from amqtt.mqtt.constants import QOS_0, QOS_1
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.mqtt.puback import PubackPacket

from harness.appliance.topic import ACCEPTED, CREATE_CERTIFICATE, REGISTER_THING, REJECTED
from harness.cloud.front.gate import MESSAGE_BYTES_MAX, deliver, encoded
from harness.cloud.front.tls import CLOSE_TIMEOUT_S, HANDSHAKE_TIMEOUT_S, peer_of
from harness.cloud.service.devices import CLAIM_PREFIX
from harness.cloud.storage.journal import WriteFailed

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Mapping

    from amqtt.mqtt.publish import PublishPacket
    from amqtt.session import Session

    from harness.cloud.front.gate import Gate, Kept
    from harness.errors import HarnessError

CONNECT_TIMEOUT_S = 10.0
OUTGOING_MAX = 1000  # messages waiting for one client
SUBSCRIPTIONS_MAX = 50  # of one connection, as AWS IoT Core
CONNECTIONS_MAX = 2000
SUBSCRIPTION_FAILED = 0x80  # MQTT 3.1.1, section 3.9.3
_HEADER_BYTES_MAX = 4096

_CLAIM_TOPICS = frozenset({CREATE_CERTIFICATE, REGISTER_THING})
_CLAIM_FILTERS = frozenset(t + answer for t in _CLAIM_TOPICS for answer in (ACCEPTED, REJECTED))


@dataclass(slots=True)
class _Message:
    """What a client published; `taken` is set once the plane has dealt with it."""

    topic: str
    data: bytes
    taken: asyncio.Future[None]


class _Handler(BrokerProtocolHandler):  # type: ignore[misc]
    """Acknowledges late: after the plane has taken a message, and that is on disk."""

    kept: Kept

    async def handle_publish(self, packet: PublishPacket) -> None:
        """Runs as a task of its own, so that many messages of a client share one commit."""
        if packet.qos not in (QOS_0, QOS_1) or self.session is None:
            self.handle_read_timeout()  # AWS IoT Core knows no QoS 2: ends the connection
            return
        taken = asyncio.get_running_loop().create_future()
        message = _Message(packet.topic_name or "", bytes(packet.data or b""), taken)
        await self.session.delivered_message_queue.put(message)
        await taken
        if packet.qos == QOS_1:
            try:
                await self.kept()
            except WriteFailed:
                self.handle_read_timeout()  # without an acknowledgement
                return
            await self._send_packet(PubackPacket.build(packet.packet_id))


class _Reader(StreamReaderAdapter):  # type: ignore[misc]
    """Refuses packets that are too large before they are read into memory."""

    async def read(self, n: int = -1) -> bytes:
        if n > MESSAGE_BYTES_MAX + _HEADER_BYTES_MAX:
            raise ConnectionAbortedError(f"a packet of {n} bytes is too large")
        return bytes(await super().read(n))


@dataclass(slots=True)
class _Link:
    """One connected client."""

    client_id: str
    handler: Any
    writer: asyncio.StreamWriter
    filters: set[str] = field(default_factory=set)
    outgoing: asyncio.Queue[tuple[str, bytes]] = field(
        default_factory=lambda: asyncio.Queue(OUTGOING_MAX)
    )

    def abort(self) -> None:
        self.writer.transport.abort()


class EmbeddedBroker:
    """MQTT 3.1.1 over mutual TLS on one listening socket.

    `publish` and `disconnect` may be called from the event loop's thread at any time between
    `start` and `stop`; messages for clients that are away are dropped.
    """

    def __init__(
        self, gate: Gate, kept: Kept, listener: socket.socket, context: ssl.SSLContext
    ) -> None:
        """`kept` waits until all that the gate was told is on disk, or raises `WriteFailed`."""
        self._gate = gate
        self._kept = kept
        self._listener = listener
        self._context = context
        self._broker: _Broker | None = None

    async def start(self) -> None:
        self._broker = _Broker(self._gate, self._kept, self._listener, self._context)
        await self._broker.start()

    async def stop(self) -> None:
        """Ends every connection at once, then the listener."""
        if self._broker is not None:
            await self._broker.stop()
            self._broker = None

    async def failed(self) -> HarnessError:
        """It ends with the plane and not before: waits until it is cancelled."""
        never: asyncio.Future[HarnessError] = asyncio.get_running_loop().create_future()
        return await never

    def publish(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None:
        if self._broker is not None:
            self._broker.publish_to(client_id, topic, payload)

    def disconnect(self, client_id: str) -> None:
        """Cut the connection of a client, if it has one."""
        if self._broker is not None:
            self._broker.kick(client_id)

    @property
    def clients(self) -> tuple[str, ...]:
        return tuple(self._broker.links) if self._broker is not None else ()


class _Broker(Broker):  # type: ignore[misc]
    """amqtt's broker with sessions, subscriptions and delivery of ours."""

    def __init__(
        self, gate: Gate, kept: Kept, listener: socket.socket, context: ssl.SSLContext
    ) -> None:
        bind = "{}:{}".format(*listener.getsockname()[:2])
        config = ListenerConfig(bind=bind, max_connections=CONNECTIONS_MAX)
        super().__init__(BrokerConfig(listeners={"default": config}, plugins={}))
        self._gate = gate
        self._kept = kept
        self._listener = listener
        self._context = context
        self._connections: set[asyncio.Task[Any]] = set()
        self.links: dict[str, _Link] = {}

    async def stop(self) -> None:
        for link in list(self.links.values()):
            link.abort()
        if self._connections:
            _, pending = await asyncio.wait(self._connections, timeout=CLOSE_TIMEOUT_S / 2)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        await self.shutdown()

    def publish_to(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None:
        link = self.links.get(client_id)
        if link is None or not any(self._matches(topic, name) for name in link.filters):
            return
        try:
            link.outgoing.put_nowait((topic, encoded(payload)))
        except asyncio.QueueFull:
            link.abort()  # it does not acknowledge: let it connect anew

    def kick(self, client_id: str) -> None:
        link = self.links.get(client_id)
        if link is not None:
            link.abort()

    # --- connections --------------------------------------------------------------------

    async def _create_server_instance(self, listener_name: str, *_: object) -> asyncio.Server:
        return await asyncio.start_server(
            partial(self.stream_connected, listener_name=listener_name),
            sock=self._listener,
            ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            ssl_shutdown_timeout=CLOSE_TIMEOUT_S,
        )

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            adapter = StreamWriterAdapter(writer)
            await self._client_connected(listener_name, _Reader(reader), adapter)
        except (OSError, asyncio.CancelledError):
            pass  # the connection broke, or the broker stops
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _initialize_client_session(
        self, reader: _Reader, writer: StreamWriterAdapter, *_: object
    ) -> tuple[_Handler, Session]:
        """Read CONNECT and admit the client, or answer that it is not authorized."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                handler, session = await _Handler.init_from_connect(
                    reader, writer, self.plugins_manager
                )
                reason = self._refusal(session)
                if reason:
                    await ConnackPacket.build(0, NOT_AUTHORIZED).to_stream(writer)
                    await writer.close()
                    raise MQTTError(f"{session.client_id} refused: {reason}")
        except (OSError, asyncio.IncompleteReadError) as error:
            raise AMQTTError(f"no CONNECT: {error}") from None
        handler.kept = self._kept
        # A client is gone when it was silent for one and a half times its keep-alive
        # (MQTT 3.1.1, section 3.1.2.10).
        session.keep_alive = -(-session.keep_alive * 3 // 2)
        return handler, session

    def _refusal(self, session: Session) -> str:
        peer = peer_of(session.ssl_object)
        if peer is None:
            return "no client certificate"
        if session.client_id != peer.name:
            return f"its certificate is that of {peer.name}"
        return self._gate.refusal(peer.name, peer.certificate_id)

    async def _handle_client_session(
        self,
        reader: _Reader,
        writer: StreamWriterAdapter,
        client_session: Session,
        handler: _Handler,
        *_: object,
    ) -> None:
        """A client's life from CONNACK to the end of its connection."""
        client_session.transitions.connect()
        handler.attach(client_session, reader, writer)
        link = _Link(client_session.client_id, handler, writer._writer)
        handler.handle_read_timeout = link.abort
        older = self.links.get(link.client_id)
        if older is not None:
            older.abort()
        self.links[link.client_id] = link
        try:
            await handler.mqtt_connack_authorize(True)
            self._gate.connected(link.client_id)
            await handler.start()
            async with asyncio.TaskGroup() as group:
                sender = group.create_task(self._send(link))
                await self._client_message_loop(client_session, handler)
                sender.cancel()
        finally:
            # A client that connected again has taken the place: then it is still connected.
            if self.links.get(link.client_id) is link:
                del self.links[link.client_id]
                self._gate.disconnected(link.client_id)
            link.abort()
            await self._stop_handler(handler)

    async def _send(self, link: _Link) -> None:
        """Deliver in order, each message acknowledged before the next goes out."""
        while True:
            topic, data = await link.outgoing.get()
            try:
                await self._kept()
            except WriteFailed:
                link.abort()
                return
            # Without an acknowledgement keep-alive decides whether the client is still there.
            try:
                await link.handler.mqtt_publish(topic, data, QOS_1, retain=False)
            except TimeoutError:
                continue
            except (AMQTTError, OSError):
                return  # the connection is ending

    # --- messages and subscriptions -----------------------------------------------------

    async def _handle_message_delivery(
        self, client_session: Session, _: BrokerProtocolHandler, delivered: asyncio.Future[Any]
    ) -> bool:
        """Hand a message to the plane; False ends the connection."""
        message: _Message | None = delivered.result()
        if message is None:
            return True
        client_id = client_session.client_id
        if not _may_publish(client_id, message.topic):
            return False
        deliver(self._gate, client_id, message.topic, message.data)
        if not message.taken.done():  # the client may have gone
            message.taken.set_result(None)
        return True

    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        name, qos = subscription
        link = self.links.get(session.client_id)
        full = link is None or len(link.filters) >= SUBSCRIPTIONS_MAX
        if link is None or full or not _may_subscribe(link.client_id, name):
            return SUBSCRIPTION_FAILED
        link.filters.add(name)
        return min(qos, 1)

    def _del_subscription(self, a_filter: str, session: Session) -> int:
        link = self.links.get(session.client_id)
        if link is None or a_filter not in link.filters:
            return 0
        link.filters.remove(a_filter)
        return 1


def _may_publish(client_id: str, topic: str) -> bool:
    if client_id.startswith(CLAIM_PREFIX):
        return topic in _CLAIM_TOPICS
    own = topic.startswith(f"$aws/things/{client_id}/")
    return own and "+" not in topic and "#" not in topic


def _may_subscribe(client_id: str, name: str) -> bool:
    if client_id.startswith(CLAIM_PREFIX):
        return name in _CLAIM_FILTERS
    return name.startswith(f"$aws/things/{client_id}/")
