"""The commands and their options; what each does is in a module of its own, loaded when used."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import __version__
from harness.cli.camera import camera
from harness.cli.camera_probe import probe_command
from harness.cli.cloud import cloud
from harness.cli.jetson import jetson
from harness.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = 2
INTERNAL = 5
INTERRUPTED = 130
REPORTS = "reports"

_FILE = click.Path(path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
_engine = click.option("--engine", metavar="model|process", help="Run on this rung instead.")
_seed = click.option("--seed", type=int, help="Use this seed instead.")
_defects = click.option(
    "--defect", "defects", multiple=True, metavar="NAME", help="The candidate image has it."
)
_output = click.option(
    "--output", type=_FILE, default=REPORTS, show_default=True, help="Folder of all runs."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="harness")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def app(debug: bool) -> None:
    """Hardware-in-the-loop tests and fleet simulation for edge computer-vision appliances."""
    del debug  # read by `run` below, before anything can go wrong


@app.command("run")
@click.argument("file", type=_FILE)
@_engine
@_seed
@_defects
@_output
@click.option("--twice", is_flag=True, help="Run twice, compare the histories (model rung).")
@_json
@click.option("--quiet", is_flag=True, help="No progress and no summary.")
def run_command(
    file: Path,
    engine: str | None,
    seed: int | None,
    defects: tuple[str, ...],
    output: Path,
    twice: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run a scenario, judge it, and write a report."""
    from harness.cli import run

    options = run.Options(output, defects, twice, as_json, quiet)
    return run.run(file, engine, seed, options)


@app.command("sweep")
@click.argument("road", metavar="ota|deploy|provision|...")
@click.option("--depth", type=int, default=1, show_default=True, help="Cuts one after another.")
@click.option("--workers", type=int, default=1, show_default=True, help="Processes.")
@click.option("--image-mib", type=int, default=8, show_default=True, help="Image of an update.")
@click.option("--defect", "defects", multiple=True, metavar="NAME", help="The image has it.")
@click.option("--states-max", type=int, default=10_000_000, help="Stop after so many states.")
@click.option("--replay", "path", metavar="ID", help="Follow one cut, such as 132.1, closely.")
@_json
def sweep_command(
    road: str,
    depth: int,
    workers: int,
    image_mib: int,
    defects: tuple[str, ...],
    states_max: int,
    path: str | None,
    as_json: bool,
) -> int:
    """Cut power at every moment of a road, boot what is left, ask what must hold."""
    from harness.cli import sweep

    options = sweep.Options(road, image_mib << 20, defects, depth, workers, states_max, as_json)
    return sweep.run(options) if path is None else sweep.follow(options, path)


@app.command("defects")
@_json
def defects_command(as_json: bool) -> int:
    """List the firmware defects that an image can carry."""
    from harness.cli import bank

    return bank.list_defects(as_json=as_json)


