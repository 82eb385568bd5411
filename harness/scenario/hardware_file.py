"""The part of an appliance profile that the performance model reads: the module and its modes."""

from typing import Annotated, Literal

from pydantic import Field

from harness.jetson.hardware import Codec, Draw, Hardware, PowerMode, Thermal
from harness.scenario.part import Part
from harness.scenario.sourced import Sourced

Count = Annotated[int, Field(ge=1, le=1024)]
Measure = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(ge=0)]


class PowerModeFile(Part):
    """The clocks of one nvpmodel mode, from one table."""

    source: str = Field(min_length=8, description="where the clocks come from, or whose estimate")
    error: str = Field(default="", description='how far off they may be, such as "±30 %"')
    budget_w: Rate = Field(description="0 where the mode sets no limit")
    cpu_cores: Count
    cpu_mhz: Measure
    gpu_mhz: Measure
    gpu_sms: Count = Field(description="streaming multiprocessors, two a TPC")
    dla_count: Annotated[int, Field(ge=0, le=2)]
    dla_mhz: Rate
    memory_mhz: Measure
    aliases: list[str] = Field(default_factory=list, description="other names it goes by")


class GpuFile(Part):
    architecture: Sourced[Literal["volta", "ampere"]]
    sms: Sourced[Count] = Field(description="streaming multiprocessors")


class DlaFile(Part):
    count: Sourced[Annotated[int, Field(ge=0, le=2)]]


class CpuFile(Part):
    core: Sourced[str]
    cores: Sourced[Count]
    copy_bytes_per_s: Sourced[Measure] = Field(description="memory copied by one core")


class MemoryFile(Part):
    bytes_per_clock: Sourced[Measure] = Field(
        description="bytes a memory clock moves, both edges; times memory_mhz, the peak bandwidth"
    )


class CodecFile(Part):
    decode_pixels_per_s: Sourced[Measure]
    encode_pixels_per_s: Sourced[Rate]


class DrawFile(Part):
    """At the plug, in the fastest mode."""

    idle_w: Sourced[Measure]
    gpu_w: Sourced[Measure] = Field(description="what the GPU adds when fully busy")
    dla_w: Sourced[Rate] = Field(description="what one DLA adds when fully busy")
    core_w: Sourced[Measure] = Field(description="what one core adds when fully busy")


class ThermalFile(Part):
    resistance_c_per_w: Sourced[Measure] = Field(description="die to air, the fan at rest")
    fan_resistance_c_per_w: Sourced[Measure] = Field(
        description="die to air, the fan at full speed"
    )
    capacity_j_per_c: Sourced[Measure]
    fan_c: Sourced[Measure] = Field(description="where the fan begins to turn")
    throttle_c: Sourced[Measure] = Field(description="where software lowers the clocks")
    shutdown_c: Sourced[Measure] = Field(description="where the device turns itself off")


class HardwareFile(Part):
    """The module: engines, clocks, heat. Without it a profile has no performance model."""

    gpu: GpuFile
    dla: DlaFile
    cpu: CpuFile
    memory: MemoryFile
    codec: CodecFile
    draw: DrawFile
    thermal: ThermalFile
    power_modes: dict[str, PowerModeFile] = Field(
        min_length=1, max_length=32, description="by name, the fastest first"
    )

    def made(self, name: str) -> Hardware:
        return Hardware(
            name=name,
            architecture=self.gpu.architecture.value,
            gpu_sms=self.gpu.sms.value,
            dla_count=self.dla.count.value,
            cpu_core=self.cpu.core.value,
            cpu_cores=self.cpu.cores.value,
            copy_bytes_per_s=self.cpu.copy_bytes_per_s.value,
            memory_bytes_per_clock=self.memory.bytes_per_clock.value,
            codec=Codec(self.codec.decode_pixels_per_s.value, self.codec.encode_pixels_per_s.value),
            draw=Draw(
                self.draw.idle_w.value,
                self.draw.gpu_w.value,
                self.draw.dla_w.value,
                self.draw.core_w.value,
            ),
            thermal=Thermal(
                resistance_c_per_w=self.thermal.resistance_c_per_w.value,
                fan_resistance_c_per_w=self.thermal.fan_resistance_c_per_w.value,
                capacity_j_per_c=self.thermal.capacity_j_per_c.value,
                fan_c=self.thermal.fan_c.value,
                throttle_c=self.thermal.throttle_c.value,
                shutdown_c=self.thermal.shutdown_c.value,
            ),
            modes=tuple(_mode(mode, file) for mode, file in self.power_modes.items()),
        )


def _mode(name: str, file: PowerModeFile) -> PowerMode:
    return PowerMode(
        name=name,
        budget_w=file.budget_w,
        cpu_cores=file.cpu_cores,
        cpu_mhz=file.cpu_mhz,
        gpu_mhz=file.gpu_mhz,
        gpu_sms=file.gpu_sms,
        dla_count=file.dla_count,
        dla_mhz=file.dla_mhz,
        memory_mhz=file.memory_mhz,
        aliases=tuple(file.aliases),
    )
