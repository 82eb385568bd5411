"""The four regressions: time on accelerators, time on CPUs, tails of latency, power at the plug."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.calibration import likeness
from harness.calibration.observation import CPU_TIME, POWER, TAIL, TIME
from harness.calibration.regression import Design
from harness.calibration.roofline import (
    ACCELERATOR_PARAMETERS,
    CPU_PARAMETERS,
    Parameter,
    Work,
    cpu_seconds_per_image,
    seconds_per_image,
)
from harness.calibration.watts import WATT_PARAMETERS, Draw, watts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.calibration.case import Case
    from harness.calibration.observation import Observation
    from harness.calibration.roofline import Array

    Subject = tuple[Case, int]  # a case, and the detail of its observation

APPLICATIONS = (
    "tensorrt_demos", "pytorch", "trt_pose", "paddle", "panorama",
    "deepstream", "deepstream-tao", "deepstream-ultralytics",
)  # fmt: skip
# A tail of 3 % to 6 % above the mean is usual; networks with inputs of varying size have more.
TAIL_PARAMETERS = (
    Parameter("tail.90", 0.03, 0.7, "logarithm of the 90th percentile over the mean"),
    Parameter("tail.99", 0.06, 0.7, "logarithm of the 99th percentile over the mean"),
)


def subject(one: Observation) -> Subject:
    return one.case, one.detail


def _values(parameters: Sequence[Parameter], theta: Array) -> Mapping[str, float]:
    exponents = np.exp(theta)
    return {
        parameter.name: float(value) for parameter, value in zip(parameters, exponents, strict=True)
    }


def _work(subjects: Sequence[Subject]) -> Work:
    return Work([case for case, _ in subjects])


def _time(work: Work, theta: Array) -> Array:
    seconds: Array = np.log(seconds_per_image(work, _values(ACCELERATOR_PARAMETERS, theta)))
    return seconds


def _cpu_time(work: Work, theta: Array) -> Array:
    seconds: Array = np.log(cpu_seconds_per_image(work, _values(CPU_PARAMETERS, theta)))
    return seconds


def _percentiles(subjects: Sequence[Subject]) -> Any:
    return np.array([percentile == 99 for _, percentile in subjects])


def _tail(is_99: Any, theta: Array) -> Array:
    tail: Array = np.where(is_99, np.exp(theta[1]), np.exp(theta[0]))
    return tail


def _draw(subjects: Sequence[Subject]) -> Draw:
    return Draw([(case, bool(idle)) for case, idle in subjects])


def _power(draw: Draw, theta: Array) -> Array:
    total: Array = np.log(watts(draw, _values(WATT_PARAMETERS, theta)))
    return total


def _of_case(likenesses: Mapping[str, likeness.Likeness]) -> Mapping[str, Callable[[Subject], Any]]:
    def lifted(of: likeness.Likeness) -> Callable[[Subject], Any]:
        return lambda one: of(one[0])

    return {name: lifted(of) for name, of in likenesses.items()}


_TAIL_LIKENESSES: Mapping[str, Callable[[Subject], Any]] = {
    "network": lambda one: one[0].network.name,
    "network percentile": lambda one: (one[0].network.name, one[1]),
    "network device": lambda one: (one[0].network.name, one[0].device, one[1]),
    "device": lambda one: (one[0].device, one[1]),
    "software": lambda one: (one[0].variant, one[0].engine, one[1]),
    "release": lambda one: (one[0].device, one[0].release, one[0].mode.budget_w > 0, one[1]),
    "mode": lambda one: (one[0].device, one[0].mode.name, one[1]),
    "configuration": lambda one: (one[0].configuration, one[1]),
    "run": lambda one: (one[0].configuration, one[0].release, one[0].variant),
}
_POWER_LIKENESSES: Mapping[str, Callable[[Subject], Any]] = {
    "device": lambda one: (one[0].device, one[1]),
    "board": lambda one: one[0].device,
    "release": lambda one: (one[0].device, one[0].release, one[0].software),
    "release state": lambda one: (one[0].device, one[0].release, one[0].software, one[1]),
    "mode": lambda one: (one[0].device, one[0].mode.name, one[1]),
    "network": lambda one: (one[0].network.name, one[0].engine),
    "network device": lambda one: (one[0].network.name, one[0].engine, one[0].device),
    "batch": lambda one: (one[0].engine, one[0].gpu_batch > 1, one[1]),
    "software": lambda one: (one[0].variant, one[0].engine),
    "configuration": lambda one: (one[0].configuration, one[1]),
}

DESIGNS: Mapping[str, Design[Subject]] = {
    TIME: Design(
        ACCELERATOR_PARAMETERS,
        _work,
        _time,
        _of_case(likeness.TIME),
        {
            "noise outside mlperf": lambda one: one[0].software != "mlperf",
            "noise of applications": lambda one: one[0].software in APPLICATIONS,
        },
        {"family": 0.1, "family software": 0.15, "network software": 0.1},
    ),
    CPU_TIME: Design(
        CPU_PARAMETERS, _work, _cpu_time, _of_case(likeness.CPU_TIME), {},
        {"family": 0.2, "family software": 0.2},
    ),
    TAIL: Design(
        TAIL_PARAMETERS, _percentiles, _tail, _TAIL_LIKENESSES, {},
        {"network": 0.1, "network percentile": 0.1},
    ),
    POWER: Design(WATT_PARAMETERS, _draw, _power, _POWER_LIKENESSES, {}, {}),
}  # fmt: skip
