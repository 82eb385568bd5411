"""Measurements as the regressions need them: a case, and the logarithm of what was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING

from harness.calibration.case import ENGINES, LATENCY, PRECISIONS, STREAMS, THROUGHPUT, Case
from harness.errors import InputError
from harness.jetson.hardware import power_mode
from harness.jetson.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.calibration.library import NetworkLibrary
    from harness.calibration.measurement import Measurement
    from harness.jetson.hardware import Hardware

TIME, CPU_TIME, TAIL, POWER = "time", "cpu time", "tail", "power"
QUANTITIES = (TIME, CPU_TIME, TAIL, POWER)
PERCENTILES = {"latency_p90_ms": 90, "latency_p99_ms": 99}
IDLE, LOADED = "wall_power_idle_W", "wall_power_loaded_W"
# Devices as the measurements name them, and the profile that describes each.
DEVICES = {
    "agx_xavier": "panorama-appliance",
    "panorama_appliance(agx_xavier_32gb)": "panorama-appliance",
    "xavier_nx": "lenovo-se70",
    "agx_orin": "jetson-agx-orin",
    "drive_orin_x": "jetson-agx-orin",
    "orin_nx": "jetson-orin-nx-16gb",
    "orin_nx_16gb": "jetson-orin-nx-16gb",
    "orin_nano_super": "jetson-orin-nano-8gb",
    "orin_nano_8gb": "jetson-orin-nano-8gb",
}
SLOWER_MODES = {"orin_nano_8gb": "15W"}  # before the super modes came, `max` meant this
STREAMS_MIN = 3  # fewer say only that the limit was near
DLA_SHARE = 0.1  # of the streams in flight; the rest is on the GPU
NOTHING = Network("", "", ())


@dataclass(frozen=True, slots=True)
class Observation:
    """`detail` is a percentile for tails, and whether the device idled for power."""

    quantity: str
    case: Case
    logarithm: float
    measurement: Measurement
    detail: int = 0


@dataclass(frozen=True, slots=True)
class Unusable:
    measurement: Measurement
    reason: str


def device_hardware(device: str, hardware: Mapping[str, Hardware]) -> Hardware | None:
    return hardware.get(DEVICES.get(device, device))


def observe(
    rows: Sequence[Measurement], hardware: Mapping[str, Hardware], library: NetworkLibrary
) -> tuple[list[Observation], list[Unusable]]:
    """Sort rows into what the model knows how to predict, and what it does not, with the reason."""
    means = {row.run: row.value for row in rows if row.metric == "latency_mean_ms"}
    found: list[Observation] = []
    left: list[Unusable] = []
    for row in rows:
        try:
            found.append(_observation(row, means, hardware, library))
        except InputError as error:
            left.append(Unusable(row, str(error)))
    return found, left


def _observation(
    row: Measurement,
    means: Mapping[tuple[str, str, str], float],
    hardware: Mapping[str, Hardware],
    library: NetworkLibrary,
) -> Observation:
    if row.metric == IDLE:
        return Observation(POWER, _idle(row, hardware), log(row.value), row, detail=1)
    if row.metric == LOADED:
        return Observation(POWER, _case(row, hardware, library), log(row.value), row)
    if row.metric in PERCENTILES:
        mean = means.get(row.run)
        if mean is None:
            raise InputError("a percentile without the mean of its run")
        case = _case(row, hardware, library)
        return Observation(TAIL, case, log(row.value / mean), row, PERCENTILES[row.metric])
    case = _case(row, hardware, library)
    quantity = CPU_TIME if row.engine == "cpu" else TIME
    return _time(quantity, row, case)


def _time(quantity: str, row: Measurement, case: Case) -> Observation:
    """Seconds an image takes: of a latency, of a rate, of the streams a limit allows."""
    if row.metric == "latency_mean_ms":
        return Observation(quantity, case, log(row.value / 1e3 / row.samples), row)
    if row.metric == "throughput" and row.software[0] != "panorama":
        case = replace(case, kind=THROUGHPUT)
        return Observation(quantity, case, -log(row.value), row)
    if row.metric == "streams" and row.value >= STREAMS_MIN and row.limit_s:
        dla = max(1, int(row.value * DLA_SHARE))
        gpu = max(1, int(row.value) - case.dla_engines * dla)
        case = replace(case, kind=STREAMS, gpu_batch=gpu, dla_batch=dla)
        return Observation(quantity, case, log(row.limit_s / row.value), row)
    raise InputError(f"nothing predicts {row.metric} of {row.scenario}")


def _case(row: Measurement, hardware: Mapping[str, Hardware], library: NetworkLibrary) -> Case:
    module = _module(row, hardware)
    precision = row.precision.rstrip("?")
    if precision not in PRECISIONS or row.engine not in ENGINES:
        raise InputError(f"nothing predicts {row.precision} on {row.engine}")
    network = library.find(row.model, row.size)
    if network is None:
        raise InputError(f"the work of {row.model}@{row.size} is not known")
    gpu, dla = row.batches
    software, variant, release = row.software
    return Case(
        device=row.device,
        hardware=module,
        mode=power_mode(module, SLOWER_MODES.get(row.device, row.power_mode)),
        network=network,
        precision=precision,
        engine=row.engine,
        gpu_batch=gpu,
        dla_batch=dla,
        kind=LATENCY,
        software=software,
        variant=variant,
        release=release,
        configuration=row.configuration,
    )


def _idle(row: Measurement, hardware: Mapping[str, Hardware]) -> Case:
    module = _module(row, hardware)
    mode = power_mode(module, row.power_mode)
    software, variant, release = row.software
    return Case(
        row.device, module, mode, NOTHING, "int8", "gpu",
        software=software, variant=variant, release=release, configuration=row.configuration,
    )  # fmt: skip


def _module(row: Measurement, hardware: Mapping[str, Hardware]) -> Hardware:
    module = device_hardware(row.device, hardware)
    if module is None:
        raise InputError(f"no profile describes the device {row.device}")
    return module


def by_quantity(observations: Iterable[Observation]) -> dict[str, list[Observation]]:
    sorted_: dict[str, list[Observation]] = {quantity: [] for quantity in QUANTITIES}
    for one in observations:
        sorted_[one.quantity].append(one)
    return sorted_
