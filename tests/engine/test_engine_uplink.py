"""The appliance's side of the control plane, against the real server on loopback."""

from __future__ import annotations

import asyncio
import io
import json
import random
import socket
import stat
import zipfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from harness.appliance.effect import LinkLost, MessageArrived
from harness.appliance.topic import ACCEPTED, CREATE_CERTIFICATE, REGISTER_THING, job_next
from harness.cloud.front.client import ApiClient
from harness.cloud.front.server import CloudServer
from harness.cloud.front.x509 import X509Authority
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import FIRMWARE_BUCKET
from harness.engine.process import uplink as uplink_module
from harness.engine.process.link import Link
from harness.engine.process.uplink import Uplink
from harness.errors import Corrupt, LinkDown, PeerError, PeerRefused, PeerTimeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WAIT_S = 10.0
TIME_SCALE = 60.0


@dataclass
class Inbox:
    """What an uplink told its owner."""

    messages: asyncio.Queue[object] = field(default_factory=asyncio.Queue)

    def __call__(self, message: object) -> None:
        self.messages.put_nowait(message)

    async def next(self) -> Any:
        async with asyncio.timeout(WAIT_S):
            return await self.messages.get()


@dataclass
class Site:
    """A control plane, and an uplink whose device has a claim to it."""

    cloud: CloudServer
    group: asyncio.TaskGroup
    directory: Path
    device: str
    claim: dict[str, bytes]
    uplinks: list[Uplink] = field(default_factory=list)
    inbox: Inbox = field(default_factory=Inbox)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.cloud.mqtt_port}"

    def uplink(self) -> Uplink:
        home = self.directory / f"home-{len(self.uplinks)}"
        home.mkdir()
        uplink = Uplink(self.group, Link(self.group), home, TIME_SCALE)
        self.uplinks.append(uplink)
        return uplink

    async def claimed(self) -> Uplink:
        """An uplink with the claim certificate of the device."""
        uplink = self.uplink()
        await uplink.use_identity(
            self.claim["claim.cert.pem"].decode(),
            self.claim["claim.key.pem"].decode(),
            self.claim["ca.pem"].decode(),
        )
        return uplink

    async def connect(self, uplink: Uplink, client_id: str = "", timeout_s: float = 8.0) -> None:
        name = client_id or f"claim-{self.device}"
        await uplink.connect(self.endpoint, name, timeout_s, self.inbox)

    async def until_clients(self, *wanted: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while self.cloud.clients != wanted:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)


@asynccontextmanager
async def site_in(directory: Path) -> AsyncIterator[Site]:
    cloud = CloudServer(state_dir=directory / "cloud", draw=random.Random(1), record=_ignore)
    async with (
        cloud,
        ApiClient(cloud.api_url, key=cloud.root_key) as client,
        asyncio.TaskGroup() as group,
    ):
        answer = await client.call("ProvisionDevice", {"Name": "north"})
        with zipfile.ZipFile(io.BytesIO(answer["Certificates"])) as archive:
            claim = {name: archive.read(name) for name in archive.namelist()}
        site = Site(cloud, group, directory, answer["DeviceId"], claim)
        try:
            yield site
        finally:
            for uplink in site.uplinks:
                await uplink.close()
                await uplink.link.close()


def _ignore(_kind: str, _values: Any) -> None:
    pass


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with site_in(tmp_path) as site:
        yield site


# --- identity ----------------------------------------------------------------------------------


async def test_the_key_is_for_its_owner_only(site: Site) -> None:
    uplink = await site.claimed()
    for name in ("identity.key", "identity.pem"):
        assert stat.S_IMODE((uplink.directory / name).stat().st_mode) == 0o600
    # A second identity takes the place of the first, with the same rights.
    await uplink.use_identity(
        site.claim["claim.cert.pem"].decode(),
        site.claim["claim.key.pem"].decode(),
        site.claim["ca.pem"].decode(),
    )
    assert stat.S_IMODE((uplink.directory / "identity.key").stat().st_mode) == 0o600


