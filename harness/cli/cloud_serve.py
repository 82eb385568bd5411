"""`harness cloud serve`: the control plane alone, until it is stopped."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shlex
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from harness.cli.cloud_log import ServiceLog
from harness.cli.stopping import stoppable
from harness.cloud.front.planes import REGION
from harness.cloud.front.server import CloudServer, is_loopback
from harness.cloud.service.core import Settings
from harness.cloud.storage.files import write_private
from harness.errors import InputError
from harness.scenario.quota import DOCUMENTED, OFF
from harness.scenario.quota_file import load_quotas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.scenario.quota import Quotas

JSON_SCHEMA = 1
KEYS_VARIABLE = "HARNESS_CLOUD_KEYS"
FINISH_S = 10.0  # for requests that are being answered when the service is stopped
ENVIRONMENT = "env"  # a file in the state directory
_SERVED = "served.json"  # where devices were told to come to
_ANY = ("0.0.0.0", "::")
QUOTAS = {"off": OFF, "documented": DOCUMENTED}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for; `tls` None: as the address demands."""

    state: Path
    host: str
    advertise: str | None
    api_port: int
    https_port: int
    mqtt_port: int
    tls: bool | None
    account: str
    region: str
    time_scale: float
    package_job_s: float
    quotas: str  # a key of QUOTAS, or the path of a file
    broker: str
    log: Path | None
    as_json: bool


def serve_until_stopped(wanted: Wanted) -> int:
    """Serve until SIGINT or SIGTERM. Gives the exit code: that is the way to end it, so 0."""
    check(wanted)
    # The standard loop keeps 256 KiB of buffer for every TLS connection, this one a tenth of it.
    return uvloop.run(_serve(wanted, root_keys(os.environ.get(KEYS_VARIABLE, ""))))


def check(wanted: Wanted) -> None:
    """Raises `InputError` for what cannot be served, or should not be."""
    if wanted.host in _ANY and not wanted.advertise:
        raise InputError(
            f"--host {wanted.host} is every address, but clients need one to come to",
            hint="add --advertise with the name or address by which they reach this machine",
        )
    if wanted.tls is False and not is_loopback(wanted.host):
        raise InputError(
            f"--no-tls on {wanted.host}: others could read what is said",
            hint="leave --no-tls away, or serve on 127.0.0.1",
        )
    quotas_of(wanted.quotas)
    if not REGION.fullmatch(wanted.region):
        raise InputError(f"--region {wanted.region} is none", hint="it looks like us-east-1")


def quotas_of(text: str) -> Quotas:
    """By name or from a file. Raises `InputError`, with every problem of a file."""
    return QUOTAS[text] if text in QUOTAS else load_quotas(Path(text))


def root_keys(text: str) -> list[tuple[str, str, str]]:
    """Keys from `ACCOUNT:ID:SECRET ...`. Raises `InputError`, which shows none of them."""
    keys = [tuple(entry.split(":", 2)) for entry in text.split()]
    if not all(len(key) == 3 for key in keys):
        raise InputError(
            f"{KEYS_VARIABLE} cannot be read", hint="ACCOUNT:ID:SECRET, with spaces between keys"
        )
    return [(account, key_id, secret) for account, key_id, secret in keys]


async def _serve(wanted: Wanted, keys: list[tuple[str, str, str]]) -> int:
    settings = Settings(
        package_job_s=wanted.package_job_s, quotas=quotas_of(wanted.quotas)
    ).hastened(wanted.time_scale)
    async with AsyncExitStack() as stack:
        stop = stack.enter_context(stoppable())
        log = stack.enter_context(ServiceLog(wanted.log))
        server = await stack.enter_async_context(
            CloudServer(
                state_dir=wanted.state,
                draw=random.SystemRandom(),
                record=log.event,
                settings=settings,
                host=wanted.host,
                api_port=wanted.api_port,
                https_port=wanted.https_port,
                mqtt_port=wanted.mqtt_port,
                account=wanted.account,
                region=wanted.region,
                keys=keys,
                tls=bool(wanted.tls),
                broker=wanted.broker,
                advertised=wanted.advertise or "",
                finish_s=FINISH_S,
                log=log.request,
            )
        )
        _announce(server, wanted)
        await _until(stop, server)
        _say("stopping")
    _say("stopped")
    return 0


async def _until(stop: asyncio.Event, server: CloudServer) -> None:
    """Wait for the end that was asked for. Raises `WriteFailed` when state cannot be kept."""
    async with asyncio.TaskGroup() as group:
        told, failed = group.create_task(stop.wait()), group.create_task(server.failed())
        await asyncio.wait({told, failed}, return_when=asyncio.FIRST_COMPLETED)
        for task in (told, failed):
            task.cancel()
    if not stop.is_set():
        raise failed.result()


def environment(server: CloudServer, region: str) -> dict[str, str]:
    """What makes SDKs, the AWS CLI and the packager come here."""
    variables = {
        "AWS_ENDPOINT_URL": server.api_url,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": server.root_key.id,
        "AWS_SECRET_ACCESS_KEY": server.root_key.secret,
    }
    if server.tls:
        variables["AWS_CA_BUNDLE"] = str(server.ca_path.resolve())
    return variables


def _announce(server: CloudServer, wanted: Wanted) -> None:
    variables = environment(server, wanted.region)
    lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    path = wanted.state / ENVIRONMENT
    write_private(path, lines.encode())
    _warn_if_moved(server, wanted.state / _SERVED)
    if wanted.as_json:
        lines = json.dumps(_summary(server, wanted, variables), indent=2) + "\n"
    print(lines, end="", flush=True)
    where = f"{server.api_url}, MQTT on port {server.mqtt_port}, state in {wanted.state}"
    _say(f"serving {where}; stop with Ctrl-C")
    _say(f"in another terminal: . {shlex.quote(str(path))}")


def _summary(
    server: CloudServer, wanted: Wanted, variables: Mapping[str, str]
) -> Mapping[str, Any]:
    return {
        "schema": JSON_SCHEMA,
        "pid": os.getpid(),
        "environment": variables,
        "account": wanted.account,
        "health_url": f"{server.api_url}/health",
        "https_url": server.https_url,
        "mqtt_port": server.mqtt_port,
        "ca": str(server.ca_path.resolve()),
        "state": str(wanted.state.resolve()),
    }


def _warn_if_moved(server: CloudServer, path: Path) -> None:
    """Devices keep the address they were given when they were provisioned."""
    here = {"https_url": server.https_url, "mqtt_port": server.mqtt_port}
    try:
        before = json.loads(path.read_bytes())
    except (OSError, ValueError):
        before = here
    if before != here and any(plane["devices"] for plane in server.health()["planes"]):
        _say(
            f"warning: devices were told {before['https_url']} and MQTT port"
            f" {before['mqtt_port']}; they will not find this service at another place"
        )
    write_private(path, json.dumps(here).encode())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
