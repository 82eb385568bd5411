"""The time a network takes by arithmetic, memory and kernel starts: layer by layer, additive.

A layer on the GPU takes

    2 MACs / (peak * efficiency * fill) + bytes / bandwidth + bytes / (clock * path) + start

`fill` is how well the layer's matrix fills the machine: tiles of 64 by 128 over the streaming
multiprocessors, and the depth of the sum. A sum of the terms fits the measurements better than
their maximum: kernels of small batches overlap little. A DLA is alike without `fill` over tiles;
on a CPU totals are enough. GPU and DLA together lose a share to the memory they have in common.

Everything is vectorised over the layers of all cases, so that fitting takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from harness.calibration.case import ENGINES, LATENCY, PRECISIONS
from harness.jetson.hardware import MEGA, bandwidth_bytes_per_s
from harness.jetson.network import CONCAT, COPY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from harness.calibration.case import Case
    from harness.jetson.network import Layer

    Array = NDArray[Any]

T = TypeVar("T")
ARCHITECTURES = ("volta", "ampere")
# Operations a clock and streaming multiprocessor, int8 | fp16 | fp32: data sheets' peak rates over
# clock and multiprocessors, without sparsity; fp32 on Ampere runs as TF32.
GPU_OPERATIONS = {"volta": (2048.0, 1024.0, 128.0), "ampere": (4096.0, 2048.0, 512.0)}
# Operations a clock of one DLA at int8: 5 TOPS (Xavier) and 26 TOPS (Orin) at the highest clock.
DLA_OPERATIONS = {"volta": 4096.0, "ampere": 16384.0}
BYTES = np.array([1.0, 2.0, 4.0])  # an element at int8 | fp16 | fp32
TILE = 64 * 128
CPU_OPERATIONS = 16.0  # fp32 a clock and core: two 128-bit multiply-adds
SHARE_LOST_MAX = 0.6
STARTS_OVERLAP = 4  # exponent: starting kernels hides behind running them, or the reverse
COPIES_CONCATENATIONS = ("torch2trt",)  # measured with TensorRT 5


@dataclass(frozen=True, slots=True)
class Parameter:
    """A positive number to fit: prior median, and prior spread of its logarithm."""

    name: str
    prior: float
    spread: float
    meaning: str


def _per_architecture() -> list[Parameter]:
    found: list[Parameter] = []
    for kind in ARCHITECTURES:
        for precision, share in zip(PRECISIONS, (0.45, 0.55, 0.6), strict=True):
            found.append(
                Parameter(f"gpu.{precision}.{kind}", share, 0.5, "share of peak, full matrices")
            )
        found += [
            Parameter(f"gpu.memory.{kind}", 0.85, 0.15, "share of peak bandwidth"),
            Parameter(f"gpu.path.{kind}", 200.0, 0.7, "bytes a GPU clock on the way to memory"),
            Parameter(f"gpu.tiles.{kind}", 1.0, 1.0, "tiles a multiprocessor at half its rate"),
            Parameter(f"gpu.start.{kind}", 5000.0, 0.5, "GPU clocks a kernel takes at least"),
            Parameter(f"gpu.depthwise.{kind}", 0.5, 0.5, "share of bandwidth, depthwise layers"),
            Parameter(f"gpu.grouped.{kind}", 0.25, 0.7, "efficiency of grouped to plain layers"),
            Parameter(f"dla.int8.{kind}", 0.6, 0.5, "share of peak"),
            Parameter(f"dla.fp16.{kind}", 0.3, 0.4, "rate of fp16 to int8"),
            Parameter(f"dla.memory.{kind}", 0.4, 0.5, "share of peak bandwidth"),
            Parameter(f"dla.start.{kind}", 12e-6, 0.5, "seconds a layer takes at least"),
            Parameter(f"both.lost.{kind}", 0.15, 0.7, "share lost when GPU and DLA both run"),
        ]
    return found


ACCELERATOR_PARAMETERS = (
    *_per_architecture(),
    Parameter("depth", 100.0, 1.0, "terms of a sum at half the rate"),
    Parameter("launch", 2e-6, 0.7, "seconds to start a kernel"),
    Parameter("dla.depthwise", 4.0, 0.7, "cost of depthwise to plain arithmetic on a DLA"),
    Parameter("frame.mlperf", 5e-5, 1.0, "seconds a query takes besides"),
    Parameter("frame.torch2trt", 2.5e-4, 0.7, "seconds to wait for a result"),
    Parameter("frame.tensorrt_demos", 1.2e-2, 0.5, "seconds of Python a frame"),
    Parameter("frame.paddle", 3e-3, 1.0, "seconds a frame"),
    Parameter("kernel.paddle", 5e-5, 1.0, "seconds a kernel"),
    Parameter("frame.deepstream", 2e-4, 1.0, "seconds a frame"),
    Parameter("frame.other", 2e-4, 1.0, "seconds a frame"),
    Parameter("kernel.pytorch", 3.3e-4, 0.3, "seconds of Python a kernel"),
    Parameter("gpu.pytorch", 2.0, 0.5, "GPU time of eager PyTorch to TensorRT"),
)
CPU_PARAMETERS = (
    Parameter("cpu.fp32", 0.3, 0.5, "share of peak"),
    Parameter("cpu.int8", 0.3, 0.5, "share of twice the fp32 peak"),
    Parameter("cpu.layer", 2e-5, 0.7, "seconds a layer"),
    Parameter("cpu.cores", 0.7, 0.3, "exponent of the number of cores"),
    Parameter("cpu.clock", 1.2, 0.3, "exponent of the clock"),
    Parameter("cpu.memory", 0.3, 0.5, "share of 10 GB/s"),
)


class Work:
    """The layers of all cases in flat arrays, and what else of a case the formula needs."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.count = len(cases)
        self._layers(cases)
        self._devices(cases)

    def _layers(self, cases: Sequence[Case]) -> None:
        layers = [layer for case in cases for layer in case.network.layers]
        lengths = [len(case.network.layers) for case in cases]
        self.start = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(int)
        self.case = np.repeat(np.arange(len(cases)), lengths)
        self.macs = _floats(layers, lambda layer: layer.macs)
        self.moved = _floats(layers, lambda layer: layer.inputs + layer.outputs)
        self.weights = _floats(layers, lambda layer: layer.weights)
        self.channels = np.maximum(_floats(layers, lambda layer: layer.channels_out), 1)
        self.rows = _floats(layers, lambda layer: layer.outputs) / self.channels
        self.depth = np.maximum(_floats(layers, _depth), 1)
        self.arithmetic = _flags(layers, lambda layer: layer.arithmetic)
        self.depthwise = _flags(layers, lambda layer: layer.depthwise)
        self.grouped = _flags(layers, lambda layer: layer.grouped and not layer.depthwise)
        self.kernel = _flags(layers, lambda layer: layer.kind not in (COPY, CONCAT))
        copied = np.array([case.software in COPIES_CONCATENATIONS for case in cases])[self.case]
        concat = _flags(layers, lambda layer: layer.kind == CONCAT)
        self.repeat = _floats(layers, lambda layer: layer.repeat) * ~(concat & ~copied)

    def _devices(self, cases: Sequence[Case]) -> None:
        self.ampere = _flags(cases, lambda case: case.hardware.architecture == "ampere")
        self.precision = np.array([PRECISIONS.index(case.precision) for case in cases])
        self.engine = np.array([ENGINES.index(case.engine) for case in cases])
        self.gpu_batch = _floats(cases, lambda case: case.gpu_batch)
        self.dla_batch = _floats(cases, lambda case: case.dla_batch)
        self.dlas = np.maximum(_floats(cases, lambda case: case.dla_engines), 1)
        self.sms = _floats(cases, lambda case: case.mode.gpu_sms)
        self.gpu_hz = _floats(cases, lambda case: case.mode.gpu_mhz * MEGA)
        self.dla_hz = np.maximum(_floats(cases, lambda case: case.mode.dla_mhz * MEGA), MEGA)
        self.cores = _floats(cases, lambda case: case.mode.cpu_cores)
        self.cpu_hz = _floats(cases, lambda case: case.mode.cpu_mhz * MEGA)
        self.bandwidth = _floats(
            cases, lambda case: bandwidth_bytes_per_s(case.hardware, case.mode)
        )
        self.latency = _flags(cases, lambda case: case.kind == LATENCY)
        self.software = np.array([case.software.partition("-")[0] for case in cases])

    def total(self, per_layer: Array) -> Array:
        """Sums over the layers of each case, repeats included."""
        return np.add.reduceat(per_layer * self.repeat, self.start)