async def test_a_damaged_identity_is_named(site: Site) -> None:
    with pytest.raises(Corrupt, match="TLS identity") as caught:
        await site.uplink().use_identity(
            "-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n",
            site.claim["claim.key.pem"].decode(),
            site.claim["ca.pem"].decode(),
        )
    assert caught.value.hint


def test_keys_are_fresh_and_requests_name_the_device() -> None:
    first, second = Uplink.make_key("device-1"), Uplink.make_key("device-1")
    assert first[0] != second[0]
    assert first[0].startswith("-----BEGIN PRIVATE KEY-----")
    assert first[1].startswith("-----BEGIN CERTIFICATE REQUEST-----")


# --- MQTT ----------------------------------------------------------------------------------------


async def test_the_right_certificate_connects_and_messages_come_both_ways(site: Site) -> None:
    uplink = await site.claimed()
    await site.connect(uplink)
    assert site.cloud.clients == (f"claim-{site.device}",)
    await uplink.subscribe((CREATE_CERTIFICATE + ACCEPTED,))
    _, request = uplink.make_key(site.device)
    await uplink.publish(CREATE_CERTIFICATE, {"certificateSigningRequest": request})
    message = await site.inbox.next()
    assert isinstance(message, MessageArrived)
    assert message.topic == CREATE_CERTIFICATE + ACCEPTED
    assert message.payload["certificatePem"].startswith("-----BEGIN CERTIFICATE")


async def test_the_certificate_of_another_device_is_refused(site: Site) -> None:
    uplink = await site.claimed()
    with pytest.raises(PeerRefused, match=r"[Nn]ot authori[sz]ed"):
        await site.connect(uplink, "claim-somebody-else")
    assert site.cloud.clients == ()


async def test_the_certificate_of_another_authority_is_refused(site: Site) -> None:
    """TLS 1.3 tells a client only after its handshake: there is no CONNACK, and no hang."""
    stranger = X509Authority().issue_claim(site.device, 600.0)
    uplink = site.uplink()
    await uplink.use_identity(
        stranger.certificate_pem, stranger.private_key_pem, site.claim["ca.pem"].decode()
    )
    with pytest.raises(LinkDown, match=r"before CONNACK.*certificate") as caught:
        await site.connect(uplink, timeout_s=3600.0)
    assert not isinstance(caught.value, PeerTimeout)
    assert site.cloud.clients == ()


async def test_a_server_of_another_authority_is_not_trusted(site: Site) -> None:
    uplink = site.uplink()
    await uplink.use_identity(
        site.claim["claim.cert.pem"].decode(),
        site.claim["claim.key.pem"].decode(),
        X509Authority().ca_pem,
    )
    with pytest.raises(LinkDown, match=r"(?i)certificate verify failed"):
        await site.connect(uplink)
    with pytest.raises(LinkDown, match=r"(?i)certificate verify failed"):
        await uplink.get(f"{site.cloud.https_url}/some/where", 100)


async def test_a_broken_link_refuses_at_once_and_tells_of_its_loss(site: Site) -> None:
    uplink = await site.claimed()
    await site.connect(uplink)
    uplink.link.cut()
    lost = await site.inbox.next()
    assert isinstance(lost, LinkLost)
    assert lost.reason
    assert "Unspecified" not in lost.reason
    with pytest.raises(LinkDown):
        await uplink.publish("$aws/things/x/shadow", {})
    with pytest.raises(LinkDown, match="refused"):
        await site.connect(uplink)
    await uplink.link.restore()
    await site.connect(uplink)


async def test_a_silent_link_times_out(site: Site) -> None:
    uplink = await site.claimed()
    uplink.link.hush()
    with pytest.raises(PeerError):
        await site.connect(uplink, timeout_s=0.5)
    await uplink.link.restore()


