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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from harness.cloud.access.keyring import AccessKey, Principal
from harness.cloud.access.signer import signed_headers
from harness.cloud.api import load
from harness.cloud.api.wire import write_request
from harness.cloud.front.server import CloudServer
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import Settings
from harness.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.connection import Connection

START_S = 60.0
IMAGE = "6.2.2"
ACCOUNT, REGION = "123456789012", "us-east-1"
BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens, with which key, and the devices that it knows."""

    port: int
    key_id: str
    secret: str
    devices: tuple[str, ...] = ()

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
def plane(core: int, devices: int) -> Iterator[Place]:
    """The control plane with so many registered devices, its state on disk."""
    with (
        tempfile.TemporaryDirectory(prefix="hil-bench-") as state,
        _process(_serve_plane, core, state, devices) as told,
    ):
        yield Place(told["port"], told["key_id"], told["secret"], tuple(told["devices"]))


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


def _serve_plane(pipe: Connection, core: int, state: str, devices: int) -> None:
    os.sched_setaffinity(0, {core})
    asyncio.run(_plane(pipe, Path(state), devices))


async def _plane(pipe: Connection, state: Path, devices: int) -> None:
    server = CloudServer(
        state_dir=state,
        draw=random.Random(1),
        record=lambda _kind, _values: None,
        settings=Settings(),
        account=ACCOUNT,
        region=REGION,
    )
    async with server:
        server.publish_image(IMAGE, b"manifest", BytesContent(b"payload"))
        known = [_registered(server, f"device-{number}") for number in range(devices)]
        told = {
            "port": server.api_port,
            "key_id": server.root_key.id,
            "secret": server.root_key.secret,
            "devices": known,
        }
        await _until_terminated(pipe, told)


def _registered(server: CloudServer, name: str) -> str:
    """As after it has come with its stick: set in the store, since nobody connects for it here."""
    identifier = str(server.plane.call("ProvisionDevice", {"Name": name})["DeviceId"])
    store = server.plane._core.store
    store.devices[identifier].provisioning = "SUCCEEDED"
    store.commit()
    return identifier


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
