"""What the demo costs: wall time and memory of a whole `harness run`, from outside."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from harness.errors import InputError, PeerError

SCENARIO = Path("scenarios/first-light.yaml")
SAMPLE_S = 0.1
TIMEOUT_S = 300.0


def run(scenario: Path = SCENARIO) -> dict[str, Any]:
    """Run the scenario in a process of its own; memory is that of it and all it starts.

    `memory_peak_bytes` is the largest sum of proportional set sizes seen (shared pages count
    once), sampled ten times a second.
    """
    if not scenario.exists():
        raise InputError(f"no scenario at {scenario}", hint="run it in a checkout of the harness")
    with tempfile.TemporaryDirectory(prefix="hil-bench-") as output:
        command = [sys.executable, "-m", "harness.cli", "run", str(scenario), "--quiet"]
        began_s = time.perf_counter()
        with subprocess.Popen(
            [*command, "--output", output], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            peak_bytes, processes = _watch(process, began_s)
            _, errors = process.communicate()
        wall_s = time.perf_counter() - began_s
    if process.returncode != 0:
        said = errors.decode(errors="replace").strip().splitlines()
        raise PeerError(f"{scenario} ended with {process.returncode}: {said[-1] if said else ''}")
    return {
        "scenario": str(scenario),
        "wall_s": round(wall_s, 2),
        "memory_peak_bytes": peak_bytes,
        "processes_peak": processes,
    }


def _watch(process: subprocess.Popen[bytes], began_s: float) -> tuple[int, int]:
    """Sample until it ends. Outcome: peak bytes, peak number of processes."""
    root = psutil.Process(process.pid)
    peak_bytes = processes = 0
    while process.poll() is None:
        if time.perf_counter() - began_s > TIMEOUT_S:
            process.terminate()
        used, count = _used(root)
        peak_bytes, processes = max(peak_bytes, used), max(processes, count)
        time.sleep(SAMPLE_S)
    return peak_bytes, processes


def _used(root: psutil.Process) -> tuple[int, int]:
    used = count = 0
    try:
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0, 0
    for member in family:
        try:
            used += member.memory_full_info().pss
        except psutil.Error:
            continue  # it ended just now
        count += 1
    return used, count
