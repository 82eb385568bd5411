"""How warm a module gets: one resistance, one capacity, a fan, and software that lowers clocks.

Between two looks the temperature moves exponentially towards ambient plus power times
resistance. The fan lowers the resistance as it speeds up. Above the throttle temperature software
takes clocks away step by step and gives them back when it is cooler; above the shutdown temperature
the device turns itself off. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.jetson.hardware import Thermal

FAN_SPAN_C = 30.0  # from where the fan begins to turn to full speed
CLOCK_STEP = 0.85
CLOCK_MIN = 0.3
HYSTERESIS_C = 3.0
STEP_S = 5.0  # the fan's speed and the resistance are kept for this long


@dataclass(frozen=True, slots=True)
class Heat:
    """Temperature of the die, and the share of the clocks that software leaves."""

    temperature_c: float
    clock_share: float = 1.0

    @property
    def throttled(self) -> bool:
        return self.clock_share < 1.0


def resistance(thermal: Thermal, temperature_c: float) -> float:
    """Kelvin per watt at that temperature, the fan as fast as it then is."""
    fan = min(max((temperature_c - thermal.fan_c) / FAN_SPAN_C, 0.0), 1.0)
    still, full = thermal.resistance_c_per_w, thermal.fan_resistance_c_per_w
    return still + fan * (full - still)


def after(
    thermal: Thermal, heat: Heat, power_w: float, ambient_c: float, duration_s: float
) -> Heat:
    """The temperature after a while of constant power; clocks are left as they are."""
    left_s, now_c = duration_s, heat.temperature_c
    while left_s > 0:
        step_s = min(left_s, STEP_S)
        through = resistance(thermal, now_c)
        target_c = ambient_c + power_w * through
        now_c = target_c + (now_c - target_c) * exp(-step_s / (through * thermal.capacity_j_per_c))
        left_s -= step_s
    return replace(heat, temperature_c=now_c)


def governed(thermal: Thermal, heat: Heat) -> Heat:
    """What the governor does at one look: a step down when too hot, a step up when cool."""
    share = heat.clock_share
    if heat.temperature_c >= thermal.throttle_c:
        share = max(share * CLOCK_STEP, CLOCK_MIN)
    elif heat.temperature_c < thermal.throttle_c - HYSTERESIS_C:
        share = min(share / CLOCK_STEP, 1.0)
    return replace(heat, clock_share=1.0 if share > 0.999 else share)
