"""A control plane without I/O (`core`), and one that is served (`cloud`)."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
import ssl
import time
import zipfile
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import aiomqtt
import boto3.session
import botocore.config
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from harness.appliance.topic import ACCEPTED, CREATE_CERTIFICATE, REGISTER_THING, REJECTED
from harness.cloud.access.signer import signed_headers
from harness.cloud.front.server import CloudServer
from harness.cloud.service.authority import SymbolicAuthority
from harness.cloud.service.content import BytesContent, MemoryObjects
from harness.cloud.service.core import PACKAGE_BUCKET, Endpoints, Settings
from harness.cloud.service.plane import ControlPlane
from harness.cloud.service.state import KeptStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from harness.cloud.access.keyring import AccessKey
    from harness.cloud.service.table import Change

ACCOUNT = "123456789012"
KEYS = {  # account -> access key and secret
    ACCOUNT: ("AKIDEXAMPLE00001", "not a secret"),
    "210987654321": ("AKIDEXAMPLE00002", "no secret either"),
}
EPOCH_S = 1_700_000_000.0
WAIT_S = 5.0


class Disk:
    """A journal that keeps rows as a database does, and knows whether a store matches them."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, bytes]] = {}

    def append(self, changes: Sequence[Change]) -> None:
        for table, key, data in changes:
            if data is None:
                del self.rows[table][key]
            else:
                self.rows.setdefault(table, {})[key] = data

    def load(self) -> KeptStore:
        return KeptStore(self, {table: rows.items() for table, rows in self.rows.items()})

    def check(self, store: KeptStore) -> None:
        """Everything the store holds, in its order, is what a restart would find."""
        again = self.load()
        for field_ in fields(store):
            mine, kept = (dict(getattr(one, field_.name)) for one in (store, again))
            assert mine == kept, f"{field_.name}: not committed"
            assert list(mine) == list(kept), f"{field_.name}: in another order"
        store.forget()


