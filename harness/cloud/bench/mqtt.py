"""Devices over MQTT with mutual TLS: how many are held, what each costs, what a message costs.

Every device has its own certificate and reports over and over at QoS 1, one report under way at a
time. The client's library may be what limits the rate, so the server's own processor time a message
is told beside it: that is what brokers are compared by.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiomqtt
import psutil

from harness.appliance import topic
from harness.cloud.bench import stage
from harness.errors import CapabilityMissing
from harness.record.histogram import Histogram

if TYPE_CHECKING:
    from harness.cloud.bench.stage import Identity, Place

DEVICES = 200
SPAN_S = 5.0
CONNECTING_MAX = 16  # at the same time
MESSAGE_BYTES = 200


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the server's processes: memory, and processor time since they began."""

    rss_bytes: int
    cpu_s: float


def run(core: int) -> dict[str, Any]:
    """Both brokers, one after the other, with the same devices."""
    return {broker: _broker(core, broker) for broker in ("embedded", "mosquitto")}


def _broker(core: int, broker: str) -> dict[str, Any]:
    try:
        with stage.plane(core, devices=DEVICES, broker=broker, identities=True) as place:
            return asyncio.run(_drive(place))
    except CapabilityMissing as missing:
        return {"skipped": str(missing)}


async def _drive(place: Place) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hil-bench-") as directory:
        clients = [_client(place, one, Path(directory)) for one in place.identities]
        before = _cost(place.pid)
        async with AsyncExitStack() as stack:
            began_s = time.perf_counter()
            await _connect(stack, clients)
            connected_s = time.perf_counter() - began_s
            held = _cost(place.pid)
            latency_ms = Histogram()
            began_s = time.perf_counter()
            await _report(clients, place.identities, latency_ms)
            wall_s = time.perf_counter() - began_s
            after = _cost(place.pid)
    messages = latency_ms.count
    return {
        "devices": len(clients),
        "connections_per_s": round(len(clients) / connected_s),
        "memory_per_device_kb": round((held.rss_bytes - before.rss_bytes) / len(clients) / 1024),
        "messages_per_s": round(messages / wall_s),
        "server_cpu_us_per_message": round((after.cpu_s - held.cpu_s) / messages * 1e6),
        "p50_ms": round(latency_ms.quantile(0.5), 2),
        "p99_ms": round(latency_ms.quantile(0.99), 2),
    }


def _client(place: Place, identity: Identity, directory: Path) -> aiomqtt.Client:
    context = ssl.create_default_context(cadata=place.ca_pem)
    paths = []
    for suffix, text in (("crt", identity.certificate_pem), ("key", identity.private_key_pem)):
        path = directory / f"{identity.thing}.{suffix}"
        path.touch(0o600)
        path.write_text(text, encoding="utf-8")
        paths.append(str(path))
    context.load_cert_chain(*paths)
    quiet = logging.getLogger("harness.bench.mqtt")  # it warns of what is the very load here
    quiet.setLevel(logging.ERROR)
    return aiomqtt.Client(
        "127.0.0.1",
        place.mqtt_port,
        identifier=identity.thing,
        tls_context=context,
        timeout=30.0,
        logger=quiet,
    )


async def _connect(stack: AsyncExitStack, clients: list[aiomqtt.Client]) -> None:
    turn = asyncio.Semaphore(CONNECTING_MAX)

    async def connect(client: aiomqtt.Client) -> None:
        async with turn:
            await stack.enter_async_context(client)

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(connect(client))


async def _report(
    clients: list[aiomqtt.Client], identities: tuple[Identity, ...], latency_ms: Histogram
) -> None:
    until_s = time.perf_counter() + SPAN_S

    async def report(client: aiomqtt.Client, thing: str) -> None:
        at, message = topic.shadow_update(thing, "device"), _message()
        while (began_s := time.perf_counter()) < until_s:
            await client.publish(at, message, qos=1)
            latency_ms.record((time.perf_counter() - began_s) * 1000.0)

    async with asyncio.TaskGroup() as group:
        for client, identity in zip(clients, identities, strict=True):
            group.create_task(report(client, identity.thing))


def _message() -> bytes:
    state = {"reported": {"software": "6.2.1", "slot": "a", "note": ""}}
    bare = len(json.dumps({"state": state}))
    state["reported"]["note"] = "x" * (MESSAGE_BYTES - bare)
    return json.dumps({"state": state}).encode()


def _cost(pid: int) -> Cost:
    server = psutil.Process(pid)
    every = [server, *server.children(recursive=True)]
    times = [process.cpu_times() for process in every]
    return Cost(
        sum(process.memory_info().rss for process in every),
        sum(one.user + one.system for one in times),
    )
