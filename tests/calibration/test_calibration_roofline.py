from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.calibration.roofline import (
    ACCELERATOR_PARAMETERS,
    CPU_PARAMETERS,
    Work,
    cpu_seconds_per_image,
    seconds_per_image,
)

if TYPE_CHECKING:
    from harness.calibration.case import Case
    from harness.calibration.library import NetworkLibrary
    from harness.jetson.hardware import Hardware

VALUES = {one.name: one.prior for one in (*ACCELERATOR_PARAMETERS, *CPU_PARAMETERS)}


def image_s(*cases: Case, **values: float) -> list[float]:
    return list(seconds_per_image(Work(cases), {**VALUES, **values}))


def test_one_layer_adds_up_as_the_formula_says(case: Case) -> None:
    layer = case.network.layers[2]
    alone = replace(case, network=replace(case.network, layers=(layer,)), kind="throughput")
    (got,) = image_s(alone)
    hertz, sms = 1377e6, 8
    tiles = layer.outputs / (64 * 128 * sms)
    depth = layer.channels_in * layer.kernel
    fill = tiles / (tiles + 1.0) * depth / (depth + 100)
    arithmetic = 2 * layer.macs / (2048 * sms * hertz * 0.45 * fill)
    size = layer.inputs + layer.outputs + layer.weights
    memory = size / (64 * 2133e6 * 0.85) + size / (hertz * 200)
    assert got == pytest.approx(arithmetic + memory + 5000 / hertz + 2e-6)


def test_time_grows_with_work_and_falls_with_clocks(case: Case) -> None:
    slower = replace(case, mode=replace(case.mode, gpu_mhz=case.mode.gpu_mhz / 2))
    finer = replace(case, precision="fp16")
    batched = replace(case, gpu_batch=8)
    base, slow, fine, batch = image_s(case, slower, finer, batched)
    assert base < slow < 2 * base
    assert fine > base
    assert batch < base < 8 * batch


def test_cases_do_not_disturb_each_other(case: Case) -> None:
    other = replace(case, precision="fp32", gpu_batch=4)
    assert image_s(case, other) == pytest.approx([image_s(case)[0], image_s(other)[0]])


def test_two_dlas_share_the_images_and_one_program_uses_one(case: Case) -> None:
    two = replace(case, engine="dla")
    one = replace(two, mode=replace(case.mode, dla_count=1))
    alone = replace(two, software="cudla")
    assert image_s(one)[0] == pytest.approx(2 * image_s(two)[0])
    assert image_s(alone)[0] == pytest.approx(image_s(one)[0])


def test_both_engines_together_lose_the_shared_part(case: Case) -> None:
    parts = [replace(case, engine=engine, kind="throughput") for engine in ("gpu", "dla", "both")]
    gpu, dla, both = image_s(*parts)
    assert 1 / both == pytest.approx((1 / gpu + 1 / dla) * (1 - 0.15), rel=1e-6)


def test_software_adds_what_it_adds(case: Case) -> None:
    demo = replace(case, software="tensorrt_demos")
    eager = replace(case, software="pytorch")
    plain, python, torch = image_s(replace(case, kind="throughput"), demo, eager)
    assert python == pytest.approx(plain + 1.2e-2)
    assert torch > 56 * 3.3e-4 * 0.99


def test_old_compilers_copy_concatenations(case: Case, library: NetworkLibrary) -> None:
    dense = replace(case, network=library.by_key["densenet121@224x224"])
    old = replace(dense, software="torch2trt", kind="throughput")
    assert image_s(old)[0] > 1.5 * image_s(replace(dense, kind="throughput"))[0]


def test_cpus_scale_with_cores_and_clock(case: Case, hardware: dict[str, Hardware]) -> None:
    xavier = hardware["panorama-appliance"]
    cases = [
        replace(case, engine="cpu", precision="fp32", mode=mode)
        for mode in (xavier.fastest, replace(xavier.fastest, cpu_cores=4))
    ]
    eight, four = cpu_seconds_per_image(Work(cases), VALUES)
    assert eight < four < 2 * eight
    assert np.isfinite([eight, four]).all()