async def test_no_answer_to_connect_is_a_timeout_that_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    uplink = await site.claimed()
    uplink.link.hush()
    with pytest.raises(PeerTimeout, match=r"no answer to MQTT CONNECT in 0\.2 s"):
        await site.connect(uplink, timeout_s=0.2)


async def test_publishing_without_a_connection_says_so(site: Site) -> None:
    uplink = await site.claimed()
    with pytest.raises(LinkDown, match="no connection to the control plane"):
        await uplink.publish("$aws/things/x/shadow", {})
    with pytest.raises(LinkDown, match="no connection to the control plane"):
        await uplink.subscribe(("a",))
    with pytest.raises(LinkDown, match="no connection to the control plane"):
        uplink.beat("a", {}, 1.0)


async def test_a_connection_replaces_the_one_before(site: Site) -> None:
    uplink = await site.claimed()
    await site.connect(uplink)
    await site.connect(uplink)
    await site.until_clients(f"claim-{site.device}")
    await uplink.disconnect()
    await site.until_clients()
    assert site.inbox.messages.empty()  # it was asked for: no loss is told


async def test_drop_leaves_nothing(site: Site) -> None:
    uplink = await site.claimed()
    await site.connect(uplink)
    uplink.beat(job_next("x"), {}, 0.01)
    uplink.drop()
    await uplink.close()
    await uplink.link.close()
    await site.until_clients()
    assert uplink.link.halves == set()
    assert site.inbox.messages.empty()
    names = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}  # type: ignore[union-attr]
    assert not {name for name in names if name.startswith(("Session.", "Uplink.", "_Inner."))}


async def test_drop_while_connecting_leaves_nothing(site: Site) -> None:
    uplink = await site.claimed()
    uplink.link.hush()
    connecting = asyncio.create_task(site.connect(uplink))
    while not uplink.link.halves:  # noqa: ASYNC110 - until the relay has accepted
        await asyncio.sleep(0)
    connecting.cancel()
    uplink.drop()
    await asyncio.gather(connecting, return_exceptions=True)
    await uplink.close()
    assert site.cloud.clients == ()


async def test_close_waits_for_a_connection_that_was_given_up(site: Site) -> None:
    """Whoever waits for the end of an old connection may be cancelled; its socket must not leak."""
    uplink = await site.claimed()
    uplink.link.hush()
    with pytest.raises(PeerTimeout):
        await site.connect(uplink, timeout_s=0.1)
    again = asyncio.create_task(site.connect(uplink))
    await asyncio.sleep(0)  # it waits for the first one to end
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    await uplink.link.restore()
    await uplink.close()


# --- HTTPS ---------------------------------------------------------------------------------------


@pytest.fixture
async def device(site: Site) -> Uplink:
    """An uplink with the device's own certificate."""
    uplink = await site.claimed()
    await site.connect(uplink)
    await uplink.subscribe((CREATE_CERTIFICATE + ACCEPTED,))
    key, request = uplink.make_key(site.device)
    await uplink.publish(CREATE_CERTIFICATE, {"certificateSigningRequest": request})
    signed = (await site.inbox.next()).payload
    await _register(site, uplink, signed["certificateOwnershipToken"])
    await uplink.use_identity(signed["certificatePem"], key, site.claim["ca.pem"].decode())
    return uplink


async def _register(site: Site, uplink: Uplink, token: str) -> None:
    await uplink.subscribe((REGISTER_THING + ACCEPTED,))
    parameters = {"DeviceId": site.device}
    await uplink.publish(
        REGISTER_THING, {"certificateOwnershipToken": token, "parameters": parameters}
    )
    assert (await site.inbox.next()).topic == REGISTER_THING + ACCEPTED


def publish(site: Site, key: str, data: bytes) -> str:
    """Put an object where devices may fetch it; its URL."""
    site.cloud.plane._core.objects.put(FIRMWARE_BUCKET, key, BytesContent(data))
    return f"{site.cloud.https_url}/{FIRMWARE_BUCKET}/{key}"


