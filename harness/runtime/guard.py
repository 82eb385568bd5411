"""Keeps a greedy application from taking the machine with it.

The appliance limits neither memory nor processes of an application; what stops one there is the
kernel, when there is nothing left. This machine must not come to that: an application that
holds more than the appliance has, or half of this machine, is killed as the kernel would, and one
that forks without end at a number no real one reaches. The lines are the kernel's own.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import psutil

PROCESSES_MAX = 512
MACHINE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Usage:
    """Of all processes of an application: resident and virtual memory, and how many there are."""

    resident_bytes: int
    virtual_bytes: int
    processes: int


def usage(pid: int, exact_above_bytes: int) -> Usage:
    """Of the process `pid` and all that descend from it; zeros when it is gone.

    Pages that processes share count once where that matters, above `exact_above_bytes`: to find
    out takes long.
    """
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return Usage(0, 0, 0)
    resident = virtual = 0
    for member in family:
        with contextlib.suppress(psutil.Error):  # it ended just now
            memory = member.memory_info()
            resident, virtual = resident + memory.rss, virtual + memory.vms
    if resident > exact_above_bytes and len(family) <= PROCESSES_MAX:
        resident = sum(map(_proportional_bytes, family))
    return Usage(resident, virtual, len(family))


def _proportional_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def memory_max_bytes(appliance_bytes: int) -> int:
    """What an application may hold: all that its appliance has, at most half of this machine."""
    return min(appliance_bytes, int(psutil.virtual_memory().total * MACHINE_SHARE))


def verdict(used: Usage, pid: int, memory_bytes: int) -> str | None:
    """The line for `kern_log` when the application has to go, None when it may stay."""
    if used.processes > PROCESSES_MAX:
        return f"cgroup: fork rejected by pids controller: {used.processes} processes of {pid}"
    if used.resident_bytes > memory_bytes:
        return (
            f"Out of memory: Killed process {pid} (python3) total-vm:{used.virtual_bytes >> 10}kB,"
            f" anon-rss:{used.resident_bytes >> 10}kB, file-rss:0kB, shmem-rss:0kB"
        )
    return None
