"""moto's server as a peer: the last release whose panorama backend lists devices.

It is installed once into a virtual environment in the user's cache, apart from everything else.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import venv
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from harness.cloud.bench.stage import Place
from harness.errors import CapabilityMissing, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

# botocore 1.43.37 is the last that carries the model by which moto reads requests.
REQUIREMENTS = ("moto[server]==5.2.2", "boto3==1.43.37", "botocore==1.43.37")
INSTALL_S = 600.0
START_S = 60.0
DEVICES = 25


def cache() -> Path:
    """Where the environment is kept, as XDG has it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edge-hil-harness" / "peers" / "moto-5.2.2"


@contextmanager
def served(core: int) -> Iterator[Place]:
    """moto with 25 devices, on `core`. Raises `CapabilityMissing` where it cannot be had."""
    python = _installed()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    try:
        place = Place(port, "AKIAEXAMPLEEXAMPLE00", "secret")
        _wait(place, process)
        for number in range(DEVICES):
            _ask(place, "ProvisionDevice", {"Name": f"device-{number}"})
        yield place
    finally:
        process.terminate()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _installed() -> Path:
    folder = cache()
    python = folder / "bin" / "python"
    done = folder / "installed"
    if done.exists():
        return python
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS]
    try:
        subprocess.run(pip, check=True, capture_output=True, timeout=INSTALL_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise CapabilityMissing(
            f"moto could not be installed: {error}", hint="the package registry must be reachable"
        ) from None
    done.touch()
    return python


def _wait(place: Place, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        if process.poll() is not None:
            raise EngineError(f"moto's server ended with code {process.returncode}")
        try:
            socket.create_connection(place.address, 1.0).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise EngineError(f"moto's server did not listen in {START_S:g} s")


def _ask(place: Place, operation: str, parameters: dict[str, Any]) -> None:
    """Send what `Place.signed` made through urllib: it is set-up, not measured."""
    head, _, body = place.signed(operation, parameters).partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    method, target, _ = line.split(" ")
    headers = dict(field.split(": ", 1) for field in fields)
    url = f"http://127.0.0.1:{place.port}{target}"
    with urlopen(Request(url, data=body or None, headers=headers, method=method)) as answer:
        answer.read()
