"""How an appliance settles under its applications: who waits for what, at which rate.

Every frame a camera sends is decoded, converted and copied for the code, by the video engine and
the CPU. An application is a loop on one core: it takes the newest frame of each camera (`get()`
hands over no older one), works on it, waits for the accelerator, and begins again. So a slow loop
skips frames and never queues them. What is shared slows everybody: cores when there are more loops
and streams than cores, an accelerator while another application uses it, memory above its usable
rate.

`settle` finds the rates at which all of this agrees, by a damped iteration. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.jetson.hardware import bandwidth_bytes_per_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.jetson.hardware import Hardware, PowerMode

GPU, DLA, ENCODE = "gpu", "dla", "encode"
BYTES_MOVED_PER_PIXEL = 12.0  # NV12 written and read (1.5 each), BGR written, read and written
BYTES_COPIED_PER_PIXEL = 6.0  # of these by the CPU: BGR read and written
BYTES_ENCODED_PER_PIXEL = 6.0  # BGR read (3), NV12 written and read (1.5 each)
MEMORY_USABLE = 0.8  # of peak bandwidth, before everybody slows
BUSY = 0.95  # a part this busy holds the others up
CORES_LEFT_MIN = 0.25  # for loops, however much is copied
GPU_EXPONENT = 2.2  # power over clock: voltage rises with it
CPU_EXPONENT = 3.0
DAMPING = 0.5
ITERATIONS = 400
AGREED = 1e-7


@dataclass(frozen=True, slots=True)
class Stream:
    """One camera as one application reads it."""

    rate_fps: float
    pixels: int


@dataclass(frozen=True, slots=True)
class Work:
    """What one frame costs when nothing else runs: on the CPU, and on the accelerator.

    `loop_s` is what a loop takes besides, whatever the number of frames; `memory_bytes` are those
    that a frame's inference moves, `encode_pixels` what it has encoded again, to be sent or kept.
    """

    host_s: float
    inference_s: float
    engine: str = GPU
    loop_s: float = 0.0
    memory_bytes: float = 0.0
    encode_pixels: float = 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """An application: its work on each frame, and the streams it reads."""

    work: Work
    streams: tuple[Stream, ...]


@dataclass(frozen=True, slots=True)
class Pace:
    """How one application runs: loops a second, and what a frame costs it now.

    `decoded` is the share of its frames that the video engine gets done.
    """

    loop_fps: float
    frame_s: float
    inference_s: float
    decoded: float

    def delivered_fps(self, rate_fps: float) -> float:
        """Of a camera that sends so many frames a second."""
        return min(rate_fps * self.decoded, self.loop_fps)


@dataclass(frozen=True, slots=True)
class Settled:
    """The whole appliance: a pace for each application, and how busy each part is, 0 to 1.

    Above 1 a part is asked for more than it has: `decode` says by how much.
    """

    paces: tuple[Pace, ...]
    decode: float
    cpu: float
    gpu: float
    dla: float
    encode: float
    memory: float
    power_w: float

    @property
    def bottleneck(self) -> str:
        """The busiest part; a single loop on its core is `loop`."""
        parts = {
            "decode": self.decode, "cpu": self.cpu, "gpu": self.gpu,
            "dla": self.dla, "encode": self.encode, "memory": self.memory / MEMORY_USABLE,
        }  # fmt: skip
        name, share = max(parts.items(), key=lambda item: item[1])
        return name if share >= BUSY else "loop"


def settle(
    hardware: Hardware, mode: PowerMode, loads: Sequence[Load], clock_share: float = 1.0
) -> Settled:
    """The rates of all applications together. `clock_share` is what heat leaves of the clocks."""
    return _Crowd(hardware, mode, tuple(loads), clock_share).settled()


class _Crowd:
    """Applications on one appliance, and how long each stays where: the state of the iteration.

    `residence_s` is how long a frame stays at the accelerator, its wait included; `crowd` stretches
    work on cores, `slowed` everything that needs memory, `queued` the stay at an accelerator that
    would be asked for more than it has.
    """

    def __init__(
        self, hardware: Hardware, mode: PowerMode, loads: tuple[Load, ...], clock_share: float
    ) -> None:
        wanted = sum(one.rate_fps * one.pixels for load in loads for one in load.streams)
        self.decode = wanted / hardware.codec.decode_pixels_per_s
        self.decoded = 1.0 / max(self.decode, 1.0)
        self.hardware = hardware
        self.mode = mode
        self.loads = tuple(_fed(load, self.decoded) for load in loads)
        self.clock_share = clock_share
        pixels = sum(one.rate_fps * one.pixels for load in self.loads for one in load.streams)
        self.copying = pixels * BYTES_COPIED_PER_PIXEL / hardware.copy_bytes_per_s / clock_share
        self.moving = pixels * BYTES_MOVED_PER_PIXEL
        self.crowd, self.slowed = 1.0, 1.0
        self.queued = {GPU: 1.0, DLA: 1.0, ENCODE: 1.0}
        self.residence_s = [one.work.inference_s / clock_share for one in self.loads]
        self.loops = [_loops(load, self._frame_s(i)) for i, load in enumerate(self.loads)]

    def settled(self) -> Settled:
        for _ in range(ITERATIONS):
            if self._step() <= AGREED:
                break
        loads, loops = self.loads, self.loops
        cores = min(1.0, self._working() / self.mode.cpu_cores)
        gpu, dla = (min(1.0, self._busy(engine)) for engine in (GPU, DLA))
        return Settled(
            paces=tuple(
                Pace(loops[i], self._frame_s(i), self.residence_s[i], self.decoded)
                for i in range(len(loads))
            ),
            decode=self.decode,
            cpu=cores,
            gpu=gpu,
            dla=dla,
            encode=min(1.0, self._busy(ENCODE)),
            memory=self._memory(),
            power_w=power(
                self.hardware, self.mode, cpu=cores, gpu=gpu, dla=dla, clock_share=self.clock_share
            ),
        )

    def _step(self) -> float:
        """One damped step of everything; how far from agreement it still was."""
        before = self._state()
        free = max(self.mode.cpu_cores - self.copying, CORES_LEFT_MIN)
        self.crowd += DAMPING * (max(1.0, self._runnable() / free) - self.crowd)
        wanted = max(1.0, self.slowed * self._memory() / MEMORY_USABLE)
        self.slowed += DAMPING * (wanted - self.slowed)
        for engine in self.queued:
            wanted = max(1.0, self.queued[engine] * self._busy(engine))
            self.queued[engine] += DAMPING * (wanted - self.queued[engine])
        stays = [self._stay_s(i) for i in range(len(self.loads))]
        self.residence_s = [
            had + DAMPING * (want - had) for had, want in zip(self.residence_s, stays, strict=True)
        ]
        self.loops = [_loops(load, self._frame_s(i)) for i, load in enumerate(self.loads)]
        return max(abs(was - now) for was, now in zip(before, self._state(), strict=True))

    def _state(self) -> tuple[float, ...]:
        factors = (self.crowd, self.slowed, *self.queued.values())
        return (*factors, *self.residence_s, *self.loops)

    def _busy(self, engine: str) -> float:
        """Share of all engines of a kind kept busy; above 1 while the iteration goes on."""
        seconds = sum(
            _images_per_s(load, self.loops[i])
            * (self._encode_s(i) if engine == ENCODE else self._service_s(i))
            for i, load in enumerate(self.loads)
            if engine in (load.work.engine, ENCODE)
        )
        return seconds / self._engines(engine)

    def _encode_s(self, index: int) -> float:
        """Of all its encoders together, to which a picture goes one after the other."""
        pixels = self.loads[index].work.encode_pixels
        return pixels / self.hardware.codec.encode_pixels_per_s * self.slowed

    def _service_s(self, index: int) -> float:
        return self.loads[index].work.inference_s * self.slowed / self.clock_share

    def _host_s(self, index: int) -> float:
        return self.loads[index].work.host_s * self.slowed * self.crowd / self.clock_share

    def _frame_s(self, index: int) -> float:
        encoded_s = self._encode_s(index) * self.queued[ENCODE]
        return self._host_s(index) + self.residence_s[index] + encoded_s

    def _engines(self, engine: str) -> int:
        return max(self.mode.dla_count, 1) if engine == DLA else 1

    def _stay_s(self, index: int) -> float:
        """At the accelerator, the wait for others included, who are there for a share of the time.

        One who is being served has half of it behind him on average (service times hardly vary),
        and each loop has one request at most: with no more loops than engines nobody waits.
        """
        engine = self.loads[index].work.engine
        engines = self._engines(engine)
        ahead_s = 0.0
        others = 0
        for i, load in enumerate(self.loads):
            if load.work.engine == engine and i != index and load.streams:
                rate, service_s = _images_per_s(load, self.loops[i]), self._service_s(i)
                there = min(1.0, rate * self.residence_s[i])
                ahead_s += (there - min(1.0, rate * service_s) / 2) * service_s
                others += 1
        waited_s = ahead_s / engines if others >= engines else 0.0
        return (self._service_s(index) + max(waited_s, 0.0)) * self.queued[engine]

    def _runnable(self) -> float:
        """Loops that want a core, on average."""
        return sum(
            min(1.0, _images_per_s(load, self.loops[i]) * self._host_s(i))
            for i, load in enumerate(self.loads)
        )

    def _working(self) -> float:
        """Cores kept busy."""
        work = sum(
            _images_per_s(load, rate) * load.work.host_s + rate * load.work.loop_s
            for load, rate in zip(self.loads, self.loops, strict=True)
        )
        return self.copying + work * self.slowed / self.clock_share

    def _memory(self) -> float:
        """Share of peak bandwidth."""
        moved = self.moving + sum(
            _images_per_s(load, rate)
            * (load.work.memory_bytes + load.work.encode_pixels * BYTES_ENCODED_PER_PIXEL)
            for load, rate in zip(self.loads, self.loops, strict=True)
        )
        return moved / bandwidth_bytes_per_s(self.hardware, self.mode)


def _fed(load: Load, decoded: float) -> Load:
    streams = tuple(Stream(one.rate_fps * decoded, one.pixels) for one in load.streams)
    return Load(load.work, streams)


def _images_per_s(load: Load, loop_fps: float) -> float:
    return sum(min(one.rate_fps, loop_fps) for one in load.streams)


def _loops(load: Load, frame_s: float) -> float:
    """Loops a second when a frame takes `frame_s`; no more than the fastest camera has frames.

    Of cameras slower than the loop every frame is taken, of the others one a loop: the time this
    takes in a second is a line in the rate, with a bend at the rate of each camera.
    """
    rates = sorted(one.rate_fps for one in load.streams)
    taken = 0.0
    for index, rate in enumerate(rates):
        per_loop_s = (len(rates) - index) * frame_s + load.work.loop_s
        if taken * frame_s + rate * per_loop_s > 1.0:
            return (1.0 - taken * frame_s) / per_loop_s
        taken += rate
    return rates[-1] if rates else 0.0


def power(
    hardware: Hardware,
    mode: PowerMode,
    *,
    cpu: float,
    gpu: float,
    dla: float,
    clock_share: float = 1.0,
) -> float:
    """Watts at the plug; the shares say how busy each part is. Scales with clocks as fitted."""
    draw, fastest = hardware.draw, hardware.fastest
    gpu_hertz = clock_share * mode.gpu_mhz / fastest.gpu_mhz
    gpu_w = draw.gpu_w * gpu_hertz**GPU_EXPONENT * mode.gpu_sms / hardware.gpu_sms
    cores_w = draw.core_w * (clock_share * mode.cpu_mhz / fastest.cpu_mhz) ** CPU_EXPONENT
    dlas_w = draw.dla_w * mode.dla_count * (mode.dla_mhz / fastest.dla_mhz if dla else 0.0)
    total_w: float = draw.idle_w + gpu * gpu_w + dla * dlas_w + cpu * mode.cpu_cores * cores_w
    return total_w
