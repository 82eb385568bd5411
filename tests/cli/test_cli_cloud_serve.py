"""`harness cloud serve` as people use it: a process, what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import logging
import os
import random
import re
import shlex
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from harness.cli import cloud_serve
from harness.cli.app import run
from harness.cli.cloud_log import ServiceLog
from harness.cloud.access.keyring import Keyring
from harness.cloud.access.signer import signed_headers
from harness.cloud.front.client import ApiClient
from harness.cloud.front.server import CloudServer
from harness.cloud.service.core import Settings
from harness.cloud.storage import storage as storage_module
from harness.cloud.storage.database import FILE, Database
from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cloud.access.keyring import AccessKey

WAIT_S = 20.0
COMMAND = (sys.executable, "-c", "from harness.cli import main; main()", "cloud", "serve")
ANY_PORTS = ("--port", "0", "--https-port", "0", "--mqtt-port", "0")


@dataclass
class Service:
    process: subprocess.Popen[str]
    found: dict[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        return dict(self.found["environment"])

    @property
    def key(self) -> AccessKey:
        given = self.environment
        keyring = Keyring(time.time)
        return keyring.add_root(
            self.found["account"], given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"]
        )

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            url = self.environment["AWS_ENDPOINT_URL"]
            async with ApiClient(url, key=self.key) as client:
                return await client.call(operation, parameters)

        return asyncio.run(ask())

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code, and everything it said on stderr."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, said


@contextlib.contextmanager
def service(state: Path, *options: str) -> Iterator[Service]:
    command = [*COMMAND, "--state", str(state), "--json", *ANY_PORTS, *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            while not lines or lines[-1] not in ("}\n", ""):
                lines.append(process.stdout.readline())
            assert lines[-1], process.communicate(timeout=WAIT_S)[1]
            yield Service(process, json.loads("".join(lines)))
        finally:
            if process.poll() is None:
                process.kill()


def exports(text: str) -> dict[str, str]:
    """What a shell makes of lines with `export`."""
    words = [shlex.split(line) for line in text.splitlines()]
    assert all(word[0] == "export" and len(word) == 2 for word in words)
    pairs = (word[1].partition("=") for word in words)
    return {name: value for name, _, value in pairs}


def test_it_serves_until_it_is_told_to_stop_and_knows_everything_again(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with service(tmp_path / "state", "--log", str(log)) as first:
        assert exports((tmp_path / "state/env").read_text("utf-8")) == first.environment
        device = first.call("ProvisionDevice", Name="north")["DeviceId"]
        with urllib.request.urlopen(first.found["health_url"], timeout=WAIT_S) as answer:
            health = json.load(answer)
        assert (health["status"], health["planes"][0]["devices"]) == ("ok", 1)
        code, said = first.stop()
    assert code == 0
    assert said.splitlines()[-2:] == ["stopping", "stopped"]
    entries = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    (asked,) = [entry for entry in entries if entry.get("operation") == "ProvisionDevice"]
    assert (asked["kind"], asked["method"], asked["status"]) == ("request", "POST", 200)
    assert asked["account"] == first.found["account"]
    assert asked["request_id"]
    assert asked["duration_ms"] > 0
    assert {"kind": "cloud.device", "device": "north"}.items() <= entries[0].items()
    assert first.key.secret not in log.read_text("utf-8")
    with service(tmp_path / "state") as second:
        assert second.key.secret == first.key.secret
        assert second.call("DescribeDevice", DeviceId=device)["Name"] == "north"
        code, said = second.stop(signal.SIGINT)
    assert code == 0
    assert "warning: devices were told https://127.0.0.1:" in said, "its ports are others now"
    assert '"operation": "DescribeDevice"' in said, "without --log the log is on stderr"


def test_what_is_being_answered_is_finished(tmp_path: Path) -> None:
    with service(tmp_path / "state") as served:
        parts = urlsplit(served.environment["AWS_ENDPOINT_URL"])
        data = b"x" * 30_000
        host = {"Host": parts.netloc}
        digest = hashlib.sha256(data).hexdigest()
        headers = signed_headers(
            served.key,
            "us-east-1",
            "s3",
            "PUT",
            "/panorama-packages/key",
            host,
            digest,
            time.time(),
        )
        lines = [f"{name}: {value}" for name, value in {**host, **headers}.items()]
        head = [
            "PUT /panorama-packages/key HTTP/1.1",
            *lines,
            f"Content-Length: {len(data)}",
            "",
            "",
        ]
        assert parts.hostname is not None
        assert parts.port is not None
        with socket.create_connection((parts.hostname, parts.port), WAIT_S) as link:
            link.sendall("\r\n".join(head).encode() + data[:1000])
            wait_for_requests(served, 0)
            served.process.send_signal(signal.SIGTERM)
            wait_for_line(served, "stopping")
            link.sendall(data[1000:])
            assert link.recv(100).startswith(b"HTTP/1.1 200 ")
        assert served.process.wait(WAIT_S) == 0
    with contextlib.closing(Database(tmp_path / "state")) as database:
        rows = database.read("123456789012/us-east-1")
    assert [key for key, _ in rows["objects"]] == ["panorama-packages/key"]


def wait_for_requests(served: Service, devices: int) -> None:
    """Another request is answered, so the service has seen what came before."""
    with urllib.request.urlopen(served.found["health_url"], timeout=WAIT_S) as answer:
        assert json.load(answer)["planes"][0]["devices"] == devices


def wait_for_line(served: Service, line: str) -> None:
    assert served.process.stderr is not None
    assert any(said.strip() == line for said in served.process.stderr)


def test_tls_comes_with_its_authority(tmp_path: Path) -> None:
    options = ("--tls", "--advertise", "localhost", "--account", "210987654321")
    with service(tmp_path / "state", *options) as served:
        assert served.environment["AWS_ENDPOINT_URL"].startswith("https://localhost:")
        context = ssl.create_default_context(cafile=served.environment["AWS_CA_BUNDLE"])
        url = served.found["health_url"]
        with urllib.request.urlopen(url, timeout=WAIT_S, context=context) as answer:
            assert json.load(answer)["planes"][0]["account"] == "210987654321"
        assert served.stop()[0] == 0


def test_the_guide_shows_what_works(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs/cloud.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "package.json").write_text('{"nodePackage": {"version": "1.0"}}', "utf-8")
    with service(tmp_path / "state") as served:
        example += "print(panorama.describe_package(PackageId=package['PackageId'])['PackageName'])"
        ran = subprocess.run(
            [sys.executable, "-c", example],
            env={**os.environ, **served.environment},
            cwd=tmp_path, capture_output=True, text=True, timeout=WAIT_S, check=False,
        )  # fmt: skip
        assert (ran.returncode, ran.stdout.strip()) == (0, "counter"), ran.stderr


# --- what cannot be ------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], *options: str, code: int = 2) -> str:
    assert run(["cloud", "serve", *options]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hint: " in captured.err
    return captured.err


def test_a_port_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = ("--state", str(tmp_path), "--https-port", "0", "--mqtt-port", "0")
        said = refused(capsys, *options, "--port", port)
    assert f"cannot listen on 127.0.0.1:{port} (api): Address already in use" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--host", "0.0.0.0"), "clients need one to come to"),
        (("--host", "192.0.2.1", "--no-tls"), "others could read"),
        (("--host", "0.0.0.0", "--advertise", "box", "--no-tls"), "others could read"),
        (("--host", "192.0.2.1", *ANY_PORTS), "cannot listen on 192.0.2.1"),
        (("--region", "here", *ANY_PORTS), "--region here is none"),
        (("--account", "42", *ANY_PORTS), "an account is twelve digits"),
        (("--time-scale", "0"), "Invalid value for '--time-scale'"),
        (("--port", "65536"), "Invalid value for '--port'"),
    ],
)
def test_options_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    assert run(["cloud", "serve", "--state", str(tmp_path / "state"), *options]) == 2
    assert said in capsys.readouterr().err


def test_a_state_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_module, "LOCK_WAIT_S", 0.0)
    with contextlib.closing(Database(tmp_path)):
        assert "another control plane" in refused(capsys, "--state", str(tmp_path), *ANY_PORTS)
    (tmp_path / FILE).write_bytes(b"\x00" * 100 + b"damage" * 1000)
    assert "damaged" in refused(capsys, "--state", str(tmp_path), *ANY_PORTS)
    (tmp_path / "file").touch()
    said = refused(capsys, "--state", str(tmp_path / "file/state"), *ANY_PORTS)
    assert "Not a directory" in said


def test_a_disk_that_is_full_ends_the_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(provision_with_a_claim_that_ends(tmp_path))

    def write(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Database, "write", write)
    assert run(["cloud", "serve", "--state", str(tmp_path), *ANY_PORTS]) == 5
    said = capsys.readouterr().err
    assert "error: state cannot be written: database or disk is full" in said
    assert "hint: make room on the disk and start again" in said


async def provision_with_a_claim_that_ends(state: Path) -> None:
    server = CloudServer(
        state_dir=state, draw=random.Random(1), record=lambda *_: None,
        settings=Settings(claim_valid_s=0.01),
    )  # fmt: skip
    async with server:
        server.plane.call("ProvisionDevice", {"Name": "north"})


def test_keys_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "123456789012:AKIDEXAMPLE00001:a:secret 210987654321:AKIDEXAMPLE00002:other"
    assert cloud_serve.root_keys(text) == [
        ("123456789012", "AKIDEXAMPLE00001", "a:secret"),
        ("210987654321", "AKIDEXAMPLE00002", "other"),
    ]
    assert cloud_serve.root_keys("") == []
    with pytest.raises(InputError) as raised:
        cloud_serve.root_keys("123456789012:hidden")
    assert "hidden" not in str(raised.value) + raised.value.hint


# --- the log -------------------------------------------------------------------------------


def test_what_libraries_say_is_in_the_log_too(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with ServiceLog(path) as log:
        log.request({"status": 200})
        try:
            raise OSError("broken")
        except OSError:
            logging.getLogger("somewhere").exception("it failed")
        logging.getLogger("somewhere").debug("a detail")
    logging.getLogger("somewhere").warning("after the end")
    first, second = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    assert (first["kind"], first["status"]) == ("request", 200)
    assert (second["kind"], second["level"], second["logger"]) == ("log", "ERROR", "somewhere")
    assert "OSError: broken" in second["message"]


def test_a_log_that_cannot_be_written_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    with ServiceLog(None) as log:
        log.request({"status": 200})
        log.event("cloud.device", {"status": "ONLINE"})
