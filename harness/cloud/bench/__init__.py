"""How fast the control plane answers, on one core, beside peers in the same run.

`ListDevices` of 25 devices with signatures checked, at 32 and at 1,000 open connections;
`CreateJobForDevices`, which is on disk before it is answered; devices over MQTT with TLS, on the
embedded broker and on Mosquitto. The peers answer the same client: a
bare aiohttp handler that sends the same bytes, and moto's server where it can be installed.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.cloud.bench import client, moto_peer, mqtt, stage
from harness.errors import CapabilityMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cloud.bench.client import Load

SPAN_S = 5.0
CONNECTIONS = 32
CONNECTIONS_MANY = 1000
JOBS = 4000
JOB_CONNECTIONS = 50


def run() -> dict[str, Any]:
    """All figures. Takes about a minute, and longer once to install the peer."""
    cores = sorted(os.sched_getaffinity(0))
    with _on(cores[-1]):
        return {
            "cores_apart": len(cores) > 1,
            "http": _http(cores[0]),
            "mqtt": mqtt.run(cores[0]),
        }


def _http(core: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    with stage.plane(core, devices=25) as place:
        ask = place.signed("ListDevices", {"MaxResults": 25})
        results["list_devices"] = _figures(client.repeat(place.address, ask, CONNECTIONS, SPAN_S))
        many = client.repeat(place.address, ask, CONNECTIONS_MANY, SPAN_S)
        results["list_devices_1000_connections"] = _figures(many)
        answer_bytes = many.answer_bytes
    with stage.bare(core, answer_bytes) as place:
        load = client.repeat(place.address, place.plain("/"), CONNECTIONS, SPAN_S)
        results["peer_bare_aiohttp"] = _figures(load)
    results["peer_moto"] = _moto(core)
    with stage.plane(core, devices=JOBS) as place:
        asks = [place.signed(*job) for job in place.jobs]
        results["create_job_durable"] = _figures(client.each(place.address, asks, JOB_CONNECTIONS))
    ours = results["list_devices"]["requests_per_s"]
    for peer in ("peer_moto", "peer_bare_aiohttp"):
        theirs = results[peer].get("requests_per_s")
        if theirs:
            results[f"ratio_to_{peer}"] = round(ours / theirs, 2)
    return results


def _moto(core: int) -> dict[str, Any]:
    try:
        with moto_peer.served(core) as place:
            ask = place.signed("ListDevices", {"MaxResults": 25})
            return _figures(client.repeat(place.address, ask, CONNECTIONS, SPAN_S))
    except CapabilityMissing as missing:
        return {"skipped": str(missing)}


def _figures(load: Load) -> dict[str, Any]:
    return {
        "requests_per_s": round(load.answers / load.wall_s),
        "p50_ms": round(load.latency_ms.quantile(0.5), 2),
        "p99_ms": round(load.latency_ms.quantile(0.99), 2),
        "answers": load.answers,
        "refused": load.refused,
        "connections": load.connections,
        "answer_bytes": load.answer_bytes,
    }


@contextmanager
def _on(core: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
