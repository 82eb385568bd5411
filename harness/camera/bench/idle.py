"""What cameras cost while nobody watches."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from harness.camera.bench import station
from harness.camera.bench.child import child, receive
from harness.camera.bench.machine import Watch

if TYPE_CHECKING:
    from harness.camera.bench.level import Terms

CAMERAS = 1000
SECONDS_MAX = 10.0


def measure_idle(terms: Terms, cameras: int = CAMERAS) -> dict[str, Any]:
    """CPU seconds that a server of `cameras` takes in so many seconds without a reader."""
    core, seconds = terms.server_core, min(terms.seconds, SECONDS_MAX)
    with child(station.serve, core, cameras, terms.spec, terms.cache_dir, None) as pipe:
        standing = receive(pipe)
        watch, before = Watch(core, standing.pid), station.sample(pipe)
        time.sleep(seconds)
        after = station.sample(pipe)
        cpu_s = after.cpu_s - before.cpu_s
        return {
            "cameras": cameras,
            "seconds": seconds,
            "cpu_s": round(cpu_s, 4),
            "cpu_share": round(cpu_s / seconds, 5),
            "machine": watch.report(cpu_s),
        }
