"""`harness jetson plan`: what an appliance carries, from cameras to watts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.calibration.model import load
from harness.calibration.predict import predict
from harness.cli.jetson_model import Asked, case_of, profile_of
from harness.errors import InputError
from harness.jetson.heat import Heat, after, governed
from harness.jetson.load import Load, Settled, Stream, Work, settle
from harness.scenario import shipped_hardware

if TYPE_CHECKING:
    from pathlib import Path

    from harness.calibration.case import Case
    from harness.calibration.model import Model
    from harness.calibration.predict import Estimate
    from harness.jetson.profile import Profile

JSON_SCHEMA = 1
CAMERAS_MAX = 256
KEPT = 0.98  # of a camera's frames delivered: the camera is kept up with
GAIN_MIN = 1.05
INSTANCES_MAX = 10  # applications on an appliance
WARM_S, LOOK_S = 4 * 3600.0, 10.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of `harness jetson plan` beside those of a prediction."""

    application: Path | None
    cameras: int
    instances: int
    rate_fps: float
    width_px: int
    height_px: int
    host_ms: float | None
    ambient_c: float
    encode_px: tuple[int, int] | None = None  # of the picture that each frame is encoded again as


@dataclass(frozen=True, slots=True)
class Planned:
    """An appliance with so many cameras: as expected, and with inference at its bounds."""

    expected: Settled
    slow: Settled
    fast: Settled
    temperature_c: float
    clock_share: float


def plan(asked: Asked, wanted: Wanted, *, as_json: bool) -> int:
    model = load(shipped_hardware())
    profile = profile_of(asked.profile)
    case = case_of(model, _with_model(asked, wanted.application))
    prediction = predict(model, case)
    planned = _planned(case, profile, wanted, prediction.mean_ms, wanted.cameras)
    most = _most(case, profile, wanted, prediction.mean_ms)
    moves = _moves(model, case, profile, wanted, prediction.mean_ms)
    if as_json:
        value = {
            "schema": JSON_SCHEMA,
            "grade": "V",
            "profile": asked.profile,
            "mode": case.mode.name,
            "network": case.network.key,
            "inference_ms": prediction.to_json()["mean_ms"],
            "cameras": wanted.cameras,
            "instances": wanted.instances,
            **_figures(planned, wanted),
            "cameras_kept_up_with": most,
            "what_would_move_it": [{"change": what, "fps_per_camera": fps} for what, fps in moves],
            "extrapolation": list(prediction.extrapolation),
        }
        print(json.dumps(value, indent=2))
    else:
        _print(case, prediction.mean_ms, planned, wanted, most)
        for what, fps in moves:
            print(f"would be     {fps:8.3g} fps  with {what}")
        for reason in prediction.extrapolation:
            print(f"extrapolates: {reason}")
    return 0


def picture(size: str) -> tuple[int, int]:
    """Width and height of `1920x1080`."""
    found = re.fullmatch(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})", size)
    if found is None:
        raise InputError(f"{size!r} is not the size of a picture", hint="such as 1920x1080")
    return int(found[1]), int(found[2])


def _with_model(asked: Asked, application: Path | None) -> Asked:
    """The model of an application folder stands for `--model`."""
    if (application is None) == (not asked.network):
        raise InputError("what runs is not said once", hint="give either --app or --model")
    if application is None:
        return asked
    models = sorted(application.rglob("*.onnx"))
    if len(models) != 1:
        raise InputError(
            f"{application}: {len(models)} ONNX files", hint="an application with one; or --model"
        )
    return Asked(
        asked.profile, asked.mode, str(models[0]), asked.size,
        asked.precision, asked.batch, asked.engine, asked.software,
    )  # fmt: skip


def _planned(
    case: Case, profile: Profile, wanted: Wanted, inference: Estimate, cameras: int
) -> Planned:
    expected, slow, fast = (
        _settled(case, profile, wanted, value_ms, cameras)
        for value_ms in (inference.value, inference.high, inference.low)
    )
    heat = _warm(case, profile, wanted, inference.value, cameras)
    if heat.throttled:
        expected = _settled(case, profile, wanted, inference.value, cameras, heat.clock_share)
    return Planned(expected, slow, fast, heat.temperature_c, heat.clock_share)


