"""`harness load`: a swarm against the control plane, one profile or the whole night's set."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from harness.errors import EngineError, InputError
from harness.fleet import swarm
from harness.fleet.order import Order, Outcome
from harness.fleet.profile import chosen
from harness.fleet.verdict import FAIL, PASS, UNKNOWN, LoadVerdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.fleet.profile import LoadProfile

JSON_SCHEMA = 1
EXIT_CODES = {PASS: 0, FAIL: 1, UNKNOWN: 3}
STOP_S = 30.0


@dataclass(frozen=True, slots=True)
class Options:
    profile: str
    devices: int | None
    operators: int | None
    duration_s: float | None
    workers: int
    p99_ms_max: float | None
    served: bool  # by somebody else, who is named by the environment variables of the SDKs
    output: Path
    as_json: bool


def run(options: Options) -> int:
    """Run every profile of the name; the worst verdict gives the exit code."""
    profiles = chosen(
        options.profile,
        devices=options.devices,
        operators=options.operators,
        duration_s=options.duration_s,
    )
    swarm.check(options.workers)
    if options.served:
        order_of(profiles[0], os.environ, options.output)  # whatever is missing is said now
    began = datetime.now(UTC)
    directory = make_directory(options.output / f"load-{options.profile}", began)
    with ExitStack() as stack:
        environment = os.environ if options.served else stack.enter_context(_serve(directory))
        results = [_one(options, profile, environment, directory) for profile in profiles]
    value = {
        "schema": JSON_SCHEMA,
        "started": began.isoformat(timespec="seconds"),
        "directory": str(directory),
        "results": [_plain(*result) for result in results],
    }
    (directory / "load.json").write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    if options.as_json:
        print(json.dumps(value, indent=2))
    else:
        for result in results:
            _show(*result)
        print(f"report: {directory}")
    verdicts = {verdict.verdict for _, _, verdict in results}
    return EXIT_CODES[next(worst for worst in (FAIL, UNKNOWN, PASS) if worst in verdicts)]


def make_directory(parent: Path, began: datetime) -> Path:
    """A directory of its own, also for the second run within a second."""
    name = began.strftime("%Y%m%dT%H%M%SZ")
    for number in itertools.count(1):
        directory = parent / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            directory.mkdir(parents=True)
            return directory
    raise AssertionError("numbers do not end")


def _one(
    options: Options, profile: LoadProfile, environment: Mapping[str, str], directory: Path
) -> tuple[LoadProfile, Outcome, LoadVerdict]:
    print(f"{profile.name}: {profile.summary}; {profile.duration_s:g} s ...", file=sys.stderr)
    order = order_of(profile, environment, directory / f"outcome-{profile.name}.json")
    outcome = swarm.run(order, workers=options.workers, directory=directory)
    return profile, outcome, judge(profile, outcome, options.p99_ms_max)


def order_of(profile: LoadProfile, environment: Mapping[str, str], outcome: Path) -> Order:
    """Raises `InputError` naming the variables that are missing."""
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
    missing = [name for name in names if not environment.get(name)]
    if missing:
        raise InputError(
            f"no control plane to load: {', '.join(missing)} not set",
            hint="leave --served away to have one started, or export what `cloud serve` printed",
        )
    bundle = environment.get("AWS_CA_BUNDLE")
    return Order(
        profile=profile,
        api_url=environment["AWS_ENDPOINT_URL"],
        key_id=environment["AWS_ACCESS_KEY_ID"],
        secret=environment["AWS_SECRET_ACCESS_KEY"],
        account="123456789012",
        region=environment["AWS_REGION"],
        ca_pem=Path(bundle).read_text(encoding="utf-8") if bundle else "",
        run=f"load-{secrets.token_hex(4)}",
        outcome=str(outcome.resolve()),
    )


@contextmanager
def _serve(directory: Path) -> Iterator[Mapping[str, str]]:
    """A control plane in a process of its own, with free ports, for as long as this lasts."""
    with tempfile.TemporaryDirectory(prefix="hil-load-") as state, ExitStack() as stack:
        log = stack.enter_context((directory / "cloud.log").open("wb"))
        free = ("--port", "0", "--https-port", "0", "--mqtt-port", "0")
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "harness.cli", "cloud", "serve"),
                *("--state", state, "--json", *free),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        assert process.stdout is not None
        stack.callback(process.stdout.close)
        stack.callback(_stop, process)
        told = b""
        for line in process.stdout:
            told += line
            if line == b"}\n":
                break
        try:
            environment: Mapping[str, str] = json.loads(told)["environment"]
        except ValueError:
            where = directory / "cloud.log"
            raise EngineError("the control plane did not come up", hint=f"see {where}") from None
        yield environment


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _plain(profile: LoadProfile, outcome: Outcome, verdict: LoadVerdict) -> dict[str, Any]:
    return {
        "profile": msgspec.to_builtins(profile),
        "verdict": verdict.verdict,
        "why": list(verdict.why),
        **msgspec.to_builtins(outcome),
    }


def _show(profile: LoadProfile, outcome: Outcome, verdict: LoadVerdict) -> None:
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{profile.name}: {verdict.verdict} (times in ms)",
        title_justify="left",
        pad_edge=False,
    )
    table.add_column("request", no_wrap=True)
    for name in ("count", "failed", "per s", "p50", "p90", "p99", "max"):
        table.add_column(name, justify="right")
    for row in outcome.rows:
        times = (row.p50_ms, row.p90_ms, row.p99_ms, row.max_ms)
        table.add_row(
            f"{row.method} {row.name}", str(row.requests), str(row.failures), f"{row.per_s:.1f}",
            *(f"{value:.0f}" for value in times),
        )  # fmt: skip
    console = Console()
    console.print(table)
    for line in (*verdict.why, *(f"{times} x {error}" for error, times in outcome.errors.items())):
        console.print(line, markup=False)