async def test_get_is_bounded(site: Site, device: Uplink) -> None:
    url = publish(site, "small", b"x" * 1000)
    assert await device.get(url, 1000) == b"x" * 1000
    with pytest.raises(PeerRefused, match="larger than 999 bytes"):
        await device.get(url, 999)
    with pytest.raises(PeerRefused, match="404"):
        await device.get(url + "er", 1000)


async def test_streams_come_in_whole_pieces_and_resume(site: Site, device: Uplink) -> None:
    data = random.Random(3).randbytes(100_000)
    url = publish(site, "large", data)
    pieces = [piece async for piece in device.stream(url, 0, len(data), len(data), 30_000)]
    assert [len(piece) for piece in pieces] == [30_000, 30_000, 30_000, 10_000]
    assert b"".join(pieces) == data
    rest = [piece async for piece in device.stream(url, 60_000, len(data), len(data), 30_000)]
    assert b"".join(rest) == data[60_000:]


async def test_a_stream_gives_no_more_than_was_asked_for(site: Site, device: Uplink) -> None:
    url = publish(site, "longer", b"x" * 5000)
    assert [p async for p in device.stream(url, 0, 4000, 5000, 3000)] == [b"x" * 3000, b"x" * 1000]


@pytest.mark.parametrize(("start", "until"), [(0, 5001), (1000, 4000)])
async def test_content_of_another_length_is_not_read(
    start: int, until: int, site: Site, device: Uplink
) -> None:
    url = publish(site, "longer", b"x" * 5000)
    with pytest.raises(PeerRefused, match="5000 bytes, not 5001"):
        await anext(device.stream(url, start, until, 5001, 3000))


async def test_a_stream_that_only_drips_is_given_up(
    site: Site, device: Uplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server is as fast as this one would have to be."""
    monkeypatch.setattr(uplink_module, "SLOWEST_BYTES_PER_S", 1e18)
    url = publish(site, "dripping", b"x" * 5000)
    with pytest.raises(PeerTimeout, match="dripping: slower than"):
        await anext(device.stream(url, 0, 5000, 5000, 3000))


async def test_an_endpoint_is_reached_over_the_link_or_not(site: Site, device: Uplink) -> None:
    open_port = site.cloud.mqtt_port
    await device.reach(f"127.0.0.1:{open_port}", 10.0)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else gets it
        with pytest.raises(LinkDown, match=str(unused.getsockname()[1])):
            await device.reach(f"127.0.0.1:{unused.getsockname()[1]}", 10.0)
    device.blocked = frozenset({"ecr.test:443"})
    device.services = f"127.0.0.1:{open_port}"
    await device.reach("iot.test:443", 10.0)
    with pytest.raises(PeerTimeout, match="ecr"):
        await device.reach("ecr.test:443", 0.01)
    device.link.hush()
    with pytest.raises(PeerTimeout, match=r"no answer in 0\.01 s"):
        await device.reach(f"127.0.0.1:{open_port}", 0.01)
    device.link.cut()
    with pytest.raises(LinkDown, match="link is broken"):
        await device.reach(f"127.0.0.1:{open_port}", 10.0)


async def test_a_stream_that_breaks_keeps_what_came(site: Site, device: Uplink) -> None:
    data = random.Random(4).randbytes(8 << 20)
    url = publish(site, "breaks", data)
    came = bytearray()

    async def read() -> None:
        async for piece in device.stream(url, 0, len(data), len(data), 1 << 16):
            came.extend(piece)
            if len(came) == 1 << 17:
                device.link.cut()

    with pytest.raises(PeerError, match="breaks"):
        await read()
    assert bytes(came) == data[: len(came)]
    assert len(came) < len(data)


async def test_https_asks_for_the_devices_own_certificate(site: Site, device: Uplink) -> None:
    url = publish(site, "mine", json.dumps({"a": 1}).encode())
    claimed = await site.claimed()
    with pytest.raises(PeerRefused, match="403"):
        await claimed.get(url, 100)
