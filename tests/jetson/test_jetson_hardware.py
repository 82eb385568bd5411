from __future__ import annotations

import pytest

from harness.errors import InputError
from harness.jetson.hardware import (
    Codec,
    Draw,
    Hardware,
    PowerMode,
    Thermal,
    bandwidth_bytes_per_s,
    power_mode,
)

FAST = PowerMode("MAXN", 0, 8, 2265.6, 1377, 8, 2, 1395.2, 2133, ("30W_MAX",))
SLOW = PowerMode("MODE_10W", 10, 2, 1200, 520, 4, 2, 550, 1066)
HARDWARE = Hardware(
    name="xavier",
    architecture="volta",
    gpu_sms=8,
    dla_count=2,
    cpu_core="Carmel",
    cpu_cores=8,
    copy_bytes_per_s=1e10,
    memory_bytes_per_clock=64,
    codec=Codec(2e9, 2e9),
    draw=Draw(10, 30, 4, 2.5),
    thermal=Thermal(1.8, 0.75, 450, 50, 95.5, 102),
    modes=(FAST, SLOW),
)


@pytest.mark.parametrize("text", ["MAXN", "MAXN(assumed)", "MAXN+jetson_clocks", "30W_MAX", "max"])
def test_a_mode_by_any_of_its_names(text: str) -> None:
    assert power_mode(HARDWARE, text) is FAST


@pytest.mark.parametrize("text", ["MODE_10W", "10W", "10W(JP4.6)"])
def test_a_mode_without_its_prefix(text: str) -> None:
    assert power_mode(HARDWARE, text) is SLOW


def test_a_mode_by_its_clocks() -> None:
    mode = power_mode(HARDWARE, "MAXQ(gpu=675.75;dla=1050;cpu=2x1190.4;emc=1600)")
    assert (mode.gpu_mhz, mode.dla_mhz, mode.cpu_cores) == (675.75, 1050, 2)
    assert (mode.cpu_mhz, mode.memory_mhz, mode.gpu_sms) == (1190.4, 1600, 8)
    assert mode.budget_w == 0


def test_clocks_left_out_are_the_fastest() -> None:
    mode = power_mode(HARDWARE, "gpu=1275;dla=1331;emc=max")
    assert (mode.cpu_cores, mode.cpu_mhz, mode.memory_mhz) == (8, 2265.6, 2133)


def test_an_unknown_mode_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="xavier has no power mode '20W'") as caught:
        power_mode(HARDWARE, "20W")
    assert "MAXN, MODE_10W" in caught.value.hint


def test_bandwidth_follows_the_memory_clock() -> None:
    assert bandwidth_bytes_per_s(HARDWARE, FAST) == pytest.approx(136.5e9, rel=1e-3)
    assert bandwidth_bytes_per_s(HARDWARE, SLOW) == pytest.approx(68.2e9, rel=1e-3)
