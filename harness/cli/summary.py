"""What a reader wants to know after a run, on one screen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.judge.grade import meaning

if TYPE_CHECKING:
    from harness.cli.running import Ran
    from harness.judge import Judgement, Measurement

COLOURS = {"PASS": "green", "FAIL": "red", "UNKNOWN": "yellow"}
KEY_MEASUREMENTS = (
    "frame_rate_fps",
    "frame_latency_ms",
    "inference_ms",
    "precision_ratio",
    "recall_ratio",
    "deployment_s",
    "ota_s",
    "rollback_s",
    "reboot_s",
    "reconnect_s",
    "fault_recovery_s",
)
LOG_COLUMNS = 140
SENT = "frames_sent_total"  # the sum of all the others: shown first


def stderr() -> Console:
    """The console for people; rich honours NO_COLOR by itself. Logs are wider than terminals."""
    width = None if sys.stderr.isatty() else LOG_COLUMNS
    return Console(stderr=True, highlight=False, width=width)


def show(ran: Ran, console: Console) -> None:
    """Grade, checks, key measurements and the frame account."""
    head = ran.judgement.head
    console.print(Text(f"grade {head.grade}: {meaning(head.grade)}", style="dim"))
    console.print(checks(ran.judgement))
    measured = [one for one in ran.judgement.measurements if one.unit != "frames"]
    if measured:
        console.print(measurements(measured))
    frames = [one for one in ran.judgement.measurements if one.unit == "frames"]
    if frames:
        console.print(account(frames))


def checks(judgement: Judgement) -> Table | Text:
    """One line when all is well; else what is not, in full."""
    passed = [one.checker for one in judgement.findings if one.verdict.value == "PASS"]
    line = Text(f"{len(passed)} checks passed: {', '.join(passed)}\n", style=COLOURS["PASS"])
    if len(passed) == len(judgement.findings):
        return line
    table = _table("check", "verdict", "finding")
    for finding in judgement.findings:
        if finding.verdict.value != "PASS":
            verdict = Text(finding.verdict.value, style=COLOURS[finding.verdict.value])
            table.add_row(finding.checker, verdict, Text(finding.message))
    table.add_row(Text(f"and {len(passed)} passed", style=COLOURS["PASS"]))
    return table


def measurements(measured: list[Measurement]) -> Table:
    """The key measurements, each with its worst series; the report has them all."""
    columns = ("p50", "p90", "p99")
    table = _table("measurement", "unit", "worst of", *columns, right=("worst of", *columns))
    left = {one.name for one in measured}
    for name in KEY_MEASUREMENTS:
        series = [one for one in measured if one.name == name]
        if series:
            left.discard(name)
            worst = min if name.endswith(("_fps", "_ratio")) else max
            values = (f"{worst(getattr(one, column) for one in series):.4g}" for column in columns)
            table.add_row(name, series[0].unit, str(len(series)), *values)
    if left:
        table.add_row(Text(f"and {len(left)} more in the report", style="dim"))
    return table


def account(frames: list[Measurement]) -> Table:
    """Frames by stream: sent, and what became of them."""
    names = sorted({one.name for one in frames}, key=lambda name: (name != SENT, name))
    table = _table("frames", *(_column(name) for name in names), right=map(_column, names))
    streams: dict[str, dict[str, float]] = {}
    for one in frames:
        stream = " ".join(one.labels.values())
        streams.setdefault(stream, {})[one.name] = one.value
    for stream, counts in streams.items():
        table.add_row(stream, *(f"{counts.get(name, 0):.0f}" for name in names))
    return table


def _column(name: str) -> str:
    return name.removeprefix("frames_").removesuffix("_total").replace("_", " ")


def _table(*columns: str, right: Any = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    aligned = set(right)
    for column in columns:
        table.add_column(column, justify="right" if column in aligned else "left")
    return table