def _settled(
    case: Case,
    profile: Profile,
    wanted: Wanted,
    inference_ms: float,
    cameras: int,
    clock_share: float = 1.0,
) -> Settled:
    stream = Stream(wanted.rate_fps, wanted.width_px * wanted.height_px)
    host_ms = profile.host_ms if wanted.host_ms is None else wanted.host_ms
    slower = case.hardware.fastest.cpu_mhz / case.mode.cpu_mhz
    encoded = 0.0
    if wanted.encode_px is not None:
        encoded = float(wanted.encode_px[0] * wanted.encode_px[1])
    work = Work(host_ms / 1e3 * slower, inference_ms / 1e3, case.engine, encode_pixels=encoded)
    shares = [cameras // wanted.instances] * wanted.instances
    for index in range(cameras % wanted.instances):
        shares[index] += 1
    loads = [Load(work, (stream,) * share) for share in shares if share]
    return settle(case.hardware, case.mode, loads, clock_share)


def _warm(case: Case, profile: Profile, wanted: Wanted, inference_ms: float, cameras: int) -> Heat:
    """After four hours; a governor that steps up and down around a trip is caught where it is."""
    thermal = case.hardware.thermal
    heat = Heat(wanted.ambient_c)
    known: dict[float, Settled] = {}
    for _ in range(int(WARM_S / LOOK_S)):
        share = heat.clock_share
        if share not in known:
            known[share] = _settled(case, profile, wanted, inference_ms, cameras, share)
        warm = after(thermal, heat, known[share].power_w, wanted.ambient_c, LOOK_S)
        heat = governed(thermal, warm)
    return heat


def _most(case: Case, profile: Profile, wanted: Wanted, inference: Estimate) -> int:
    """The most cameras whose frames are nearly all delivered; 0 when not even one's are."""
    low, high = 0, CAMERAS_MAX
    while low < high:
        middle = (low + high + 1) // 2
        settled = _settled(case, profile, wanted, inference.value, middle)
        if _share(settled, wanted.rate_fps) >= KEPT:
            low = middle
        else:
            high = middle - 1
    return low


def _moves(
    model: Model, case: Case, profile: Profile, wanted: Wanted, inference: Estimate
) -> list[tuple[str, float]]:
    """Single changes and the rate of each camera with them, the best first.

    Those that gain less than `GAIN_MIN` are left out, and all where every camera is kept up with.
    """

    def rate(case: Case, wanted: Wanted, inference_ms: float) -> float:
        heat = _warm(case, profile, wanted, inference_ms, wanted.cameras)
        settled = _settled(case, profile, wanted, inference_ms, wanted.cameras, heat.clock_share)
        return _share(settled, wanted.rate_fps) * wanted.rate_fps

    now_fps = rate(case, wanted, inference.value)
    if now_fps >= KEPT * wanted.rate_fps:
        return []
    host_ms = profile.host_ms if wanted.host_ms is None else wanted.host_ms
    found: list[tuple[str, float]] = []
    instances = min(2 * wanted.instances, INSTANCES_MAX, wanted.cameras)
    width, height = wanted.width_px // 2, wanted.height_px // 2
    for what, changed in (
        (f"{instances} instances", replace(wanted, instances=instances)),
        (f"{host_ms / 2:g} ms on the CPU", replace(wanted, host_ms=host_ms / 2)),
        (f"pictures of {width}x{height}", replace(wanted, width_px=width, height_px=height)),
    ):
        found.append((what, rate(case, changed, inference.value)))
    for what, other in (
        ("int8", replace(case, precision="int8")),
        ("the DLA", replace(case, engine="dla")),
        ("the GPU", replace(case, engine="gpu")),
        (f"power mode {case.hardware.fastest.name}", replace(case, mode=case.hardware.fastest)),
    ):
        if other != case and (other.engine != "dla" or other.dla_engines):
            found.append((what, rate(other, wanted, predict(model, other).mean_ms.value)))
    gains = [one for one in found if one[1] >= now_fps * GAIN_MIN]
    return sorted(gains, key=lambda one: -one[1])


def _share(settled: Settled, rate_fps: float) -> float:
    return min((pace.delivered_fps(rate_fps) for pace in settled.paces), default=0.0) / rate_fps


def _figures(planned: Planned, wanted: Wanted) -> dict[str, Any]:
    expected = planned.expected
    rates = [
        _share(one, wanted.rate_fps) * wanted.rate_fps
        for one in (expected, planned.slow, planned.fast)
    ]
    return {
        "fps_per_camera": {"value": rates[0], "low": rates[1], "high": rates[2]},
        "frame_ms": max(pace.frame_s for pace in expected.paces) * 1e3,
        "cpu": expected.cpu,
        "gpu": expected.gpu,
        "dla": expected.dla,
        "decode": expected.decode,
        "encode": expected.encode,
        "memory": expected.memory,
        "bottleneck": expected.bottleneck,
        "power_w": expected.power_w,
        "temperature_c": planned.temperature_c,
        "clock_share": planned.clock_share,
    }


def _print(case: Case, inference: Estimate, planned: Planned, wanted: Wanted, most: int) -> None:
    figures = _figures(planned, wanted)
    rate = figures["fps_per_camera"]
    pictures = f"{wanted.width_px}x{wanted.height_px} at {wanted.rate_fps:g} frames/s"
    where = f"{case.engine} of {case.hardware.name} in {case.mode.name}"
    print(f"{wanted.cameras} cameras of {pictures}")
    print(f"{wanted.instances} x {case.network.key} {case.precision} on {where}")
    print(f"inference    {inference.value:8.3g} ms   9 of 10 within "
          f"{inference.low:.3g} .. {inference.high:.3g} ms")  # fmt: skip
    print(f"each camera  {rate['value']:8.3g} fps  {rate['low']:.3g} .. {rate['high']:.3g} "
          f"with inference at its bounds")  # fmt: skip
    print(f"a frame      {figures['frame_ms']:8.3g} ms   on the CPU and the accelerator")
    for part in ("cpu", "gpu", "dla", "decode", "encode", "memory"):
        print(f"{part:12}{figures[part]:9.1%} busy")
    print(f"bottleneck   {figures['bottleneck']}")
    print(f"power        {figures['power_w']:8.3g} W at the plug")
    clocks = f", clocks at {planned.clock_share:.0%}" if planned.clock_share < 1 else ""
    print(f"temperature  {planned.temperature_c:8.3g} °C at {wanted.ambient_c:g} °C{clocks}")
    print(f"keeps up with {most} cameras")
