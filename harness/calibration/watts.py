"""Power at the plug: what the board takes, and what its engines add under load.

    board + memory clock + loaded * (GPU + DLA + CPU)

Clocks enter by a power law, since voltage rises with them. The measurements are MLPerf's, at the
plug of a developer kit, the loss of its supply included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.calibration.roofline import Parameter
from harness.jetson.load import CPU_EXPONENT, GPU_EXPONENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.calibration.case import Case
    from harness.calibration.roofline import Array

WATT_PARAMETERS = (
    Parameter("board.wide", 6.0, 0.5, "W of a module with a memory bus of 256 bits"),
    Parameter("board.narrow", 3.5, 0.5, "W of a module with a memory bus of 128 bits"),
    Parameter("memory", 2.0, 0.5, "W of 136 GB/s of bandwidth"),
    Parameter("gpu.volta", 1.6, 0.5, "W of a multiprocessor at 1 GHz"),
    Parameter("gpu.ampere", 1.3, 0.5, "W of a multiprocessor at 1 GHz"),
    Parameter("dla", 2.0, 0.5, "W of a DLA at 1 GHz"),
    Parameter("core", 1.0, 0.5, "W of a busy core at 2 GHz"),
)


class Draw:
    """The clocks of all cases, as arrays. `idle` cases have engine `idle`."""

    def __init__(self, cases: Sequence[tuple[Case, bool]]) -> None:
        def of(value: object) -> Array:
            return np.array(value, dtype=float)

        modes = [case.mode for case, _ in cases]
        self.wide = of([case.hardware.memory_bytes_per_clock > 48 for case, _ in cases])
        self.ampere = of([case.hardware.architecture == "ampere" for case, _ in cases])
        self.memory = of(
            [case.hardware.memory_bytes_per_clock * case.mode.memory_mhz for case, _ in cases]
        ) / (64 * 2133)
        self.gpu = of(
            [
                mode.gpu_sms * (mode.gpu_mhz / 1e3) ** GPU_EXPONENT * _busy(case, idle, "gpu")
                for mode, (case, idle) in zip(modes, cases, strict=True)
            ]
        )
        self.dla = of(
            [
                case.dla_engines * (mode.dla_mhz / 1e3) * _busy(case, idle, "dla")
                for mode, (case, idle) in zip(modes, cases, strict=True)
            ]
        )
        self.core = of(
            [
                mode.cpu_cores * (mode.cpu_mhz / 2e3) ** CPU_EXPONENT * _busy(case, idle, "cpu")
                for mode, (case, idle) in zip(modes, cases, strict=True)
            ]
        )


def _busy(case: Case, idle: bool, engine: str) -> float:
    if idle:
        return 0.0
    return float(case.engine == engine or (case.engine == "both" and engine != "cpu"))


def watts(draw: Draw, values: Mapping[str, float]) -> Array:
    board = np.where(draw.wide > 0, values["board.wide"], values["board.narrow"])
    gpu = np.where(draw.ampere > 0, values["gpu.ampere"], values["gpu.volta"]) * draw.gpu
    rest = values["memory"] * draw.memory + values["dla"] * draw.dla + values["core"] * draw.core
    total: Array = board + gpu + rest
    return total
