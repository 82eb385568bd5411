"""What is measured, each in a process of its own on a core of its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from harness.cloud.access.keyring import AccessKey, Principal
from harness.cloud.access.signer import signed_headers
from harness.cloud.api import load
from harness.cloud.api.wire import write_request
from harness.cloud.front import mosquitto_files
from harness.cloud.front.server import CloudServer
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import Settings
from harness.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.connection import Connection

START_S = 60.0
IMAGE = "6.2.2"
BRAND, TYPE = "AWS_PANORAMA", "PANORAMA_APPLIANCE"
ACCOUNT, REGION = "123456789012", "us-east-1"
BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Identity:
    """A device's certificate and key, as it would have them after registration."""

    thing: str
    certificate_pem: str
    private_key_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens, with which key, and the devices that it knows."""

    port: int
    key_id: str
    secret: str
    devices: tuple[str, ...] = ()
    identities: tuple[Identity, ...] = ()
    mqtt_port: int = 0
    ca_pem: str = ""
    pid: int = 0

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @property
    def jobs(self) -> list[tuple[str, Mapping[str, Any]]]:
        """An update for every device: the operation and its parameters."""
        config = {"OTAJobConfig": {"ImageVersion": IMAGE}}
        return [
            (
                "CreateJobForDevices",
                {"DeviceIds": [device], "JobType": "OTA", "DeviceJobConfig": config},
            )
            for device in self.devices
        ]

    def signed(self, operation: str, parameters: Mapping[str, Any]) -> bytes:
        """The request as it goes over the wire."""
        service = load()
        request = write_request(service, service.operations[operation], parameters)
        host = f"127.0.0.1:{self.port}"
        headers = {"Host": host, "Content-Type": "application/json"}
        digest = hashlib.sha256(request.body).hexdigest()
        key = AccessKey(self.key_id, self.secret, Principal(ACCOUNT, "", ""))
        sent = signed_headers(
            key, REGION, "panorama", request.method, request.target, headers, digest, time.time()
        )
        return _request(request.method, request.target, sent, request.body)

    def plain(self, target: str) -> bytes:
        return _request("GET", target, {"Host": f"127.0.0.1:{self.port}"}, b"")


def _request(method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode() + body


@contextmanager
def plane(
    core: int, devices: int, *, broker: str = "embedded", identities: bool = False
) -> Iterator[Place]:
    """The control plane with so many registered devices, its state on disk.

    Raises `CapabilityMissing` where its broker is not installed.
    """
    if broker == "mosquitto":
        mosquitto_files.program()
    with (
        tempfile.TemporaryDirectory(prefix="hil-bench-") as state,
        _process(_serve_plane, core, state, devices, broker, identities) as told,
    ):
        known = tuple(Identity(*one) for one in told.pop("identities"))
        yield Place(**{**told, "devices": tuple(told["devices"]), "identities": known})


@contextmanager
def bare(core: int, answer_bytes: int) -> Iterator[Place]:
    """A handler of aiohttp that sends as many bytes and does nothing for them."""
    with _process(_serve_bare, core, answer_bytes) as told:
        yield Place(told["port"], "", "")


@contextmanager
def _process(serve: Callable[..., None], core: int, *arguments: Any) -> Iterator[dict[str, Any]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, core, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(START_S):
            raise EngineError(f"{serve.__name__} did not come up in {START_S:g} s")
        told: dict[str, Any] = json.loads(ours.recv_bytes())
        yield told
    finally:
        process.terminate()
        process.join(10.0)
        if process.is_alive():
            process.kill()
            process.join()


def _serve_plane(
    pipe: Connection, core: int, state: str, devices: int, broker: str, identities: bool
) -> None:
    os.sched_setaffinity(0, {core})
    uvloop.run(_plane(pipe, Path(state), devices, broker, identities=identities))


async def _plane(
    pipe: Connection, state: Path, devices: int, broker: str, *, identities: bool
) -> None:
    server = CloudServer(
        state_dir=state,
        draw=random.Random(1),
        record=lambda _kind, _values: None,
        settings=Settings(),
        account=ACCOUNT,
        region=REGION,
        broker=broker,
    )
    async with server:
        server.publish_image(IMAGE, b"manifest", BytesContent(b"payload"))
        known = [_registered(server, f"device-{number}") for number in range(devices)]
        told = {
            "port": server.api_port,
            "key_id": server.root_key.id,
            "secret": server.root_key.secret,
            "devices": known,
            "identities": [_identity(server, thing) for thing in known] if identities else [],
            "mqtt_port": server.mqtt_port,
            "ca_pem": server.ca_path.read_text(encoding="utf-8"),
            "pid": os.getpid(),
        }
        await _until_terminated(pipe, told)


def _registered(server: CloudServer, name: str) -> str:
    """As after it has come with its stick: set in the store, since nobody connects for it here."""
    identifier = str(server.plane.call("ProvisionDevice", {"Name": name})["DeviceId"])
    store = server.plane._core.store
    device = store.devices[identifier]
    device.provisioning = "SUCCEEDED"
    device.shadow("device").reported = {"software": "6.2.1", "brand": BRAND, "type": TYPE}
    store.commit()
    return identifier


def _identity(server: CloudServer, thing: str) -> tuple[str, str, str]:
    """A certificate of the plane's authority, which the device is known by from now on."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, thing)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    core = server.plane._core
    certificate = core.authority.sign(request.public_bytes(Encoding.PEM).decode(), thing)
    core.store.devices[thing].certificate_id = core.authority.certificate_id(certificate)
    core.store.commit()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return thing, certificate, private


def _serve_bare(pipe: Connection, core: int, answer_bytes: int) -> None:
    os.sched_setaffinity(0, {core})
    asyncio.run(_bare(pipe, bytes(answer_bytes)))


async def _bare(pipe: Connection, answer: bytes) -> None:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response(body=answer, content_type="application/json")

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=BACKLOG)
    await site.start()
    try:
        await _until_terminated(pipe, {"port": runner.addresses[0][1]})
    finally:
        await runner.cleanup()


async def _until_terminated(pipe: Connection, told: Mapping[str, Any]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pipe.send_bytes(json.dumps(told).encode())
    await stop.wait()