def seconds_per_image(work: Work, values: Mapping[str, float]) -> Array:
    """By the engine of each case; `values` holds every accelerator parameter by name."""
    gpu_s = _gpu_s(work, values)
    dla_s = _dla_s(work, values)
    alone = (_with_software(work, values, gpu_s)) / work.gpu_batch
    python_s = values["frame.tensorrt_demos"] * (work.software == "tensorrt_demos")
    dla = (dla_s / work.dlas + python_s) / work.dla_batch
    lost = np.minimum(_by_architecture(work, values, "both.lost"), SHARE_LOST_MAX)
    rate = work.gpu_batch / gpu_s + work.dlas * work.dla_batch / dla_s
    both = 1 / (rate * (1 - lost))
    return np.select([work.engine == 0, work.engine == 1], [alone, dla], both)


def cpu_seconds_per_image(work: Work, values: Mapping[str, float]) -> Array:
    share = np.where(work.precision == 0, 2 * values["cpu.int8"], values["cpu.fp32"])
    hertz = work.cores ** values["cpu.cores"] * (work.cpu_hz / 2e9) ** values["cpu.clock"] * 2e9
    moved = work.total((work.moved + work.weights) * BYTES[work.precision][work.case])
    layers = work.total(work.kernel * 1.0)
    arithmetic = 2 * work.total(work.macs) / (hertz * CPU_OPERATIONS * share)
    return arithmetic + moved / (1e10 * values["cpu.memory"]) + layers * values["cpu.layer"]


