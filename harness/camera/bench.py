"""How many 720p30 sessions of about 2 Mbit/s one core serves.

The server runs in a process pinned to one core, the reader (`drain`) is pinned to another; over
TCP, over UDP with one send a packet, and over UDP with segmentation offload. The cameras' clocks
are spread evenly over the time between two key frames: cameras of a site do not run in step.

A level counts as reached when at least 99 % of the frames captured in the window have arrived
within 100 ms. Other work on the machine costs a level easily, so one that was missed without the
server's core being busy is tried again; every attempt is in the result. The same run measures a
bare loop that sends the same bytes over TCP with no protocol, no headers and no clock: what
Python's `send` costs is the ceiling. Above the common level readers send requests in a hurry, or
connecting would take longer than measuring; the time to a first frame is not measured there.
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import resource
import select
import socket
import statistics
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.camera.picture.clip import ClipSpec, load_clip
from harness.camera.reader.drain import BUFFER_BYTES, Drain
from harness.camera.serve.packed import PackedClip
from harness.camera.serve.server import CameraServer
from harness.camera.serve.udp import segmentation_offload
from harness.errors import CapabilityMissing, PeerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from harness.camera.picture.clip import Clip

SPEC = ClipSpec(
    width_px=1280,
    height_px=720,
    rate_fps=30.0,
    duration_s=8.0,
    gop_frames=30,
    bitrate_kbps=2000,
    objects=5,
    seed=1,
)
TCP, UDP, UDP_SEGMENTED = "tcp", "udp", "udp_segment"  # one send a packet; one a burst
MODES = (TCP, UDP, UDP_SEGMENTED)
COMMON_LEVEL = 500  # measured in every mode: lateness, first frame and memory are compared there
EXPECTED = {TCP: 2000, UDP: 1000, UDP_SEGMENTED: 2000}  # where the search begins
STEP = 1.25  # to the next level
LEVELS_MAX = 3  # of a search
MODE_SECONDS_MAX = 20.0  # then no further level is begun
CONNECT_SECONDS_MAX = 15.0  # for all sessions of a level; those that come later are refused
LEVEL_MAX = 6400
DELIVERED_MIN = 0.99
IN_TIME_S = 0.1
ATTEMPTS = 2
SATURATED_SHARE = 0.95  # of its core: then the server is the limit
BARE_SESSIONS = 200
BARE_SECONDS_MAX = 3.0
SETTLE_S = 1.0  # between the last session's start and the window
START_TIMEOUT_S = 60.0
_FILES_BESIDE_SESSIONS = 64
_FILES_A_SESSION = 3


def run(
    seconds: float = 3.0,
    sessions: Sequence[int] | None = None,
    cache_dir: Path | None = None,
    spec: ClipSpec = SPEC,
    modes: Sequence[str] = MODES,
) -> dict[str, Any]:
    """Measure the levels in `sessions`, or search near what each mode is expected to reach.

    Blocks for a minute or two. Returns JSON values: of each mode `sessions` is the highest level
    reached (0 for none), `levels` what was measured at each in the order of measuring, and
    `limit_found` whether the next step above was tried and missed; `bare` is the loop without
    protocol, `frames_ratio` how many frames the server sends in a CPU second for every one of
    the bare loop.
    """
    clip = load_clip(spec, cache_dir)
    files = _raise_file_limit()
    found: dict[str, Any] = {}
    with _pinned() as (ours, theirs):
        bare = _measure_bare(clip, min(seconds, BARE_SECONDS_MAX), theirs, spec, cache_dir)
        for mode in modes:
            if mode == UDP_SEGMENTED and not segmentation_offload():
                found[mode] = {"missing": "this kernel has no UDP_SEGMENT"}
                continue

            def measure(count: int, mode: str = mode) -> dict[str, Any]:
                return _measure_level(count, seconds, theirs, spec, cache_dir, mode)

            if sessions:
                levels = [level for count in sessions for level in _attempt(measure, count)]
            else:
                limit = min(LEVEL_MAX, (files - _FILES_BESIDE_SESSIONS) // _FILES_A_SESSION)
                until_s = time.monotonic() + MODE_SECONDS_MAX
                levels = [measure(COMMON_LEVEL)]
                levels += _search(measure, EXPECTED[mode], limit, until_s)
            found[mode] = _summary(levels, bare)
    payload = sum(len(nal) for unit in clip.access_units for nal in unit.nals)
    return {
        "schema": 2,
        "bench": "camera",
        "grade": "L",
        "stream": {
            "width_px": spec.width_px,
            "height_px": spec.height_px,
            "rate_fps": spec.rate_fps,
            "bitrate_kbps": round(payload * 8 / clip.duration_s / 1000),
        },
        "seconds": seconds,
        "in_time_ms": IN_TIME_S * 1000,
        "cores": {"reader": ours, "server": theirs},
        "modes": found,
        "bare": bare,
    }


def _summary(levels: list[dict[str, Any]], bare: dict[str, Any]) -> dict[str, Any]:
    reached = max((lv for lv in levels if lv["reached"]), key=_sessions, default=None)
    most = 0 if reached is None else _sessions(reached)
    cost_us = None if reached is None else reached["cpu_us_per_frame"]
    return {
        "sessions": most,
        "limit_found": any(not lv["reached"] and _sessions(lv) > most for lv in levels),
        "frames_ratio": None if cost_us is None else round(bare["cpu_us_per_frame"] / cost_us, 3),
        "levels": levels,
    }


def _sessions(level: dict[str, Any]) -> int:
    return int(level["sessions"])


def _attempt(measure: Callable[[int], dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The level, measured again where something else than the server was the limit."""
    levels = [measure(count)]
    while (
        not levels[-1]["reached"]
        and levels[-1]["cpu_share"] < SATURATED_SHARE
        and len(levels) < ATTEMPTS
    ):
        levels.append(measure(count))
    return levels


