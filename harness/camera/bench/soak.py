"""Endurance: many readers for a long time, some of which come and go, and a few that mean harm.

What a camera server must not do in an hour is grow. Memory, open files and tasks of its process
are sampled, and their trend decides (`trend`). To lose a reader, or too many frames on their way
to one, is a failure too; but where other work held server or reader up, as `waited` of the samples
says, missing frames prove nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
import time
from typing import TYPE_CHECKING, Any

from harness.camera.bench import station
from harness.camera.bench.child import child, pinned, receive
from harness.camera.bench.crowd import Abuse, Crowd
from harness.camera.bench.machine import Watch, disturbed
from harness.camera.bench.sessions import SPEC
from harness.camera.bench.trend import trend
from harness.camera.picture.clip import load_clip
from harness.camera.reader.drain import Drain
from harness.camera.serve.capacity import raise_file_limit
from harness.camera.wire.rtp import CLOCK_HZ
from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from harness.camera.bench.trend import Trend
    from harness.camera.picture.clip import ClipSpec

SESSIONS = 200
SESSIONS_MAX = 2000
SECONDS_MAX = 86_400.0
SAMPLES = 360  # of the whole time
SAMPLE_S_MIN = 0.5
POLL_S = 0.02
SEED = 1
LOST_RATIO_MAX = 0.01  # of frames
TOLERANCES = {"rss_kb": 8192.0, "files": 16.0, "tasks": 4.0}
PASS, FAIL, UNKNOWN = "pass", "fail", "unknown"


def run(
    seconds: float,
    sessions: int = SESSIONS,
    cache_dir: Path | None = None,
    spec: ClipSpec = SPEC,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Soak a server of `sessions` cameras with a reader each. Blocks for `seconds`.

    Returns JSON values: `samples` over time, `trends`, `verdict` and, where that is not a pass,
    `why`. `tell` hears how it goes. Raises `InputError` for what is out of bounds.
    """
    if not 1 <= sessions <= SESSIONS_MAX or not 0 < seconds <= SECONDS_MAX:
        raise InputError(
            f"a soak of {sessions} sessions for {seconds:.0f} s",
            hint=f"1 to {SESSIONS_MAX} sessions, at most {SECONDS_MAX / 3600:.0f} h",
        )
    load_clip(spec, cache_dir)  # encoded before the clock runs
    raise_file_limit()
    rng = random.Random(SEED)
    with (
        pinned() as (ours, theirs),
        child(station.serve, theirs, sessions, spec, cache_dir, None) as pipe,
        Drain(round(CLOCK_HZ / spec.rate_fps)) as drain,
    ):
        standing = receive(pipe)
        crowd = Crowd(drain, standing.port, sessions, rng)
        abuse = Abuse(standing.port, sessions, rng)
        look = _Look(pipe, drain, crowd, (theirs, standing.pid), ours)
        try:
            samples = _sampled(seconds, look, abuse, tell)
        finally:
            abuse.close()
        totals, lost = crowd.totals(), drain.lost
    trends = {
        name: trend(
            [sample["at_s"] for sample in samples], [sample[name] for sample in samples], allowed
        )
        for name, allowed in TOLERANCES.items()
    }
    return {
        "schema": 1,
        "bench": "camera soak",
        "grade": "L",
        "seconds": seconds,
        "sessions": sessions,
        "readers": {**crowd.counts, "lost": lost},
        "abusers": dict(abuse.counts),
        "frames": totals,
        "trends": {name: one and dataclasses.asdict(one) for name, one in trends.items()},
        **verdict(trends, samples, lost),
        "samples": samples,
    }


class _Look:
    """Takes samples: of the server, of the readers, and of what else their cores did."""

    def __init__(
        self,
        pipe: Connection,
        drain: Drain,
        crowd: Crowd,
        server: tuple[int, int],
        reader_core: int,
    ) -> None:
        """`server` is its core and its process."""
        self._pipe = pipe
        self.drain = drain
        self.crowd = crowd
        self._server = server
        self._reader_core = reader_core
        self._began_s = time.monotonic()
        self._watch()

    def sample(self) -> dict[str, Any]:
        now = station.sample(self._pipe)
        server = self._watches[0].report(now.cpu_s - self._cpu_s[0])
        reader = self._watches[1].report(time.process_time() - self._cpu_s[1])
        self._watch(now.cpu_s)
        return {
            "at_s": round(time.monotonic() - self._began_s, 1),
            "readers": len(self.drain.readers),
            **dataclasses.asdict(now),
            **self.crowd.totals(),
            "server": server,
            "reader": reader,
            "disturbed": disturbed(server, reader),
        }

    def _watch(self, server_cpu_s: float = 0.0) -> None:
        self._watches = Watch(*self._server), Watch(self._reader_core)
        self._cpu_s = server_cpu_s, time.process_time()


def _sampled(
    seconds: float, look: _Look, abuse: Abuse, tell: Callable[[str], None] | None
) -> list[dict[str, Any]]:
    """Read for `seconds`, and look at the server now and then."""
    began_s = time.monotonic()
    every_s, next_s = max(SAMPLE_S_MIN, seconds / SAMPLES), began_s
    samples: list[dict[str, Any]] = []
    while (now_s := time.monotonic()) < began_s + seconds:
        look.drain.poll(POLL_S)
        look.crowd.step(now_s)
        abuse.step(now_s)
        if now_s < next_s:
            continue
        next_s = now_s + every_s
        samples.append(sample := look.sample())
        if tell is not None:
            tell(_line(sample))
    return samples


def _line(sample: dict[str, Any]) -> str:
    busy = "  (other work)" if sample["disturbed"] else ""
    return (
        f"{sample['at_s']:.0f} s: {sample['readers']} readers, {sample['rss_kb']} KB, "
        f"{sample['files']} files, {sample['tasks']} tasks, "
        f"{sample['frames']} frames, {sample['missed']} missed{busy}"
    )


def verdict(
    trends: dict[str, Trend | None], samples: Sequence[dict[str, Any]], lost: int
) -> dict[str, Any]:
    """Pass, fail, or unknown where there was too little to tell; and why."""
    fails = [
        f"{name} grows: from {one.first:.0f} to {one.last:.0f}"
        for name, one in trends.items()
        if one is not None and one.grows
    ]
    if lost:
        fails.append(f"{lost} readers were lost that had done nothing wrong")
    unknown = ["too short: no trend can be told"] if None in trends.values() else []
    if samples[-1]["frames"] == 0:
        unknown.append("no frame came")
    if too_many(samples[-1]["frames"], samples[-1]["missed"]):
        frames, missed = undisturbed(samples)
        if too_many(frames, missed):
            fails.append(f"{missed} of {frames + missed} frames never came, without other work")
        else:
            unknown.append("frames never came while other work had the cores")
    return {"verdict": FAIL if fails else UNKNOWN if unknown else PASS, "why": fails or unknown}


def too_many(frames: int, missed: int) -> bool:
    return missed > LOST_RATIO_MAX * (frames + missed)


def undisturbed(samples: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Frames that came, and that did not, between samples without other work."""
    frames = missed = 0
    for before, after in itertools.pairwise(samples):
        if not after["disturbed"]:
            frames += after["frames"] - before["frames"]
            missed += after["missed"] - before["missed"]
    return frames, missed
