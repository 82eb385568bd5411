"""The control plane served for real: HTTP for administrators, HTTPS and MQTT for devices."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from harness import __version__
from harness.cloud.front.admission import Admission
from harness.cloud.front.broker import EmbeddedBroker
from harness.cloud.front.brokers import KINDS, ClaimsOnly, SplitBroker
from harness.cloud.front.http_api import ApiFront
from harness.cloud.front.http_device import DeviceFront
from harness.cloud.front.http_neighbour import NeighbourFront
from harness.cloud.front.http_sts import Sts
from harness.cloud.front.keys import kept_keyring
from harness.cloud.front.listener import TRAFFIC
from harness.cloud.front.mosquitto import MosquittoBroker
from harness.cloud.front.planes import Planes
from harness.cloud.front.s3.dispatch import S3
from harness.cloud.front.tls import CLOSE_TIMEOUT_S, api_context, server_context
from harness.cloud.front.x509 import X509Authority
from harness.cloud.neighbour.directory import Directory
from harness.cloud.neighbour.export import LogExport
from harness.cloud.neighbour.process import Neighbours
from harness.cloud.neighbour.secrets import CameraSecrets
from harness.cloud.service.core import Endpoints, Settings
from harness.cloud.service.plane import ControlPlane
from harness.cloud.storage.storage import Storage
from harness.errors import InputError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from harness.cloud.access.keyring import AccessKey, Keyring
    from harness.cloud.front.brokers import Broker
    from harness.cloud.front.http_device import Feed
    from harness.cloud.front.listener import Log
    from harness.cloud.service.content import Content
    from harness.cloud.service.core import Record
    from harness.errors import HarnessError

EXPIRE_EVERY_S = 0.1  # how late a time-driven change may be noticed
BACKLOG = 512
LINE_BYTES_MAX = 1 << 16  # of a request line: 4096 characters of a token, all of them encoded


def _no_log(_: Mapping[str, Any]) -> None:
    pass


class CloudServer:
    """A control plane with its listeners; an async context manager.

    Ports of 0 are chosen by the system and readable once entered, like `plane` and `api_url`.
    `clock` is what the plane calls time (seconds since the epoch; may run faster than the wall
    clock); certificates and signatures always go by wall time. All that the plane knows is kept
    in `state_dir` and taken up from there, so `draw` must not repeat itself where a state is used
    again. `log` gets one mapping a request, free of secrets.

    `plane` is that of `account` and `region`; others come to be when a request is signed for
    them. `keys` are root keys as (account, access key, secret). Without one for `account` it is
    drawn once, kept in the state and readable as `root_key`. Beyond loopback the API is HTTPS
    only, as with `tls`.

    Clients are told to come to `advertised`, which is `host` unless that is no place to come to.
    The end waits `finish_s` for requests that are being answered.

    `broker` is `embedded` or `mosquitto`, which must be installed; then claims connect to
    `claim_port` and devices to `mqtt_port`, and else both to the same.

    Raises `InputError` when a port is taken, a key cannot be one or the state cannot be used.
    """

    plane: ControlPlane
    planes: Planes
    keyring: Keyring
    root_key: AccessKey
    neighbours: Neighbours
    ca_path: Path
    api_url: str
    https_url: str
    api_port: int
    https_port: int
    mqtt_port: int
    claim_port: int

    def __init__(
        self,
        *,
        state_dir: Path,
        draw: random.Random,
        record: Record,
        clock: Callable[[], float] = time.time,
        settings: Settings | None = None,
        host: str = "127.0.0.1",
        api_port: int = 0,
        https_port: int = 0,
        mqtt_port: int = 0,
        account: str = "123456789012",
        region: str = "us-east-1",
        keys: Sequence[tuple[str, str, str]] = (),
        tls: bool = False,
        broker: str = "embedded",
        advertised: str = "",
        finish_s: float = CLOSE_TIMEOUT_S / 2,
        log: Log = _no_log,
    ) -> None:
        if broker not in KINDS:
            raise InputError(f"unknown broker {broker!r}", hint=f"known: {', '.join(KINDS)}")
        self._kind = broker
        self._state_dir = state_dir
        self._draw = draw
        self._record = record
        self._clock = clock
        self._settings = settings
        self._host = host
        self._ports = {"api": api_port, "https": https_port, "mqtt": mqtt_port}
        self._account = account
        self._region = region
        self._keys = keys
        self._log = log
        self.tls = tls or not is_loopback(host)
        self._advertised = advertised or host
        self._finish_s = finish_s
        self._began_s = time.monotonic()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def disconnect(self, client_id: str) -> None:
        """Cut the MQTT connection of a client, as a fault would."""
        self._broker.disconnect(client_id)

    async def failed(self) -> HarnessError:
        """Wait until the plane is of no use any more, and say why.

        When state cannot be written, nothing is acknowledged from then on; when a broker of its
        own process has ended, no device is reached.
        """
        async with asyncio.TaskGroup() as group:
            ends = [
                group.create_task(self._storage.failed()),
                group.create_task(self._broker.failed()),
            ]
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
            return next(iter(done)).result()

    def health(self) -> Mapping[str, Any]:
        """Whether the server does what it should, and how much it holds."""
        planes = [
            {"account": plane.account, "region": plane.region, **plane.counts()}
            for plane in self.planes
        ]
        return {
            "status": "failing" if self._storage.failure else "ok",
            "version": __version__,
            "uptime_s": round(time.monotonic() - self._began_s, 3),
            "connections": len(self.clients),
            "planes": planes,
        }

    @property
    def clients(self) -> tuple[str, ...]:
        """Ids of the MQTT clients connected now."""
        return self._broker.clients

    async def _start(self, stack: AsyncExitStack) -> None:
        split = self._kind == "mosquitto"  # which takes the port of devices, held for it until then
        sockets = {
            name: self._bind(stack, name, port, listens=not split or name != "mqtt")
            for name, port in self._ports.items()
        }
        self.api_port, self.https_port, self.mqtt_port = (
            int(sockets[name].getsockname()[1]) for name in ("api", "https", "mqtt")
        )
        self.claim_port = self.mqtt_port
        if split:
            sockets["mqtt"] = self._bind(stack, "claims", 0)
            self.claim_port = int(sockets["mqtt"].getsockname()[1])
        self.api_url = f"{'https' if self.tls else 'http'}://{self._advertised}:{self.api_port}"
        self.https_url = f"https://{self._advertised}:{self.https_port}"
        self._storage = storage = await stack.enter_async_context(Storage(self._state_dir))
        self.keyring = kept_keyring(self._state_dir, self._account, self._keys)
        self.root_key = self.keyring.root(self._account)
        certificates = self._state_dir / "tls"
        certificates.mkdir(mode=0o700, exist_ok=True)
        self._authority = X509Authority.kept_in(certificates / "authority.pem")
        self.ca_pem = self._authority.ca_pem
        self.ca_path = certificates / "ca.pem"
        self.ca_path.write_text(self.ca_pem, encoding="ascii")
        identity = self._authority.issue_server(self._advertised)
        context = server_context(identity, certificates)
        self.planes = Planes(self._plane)
        self.plane = self.planes.get(self._account, self._region)
        for name in storage.planes():
            self.planes.get(*name.split("/"))
        self._broker = self._make_broker(sockets["mqtt"], context)
        stack.push_async_callback(self._broker.stop)
        await self._broker.start()
        secrets = CameraSecrets(self.planes)
        self.neighbours = Neighbours(
            self._state_dir, self._clock, storage.requests(), storage.kept, secrets
        )
        stack.push_async_callback(self.neighbours.close)
        directory = Directory(self.neighbours)
        api, feed = self._api(directory)
        secured = api_context(identity, certificates) if self.tls else None
        await self._serve(stack, api, sockets["api"], secured)
        device = DeviceFront(self.planes, self.keyring, directory, self._log, feed, storage.kept)
        await self._serve(stack, device.application, sockets["https"], context)
        ticker = asyncio.create_task(self._expire(), name="cloud expiry")
        stack.push_async_callback(_end, ticker)

    def _api(self, directory: Directory) -> tuple[web.Application, Feed]:
        """The endpoint for administrators, and where behind it telemetry is handed on to."""
        admission = Admission(self.keyring, time.time, directory)
        s3 = S3(self.planes, admission, self._storage, self._region)
        sts = Sts(admission, self.keyring, directory)
        export = LogExport(
            self.neighbours, self.planes.of_bucket, self.planes.find, self._storage.files
        )
        beside = NeighbourFront(
            self.planes, admission, self.neighbours, directory, export, self._storage
        )
        front = ApiFront(
            self.planes, admission, self._storage, s3, sts, beside, self.health, self._log
        )
        return front.application, beside.feed

    def _make_broker(self, listener: socket.socket, context: ssl.SSLContext) -> Broker:
        kept = self._storage.kept
        if self._kind == "embedded":
            return EmbeddedBroker(self.planes, kept, listener, context)
        address = (self._host, self.mqtt_port)
        devices = MosquittoBroker(self.planes, kept, self._authority, *address)
        claims = EmbeddedBroker(ClaimsOnly(self.planes), kept, listener, context)
        return SplitBroker(claims, devices)

    def publish_image(
        self, version: str, manifest: bytes, payload: Content, *,
        required: bool = False, alternate: bool = False, recalled: bool = False,
    ) -> None:  # fmt: skip
        """Put a firmware image into the catalogue, which is the same in every plane."""
        for plane in self.planes:
            plane.publish_image(
                version, manifest, payload,
                required=required, alternate=alternate, recalled=recalled,
            )  # fmt: skip

    def publish_metadata(self, files: Mapping[str, bytes]) -> None:
        """The signed metadata of the catalogue, by file name, the same in every plane."""
        for plane in self.planes:
            plane.publish_metadata(files)

    def _plane(self, account: str, region: str) -> ControlPlane:
        home = (account, region) == (self._account, self._region)
        store = self._storage.store(f"{account}/{region}")
        plane = ControlPlane(
            clock=self._clock,
            draw=self._draw if home else random.Random(self._draw.getrandbits(64)),
            authority=self._authority,
            objects=self._storage.objects(store),
            publish=lambda client, topic, payload: self._broker.publish(client, topic, payload),
            record=self._record,
            endpoints=Endpoints(
                self.api_url, self._advertised, self.mqtt_port, self.https_url, self.claim_port
            ),
            disconnect=self.disconnect,
            account=account,
            region=region,
            settings=self._settings,
            wall=time.time,
            store=store,
        )
        if not home:
            plane.adopt_images(self.plane)
        return plane

    def _bind(
        self, stack: AsyncExitStack, name: str, port: int, *, listens: bool = True
    ) -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        stack.callback(listener.close)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, port))
            if listens:
                listener.listen(BACKLOG)
        except OSError as error:
            raise InputError(
                f"control plane: cannot listen on {self._host}:{port} ({name}): {error.strerror}",
                hint="choose a free port, or 0 to have one chosen",
            ) from None
        listener.setblocking(False)
        return listener

    async def _serve(
        self,
        stack: AsyncExitStack,
        application: web.Application,
        listener: socket.socket,
        context: ssl.SSLContext | None,
    ) -> None:
        runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,
            shutdown_timeout=CLOSE_TIMEOUT_S / 2,
            max_line_size=LINE_BYTES_MAX,
        )
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        site = web.SockSite(runner, listener, ssl_context=context, backlog=BACKLOG)
        await site.start()
        # aiohttp reads no further bodies once it cleans up: what has begun must end before.
        stack.push_async_callback(application[TRAFFIC].end, self._finish_s)
        stack.push_async_callback(site.stop)

    async def _expire(self) -> None:
        while True:
            self.planes.expire()
            await asyncio.sleep(EXPIRE_EVERY_S)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _end(task: asyncio.Task[None]) -> None:
    """Stop a task; had it failed, its exception is raised here."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
