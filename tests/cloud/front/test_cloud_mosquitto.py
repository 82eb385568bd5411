"""Mosquitto beside the contract: its log, its files, its process, and what happens when it dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import aiomqtt
import psutil
import pytest
from cryptography import x509

from harness.appliance.topic import ACCEPTED, CREATE_CERTIFICATE, job_next
from harness.cloud.front import mosquitto_files
from harness.cloud.front.mosquitto import MosquittoBroker
from harness.cloud.front.mosquitto_files import Down, Running, Up, meaning, program
from harness.cloud.front.server import CloudServer
from harness.cloud.front.x509 import X509Authority
from harness.errors import CapabilityMissing, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

WAIT_S = 5.0
SHORT_S = 0.5

try:
    program()
    MISSING = ""
except CapabilityMissing as missing:
    MISSING = str(missing)
installed = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture
def broker() -> str:
    return "mosquitto"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - the condition has no event to wait on
            await asyncio.sleep(0.005)


# --- its log ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (
            "New client connected from 127.0.0.1:40463 as device-a (p2, c1, k30, u'device-a').",
            Up("device-a", 40463),
        ),
        ("New client connected from ::1:40463 as device-a (p2, c1, k30).", Up("device-a", 40463)),
        ("Client device-a closed its connection.", Down("device-a")),
        ("Client device-a [127.0.0.1:40463] closed its connection.", Down("device-a")),
        ("Client device-a disconnected.", Down("device-a")),
        ("Client device-a disconnected due to protocol error.", Down("device-a")),
        ("Client device-a disconnected: Protocol error.", Down("device-a")),
        ("Client device-a has exceeded timeout, disconnecting.", Down("device-a")),
        ("Client device-a been disconnected by administrative action.", Down("device-a")),
        ("Bad socket read/write on client device-a: Unknown error.", Down("device-a")),
        ("Client device-a already connected, closing old connection.", None),
        ("New connection from 127.0.0.1:40463 on port 8883.", None),
        ("OpenSSL Error[0]: error:0A000086:SSL routines::certificate verify failed", None),
        ("", None),
    ],
)
def test_lines_of_the_log_are_understood(line: str, event: Any) -> None:
    assert meaning(line) == event


def test_the_line_that_says_it_listens_is_known() -> None:
    assert isinstance(meaning("mosquitto version 2.0.11 running"), Running)
    assert meaning("mosquitto version 2.0.11 starting") is None


def test_without_mosquitto_the_hint_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mosquitto_files, "_PLACES", ())
    with pytest.raises(CapabilityMissing, match="mosquitto is not installed") as caught:
        program()
    assert "apt install mosquitto" in caught.value.hint
    assert "embedded" in caught.value.hint


def test_an_unknown_broker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown broker 'emqx'") as caught:
        CloudServer(state_dir=tmp_path, draw=None, record=None, broker="emqx")  # type: ignore[arg-type]
    assert caught.value.hint == "known: embedded, mosquitto"


# --- its process -----------------------------------------------------------------------------


class Plane:
    """A gate that lets everybody in and remembers."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def refusal(self, client_id: str, certificate_id: str | None) -> str:
        return ""

    def connected(self, client_id: str) -> None:
        self.told.append(("up", client_id))

    def disconnected(self, client_id: str) -> None:
        self.told.append(("down", client_id))

    def receive(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None:
        self.told.append((client_id, topic, json.dumps(payload)))

    def garbled(self, client_id: str, topic: str) -> None:
        self.told.append((client_id, topic))


async def kept() -> None:
    pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary directories are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@installed
async def test_its_files_are_private_and_gone_with_it(private: Path) -> None:
    broker = MosquittoBroker(Plane(), kept, X509Authority(), "127.0.0.1", free_port())
    await broker.start()
    directory, *files = modes(private)
    assert directory[1] == 0o700
    keys = [(name, mode) for name, mode in files if name.endswith(".key.pem")]
    assert keys == [("plane.key.pem", 0o600), ("server.key.pem", 0o600)]
    await broker.stop()
    assert modes(private) == []


def modes(folder: Path) -> list[tuple[str, int]]:
    """Everything below, a folder before what is in it."""
    return [(path.name, path.stat().st_mode & 0o777) for path in sorted(folder.rglob("*"))]


@installed
async def test_a_port_that_is_taken_is_said(private: Path) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    broker = MosquittoBroker(Plane(), kept, X509Authority(), "127.0.0.1", port)
    async with taken:
        with pytest.raises(CapabilityMissing, match=r"does not start: .*Address already in use"):
            await broker.start()
    assert modes(private) == []


@installed
async def test_a_served_plane_says_which_port_is_taken(cloud: Any, tmp_path: Path) -> None:
    second = CloudServer(
        state_dir=tmp_path / "second", draw=None, record=None,  # type: ignore[arg-type]
        broker="mosquitto", mqtt_port=cloud.server.mqtt_port,
    )  # fmt: skip
    with pytest.raises(InputError, match=rf"127\.0\.0\.1:{cloud.server.mqtt_port} \(mqtt\)"):
        async with second:
            pass


SCRIPT = """
import asyncio, os, random, sys
from pathlib import Path
from harness.cloud.front.server import CloudServer

async def main():
    server = CloudServer(
        state_dir=Path(sys.argv[1]), draw=random.Random(1), record=lambda *_: None,
        broker="mosquitto",
    )
    async with server:
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@installed
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_does_not_outlive_the_process_that_started_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "state")],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (mosquitto,) = psutil.Process(process.pid).children()
        assert mosquitto.name() == "mosquitto"
        process.send_signal(number)
        process.wait(WAIT_S)
    gone, _ = psutil.wait_procs([mosquitto], timeout=WAIT_S)
    assert gone == [mosquitto]


@installed
async def test_when_it_dies_every_device_is_away_and_the_plane_says_so(cloud: Any) -> None:
    device, credentials = await cloud.register("north")
    async with cloud.mqtt(device, credentials) as client:
        await client.publish(job_next(device), "{}", qos=1)
        await until(lambda: cloud.server.clients == (device,))
        failed = asyncio.create_task(cloud.server.failed())
        (mosquitto,) = (p for p in psutil.Process().children() if p.name() == "mosquitto")
        mosquitto.kill()
        error = await asyncio.wait_for(failed, WAIT_S)
        assert str(error).startswith("mosquitto has ended")
        assert cloud.server.clients == ()
        assert not cloud.server.plane._core.store.devices[device].connected


# --- who is sent away --------------------------------------------------------------------------


@installed
async def test_who_the_plane_does_not_know_is_sent_away(cloud: Any) -> None:
    """Its certificate is good, and nothing says that it was revoked."""
    identity = cloud.server._authority.issue_client("device-of-nobody")
    credentials = cloud.write("nobody", identity.certificate_pem, identity.private_key_pem)
    for _ in range(2):
        async with cloud.mqtt("device-of-nobody", credentials) as client:
            with pytest.raises(aiomqtt.MqttError):
                await asyncio.wait_for(anext(aiter(client.messages)), WAIT_S)
    assert cloud.server.clients == ()


@installed
async def test_a_certificate_that_another_took_the_place_of_is_revoked(
    cloud: Any, new_request: Callable[[str], tuple[str, str]]
) -> None:
    """Two were signed for one claim, and the second registered."""
    device, claim = cloud.claim("north")
    key, request = new_request(device)
    async with cloud.mqtt(f"claim-{device}", claim) as client:
        await client.subscribe(CREATE_CERTIFICATE + ACCEPTED, qos=1)
        asked = json.dumps({"certificateSigningRequest": request})
        await client.publish(CREATE_CERTIFICATE, asked, qos=1)
        answer = await asyncio.wait_for(anext(aiter(client.messages)), WAIT_S)
    first = cloud.write("first", json.loads(bytes(answer.payload))["certificatePem"], key)
    _, credentials = await cloud.register_claimed(device, claim)
    async with cloud.mqtt(device, credentials):
        await until(lambda: cloud.server.clients == (device,))
    with pytest.raises(aiomqtt.MqttError):
        async with cloud.mqtt(device, first, timeout_s=SHORT_S) as client:
            await asyncio.wait_for(anext(aiter(client.messages)), WAIT_S)


@installed
async def test_claims_have_a_place_of_their_own(cloud: Any) -> None:
    device, claim = cloud.claim("north")
    assert cloud.server.claim_port != cloud.server.mqtt_port
    async with cloud.mqtt(f"claim-{device}", claim):
        assert cloud.server.clients == (f"claim-{device}",)
    north, credentials = await cloud.register("south")
    server = cloud.server
    server.mqtt_port, kept_port = server.claim_port, server.mqtt_port
    with pytest.raises(aiomqtt.MqttError, match=r"(?i)not authori[sz]ed"):
        async with cloud.mqtt(north, credentials):
            pass
    server.mqtt_port = kept_port


@installed
async def test_what_was_revoked_stays_so_over_a_restart(cloud: Any, tmp_path: Path) -> None:
    device, _ = await cloud.register("north")
    cloud.server.plane.call("DeleteDevice", {"DeviceId": device})
    listed = cloud.server._authority.revoked_pem
    again = X509Authority.kept_in(tmp_path / "state" / "tls" / "authority.pem")
    assert serials(again.revoked_pem) == serials(listed)
    assert len(serials(listed)) == 1


def serials(pem: str) -> set[int]:
    return {entry.serial_number for entry in x509.load_pem_x509_crl(pem.encode())}