def _search(
    measure: Callable[[int], dict[str, Any]],
    expected: int,
    limit: int,
    until_s: float = math.inf,
) -> list[dict[str, Any]]:
    """Begin at `expected`: upward until a level is missed, or downward until one is reached.

    No level is begun after `until_s` (`time.monotonic()`).
    """
    count = min(expected, limit)
    levels = _attempt(measure, count)
    upward = levels[-1]["reached"]
    while len(levels) < LEVELS_MAX and time.monotonic() < until_s:
        count = round(count * STEP if upward else count / STEP)
        if not 1 <= count <= limit:
            break
        levels += _attempt(measure, count)
        if levels[-1]["reached"] is not upward:
            break
    return levels


def _measure_level(
    count: int, seconds: float, core: int, spec: ClipSpec, cache_dir: Path | None, mode: str
) -> dict[str, Any]:
    """`count` cameras with one session each."""
    with _child(_serve, core, count, spec, cache_dir, mode) as pipe, Drain() as drain:
        port = _receive(pipe)
        failed = 0
        hurry = count > COMMON_LEVEL
        until_s = time.monotonic() + CONNECT_SECONDS_MAX
        for number in range(count):
            if time.monotonic() > until_s:
                failed += count - number
                break
            try:
                path = f"/camera-{number}"
                drain.connect("127.0.0.1", port, path, udp=mode != TCP, hurry=hurry)
            except PeerError:
                failed += 1
            drain.poll(0)
        settled_s = time.monotonic() + SETTLE_S
        while time.monotonic() < settled_s:
            drain.poll(0.01)
        pipe.send("begin")
        cpu_s, wall_s = time.process_time(), time.monotonic()
        window = drain.measure(seconds, IN_TIME_S)
        reader_share = (time.process_time() - cpu_s) / (time.monotonic() - wall_s)
        pipe.send("end")
        server = _receive(pipe)
        expected = count * seconds * spec.rate_fps
        in_time = sum(late <= IN_TIME_S for late in window.late_s)
        first_ms = [value * 1000 for value in drain.first_frames_s()]
        frames = server["frames"]
        return {
            "sessions": count,
            "reached": in_time >= DELIVERED_MIN * expected,
            "delivered_ratio": round(in_time / expected, 4),
            "frames": len(window.late_s),
            "late_ms": _percentiles([late * 1000 for late in window.late_s]),
            "first_frame_ms": {} if hurry else _percentiles(first_ms),
            "refused": failed,
            "lost": drain.lost,
            "dropped_at_sender": server["dropped"],
            "reader_cpu_share": round(reader_share, 3),
            "cpu_share": round(server["cpu_s"] / server["wall_s"], 3),
            "cpu_us_per_frame": round(server["cpu_s"] / frames * 1e6, 2) if frames else None,
            "rss_kb_per_session": round(server["rss_kb"] / count, 1),
        }


def _serve(pipe: Connection, count: int, spec: ClipSpec, cache_dir: Path | None, mode: str) -> None:
    asyncio.run(_serve_async(pipe, count, spec, cache_dir, mode))