def _gpu_s(work: Work, values: Mapping[str, float]) -> Array:
    case = work.case
    batch = work.gpu_batch[case]
    per_case = _gpu_rate(work, values)
    tiles = batch * work.rows * work.channels / (TILE * work.sms[case])
    half = _by_architecture(work, values, "gpu.tiles")[case]
    fill = tiles / (tiles + half) * work.depth / (work.depth + values["depth"])
    fill = fill * np.where(work.grouped, _by_architecture(work, values, "gpu.grouped")[case], 1)
    plain = work.arithmetic & ~work.depthwise
    arithmetic = np.where(plain, 2 * work.macs * batch / (per_case[case] * fill), 0)
    size = (batch * work.moved + work.weights) * BYTES[work.precision][case]
    usable = np.where(
        work.depthwise,
        _by_architecture(work, values, "gpu.depthwise")[case],
        _by_architecture(work, values, "gpu.memory")[case],
    )
    path = (work.gpu_hz * _by_architecture(work, values, "gpu.path"))[case]
    start = (_by_architecture(work, values, "gpu.start") / work.gpu_hz + values["launch"])[case]
    return work.total(arithmetic + size / (work.bandwidth[case] * usable) + size / path + start)


def _gpu_rate(work: Work, values: Mapping[str, float]) -> Array:
    """Operations a second with full matrices, by case."""
    shares = [[values[f"gpu.{one}.{kind}"] for one in PRECISIONS] for kind in ARCHITECTURES]
    peaks = [GPU_OPERATIONS[kind] for kind in ARCHITECTURES]
    kind = work.ampere.astype(int)
    full = (np.array(shares) * np.array(peaks))[kind, work.precision]
    rate: Array = full * work.sms * work.gpu_hz
    return rate


def _dla_s(work: Work, values: Mapping[str, float]) -> Array:
    case = work.case
    batch = work.dla_batch[case]
    slower = np.where(work.precision == 0, 1.0, _by_architecture(work, values, "dla.fp16"))
    peak = np.where(work.ampere, DLA_OPERATIONS["ampere"], DLA_OPERATIONS["volta"])
    rate = peak * work.dla_hz * slower * _by_architecture(work, values, "dla.int8")
    fill = work.depth / (work.depth + values["depth"])
    arithmetic = np.where(work.arithmetic, 2 * work.macs * batch / (rate[case] * fill), 0)
    arithmetic = arithmetic * np.where(work.depthwise, values["dla.depthwise"], 1)
    size = (batch * work.moved + work.weights) * BYTES[work.precision][case]
    usable = (work.bandwidth * _by_architecture(work, values, "dla.memory"))[case]
    start = _by_architecture(work, values, "dla.start")[case]
    return work.total(arithmetic + size / usable + start)


def _with_software(work: Work, values: Mapping[str, float], gpu_s: Array) -> Array:
    """What the program around the GPU adds to a batch."""
    kernels = work.total(work.kernel * 1.0)
    eager = (kernels * values["kernel.pytorch"]) ** STARTS_OVERLAP
    eager = (eager + (gpu_s * values["gpu.pytorch"]) ** STARTS_OVERLAP) ** (1 / STARTS_OVERLAP)
    name = work.software
    waited = work.latency * 1.0
    added = np.select(
        [name == one for one in ("mlperf", "torch2trt", "tensorrt_demos", "paddle", "deepstream")],
        [
            values["frame.mlperf"] * waited,
            values["frame.torch2trt"] * waited,
            values["frame.tensorrt_demos"] + 0 * waited,
            values["frame.paddle"] + kernels * values["kernel.paddle"],
            values["frame.deepstream"] + 0 * waited,
        ],
        values["frame.other"],
    )
    return np.where(name == "pytorch", eager, gpu_s + added)


def _by_architecture(work: Work, values: Mapping[str, float], name: str) -> Array:
    return np.where(work.ampere, values[f"{name}.ampere"], values[f"{name}.volta"])


def _depth(layer: Layer) -> float:
    return layer.channels_in * layer.kernel / max(layer.groups, 1)


def _floats(items: Sequence[T], value: Callable[[T], float]) -> Array:
    return np.array([value(item) for item in items], dtype=float)


def _flags(items: Sequence[T], value: Callable[[T], bool]) -> Array:
    return np.array([value(item) for item in items], dtype=bool)
