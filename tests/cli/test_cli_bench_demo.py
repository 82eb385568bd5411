from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from harness.cli import bench_demo
from harness.errors import InputError, PeerError

if TYPE_CHECKING:
    from pathlib import Path

SMALL = """\
schema: 1
name: small
engine: model
site:
  appliances:
    north: {profile: panorama-appliance, firmware: 6.2.1}
bring_up:
  - provision: north
checks: [steps]
stop_after: 5m
converge_within: 20s
"""


def test_a_run_is_timed_with_all_its_memory(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    result = bench_demo.run(path)
    assert result["wall_s"] > 0
    assert result["memory_peak_bytes"] > 10_000_000  # an interpreter with the engine in it
    assert result["processes_peak"] >= 1


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(SMALL.replace("panorama-appliance", "toaster"), encoding="utf-8")
    with pytest.raises(PeerError, match=r"broken\.yaml ended with 2"):
        bench_demo.run(path)


def test_without_a_checkout_the_scenario_is_missed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scenario at"):
        bench_demo.run(tmp_path / "none.yaml")


def test_memory_counts_children() -> None:
    code = "import subprocess,sys;subprocess.run([sys.executable,'-c','input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as parent:
        root = psutil.Process(parent.pid)
        while not root.children():
            pass
        used, count = bench_demo._used(root)
        assert parent.stdin is not None
        parent.stdin.close()
    assert count == 2
    assert used > 0
    assert bench_demo._used(root) == (0, 0)