async def _serve_async(
    pipe: Connection, count: int, spec: ClipSpec, cache_dir: Path | None, mode: str
) -> None:
    _raise_file_limit()
    clip = load_clip(spec, cache_dir)
    async with CameraServer(segment=mode == UDP_SEGMENTED) as server:
        rss_kb = _rss_kb()
        cameras = []
        for number in range(count):
            camera = server.add(f"camera-{number}", clip, f"/camera-{number}", fast_start=True)
            camera.epoch_s -= number / count * spec.gop_frames / spec.rate_fps  # out of step
            cameras.append(camera)

        def frames() -> int:
            return sum(account.frames_sent for c in cameras for account in c.sessions)

        pipe.send(server.port)
        await asyncio.to_thread(pipe.recv)
        cpu_s, wall_s, before = time.process_time(), time.monotonic(), frames()
        await asyncio.to_thread(pipe.recv)
        pipe.send(
            {
                "cpu_s": time.process_time() - cpu_s,
                "wall_s": time.monotonic() - wall_s,
                "frames": frames() - before,
                "dropped": sum(a.frames_dropped_at_sender for c in cameras for a in c.sessions),
                "rss_kb": _rss_kb() - rss_kb,
            }
        )


def _measure_bare(
    clip: Clip, seconds: float, core: int, spec: ClipSpec, cache_dir: Path | None
) -> dict[str, Any]:
    """The bare loop, drained as fast as it sends."""
    buffer = bytearray(BUFFER_BYTES)
    with _child(_send_bare, core, BARE_SESSIONS, seconds, spec, cache_dir) as pipe:
        port = _receive(pipe)
        readers = {}
        with select.epoll() as epoll:
            for _ in range(BARE_SESSIONS):
                reader = socket.create_connection(("127.0.0.1", port), timeout=START_TIMEOUT_S)
                readers[reader.fileno()] = reader
                epoll.register(reader.fileno(), select.EPOLLIN)
            while readers:
                for number, _ in epoll.poll(START_TIMEOUT_S):
                    if readers[number].recv_into(buffer) == 0:
                        epoll.unregister(number)
                        readers.pop(number).close()
        sent = _receive(pipe)
    cost_us = sent["cpu_s"] / sent["frames"] * 1e6
    return {
        "sessions": BARE_SESSIONS,
        "frames": sent["frames"],
        "cpu_us_per_frame": round(cost_us, 2),
        "sessions_ceiling": int(1e6 / cost_us / clip.fps),
    }


def _send_bare(
    pipe: Connection, count: int, seconds: float, spec: ClipSpec, cache_dir: Path | None
) -> None:
    units = PackedClip.pack(load_clip(spec, cache_dir)).units
    with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
        pipe.send(listener.getsockname()[1])
        writers = [listener.accept()[0] for _ in range(count)]
    frames = 0
    cpu_s, until_s = time.process_time(), time.monotonic() + seconds
    while time.monotonic() < until_s:
        for unit in units:
            blob = unit.blob
            for writer in writers:
                writer.send(blob)
            frames += count
            if time.monotonic() >= until_s:
                break
    cpu_s = time.process_time() - cpu_s
    for writer in writers:
        writer.close()
    pipe.send({"frames": frames, "cpu_s": cpu_s})


@contextmanager
def _child(target: Callable[..., None], core: int, *arguments: Any) -> Iterator[Connection]:
    """`target` in a process of its own on `core`; it has ended when the block is left."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_on_core, args=(target, core, theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        with ours:
            yield ours
    finally:
        process.join(timeout=5)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()


def _on_core(target: Callable[..., None], core: int, *arguments: Any) -> None:
    os.sched_setaffinity(0, {core})
    target(*arguments)


def _receive(pipe: Connection) -> Any:
    if not pipe.poll(START_TIMEOUT_S):
        raise CapabilityMissing(
            f"the bench's server process gave no answer in {START_TIMEOUT_S:.0f} s",
            hint="the machine is too busy for a measurement",
        )
    return pipe.recv()


@contextmanager
def _pinned() -> Iterator[tuple[int, int]]:
    """This process on one core, another core for the server; the same where there is only one."""
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    os.sched_setaffinity(0, {cores[0]})
    try:
        yield cores[0], cores[-1]
    finally:
        os.sched_setaffinity(0, before)


def _raise_file_limit() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _rss_kb() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def _percentiles(values: list[float]) -> dict[str, float]:
    """p50, p99 and max; empty without values."""
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2), "max": round(max(values), 2)}
