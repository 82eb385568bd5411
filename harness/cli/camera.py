"""`harness camera ...`: cameras alone, and what can be done to them while they run."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
_control = click.option(
    "--control", type=_FILE, help="Control socket; default: the only one there is."
)


@click.group("camera")
def camera() -> None:
    """Fake cameras: serve them, switch them, list them."""


@camera.command("serve")
@click.argument("profiles", nargs=-1, required=True, metavar="PROFILE...")
@click.option("--count", type=click.IntRange(1, 10_000), default=1, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=8554, show_default=True, help="0: any free port.")
@click.option("--own-ports", is_flag=True, help="A port for each camera, counted up from --port.")
@click.option("--addresses", is_flag=True, help="An address on 127.0.0.0/8 for each camera.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--user", metavar="NAME[:PASSWORD]", help="Who may watch; default: anybody.")
@click.option("--video", type=_FILE, help="Show this video instead of the profile's pictures.")
@click.option("--onvif", is_flag=True, help="Be found and asked by ONVIF.")
@click.option("--onvif-port", type=int, default=8000, show_default=True, help="Of the first one.")
@click.option("--control", type=_FILE, help="Where to put the control socket.")
@_json
def serve_command(
    profiles: tuple[str, ...],
    count: int,
    host: str,
    port: int,
    own_ports: bool,
    addresses: bool,
    workers: int,
    user: str | None,
    video: Path | None,
    onvif: bool,
    onvif_port: int,
    control: Path | None,
    as_json: bool,
) -> int:
    """Run cameras until Ctrl-C, and print their URLs.

    PROFILE is the name of a camera profile or a file. The password of --user may be in
    HARNESS_CAMERA_PASSWORD instead. Each worker is a process with its share of the cameras; on a
    shared port each has its own, counted up from --port.
    """
    from harness.camera.fleet.post import Placing
    from harness.cli import camera_serve

    name, password = camera_serve.credentials(user)
    placing = Placing(
        host=host,
        port=port,
        own_ports=own_ports,
        addresses=addresses,
        username=name,
        password=password,
        video=str(video.resolve()) if video is not None else "",
        onvif_port=onvif_port if onvif else None,
    )
    wanted = camera_serve.Wanted(profiles, count, workers, placing, control, as_json)
    return camera_serve.serve_until_stopped(wanted)


@camera.command("list")
@_control
@_json
def list_command(control: Path | None, as_json: bool) -> int:
    """List the cameras that run, and how they are."""
    from harness.cli import camera_control

    return camera_control.show(control, as_json=as_json)


@camera.command("set")
@click.argument("name")
@click.argument("verb")
@click.argument("values", nargs=-1, metavar="[KEY=VALUE]...")
@_control
@_json
def set_command(
    name: str, verb: str, values: tuple[str, ...], control: Path | None, as_json: bool
) -> int:
    """Do something to a running camera: let a fault act, or heal it (`harness camera verbs`)."""
    from harness.cli import camera_control

    return camera_control.change(control, name, verb, values, as_json=as_json)


@camera.command("verbs")
@_json
def verbs_command(as_json: bool) -> int:
    """List the verbs of `harness camera set`: faults, their parameters, and heals."""
    from harness.cli import camera_control

    return camera_control.verbs(as_json=as_json)