class Core:
    """The pure plane with everything around it under the test's control.

    After every call whatever the plane knows must have been committed.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        seed: int = 1,
        wall: Callable[[], float] | None = None,
    ) -> None:
        self.now_s = EPOCH_S
        self.wall = wall
        self.seed = seed
        self.settings = settings
        self.disk = Disk()
        self.sent: list[tuple[str, str, Any]] = []
        self.events: list[tuple[str, Any]] = []
        self.cut: list[str] = []
        self.authority = SymbolicAuthority()
        self.objects = MemoryObjects()
        self.start()

    def start(self) -> None:
        """A plane that takes up what is kept, as after a crash."""
        self.store = self.disk.load()
        self.plane = ControlPlane(
            clock=lambda: self.now_s,
            draw=random.Random(self.seed),
            authority=self.authority,
            objects=self.objects,
            publish=lambda *message: self.sent.append(message),
            record=lambda *event: self.events.append(event),
            endpoints=Endpoints("http://cloud", "cloud", 8883, "https://cloud"),
            disconnect=self.cut.append,
            settings=self.settings,
            wall=self.wall,
            store=self.store,
        )

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        try:
            return self.plane.call(operation, parameters)
        finally:
            self.disk.check(self.store)

    def answer(self, topic: str) -> Any:
        """The newest message on `topic`."""
        return next(payload for _, name, payload in reversed(self.sent) if name == topic)

    def statuses(self, kind: str) -> list[str]:
        return [values["status"] for name, values in self.events if name == kind]

    def register(self, name: str = "north") -> str:
        """Provision and register over the claim; the device is not connected yet."""
        device = str(self.call("ProvisionDevice", Name=name)["DeviceId"])
        claim = f"claim-{device}"
        self.plane.receive(claim, CREATE_CERTIFICATE, {"certificateSigningRequest": "request"})
        token = self.answer(CREATE_CERTIFICATE + ACCEPTED)["certificateOwnershipToken"]
        asked = {"certificateOwnershipToken": token, "parameters": {"DeviceId": device}}
        self.plane.receive(claim, REGISTER_THING, asked)
        return device

    def online(self, name: str = "north", software: str = "6.2.1") -> str:
        device = self.register(name)
        self.plane.connected(device)
        self.report(device, "device", {"software": software, "slot": "a"})
        return device

    def say(self, device: str, rest: str, payload: Any) -> None:
        self.plane.receive(device, f"$aws/things/{device}/{rest}", payload)
        self.disk.check(self.store)

    def report(self, device: str, shadow: str, reported: Any) -> None:
        self.say(device, f"shadow/name/{shadow}/update", {"state": {"reported": reported}})

    def report_instance(self, device: str, instance: str, status: str, **more: Any) -> None:
        entry = {"status": status, **more}
        self.report(device, "applications", {"instances": {instance: entry}})


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture
def make_core() -> Callable[..., Core]:
    return Core


# --- an application ------------------------------------------------------------------------


@dataclass
class Application:
    """A small application: what is uploaded, and what is deployed."""

    package: str = "counter"
    asset: bytes = b"a container"
    descriptor: bytes = b'{"runtimeDescriptor": {"entry": {"path": "python3"}}}'

    @property
    def manifest(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.asset).hexdigest()
        described = hashlib.sha256(self.descriptor).hexdigest()
        container = {
            "type": "container",
            "assetUri": f"{digest}.tar.gz",
            "descriptorUri": f"{described}.json",
        }
        return {
            "nodePackage": {
                "envelopeVersion": "2021-01-01",
                "name": self.package,
                "version": "1.0",
                "assets": [{"name": "code", "implementations": [container]}],
                "interfaces": [
                    {
                        "name": "counter",
                        "category": "business_logic",
                        "asset": "code",
                        "inputs": [{"name": "video_in", "type": "media"}],
                        "outputs": [],
                    }
                ],
            }
        }

    @property
    def manifest_bytes(self) -> bytes:
        return json.dumps(self.manifest).encode()

    @property
    def patch(self) -> str:
        return hashlib.sha256(self.manifest_bytes).hexdigest()

    def uploads(self, location: dict[str, str]) -> dict[str, bytes]:
        """Key to content, as the packager lays them out."""
        assets = location["BinaryPrefixLocation"]
        manifests = location["ManifestPrefixLocation"]
        return {
            f"{assets}/{hashlib.sha256(self.asset).hexdigest()}.tar.gz": self.asset,
            f"{assets}/{hashlib.sha256(self.descriptor).hexdigest()}.json": self.descriptor,
            f"{manifests}/1.0/{self.patch}.json": self.manifest_bytes,
        }

    @property
    def graph(self) -> dict[str, Any]:
        camera = "panorama::abstract_rtsp_media_source"
        return {
            "nodeGraph": {
                "envelopeVersion": "2021-01-01",
                "packages": [
                    {"name": f"{ACCOUNT}::{self.package}", "version": "1.0"},
                    {"name": camera, "version": "1.0"},
                ],
                "nodes": [
                    {"name": "code_node", "interface": f"{ACCOUNT}::{self.package}.counter"},
                    {
                        "name": "camera_in",
                        "interface": f"{camera}.rtsp_v1_interface",
                        "overridable": True,
                        "overrideMandatory": True,
                    },
                ],
                "edges": [{"producer": "camera_in.video_out", "consumer": "code_node.video_in"}],
            }
        }

    def overrides(self, *cameras: str) -> dict[str, Any]:
        return {
            "nodeGraphOverrides": {
                "envelopeVersion": "2021-01-01",
                "packages": [{"name": f"{ACCOUNT}::{name}", "version": "1.0"} for name in cameras],
                "nodes": [
                    {"name": name, "interface": f"{ACCOUNT}::{name}.{name}"} for name in cameras
                ],
                "nodeOverrides": [
                    {"replace": "camera_in", "with": [{"name": name} for name in cameras]}
                ],
            }
        }

    def request(self, device: str, *cameras: str, **more: Any) -> dict[str, Any]:
        """Parameters of CreateApplicationInstance."""
        return {
            "Name": "counter-north",
            "DefaultRuntimeContextDevice": device,
            "ManifestPayload": {"PayloadData": json.dumps(self.graph)},
            "ManifestOverridesPayload": {"PayloadData": json.dumps(self.overrides(*cameras))},
            **more,
        }

    def install(self, core: Core, *cameras: str) -> None:
        """Register the package and the cameras with a pure plane."""
        location = core.call("CreatePackage", PackageName=self.package)["StorageLocation"]
        for key, data in self.uploads(location).items():
            core.objects.put(PACKAGE_BUCKET, key, BytesContent(data))
        core.call(
            "RegisterPackageVersion",
            PackageId=f"packageName/{self.package}",
            PackageVersion="1.0",
            PatchVersion=self.patch,
            MarkLatest=True,
        )
        for camera in cameras:
            core.call("CreateNodeFromTemplateJob", **camera_request(camera))


def camera_request(name: str) -> dict[str, Any]:
    return {
        "TemplateType": "RTSP_CAMERA_STREAM",
        "NodeName": name,
        "OutputPackageName": name,
        "OutputPackageVersion": "1.0",
        "TemplateParameters": {
            "Username": "viewer",
            "Password": f"secret of {name}",
            "StreamUrl": f"rtsp://127.0.0.1:8554/{name}",
        },
    }


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def new_camera() -> Callable[[str], dict[str, Any]]:
    return camera_request


# --- served --------------------------------------------------------------------------------


@dataclass
class Credentials:
    """Files of a TLS client."""

    certificate: Path
    key: Path
    ca: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass
class Cloud:
    """A served plane and the clients a test needs."""

    server: CloudServer
    directory: Path
    events: list[tuple[str, Any]] = field(default_factory=list)
    log: list[Any] = field(default_factory=list)

    async def call(self, client: Any, operation: str, **parameters: Any) -> Any:
        """A boto3 operation, off the event loop."""
        return await asyncio.to_thread(getattr(client, operation), **parameters)

    def upload(self, application: Application, location: dict[str, str]) -> None:
        for key, data in application.uploads(location).items():
            self.server.plane.buckets.put(PACKAGE_BUCKET, key, BytesContent(data))

    def sign(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        service: str = "panorama",
        headers: Mapping[str, str] | None = None,
        *,
        payload: str = "",
        key: AccessKey | None = None,
        region: str = "us-east-1",
        now_s: float | None = None,
    ) -> dict[str, str]:
        """Headers of a signed request. `payload` is signed in the place of the body's hash."""
        return signed_headers(
            key or self.server.root_key,
            region,
            service,
            method,
            target,
            {"Host": f"127.0.0.1:{self.server.api_port}", **(headers or {})},
            payload or hashlib.sha256(body).hexdigest(),
            time.time() if now_s is None else now_s,
        )

    def write(self, name: str, certificate: str, key: str) -> Credentials:
        paths = [self.directory / f"{name}.{part}.pem" for part in ("cert", "key", "ca")]
        for path, text in zip(paths, (certificate, key, self.server.ca_pem), strict=True):
            path.write_text(text, encoding="ascii")
        return Credentials(*paths)

    def claim(self, name: str) -> tuple[str, Credentials]:
        return self.unpack(self.server.plane.call("ProvisionDevice", {"Name": name}))

    def unpack(self, answer: Mapping[str, Any]) -> tuple[str, Credentials]:
        """The id and the claim in what ProvisionDevice answered."""
        with zipfile.ZipFile(io.BytesIO(answer["Certificates"])) as archive:
            files = {entry: archive.read(entry).decode() for entry in archive.namelist()}
        device = str(answer["DeviceId"])
        return device, self.write(
            f"claim-{device}", files["claim.cert.pem"], files["claim.key.pem"]
        )

    async def register(self, name: str) -> tuple[str, Credentials]:
        """Provision over MQTT as a device does; its id and its own credentials."""
        return await self.register_claimed(*self.claim(name))

    async def register_archive(self, answer: Mapping[str, Any]) -> tuple[str, Credentials]:
        """As `register`, with what ProvisionDevice answered, of whatever plane."""
        return await self.register_claimed(*self.unpack(answer))

    async def register_claimed(self, device: str, claim: Credentials) -> tuple[str, Credentials]:
        key, request = certificate_request(device)
        async with self.mqtt(f"claim-{device}", claim) as client:
            for topic in (CREATE_CERTIFICATE, REGISTER_THING):
                await client.subscribe([(topic + ACCEPTED, 1), (topic + REJECTED, 1)])
            signed = await ask(client, CREATE_CERTIFICATE, {"certificateSigningRequest": request})
            token = signed["certificateOwnershipToken"]
            named = {"certificateOwnershipToken": token, "parameters": {"DeviceId": device}}
            registered = await ask(client, REGISTER_THING, named)
        assert registered["thingName"] == device
        return device, self.write(device, signed["certificatePem"], key)

    def mqtt(
        self,
        client_id: str,
        credentials: Credentials | None,
        timeout_s: float = WAIT_S,
        **more: Any,
    ) -> aiomqtt.Client:
        server = self.server
        context = credentials.context() if credentials else _anonymous(server.ca_pem)
        return aiomqtt.Client(
            "127.0.0.1",
            server.claim_port if client_id.startswith("claim-") else server.mqtt_port,
            identifier=client_id,
            tls_context=context,
            timeout=timeout_s,
            protocol=aiomqtt.ProtocolVersion.V311,
            **more,
        )


