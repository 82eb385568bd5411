"""`harness camera probe`: what is to be said about any camera's stream."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.camera.reader.probe import ProbeReport

JSON_SCHEMA = 1
PASSWORD_VARIABLE = "HARNESS_CAMERA_PASSWORD"
UNFIT = 1


@click.command("probe")
@click.argument("url")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="From the first frame.")
@click.option("--tcp/--udp", "tcp", default=True, help="Transport of RTP; default: TCP.")
@click.option("--user", metavar="NAME[:PASSWORD]", help="Instead of credentials in the URL.")
@click.option("--epoch", type=float, metavar="UNIX_S", help="When the camera's clip began.")
@click.option("--clip-seconds", type=float, help="How long it is; needed with --epoch.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def probe_command(
    url: str,
    seconds: float,
    tcp: bool,
    user: str | None,
    epoch: float | None,
    clip_seconds: float | None,
    as_json: bool,
) -> int:
    """Read a camera for a while and say what its stream is like.

    The password of --user may be in HARNESS_CAMERA_PASSWORD instead. The exit code is 1 when the
    camera does not answer, refuses, or sends what an appliance cannot use.
    """
    from harness.camera.reader import probe

    if (epoch is None) != (clip_seconds is None):
        raise click.UsageError("--epoch and --clip-seconds belong together")
    name, _, password = (user or "").partition(":")
    report = probe.probe(
        url,
        seconds,
        "tcp" if tcp else "udp",
        name,
        password or (os.environ.get(PASSWORD_VARIABLE, "") if name else ""),
        epoch_s=epoch,
        clip_s=clip_seconds,
    )
    if as_json:
        print(json.dumps({"schema": JSON_SCHEMA, **report.to_json()}, indent=2))
    else:
        for name, value in lines(report):
            print(f"{name:16}{value}")
    for problem in report.problems:
        print(f"problem: {problem}", file=sys.stderr)
    return UNFIT if report.problems else 0


def lines(report: ProbeReport) -> list[tuple[str, str]]:
    """The report for people: what, and how much of it."""
    declared = f"{report.declared_fps:g}" if report.declared_fps else "not said"
    measured = f"{report.measured_fps:g}" if report.measured_fps else "not measurable"
    late = report.latency
    return [
        ("stream", f"{report.codec} {report.width_px}x{report.height_px} over {report.transport}"),
        ("authentication", report.authentication),
        ("frame rate", f"{measured} (declared {declared})"),
        ("frames", f"{report.frames} in {report.duration_s:g} s, {report.bytes_per_s} bytes/s"),
        ("first frame", f"after {report.first_frame_s * 1000:.0f} ms"),
        ("gaps", f"{report.gaps}, longest pause {report.longest_gap_ms:g} ms"),
        (
            "latency",
            f"p50 {late.p50_ms:g} ms, p99 {late.p99_ms:g} ms ({late.source})"
            if late
            else "not known: no sender reports and no epoch",
        ),
        ("identity", report.identity),
        ("lost", "not known" if report.lost is None else str(report.lost)),
        ("duplicated", "not known" if report.duplicated is None else str(report.duplicated)),
        ("stamp jumps", str(report.timestamp_jumps)),
    ]