@app.command("bank")
@click.option(
    "--campaign",
    type=click.Path(exists=True, path_type=Path),
    default=Path("scenarios/release-gate"),
    show_default=True,
    help="Folder of scenarios, or one of them.",
)
@click.option("--defect", "defects", multiple=True, metavar="NAME", help="These alone.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Each.")
@click.option(
    "--clean-seeds", type=click.IntRange(min=0), default=20, show_default=True, help="Without any."
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes; as many as cores.")
@_json
def bank_command(
    campaign: Path,
    defects: tuple[str, ...],
    seeds: int,
    clean_seeds: int,
    workers: int | None,
    as_json: bool,
) -> int:
    """Run a release gate against every defect, and against clean images, in virtual time."""
    from harness.cli import bank

    options = bank.Options(
        campaign, defects, seeds, clean_seeds, workers or bank.usual_workers(), as_json
    )
    return bank.run(options)


@app.command("load")
@click.argument("profile", metavar="steady|rollout|storm|nightly")
@click.option("--devices", type=int, help="Devices over MQTT with TLS.")
@click.option("--operators", type=int, help="Clients of the API beside them.")
@click.option("--seconds", type=float, help="How long each profile runs.")
@click.option("--workers", type=int, default=1, show_default=True, help="Processes of the swarm.")
@click.option("--p99-ms", type=float, help="Fail when a request's p99 is above this.")
@click.option("--served", is_flag=True, help="Load the service that AWS_ENDPOINT_URL names.")
@_output
@_json
def load_command(
    profile: str,
    devices: int | None,
    operators: int | None,
    seconds: float | None,
    workers: int,
    p99_ms: float | None,
    served: bool,
    output: Path,
    as_json: bool,
) -> int:
    """Load the control plane as a fleet does: steady, in a rollout, in a reconnect storm."""
    from harness.cli import load

    options = load.Options(
        profile, devices, operators, seconds, workers, p99_ms, served, output, as_json
    )
    return load.run(options)


@app.command("plan")
@click.argument("file", type=_FILE)
@_engine
@_seed
def plan_command(file: Path, engine: str | None, seed: int | None) -> int:
    """Print the frozen plan of a scenario as JSON."""
    from harness.cli import show

    return show.plan(file, engine, seed)


@app.command("validate")
@click.argument("files", type=_FILE, nargs=-1, required=True)
def validate_command(files: tuple[Path, ...]) -> int:
    """Check scenario and profile files; a folder stands for the YAML files in it."""
    from harness.cli import show

    return show.validate(files)


@app.command("schema")
@click.argument(
    "what", type=click.Choice(["scenario", "appliance", "camera", "quotas"]), default="scenario"
)
def schema_command(what: str) -> int:
    """Print the JSON Schema of scenario, profile or quota files."""
    from harness.cli import show

    return show.schema(what)


@app.command("report")
@click.argument("run_dir", type=_FILE)
@_json
def report_command(run_dir: Path, as_json: bool) -> int:
    """Judge a run directory again and write its reports anew."""
    from harness.cli import run

    return run.report(run_dir, as_json=as_json)


@app.command("runs")
@click.argument("scenario", required=False)
@_output
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@_json
def runs_command(scenario: str | None, output: Path, limit: int, as_json: bool) -> int:
    """List runs, the newest first."""
    from harness.cli import show

    return show.runs(output, scenario, limit, as_json=as_json)


@app.command("doctor")
@_json
def doctor_command(as_json: bool) -> int:
    """Say what this machine can do, and what is missing."""
    from harness.cli import doctor

    return doctor.report(as_json=as_json)


def _duration_s(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> float | None:
    if text is None:
        return None
    from harness.scenario.quantity import span_s

    try:
        return span_s(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@app.command("bench")
@click.argument(
    "what",
    type=click.Choice(["appliance", "camera", "cloud", "identity", "runtime", "demo", "all"]),
    default="all",
)
@click.option("--sessions", type=click.IntRange(min=1), help="Of cameras: so many, not a search.")
@click.option(
    "--soak", "soak_s", callback=_duration_s, metavar="TIME", help="Of cameras: endure, such as 1h."
)
@_json
def bench_command(what: str, sessions: int | None, soak_s: float | None, as_json: bool) -> int:
    """Measure how much this machine can carry."""
    from harness.cli import bench

    return bench.run(what, as_json=as_json, sessions=sessions, soak_s=soak_s)


camera.add_command(probe_command)
app.add_command(camera)
app.add_command(cloud)
app.add_command(jetson)


def run(arguments: Sequence[str]) -> int:
    """Run the command line and give its exit code; whatever goes wrong becomes a clear message."""
    try:
        code = app.main(list(arguments), prog_name="harness", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except BrokenPipeError:  # the reader of our output has gone: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        return _explain(error)


def _explain(error: Exception) -> int:
    """One clear message on stderr, and the exit code that belongs to it."""
    if isinstance(error, click.ClickException):
        error.show(file=sys.stderr)
        return USAGE
    if isinstance(error, HarnessError):
        print(f"error: {error}" if "\n" not in str(error) else str(error), file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, OSError) and error.filename is not None:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        print("hint: check that the path is right and may be written", file=sys.stderr)
        return USAGE
    print(f"internal error: {type(error).__name__}: {error}", file=sys.stderr)
    print("hint: `harness --debug ...` shows where", file=sys.stderr)
    return INTERNAL
