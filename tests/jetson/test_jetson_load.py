from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import simpy

from harness.jetson.hardware import Codec, Draw, Hardware, PowerMode, Thermal
from harness.jetson.load import DLA, Load, Stream, Work, power, settle

if TYPE_CHECKING:
    from collections.abc import Generator

MODE = PowerMode("MAXN", 0, 8, 2000, 1000, 8, 2, 1000, 2000)
HARDWARE = Hardware(
    name="box",
    architecture="volta",
    gpu_sms=8,
    dla_count=2,
    cpu_core="core",
    cpu_cores=8,
    copy_bytes_per_s=1e10,
    memory_bytes_per_clock=64,
    codec=Codec(decode_pixels_per_s=2e9, encode_pixels_per_s=1e9),
    draw=Draw(idle_w=10, gpu_w=30, dla_w=4, core_w=2),
    thermal=Thermal(1.8, 0.75, 450, 50, 95, 102),
    modes=(MODE,),
)
HD = Stream(15.0, 1920 * 1080)


def test_a_loop_with_time_to_spare_keeps_up() -> None:
    (pace,) = settle(HARDWARE, MODE, [Load(Work(0.010, 0.005), (HD, HD))]).paces
    assert pace.loop_fps == 15.0
    assert pace.delivered_fps(15.0) == 15.0


def test_a_slow_loop_takes_the_newest_frame_of_each_camera_in_turn() -> None:
    one, two = (
        settle(HARDWARE, MODE, [Load(Work(0.090, 0.010), (HD,) * count)]).paces[0]
        for count in (1, 2)
    )
    assert one.loop_fps == pytest.approx(10.0)
    assert two.loop_fps == pytest.approx(5.0)


def test_what_a_loop_takes_besides_is_paid_once_a_loop() -> None:
    """The vendor's sample application: 66.561 ms a frame, 14.202 frames a second."""
    work = Work(0.059376, 0.007185, loop_s=0.003852)
    settled = settle(HARDWARE, MODE, [Load(work, (Stream(30.0, 1280 * 720),))])
    assert settled.paces[0].loop_fps == pytest.approx(14.202, rel=1e-3)
    assert settled.bottleneck == "loop"


def test_more_loops_than_cores_slow_each_other() -> None:
    load = Load(Work(0.100, 0.0), (Stream(30.0, 100),))
    alone = settle(HARDWARE, MODE, [load]).paces[0].loop_fps
    crowded = settle(HARDWARE, MODE, [load] * 16)
    assert alone == pytest.approx(10.0, rel=1e-3)
    assert crowded.paces[0].loop_fps == pytest.approx(5.0, rel=0.01)
    assert crowded.cpu == pytest.approx(1.0, abs=0.01)


def test_a_shared_accelerator_gives_each_its_part_and_no_more_than_it_has() -> None:
    load = Load(Work(0.0, 0.050), (Stream(30.0, 100),))
    for count in (1, 2, 4):
        settled = settle(HARDWARE, MODE, [load] * count)
        assert sum(pace.loop_fps for pace in settled.paces) == pytest.approx(20.0, rel=0.02)
        assert settled.gpu == pytest.approx(1.0, abs=0.02)
        assert settled.bottleneck == "gpu"


def test_dlas_are_apart_from_the_gpu() -> None:
    gpu = Load(Work(0.0, 0.050), (Stream(15.0, 100),))
    dla = replace(gpu, work=replace(gpu.work, engine=DLA))
    settled = settle(HARDWARE, MODE, [gpu, dla])
    assert [pace.loop_fps for pace in settled.paces] == [15.0, 15.0]
    assert settled.dla == pytest.approx(settled.gpu / 2)


def test_a_decoder_asked_for_too_much_drops_frames() -> None:
    settled = settle(
        HARDWARE, MODE, [Load(Work(0.0001, 0.0001), (Stream(30.0, 3840 * 2160),) * 16)]
    )
    assert settled.decode == pytest.approx(1.99, abs=0.01)
    assert settled.paces[0].decoded == pytest.approx(1 / settled.decode)
    assert settled.bottleneck == "decode"


def test_memory_above_its_usable_rate_slows_everybody() -> None:
    heavy = Load(Work(0.010, 0.010, memory_bytes=4e9), (Stream(30.0, 100),))
    settled = settle(HARDWARE, MODE, [heavy] * 2)
    assert settled.memory == pytest.approx(0.8, rel=0.01)
    assert settled.paces[0].loop_fps == pytest.approx(0.8 * 128e9 / 4e9 / 2, rel=0.01)
    assert settled.bottleneck == "memory"


