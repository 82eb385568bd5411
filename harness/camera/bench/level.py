"""One level: so many sessions of one server, each with a camera of its own, for some seconds.

The reader is the same whatever serves, and so is what counts: a frame is in time when it has
arrived within 100 ms of its capture, which the sender reports of the server tell.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.camera.bench.machine import Watch, disturbed
from harness.camera.reader.drain import Drain
from harness.camera.wire.rtp import CLOCK_HZ
from harness.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.camera.bench.station import Sample
    from harness.camera.picture.clip import ClipSpec
    from harness.camera.reader.drain import Window

DELIVERED_MIN = 0.99
IN_TIME_S = 0.1
HURRY_ABOVE = 500  # sessions: then readers connect in a hurry, and first frames are not timed
SETTLE_S = 1.0  # between the last session's start and the window
CONNECT_SECONDS_MAX = 15.0  # for all sessions; those that come later are refused


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for all servers of one bench. Without `levels` those near the limit are sought."""

    spec: ClipSpec
    cache_dir: Path | None
    seconds: float
    levels: tuple[int, ...]
    reader_core: int
    server_core: int


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that runs: where it is, and how to ask what it uses. `{}` in `path` is a number.

    `settle_s` is how long it takes to send its first sender reports.
    """

    port: int
    pid: int
    sample: Callable[[], Sample]
    path: str = "/camera-{}"
    track: str = "trackID=0"
    idle_rss_kb: int = 0
    connect_s_max: float = CONNECT_SECONDS_MAX
    settle_s: float = SETTLE_S


def measure_level(serving: Serving, count: int, terms: Terms, *, udp: bool) -> dict[str, Any]:
    """`count` sessions for a while. JSON values; `machine` says what else its cores did."""
    hurry = count > HURRY_ABOVE
    with Drain(round(CLOCK_HZ / terms.spec.rate_fps)) as drain:
        refusals = _connect(drain, serving, count, udp=udp, hurry=hurry)
        _drain_for(drain, serving.settle_s)
        before, began_s, own_s = serving.sample(), time.monotonic(), time.process_time()
        watches = Watch(terms.server_core, serving.pid), Watch(terms.reader_core)
        window = drain.measure(terms.seconds, IN_TIME_S)
        after = serving.sample()
        reader_s, server_s = time.process_time() - own_s, after.cpu_s - before.cpu_s
        elapsed_s = time.monotonic() - began_s
        machine = {
            "server": watches[0].report(server_s),
            "reader": watches[1].report(reader_s),
        }
        first_ms = [value * 1000 for value in drain.first_frames_s()]
        lost = drain.lost
    frames = after.frames - before.frames or len(window.late_s)
    return {
        "sessions": count,
        **_arrivals(window, count * terms.seconds * terms.spec.rate_fps),
        "first_frame_ms": {} if hurry else percentiles(first_ms),
        "refused": len(refusals),
        "refusal": refusals[0] if refusals else "",
        "lost": lost,
        "dropped_at_sender": after.dropped - before.dropped,
        "cpu_share": round(server_s / elapsed_s, 3),
        "cpu_us_per_frame": round(server_s / frames * 1e6, 2) if frames else None,
        "rss_kb_per_session": round((after.rss_kb - serving.idle_rss_kb) / count, 1),
        "machine": machine,
        "disturbed": disturbed(*machine.values()),
    }


def _arrivals(window: Window, expected: float) -> dict[str, Any]:
    in_time = sum(late <= IN_TIME_S for late in window.late_s)
    return {
        "reached": in_time >= DELIVERED_MIN * expected,
        "delivered_ratio": round(in_time / expected, 4),
        "frames": len(window.late_s),
        "late_ms": percentiles([late * 1000 for late in window.late_s]),
        "unread_ms": percentiles([unread * 1000 for unread in window.unread_s]),
    }


def _connect(drain: Drain, serving: Serving, count: int, *, udp: bool, hurry: bool) -> list[str]:
    """Connect all, one after another. Outcome: why some were refused."""
    refusals: list[str] = []
    until_s = time.monotonic() + serving.connect_s_max
    for number in range(count):
        if time.monotonic() > until_s:
            refusals += ["no time was left to connect"] * (count - number)
            break
        path = serving.path.format(number)
        try:
            drain.connect(
                "127.0.0.1", serving.port, path, udp=udp, hurry=hurry, track=serving.track
            )
        except PeerError as error:
            refusals.append(str(error))
        drain.poll(0)
    return refusals


def _drain_for(drain: Drain, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        drain.poll(0.01)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p99 and max; empty without values."""
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2), "max": round(max(values), 2)}
