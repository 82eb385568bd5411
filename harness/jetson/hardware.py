"""What a Jetson module is made of, and the clocks that its power modes allow."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from harness.errors import InputError

MEGA = 1e6
_ASIDE = re.compile(r"\([^)]*\)|\+jetson_clocks")
_CLOCKS = re.compile(
    r"gpu=(?P<gpu>[0-9.]+);dla=(?P<dla>[0-9.]+)"
    r"(?:;cpu=(?P<cores>[0-9]+)x(?P<cpu>[0-9.]+))?;emc=(?P<emc>[0-9.]+|max)"
)
_FASTEST = ("max", "unknown", "as found", "fastest")


@dataclass(frozen=True, slots=True)
class PowerMode:
    """The clocks of one nvpmodel mode. `budget_w` is 0 where the mode sets no limit."""

    name: str
    budget_w: float
    cpu_cores: int
    cpu_mhz: float
    gpu_mhz: float
    gpu_sms: int
    dla_count: int
    dla_mhz: float
    memory_mhz: float
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Thermal:
    """One resistance and one capacity from the die to the air, and where software steps in.

    `resistance_c_per_w` is with the fan at rest, `fan_resistance_c_per_w` at full speed.
    """

    resistance_c_per_w: float
    fan_resistance_c_per_w: float
    capacity_j_per_c: float
    fan_c: float
    throttle_c: float
    shutdown_c: float


@dataclass(frozen=True, slots=True)
class Codec:
    """Rates of the video engines together, in pixels per second of H.264."""

    decode_pixels_per_s: float
    encode_pixels_per_s: float


@dataclass(frozen=True, slots=True)
class Draw:
    """Power at the plug in the fastest mode: idle, and what each part adds when fully busy.

    `dla_w` is of one DLA, `core_w` of one core.
    """

    idle_w: float
    gpu_w: float
    dla_w: float
    core_w: float


@dataclass(frozen=True, slots=True)
class Hardware:
    """One module. The first power mode is the fastest.

    `memory_bytes_per_clock` times the memory clock is the peak bandwidth; both edges count.
    """

    name: str
    architecture: str  # of the GPU: volta | ampere
    gpu_sms: int
    dla_count: int
    cpu_core: str
    cpu_cores: int
    copy_bytes_per_s: float  # of one core
    memory_bytes_per_clock: float
    codec: Codec
    draw: Draw
    thermal: Thermal
    modes: tuple[PowerMode, ...]

    @property
    def fastest(self) -> PowerMode:
        return self.modes[0]


def bandwidth_bytes_per_s(hardware: Hardware, mode: PowerMode) -> float:
    return hardware.memory_bytes_per_clock * mode.memory_mhz * MEGA


def power_mode(hardware: Hardware, text: str) -> PowerMode:
    """A mode by its name (`MAXN`, `MODE_15W_6CORE`, `15W_6CORE`) or by its clocks.

    Clocks are written `gpu=675.75;dla=1050;cpu=2x1190.4;emc=1600`, in MHz, as MLPerf's MaxQ
    submissions list them. Raises `InputError` naming the modes there are.
    """
    clocks = _CLOCKS.search(text)
    if clocks is not None:
        return _explicit(hardware, text, clocks.groupdict())
    plain = _ASIDE.sub("", text).strip()
    if plain in _FASTEST:
        return hardware.fastest
    for mode in hardware.modes:
        if plain in (mode.name, mode.name.removeprefix("MODE_"), *mode.aliases):
            return mode
    known = ", ".join(mode.name for mode in hardware.modes)
    raise InputError(
        f"{hardware.name} has no power mode {plain!r}",
        hint=f"one of {known}, or clocks such as gpu=675.75;dla=1050;cpu=2x1190.4;emc=1600",
    )


def _explicit(hardware: Hardware, text: str, clocks: dict[str, str | None]) -> PowerMode:
    fastest = hardware.fastest
    memory = clocks["emc"]
    return replace(
        fastest,
        name=text,
        budget_w=0.0,
        aliases=(),
        gpu_sms=hardware.gpu_sms,
        gpu_mhz=float(clocks["gpu"] or 0),
        dla_mhz=float(clocks["dla"] or 0),
        cpu_cores=int(clocks["cores"] or fastest.cpu_cores),
        cpu_mhz=float(clocks["cpu"] or fastest.cpu_mhz),
        memory_mhz=fastest.memory_mhz if memory in (None, "max") else float(memory or 0),
    )
