"""One thing to know the time of: a network on an engine of a device in a power mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.jetson.hardware import Hardware, PowerMode
    from harness.jetson.network import Network

PRECISIONS = ("int8", "fp16", "fp32")
ENGINES = ("gpu", "dla", "both", "cpu")
LATENCY, THROUGHPUT, STREAMS = "latency", "throughput", "streams"
REFERENCE_SOFTWARE = "mlperf"  # TensorRT as NVIDIA's own MLPerf submissions run it
ONE_DLA = ("tensorrt_demos", "cudla")  # software that uses one of the two


@dataclass(frozen=True, slots=True)
class Case:
    """What is run, on what, and how it is measured.

    `device` is the name under which measurements of that device go together. `gpu_batch` and
    `dla_batch` are images in flight per engine; `release` is the MLPerf round, which stands for
    the version of TensorRT. `variant` names a sub-kind of `software`.
    """

    device: str
    hardware: Hardware
    mode: PowerMode
    network: Network
    precision: str
    engine: str
    gpu_batch: int = 1
    dla_batch: int = 1
    kind: str = LATENCY
    software: str = REFERENCE_SOFTWARE
    variant: str = REFERENCE_SOFTWARE
    release: str = ""
    configuration: str = ""

    @property
    def dla_engines(self) -> int:
        return min(self.mode.dla_count, 1) if self.software in ONE_DLA else self.mode.dla_count

    @property
    def batch(self) -> int:
        return self.dla_batch if self.engine == "dla" else self.gpu_batch

    @property
    def images(self) -> int:
        """Images in flight on all engines that take part."""
        if self.engine == "both":
            return self.gpu_batch + self.dla_engines * self.dla_batch
        return self.dla_engines * self.dla_batch if self.engine == "dla" else self.gpu_batch