def _anonymous(ca_pem: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca_pem)


def certificate_request(name: str) -> tuple[str, str]:
    """A key and a request, as a device makes them."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return text, request.public_bytes(Encoding.PEM).decode()


async def next_message(client: aiomqtt.Client) -> tuple[str, Any]:
    async with asyncio.timeout(WAIT_S):
        message = await anext(aiter(client.messages))
    return str(message.topic), json.loads(bytes(message.payload))


async def ask(client: aiomqtt.Client, topic: str, payload: Any) -> Any:
    """Publish and wait for the answer on the accepted topic."""
    await client.publish(topic, json.dumps(payload), qos=1)
    answered, answer = await next_message(client)
    assert answered == topic + ACCEPTED, answer
    return answer


@pytest.fixture
def new_request() -> Callable[[str], tuple[str, str]]:
    return certificate_request


@pytest.fixture
def broker() -> str:
    """What serves MQTT; the contract of the brokers has one run for each."""
    return "embedded"


@pytest.fixture
async def cloud(tmp_path: Path, broker: str) -> AsyncIterator[Cloud]:
    events: list[tuple[str, Any]] = []
    log: list[Any] = []
    server = CloudServer(
        state_dir=tmp_path / "state",
        draw=random.Random(7),
        record=lambda *event: events.append(event),
        keys=[(account, *key) for account, key in KEYS.items()],
        broker=broker,
        log=log.append,
    )
    async with server:
        for bucket in ("bucket", "a-bucket"):
            server.plane.buckets.make(bucket)
        yield Cloud(server, tmp_path, events, log)


@pytest.fixture
def boto(cloud: Cloud) -> Iterator[Callable[..., Any]]:
    """Unmodified boto clients by service name, of an account and a region."""
    session = boto3.session.Session()
    clients = []

    def make(
        service: str,
        account: str = ACCOUNT,
        region: str = "us-east-1",
        retries: int = 0,
        signature_version: str | None = None,
        timeout_s: float = WAIT_S,
    ) -> Any:
        config = botocore.config.Config(
            retries={"max_attempts": retries},
            connect_timeout=WAIT_S,
            read_timeout=timeout_s,
            signature_version=signature_version,
        )
        client = session.client(
            service,
            region_name=region,
            endpoint_url=cloud.server.api_url,
            aws_access_key_id=KEYS[account][0],
            aws_secret_access_key=KEYS[account][1],
            config=config,
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()
