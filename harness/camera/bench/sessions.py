"""How many 720p30 sessions of about 2 Mbit/s one core serves.

The server runs in a process pinned to one core, the reader (`drain`) is pinned to another; over
TCP, over UDP with one send a packet, and over UDP with segmentation offload. The cameras' clocks
are spread evenly over the time between two key frames: cameras of a site do not run in step.

A level counts as reached when at least 99 % of the frames captured in the window have arrived
within 100 ms. Other work on the machine costs a level easily, so one that was missed without the
server's core being busy, or while others were seen at work, is tried again; every attempt is in
the result. The same run measures other servers in the same way (`peer`), a bare loop that sends
the same bytes (`bare`), and what cameras cost that nobody watches (`idle`). Above the common
level readers send requests in a hurry, or connecting would take longer than measuring; the time
to a first frame is not measured there.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from harness.camera.bench import station
from harness.camera.bench.bare import measure_bare
from harness.camera.bench.child import child, pinned, receive
from harness.camera.bench.idle import measure_idle
from harness.camera.bench.level import HURRY_ABOVE, IN_TIME_S, Serving, Terms, measure_level
from harness.camera.bench.peer import PEERS, measure_peer
from harness.camera.bench.search import attempt, ratios, search, summary
from harness.camera.picture.clip import ClipSpec, load_clip
from harness.camera.serve.capacity import raise_file_limit
from harness.camera.serve.udp import segmentation_offload

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.camera.bench.peer import Peer

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
COMMON_LEVEL = HURRY_ABOVE  # measured in every mode: lateness, first frame, memory are compared
EXPECTED = {TCP: 2000, UDP: 1000, UDP_SEGMENTED: 2000}  # where the search begins
MODE_SECONDS_MAX = 20.0  # then no further level is begun
LEVEL_MAX = 6400
_FILES_BESIDE_SESSIONS = 64
_FILES_A_SESSION = 3


def run(
    seconds: float = 3.0,
    sessions: Sequence[int] | None = None,
    cache_dir: Path | None = None,
    spec: ClipSpec = SPEC,
    modes: Sequence[str] = MODES,
    peers: Sequence[Peer] = PEERS,
) -> dict[str, Any]:
    """Measure the levels in `sessions`, or search near what each mode is expected to reach.

    Blocks for some minutes. Returns JSON values: of each mode `sessions` is the highest level
    reached (0 for none), `levels` what was measured at each in the order of measuring, and
    `limit_found` whether the next step above was tried and missed; `bare` is the loop without
    protocol, `frames_ratio` how many frames the server sends in a CPU second for every one of
    the bare loop; `ratios` how many sessions it carries for every one of a peer.
    """
    clip = load_clip(spec, cache_dir)
    raise_file_limit()
    with pinned() as (ours, theirs):
        terms = Terms(spec, cache_dir, seconds, tuple(sessions or ()), ours, theirs)
        bare = measure_bare(terms)
        idle = measure_idle(terms)
        found = {mode: _measure_mode(mode, terms, bare) for mode in modes}
        others = {one.name: measure_peer(one, clip, terms) for one in peers}
    payload = sum(len(nal) for unit in clip.access_units for nal in unit.nals)
    return {
        "schema": 3,
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
        "idle": idle,
        "peers": others,
        "ratios": {mode: _ratios(mode, found[mode], others) for mode in modes},
    }


def _measure_mode(mode: str, terms: Terms, bare: dict[str, Any]) -> dict[str, Any]:
    if mode == UDP_SEGMENTED and not segmentation_offload():
        return {"missing": "this kernel has no UDP_SEGMENT"}

    def measure(count: int) -> dict[str, Any]:
        """`count` cameras with one session each."""
        arguments = (count, terms.spec, terms.cache_dir, mode == UDP_SEGMENTED)
        with child(station.serve, terms.server_core, *arguments) as pipe:
            standing = receive(pipe)
            serving = Serving(
                port=standing.port,
                pid=standing.pid,
                sample=functools.partial(station.sample, pipe),
                idle_rss_kb=standing.rss_kb,
            )
            return measure_level(serving, count, terms, udp=mode != TCP)

    if terms.levels:
        levels = [level for count in terms.levels for level in attempt(measure, count)]
    else:
        limit = min(LEVEL_MAX, (raise_file_limit() - _FILES_BESIDE_SESSIONS) // _FILES_A_SESSION)
        until_s = time.monotonic() + MODE_SECONDS_MAX
        levels = attempt(measure, COMMON_LEVEL)
        levels += search(measure, EXPECTED[mode], limit, until_s)
    result = summary(levels)
    cost_us = result["cpu_us_per_frame"]
    result["frames_ratio"] = cost_us and round(bare["cpu_us_per_frame"] / cost_us, 3)
    return result


def _ratios(mode: str, found: dict[str, Any], others: dict[str, Any]) -> dict[str, float | None]:
    """Peers send UDP as they do; how we send it is two modes."""
    transport = TCP if mode == TCP else UDP
    return ratios(
        found.get("sessions", 0),
        {name: other.get("modes", {}).get(transport, {}) for name, other in others.items()},
    )