def test_fewer_clocks_are_slower_and_cooler() -> None:
    load = Load(Work(0.050, 0.050), (Stream(30.0, 100),))
    full, half = settle(HARDWARE, MODE, [load]), settle(HARDWARE, MODE, [load], clock_share=0.5)
    assert half.paces[0].loop_fps == pytest.approx(full.paces[0].loop_fps / 2)
    assert half.power_w < full.power_w


def test_power_is_idle_and_what_each_part_adds() -> None:
    assert power(HARDWARE, MODE, cpu=0, gpu=0, dla=0) == 10
    assert power(HARDWARE, MODE, cpu=1, gpu=1, dla=1) == pytest.approx(10 + 30 + 2 * 4 + 8 * 2)
    slow = replace(MODE, gpu_mhz=500.0, gpu_sms=4)
    assert power(HARDWARE, slow, cpu=0, gpu=1, dla=0) == pytest.approx(10 + 30 * 0.5**2.2 / 2)


def test_nothing_to_do_is_settled_too() -> None:
    settled = settle(HARDWARE, MODE, [Load(Work(0.1, 0.1), ())])
    assert settled.paces[0].loop_fps == 0.0
    assert settled.power_w == 10
    assert settle(HARDWARE, MODE, []).paces == ()


@pytest.mark.parametrize(
    ("applications", "cameras", "host_s", "inference_s"),
    [(1, 3, 0.020, 0.010), (2, 2, 0.015, 0.020), (3, 4, 0.005, 0.010), (8, 2, 0.050, 0.010)],
)
def test_it_agrees_with_a_simulation_of_every_frame(
    applications: int, cameras: int, host_s: float, inference_s: float
) -> None:
    """Loops that queue for one accelerator, first come first served, frame by frame."""
    load = Load(Work(host_s, inference_s), (Stream(15.0, 640 * 360),) * cameras)
    settled = settle(HARDWARE, MODE, [load] * applications)
    simulated = simulate(applications, cameras, host_s, inference_s)
    expected = settled.paces[0].delivered_fps(15.0)
    assert simulated == pytest.approx(expected, rel=0.1)


def simulate(applications: int, cameras: int, host_s: float, inference_s: float) -> float:
    """Frames a second and camera that loops of exponential host times get done."""
    env, draw, until_s = simpy.Environment(), random.Random(5), 200.0
    accelerator = simpy.Resource(env)
    done = 0

    def loop() -> Generator[Any, Any, None]:
        nonlocal done
        taken = [-1] * cameras
        while True:
            newest = [int((env.now + index / cameras / 15) * 15) for index in range(cameras)]
            fresh = [index for index in range(cameras) if newest[index] > taken[index]]
            if not fresh:
                yield env.timeout(0.0005)
                continue
            for index in fresh:
                taken[index] = newest[index]
                yield env.timeout(host_s * draw.uniform(0.7, 1.3))
                with accelerator.request() as mine:
                    yield mine
                    yield env.timeout(inference_s)
                done += 1

    for _ in range(applications):
        env.process(loop())
    env.run(until_s)
    return done / until_s / applications / cameras


def test_encoding_takes_its_time_and_is_shared() -> None:
    """Of 1e9 pixels a second 40 loops at 15 fps ask 1.24e9: they slow until it is enough."""
    work = Work(0.001, 0.0, encode_pixels=1920 * 1080)
    one = settle(HARDWARE, MODE, [Load(work, (HD,))])
    assert one.encode == pytest.approx(15 * 1920 * 1080 / 1e9, rel=1e-3)
    assert one.paces[0].frame_s == pytest.approx(0.001 + 1920 * 1080 / 1e9, rel=1e-3)
    small = Stream(15.0, 100)
    many = settle(HARDWARE, MODE, [Load(work, (small,))] * 40)
    assert many.bottleneck == "encode"
    delivered = sum(pace.delivered_fps(15.0) for pace in many.paces)
    assert delivered * 1920 * 1080 == pytest.approx(1e9, rel=0.05)
    none = settle(HARDWARE, MODE, [Load(Work(0.001, 0.0), (HD,))])
    assert none.encode == 0.0
    assert none.memory < one.memory
