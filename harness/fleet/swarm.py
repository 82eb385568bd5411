"""Runs a load profile: locust and its workers, started, bounded, and never left behind."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.errors import CapabilityMissing, EngineError, InputError
from harness.fleet.order import ORDER_VARIABLE, Outcome, read_outcome
from harness.fleet.profile import WORKERS_MAX

if TYPE_CHECKING:
    from harness.fleet.order import Order

START_S = 30.0  # for locust to come up and to wind down, beside the profile's duration
STOP_S = 10.0
_LOCUSTFILE = Path(__file__).with_name("locustfile.py")
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def missing() -> str:
    """Why no swarm can run here; empty when one can."""
    if importlib.util.find_spec("locust") is None:
        return "locust is not installed"
    return ""


def check(workers: int) -> None:
    """Raises `InputError` or `CapabilityMissing` when no such swarm can run here."""
    if not 1 <= workers <= WORKERS_MAX:
        raise InputError(f"{workers} workers", hint=f"from 1 to {WORKERS_MAX}")
    if problem := missing():
        raise CapabilityMissing(problem, hint="pip install 'edge-hil-harness[load]'")


def run(order: Order, *, workers: int, directory: Path) -> Outcome:
    """Run the profile of `order`; locust's own report and log are left in `directory`.

    Raises as `check`, and `EngineError` when the swarm breaks.
    """
    check(workers)
    with tempfile.TemporaryDirectory(prefix="hil-swarm-") as private:
        path = Path(private) / "order.json"
        path.touch(0o600)
        path.write_bytes(msgspec.json.encode(order))
        environment = {**os.environ, ORDER_VARIABLE: str(path)}
        if order.ca_pem:
            authority = Path(private) / "ca.pem"
            authority.write_text(order.ca_pem, encoding="utf-8")
            environment |= dict.fromkeys(_CA_VARIABLES, str(authority))
        log = directory / f"locust-{order.profile.name}.log"
        with log.open("wb") as output:
            code = _locust(order, workers, directory, environment, output.fileno())
    if not Path(order.outcome).exists():
        raise EngineError(
            f"the swarm ended with code {code} and without an outcome",
            hint=f"its log is {log}",
        )
    return read_outcome(Path(order.outcome))


def _locust(
    order: Order, workers: int, directory: Path, environment: dict[str, str], output: int
) -> int:
    command = [
        *(sys.executable, "-m", "locust", "--locustfile", str(_LOCUSTFILE), "--headless"),
        *("--html", str(directory / f"locust-{order.profile.name}.html"), "--only-summary"),
        *("--stop-timeout", "10", "--exit-code-on-error", "0"),
    ]
    if workers > 1:
        command += ["--processes", str(workers)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        start_new_session=True,
    )
    try:
        return process.wait(order.profile.duration_s + START_S)
    except subprocess.TimeoutExpired:
        raise EngineError(
            f"the swarm did not end {START_S:g} s after its time",
            hint=f"see the log in {directory}",
        ) from None
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole group: locust's workers are its children."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
