from __future__ import annotations

from dataclasses import replace

import pytest

from harness.jetson.hardware import Thermal
from harness.jetson.heat import CLOCK_MIN, Heat, after, governed, resistance

THERMAL = Thermal(
    resistance_c_per_w=2.0, fan_resistance_c_per_w=1.0, capacity_j_per_c=300,
    fan_c=50, throttle_c=95, shutdown_c=102,
)  # fmt: skip


def test_it_warms_exponentially_to_ambient_plus_power_times_resistance() -> None:
    heat = Heat(25.0)
    one = after(THERMAL, heat, 10.0, 25.0, 600.0)  # one time constant of 2 K/W times 300 J/K
    assert one.temperature_c == pytest.approx(25 + 20 * (1 - 0.3679), abs=0.1)
    assert after(THERMAL, heat, 10.0, 25.0, 1e5).temperature_c == pytest.approx(45.0, abs=0.01)


def test_in_one_go_or_in_many_looks_it_is_the_same() -> None:
    at_once = after(THERMAL, Heat(25.0), 30.0, 25.0, 900.0)
    heat = Heat(25.0)
    for _ in range(90):
        heat = after(THERMAL, heat, 30.0, 25.0, 10.0)
    assert heat.temperature_c == pytest.approx(at_once.temperature_c)


def test_it_cools_when_nothing_is_drawn() -> None:
    assert after(THERMAL, Heat(80.0), 0.0, 20.0, 1e5).temperature_c == pytest.approx(20.0, abs=0.1)


def test_the_fan_lowers_the_resistance_as_it_gets_warm() -> None:
    assert [resistance(THERMAL, celsius) for celsius in (20, 50, 65, 80, 100)] == [
        2.0, 2.0, 1.5, 1.0, 1.0,
    ]  # fmt: skip


def test_the_governor_takes_clocks_when_hot_and_gives_them_back_when_cool() -> None:
    hot = governed(THERMAL, Heat(96.0))
    assert hot.throttled
    assert hot.clock_share == pytest.approx(0.85)
    assert governed(THERMAL, replace(hot, temperature_c=94.0)).clock_share == hot.clock_share
    assert not governed(THERMAL, replace(hot, temperature_c=90.0)).throttled
    for _ in range(20):
        hot = governed(THERMAL, hot)
    assert hot.clock_share == CLOCK_MIN
