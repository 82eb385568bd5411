"""`harness doctor`: what this machine can do, one line a capability."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.running import INVOLVED, versions
from harness.errors import CapabilityMissing, EngineError
from harness.runtime.sandbox import bubblewrap

if TYPE_CHECKING:
    from collections.abc import Callable

JSON_SCHEMA = 1
PYTHON_MIN = (3, 11)
DISK_FREE_BYTES_MIN = 1 << 30
ENCODER = "libx264"
DOCKER_SOCKET = "/var/run/docker.sock"
CONNECT_TIMEOUT_S = 2.0
OPTIONAL = {
    "ffmpeg": "an independent RTSP client in the tests",
}


@dataclass(frozen=True, slots=True)
class Capability:
    """`required` ones make the exit code 4 when they are missing."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
    required: bool = True


def examine() -> list[Capability]:
    """Try everything; no check harms anything."""
    checks: tuple[Callable[[], Capability], ...] = (
        _python,
        _packages,
        _encoder,
        _inference,
        _loopback,
        _tls,
        _disk,
        _cores,
        _docker,
        _sandbox,
        _mosquitto,
    )
    return [check() for check in checks] + [_program(name) for name in OPTIONAL]


def report(*, as_json: bool) -> int:
    """Print all capabilities; 4 when a required one is missing."""
    found = examine()
    if as_json:
        value = {"schema": JSON_SCHEMA, "capabilities": [asdict(one) for one in found]}
        print(json.dumps(value, indent=2))
    else:
        for one in found:
            word = "ok" if one.ok else "missing" if one.required else "absent"
            hint = f"  (hint: {one.hint})" if one.hint and not one.ok else ""
            print(f"{word:8}{one.name:12}{one.detail}{hint}")
    missing = any(one.required and not one.ok for one in found)
    return CapabilityMissing.exit_code if missing else 0


def _sandbox() -> Capability:
    path, why = bubblewrap()
    hint = "install bubblewrap; without it applications are not isolated from this machine"
    return Capability("sandbox", path is not None, path or why, hint, required=False)


def _python() -> Capability:
    detail = ".".join(map(str, sys.version_info[:3]))
    wanted = ".".join(map(str, PYTHON_MIN))
    ok = sys.version_info >= PYTHON_MIN
    return Capability("python", ok, detail, f"install Python {wanted} or newer")


def _packages() -> Capability:
    try:
        found = versions()
    except EngineError as error:
        return Capability("packages", ok=False, detail=str(error), hint=error.hint)
    detail = ", ".join(f"{name} {found[name]}" for name in INVOLVED)
    return Capability("packages", ok=True, detail=detail)


def _encoder() -> Capability:
    hint = "install the PyAV wheel from the package index; it brings its own FFmpeg"
    try:
        import av

        av.codec.Codec(ENCODER, "w")
    except Exception as error:
        return Capability("video", ok=False, detail=f"no {ENCODER}: {error}", hint=hint)
    return Capability("video", ok=True, detail=f"PyAV {av.__version__}, H.264 encoder {ENCODER}")


def _inference() -> Capability:
    try:
        import onnxruntime

        providers = onnxruntime.get_available_providers()
    except Exception as error:
        return Capability("inference", ok=False, detail=str(error), hint="install onnxruntime")
    ok = "CPUExecutionProvider" in providers
    return Capability("inference", ok, ", ".join(providers), "reinstall onnxruntime")


def _loopback() -> Capability:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
            with socket.create_connection(address, timeout=CONNECT_TIMEOUT_S), server.accept()[0]:
                pass
    except OSError as error:
        hint = "allow listening on 127.0.0.1"
        return Capability("loopback", ok=False, detail=str(error), hint=hint)
    return Capability("loopback", ok=True, detail="listens and connects on 127.0.0.1")


def _tls() -> Capability:
    ok = ssl.HAS_TLSv1_2 and ssl.HAS_TLSv1_3
    return Capability("tls", ok, ssl.OPENSSL_VERSION, "use a Python with OpenSSL 1.1.1 or newer")


def _disk() -> Capability:
    free = shutil.disk_usage(Path.cwd()).free
    detail = f"{free / (1 << 30):.1f} GiB free here"
    wanted = f"free {DISK_FREE_BYTES_MIN >> 30} GiB: firmware slots and reports need it"
    return Capability("disk", free >= DISK_FREE_BYTES_MIN, detail, wanted)


def _cores() -> Capability:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail = f"{count} usable"
    hint = "real video on one core is slow; use `--engine model`"
    return Capability("cores", (count or 1) >= 2, detail, hint, required=False)


def _program(name: str) -> Capability:
    path = shutil.which(name)
    hint = f"only for {OPTIONAL[name]}"
    return Capability(name, path is not None, path or "not installed", hint, required=False)


def _mosquitto() -> Capability:
    from harness.cloud.front.mosquitto_files import program

    hint = "only for sites of more than about a hundred appliances: apt install mosquitto"
    try:
        return Capability("mosquitto", ok=True, detail=program(), required=False)
    except CapabilityMissing:
        return Capability("mosquitto", ok=False, detail="not installed", hint=hint, required=False)


def _docker() -> Capability:
    """The service, not the command: a client without a daemon runs nothing."""
    hint = "only for the container rung: install Docker and start its service"
    address = os.environ.get("DOCKER_HOST", f"unix://{DOCKER_SOCKET}")
    if not address.startswith("unix://"):
        return Capability("docker", ok=True, detail=f"at {address}", required=False)
    path = address.removeprefix("unix://")
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(CONNECT_TIMEOUT_S)
            client.connect(path)
    except OSError as error:
        detail = f"{path}: {error.strerror or error}"
        return Capability("docker", ok=False, detail=detail, hint=hint, required=False)
    return Capability("docker", ok=True, detail=path, required=False)
