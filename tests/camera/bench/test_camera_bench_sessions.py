"""The bench as a whole, on a small scale."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from harness.camera.bench import sessions as bench
from harness.camera.bench.idle import measure_idle
from harness.camera.bench.level import Terms
from harness.camera.picture.clip import ClipSpec

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


SMALL = ClipSpec(
    width_px=192,
    height_px=108,
    rate_fps=30.0,
    duration_s=1.0,
    gop_frames=10,
    bitrate_kbps=100,
    objects=1,
    seed=1,
)


def test_bench_measures(tmp_path: Path) -> None:
    cores = os.sched_getaffinity(0)
    result = bench.run(0.4, [2], tmp_path, SMALL, peers=())
    assert os.sched_getaffinity(0) == cores
    json.dumps(result)
    assert tuple(result["modes"]) == bench.MODES
    for mode in result["modes"].values():
        if "missing" in mode:
            continue
        level = mode["levels"][-1]
        assert level["sessions"] == 2
        assert level["refused"] == level["lost"] == 0
        assert level["frames"] > 0
        assert level["cpu_us_per_frame"] > 0
        assert set(level["machine"]) == {"server", "reader"}
        assert mode["sessions"] in (0, 2)
    assert result["bare"]["frames"] > 0
    assert result["ratios"] == {mode: {} for mode in bench.MODES}


def test_a_mode_that_the_kernel_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "segmentation_offload", lambda: False)
    terms = Terms(SMALL, None, 0.1, (1,), 0, 0)
    assert "UDP_SEGMENT" in bench._measure_mode(bench.UDP_SEGMENTED, terms, {})["missing"]


def test_ratios_compare_what_goes_the_same_way() -> None:
    peers = {
        "one": {"modes": {"tcp": {"sessions": 100}, "udp": {"sessions": 200}}},
        "two": {"modes": {"udp": {"sessions": 0}}},
        "three": {"missing": "not installed"},
    }
    found = {"sessions": 1000}
    none = {"two": None, "three": None}
    assert bench._ratios(bench.TCP, found, peers) == {"one": 10.0, **none}
    assert bench._ratios(bench.UDP, found, peers) == {"one": 5.0, **none}
    assert bench._ratios(bench.UDP_SEGMENTED, found, peers) == {"one": 5.0, **none}
    assert bench._ratios(bench.UDP_SEGMENTED, {"missing": "so"}, peers)["one"] is None


def test_cameras_cost_nothing_while_nobody_watches(cache_dir: Path) -> None:
    """A timer a frame for each of 200 cameras would take a third of a core; the bound is a tenth
    of that."""
    core = min(os.sched_getaffinity(0))
    result = measure_idle(Terms(SMALL, cache_dir, 1.0, (), core, core), cameras=200)
    json.dumps(result)
    assert result["cameras"] == 200
    assert 0 < result["cpu_s"] < 0.03
