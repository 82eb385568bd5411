"""What else the machine did: read from the kernel's own files, and told apart from ours."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from harness.camera.bench import machine

if TYPE_CHECKING:
    from pathlib import Path

STAT = """cpu  1000 0 0 0 0 0 0 0 0 0
cpu0 100 10 50 900 40 5 15 20 7 0
cpu10 1 2 3 4 5 6 7 8 9 0
intr 1
"""


def test_core_time(tmp_path: Path) -> None:
    """Guest time stands in user time already."""
    file = tmp_path / "stat"
    file.write_text(STAT)
    ticks = os.sysconf("SC_CLK_TCK")
    assert machine.core_time(0, file) == machine.CoreTime(180 / ticks, 20 / ticks)
    assert machine.core_time(10, file) == machine.CoreTime(19 / ticks, 8 / ticks)
    assert machine.core_time(1, file) == machine.CoreTime(0.0, 0.0)
    assert machine.core_time(0, tmp_path / "none") == machine.CoreTime(0.0, 0.0)


def test_what_is_not_ours_is_others(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([machine.CoreTime(10.0, 1.0), machine.CoreTime(11.8, 1.1)])
    waits = iter([5.0, 5.5])
    clock = iter([100.0, 102.0])
    monkeypatch.setattr(machine, "core_time", lambda _: next(times))
    monkeypatch.setattr(machine, "waited_s", lambda _: next(waits))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    report = machine.Watch(3).report(own_cpu_s=1.0)
    assert report == {"core": 3, "own": 0.5, "others": 0.4, "steal": 0.05, "waited": 0.25}


@pytest.mark.parametrize(
    ("waited", "steal", "disturbed"),
    [(0.0, 0.0, False), (0.03, 0.03, False), (0.04, 0.0, True), (0.0, 0.04, True)],
)
def test_disturbed(waited: float, steal: float, disturbed: bool) -> None:
    quiet = {"waited": 0.0, "steal": 0.0, "others": 0.9}  # work of others that cost us nothing
    assert machine.disturbed(quiet, {**quiet, "waited": waited, "steal": steal}) is disturbed
    assert not machine.disturbed(quiet)


def test_this_process() -> None:
    assert machine.waited_s() >= 0.0
    assert machine.waited_s(2**30) == 0.0
    assert machine.rss_kb() > 1000
    before = machine.open_files()
    with open(os.devnull):
        assert machine.open_files() == before + 1
