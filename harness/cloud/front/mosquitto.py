"""A real Mosquitto in the place of the embedded broker, and the plane as one of its clients.

Mosquitto holds the connections, checks certificates against a list of revoked ones and keeps
each thing to its own topics. Who is connected the plane learns from its log; what devices say,
from a subscription; what it says goes the same way. So an acknowledgement means that the broker
has a message, not that the plane has it on disk, as with the embedded broker.

A connection is cut by taking its place: for a moment a client of the same name is connected.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import ssl
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiomqtt
from amqtt.mqtt.connect import ConnectPacket, ConnectPayload, ConnectVariableHeader

from harness.appliance.topic import THINGS
from harness.cloud.front.gate import deliver, encoded
from harness.cloud.front.mosquitto_files import (
    ACCESS,
    FENCE,
    PLANE,
    Down,
    Running,
    Up,
    configuration,
    meaning,
    program,
)
from harness.cloud.front.tls import CLOSE_TIMEOUT_S, write_identity
from harness.errors import CapabilityMissing, HarnessError, PeerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cloud.front.gate import Gate, Kept
    from harness.cloud.front.x509 import X509Authority

START_TIMEOUT_S = 10.0
CALL_TIMEOUT_S = 5.0
OUTGOING_MAX = 100_000  # messages on their way to the broker
BATCH_MAX = 500  # of them, under way at a time
LINES_KEPT = 20  # of its log, for the error when it ends
LINE_BYTES_MAX = 1 << 16
CONNACK_BYTES = 4  # MQTT 3.1.1, section 3.2
IDENTITY_VALID_S = 300.0  # of a client that takes the place of another
REQUESTS = tuple(
    f"{THINGS}+/{request}"
    for request in (
        "jobs/get",
        "jobs/start-next",
        "jobs/+/get",
        "jobs/+/update",
        *(
            f"shadow/{name}{verb}"
            for name in ("", "name/+/")
            for verb in ("get", "update", "delete")
        ),
    )
)

_logger = logging.getLogger(__name__)
_LEASH = Path(__file__).with_name("leash.py")


class MosquittoBroker:
    """MQTT 3.1.1 over mutual TLS, by a process of its own that does not outlive this one.

    `publish` and `disconnect` may be called from the event loop's thread at any time between
    `start` and `stop`; messages for clients that are away are dropped. Nobody else may listen on
    `port`; a socket that is bound to it with SO_REUSEADDR and does not listen is fine.
    """

    def __init__(
        self, gate: Gate, kept: Kept, authority: X509Authority, host: str, port: int
    ) -> None:
        """`kept` waits until all that the gate was told is on disk, or raises `WriteFailed`."""
        self._port = port
        self._gate = gate
        self._kept = kept
        self._authority = authority
        self._host = host
        self._program = program()
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._path = Path()
        self._up: set[str] = set()
        self._outgoing: asyncio.Queue[tuple[str, str, bytes]] = asyncio.Queue(OUTGOING_MAX)
        self._events: asyncio.Queue[Up | Down] = asyncio.Queue()
        self._kicks: asyncio.Queue[str] = asyncio.Queue()
        self._kicking: dict[str, asyncio.Future[None]] = {}  # done once its port is known
        self._kickers: set[tuple[str, int]] = set()  # of whom, from which port: not yet in the log
        self._fences: dict[str, asyncio.Future[None]] = {}
        self._numbers = itertools.count()
        self._process: asyncio.subprocess.Process | None = None
        self._lines: list[str] = []
        self._listens = asyncio.Event()
        self._linked = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when it takes connections and the plane's own is up."""
        self._directory = tempfile.TemporaryDirectory(prefix="hil-mosquitto-")
        self._path = Path(self._directory.name)
        try:
            write_identity(self._authority.issue_server(self._host), self._path)
            write_identity(self._authority.issue_client(PLANE), self._path, "plane")
            (self._path / "ca.pem").write_text(self._authority.ca_pem, encoding="ascii")
            (self._path / "acl").touch(mode=0o600)
            (self._path / "acl").write_text(ACCESS, encoding="ascii")
            self._write_revoked()
            await self._start_process()
            self._authority.on_revoked = self._revoked
            self._running = asyncio.create_task(self._run(), name="mosquitto")
            linked = asyncio.create_task(self._linked.wait())
            await asyncio.wait(
                {linked, self._running},
                timeout=START_TIMEOUT_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
            linked.cancel()
            if not self._linked.is_set():
                raise CapabilityMissing(
                    f"mosquitto does not take the plane's own connection: {self._last_words()}",
                    hint="use the embedded broker",
                )
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ends the process and with it every connection."""
        self._authority.on_revoked = None
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError, HarnessError):
                await self._running
            self._running = None
        await self._end_process()
        self._all_down()
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    async def failed(self) -> HarnessError:
        """Wait until the broker has ended although nobody stopped it."""
        assert self._running is not None
        await asyncio.wait({self._running})
        return PeerError(f"mosquitto has ended: {self._last_words()}")

    def publish(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None:
        if client_id in self._up:
            try:
                self._outgoing.put_nowait((client_id, topic, encoded(payload)))
            except asyncio.QueueFull:
                self.disconnect(client_id)  # it will ask for everything again

    def disconnect(self, client_id: str) -> None:
        """Cut the connection of a client, if it has one."""
        if client_id in self._up:
            self._kick(client_id)

    @property
    def clients(self) -> tuple[str, ...]:
        return tuple(self._up)

    # --- the process --------------------------------------------------------------------

    async def _start_process(self) -> None:
        """Raises `CapabilityMissing` with what it said when it does not start."""
        text = configuration(self._path, self._host, self._port)
        (self._path / "mosquitto.conf").write_text(text, encoding="utf-8")
        arguments = (str(os.getpid()), self._program, "-c", f"{self._path}/mosquitto.conf")
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(_LEASH), *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
            start_new_session=True,
        )  # fmt: skip
        with suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                while not self._listens.is_set() and await self._read_line(process):
                    pass
        if not self._listens.is_set():
            raise CapabilityMissing(
                f"mosquitto does not start: {self._last_words()}", hint="use the embedded broker"
            )

    async def _end_process(self) -> None:
        process = self._process
        if process is None:
            return
        self._process = None
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _read_line(self, process: asyncio.subprocess.Process) -> bool:
        """Take one line of its log; False when there will be no more."""
        assert process.stderr is not None
        try:
            data = await process.stderr.readline()
        except ValueError:  # longer than any line of interest
            return True
        if not data:
            return False
        line = data.decode(errors="replace").rstrip()
        self._lines = [*self._lines[1 - LINES_KEPT :], line]
        match meaning(line):
            case Running():
                self._listens.set()
            case Up() | Down() as event:
                self._events.put_nowait(event)
        return True

    def _last_words(self) -> str:
        told = [line for line in self._lines if "rror" in line] or self._lines
        return told[-1] if told else "it said nothing"

    async def _run(self) -> None:
        """Everything that goes on as long as the process does; raises when it ends."""
        process = self._process
        assert process is not None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._link())
                group.create_task(self._follow())
                group.create_task(self._kick_on())
                while await self._read_line(process):
                    pass
                raise PeerError(f"mosquitto has ended: {self._last_words()}")
        except BaseExceptionGroup as errors:
            _logger.error("control plane: mosquitto is lost: %s", errors.exceptions[0])
            raise PeerError(f"mosquitto is lost: {errors.exceptions[0]}") from None
        finally:
            self._all_down()

    # --- the plane's connection ---------------------------------------------------------

    def _context(self, name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._path / "ca.pem"))
        context.load_cert_chain(self._path / f"{name}.cert.pem", self._path / f"{name}.key.pem")
        return context

    async def _link(self) -> None:
        client = aiomqtt.Client(
            self._host,
            self._port,
            identifier=PLANE,
            tls_context=self._context("plane"),
            timeout=CALL_TIMEOUT_S,
            protocol=aiomqtt.ProtocolVersion.V311,
            max_inflight_messages=BATCH_MAX,
        )
        async with client:
            await client.subscribe([(name, 1) for name in (*REQUESTS, f"{FENCE}/+")])
            self._linked.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send(client))
                async for message in client.messages:
                    self._take(str(message.topic), message.payload)

    def _take(self, topic: str, payload: Any) -> None:
        if topic.startswith(FENCE):
            passed = self._fences.pop(topic, None)
            if passed is not None and not passed.done():
                passed.set_result(None)
            return
        # Whoever says something is connected, even if the log has not been read that far.
        client_id = topic.removeprefix(THINGS).partition("/")[0]
        if client_id in self._up or self._admit(client_id):
            try:
                deliver(self._gate, client_id, topic, bytes(payload or b""))
            except Exception:  # one device's message must not part the plane from all of them
                _logger.exception("control plane: a message of %s failed", client_id)
                self.disconnect(client_id)

    async def _send(self, client: aiomqtt.Client) -> None:
        """What goes out has been kept before; in order, many at a time."""
        while True:
            batch = [await self._outgoing.get()]
            while len(batch) < BATCH_MAX and not self._outgoing.empty():
                batch.append(self._outgoing.get_nowait())
            await self._kept()
            async with asyncio.TaskGroup() as group:
                for client_id, topic, data in batch:
                    if not client_id or client_id in self._up:
                        group.create_task(client.publish(topic, data, qos=1))

    # --- presence -----------------------------------------------------------------------

    async def _follow(self) -> None:
        """Apply what the log says, in its order, after all that was said before it."""
        while True:
            event = await self._events.get()
            if isinstance(event, Up):
                if event.client_id != PLANE and not await self._is_kicker(event):
                    self._admit(event.client_id)
            elif event.client_id in self._up:
                await self._fence()
                self._gone(event.client_id)

    def _admit(self, client_id: str) -> bool:
        """A client is here; one that the plane refuses is sent away again."""
        reason = self._gate.refusal(client_id, None)
        if reason:
            _logger.warning("control plane: %s is sent away: %s", client_id, reason)
            self._kick(client_id)
            return False
        self._up.add(client_id)
        self._gate.connected(client_id)
        return True

    def _gone(self, client_id: str) -> None:
        if client_id in self._up:
            self._up.discard(client_id)
            self._gate.disconnected(client_id)

    def _all_down(self) -> None:
        for client_id in list(self._up):
            self._gone(client_id)

    async def _fence(self) -> None:
        """Wait until everything that reached the broker before now has reached the plane."""
        topic = f"{FENCE}/{next(self._numbers)}"
        passed = self._fences[topic] = asyncio.get_running_loop().create_future()
        await self._outgoing.put(("", topic, b""))
        with suppress(TimeoutError):
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await passed

    # --- cutting connections --------------------------------------------------------------

    def _kick(self, client_id: str) -> None:
        if client_id not in self._kicking:
            self._kicking[client_id] = asyncio.get_running_loop().create_future()
            self._kicks.put_nowait(client_id)

    async def _kick_on(self) -> None:
        while True:
            client_id = await self._kicks.get()
            try:
                await self._take_place(client_id)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                _logger.info("control plane: %s was quicker: %s", client_id, error)
            finally:
                self._kicking.pop(client_id).cancel()

    async def _take_place(self, client_id: str) -> None:
        """Connect as `client_id`, wait until the plane has heard all of the other, and leave."""
        identity = self._authority.issue_client(client_id, IDENTITY_VALID_S)
        write_identity(identity, self._path, "kicker")
        async with asyncio.timeout(CALL_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                self._host, self._port, ssl=self._context("kicker")
            )
            try:
                self._kickers.add((client_id, writer.get_extra_info("sockname")[1]))
                self._kicking[client_id].set_result(None)
                header = ConnectVariableHeader(keep_alive=int(CALL_TIMEOUT_S))
                header.clean_session_flag = True
                packet = ConnectPacket(variable_header=header, payload=ConnectPayload(client_id))
                writer.write(packet.to_bytes())
                await reader.readexactly(CONNACK_BYTES)
                await self._fence()
                self._gone(client_id)
            finally:
                writer.transport.abort()

    async def _is_kicker(self, event: Up) -> bool:
        """Whether it is not the client that has come, but who takes its place to cut it off."""
        kicking = self._kicking.get(event.client_id)
        if kicking is not None:
            await asyncio.wait({kicking}, timeout=CALL_TIMEOUT_S)
        known = (event.client_id, event.port)
        if known in self._kickers:
            self._kickers.discard(known)
            return True
        return False

    # --- revocation ---------------------------------------------------------------------

    def _revoked(self) -> None:
        """Certificates were revoked: from its next turn on Mosquitto refuses them."""
        self._write_revoked()
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGHUP)

    def _write_revoked(self) -> None:
        path = self._path / "revoked.pem"
        path.with_suffix(".new").write_text(self._authority.revoked_pem, encoding="ascii")
        path.with_suffix(".new").replace(path)
