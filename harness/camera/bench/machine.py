"""What else the machine did while something was measured, and what a process holds.

A miss that other work caused must not look like the server's limit. `/proc/stat` says how busy a
core was and what the hypervisor took of it (`steal`); `/proc/<pid>/schedstat` how long a process
was ready to run and had to wait for its core (Documentation/scheduler/sched-stats.rst). The
second is the sharper of the two: interrupts that the server itself causes do not count.
"""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DISTURBED_SHARE = 0.03  # of a core, by others or by the hypervisor: then the figures are theirs
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_IDLE, _IOWAIT, _STEAL = 3, 4, 7  # columns of a line of /proc/stat
_COLUMNS = 8  # those behind are guests, which are counted as user time already


@dataclass(frozen=True, slots=True)
class CoreTime:
    """Seconds since boot that a core worked, and that it was taken away."""

    busy_s: float
    steal_s: float


def core_time(core: int, path: Path = Path("/proc/stat")) -> CoreTime:
    """Of one core; zeros where the machine does not say."""
    with suppress(OSError):
        for line in path.read_text().splitlines():
            name, *values = line.split()
            if name == f"cpu{core}":
                ticks = [int(value) for value in values[:_COLUMNS]]
                steal = ticks[_STEAL]
                busy = sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT] - steal
                return CoreTime(busy / _TICKS_A_SECOND, steal / _TICKS_A_SECOND)
    return CoreTime(0.0, 0.0)


def waited_s(pid: int | None = None) -> float:
    """How long a process's main thread was ready and not let run; 0 where nobody knows."""
    with suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{'self' if pid is None else pid}/schedstat").read_text()
        return int(text.split()[1]) / 1e9
    return 0.0


class Watch:
    """Begins when it is made. `report` says what a core did since, beside our own process on it."""

    def __init__(self, core: int, pid: int | None = None) -> None:
        self._core = core
        self._pid = pid
        self._began_s = time.monotonic()
        self._before = core_time(core)
        self._waited_s = waited_s(pid)

    def report(self, own_cpu_s: float) -> dict[str, Any]:
        """Shares of the time since, given what our own process took of the core."""
        elapsed_s = max(1e-9, time.monotonic() - self._began_s)
        now = core_time(self._core)
        busy = (now.busy_s - self._before.busy_s) / elapsed_s
        own = own_cpu_s / elapsed_s
        return {
            "core": self._core,
            "own": round(own, 3),
            "others": round(max(0.0, busy - own), 3),
            "steal": round((now.steal_s - self._before.steal_s) / elapsed_s, 3),
            "waited": round((waited_s(self._pid) - self._waited_s) / elapsed_s, 3),
        }


def disturbed(*reports: dict[str, Any]) -> bool:
    """Whether other work shows in the figures that were taken meanwhile."""
    return any(
        report["waited"] > DISTURBED_SHARE or report["steal"] > DISTURBED_SHARE
        for report in reports
    )


def rss_kb() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def open_files() -> int:
    """File descriptors of this process."""
    return len(os.listdir("/proc/self/fd")) - 1  # the one that lists them
