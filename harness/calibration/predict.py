"""Predictions for a case, each with the interval that holds nine times of ten."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from math import exp, hypot, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from harness.calibration.case import LATENCY, REFERENCE_SOFTWARE, THROUGHPUT
from harness.calibration.interval import slice_of
from harness.calibration.observation import CPU_TIME, DEVICES, POWER, SLOWER_MODES, TAIL, TIME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.calibration.case import Case
    from harness.calibration.design import Subject
    from harness.calibration.model import Model
    from harness.jetson.hardware import Hardware, PowerMode

QUANTILE_90 = NormalDist().inv_cdf(0.9)
BATCH_BEYOND = 2.0  # times the largest batch measured
CLOCK_BEYOND = 0.1  # outside the measured clocks by this share


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median and the bounds of its 90 % interval."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.low * factor, self.high * factor)

    def inverse(self, factor: float) -> Estimate:
        return Estimate(factor / self.value, factor / self.high, factor / self.low)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a case takes. Latency is of all images in flight: a batch on each engine.

    `extrapolation` says in words what about the case lies outside the measurements; its
    intervals are the wider ones of networks or devices that were left out.
    """

    mean_ms: Estimate
    p50_ms: Estimate
    p90_ms: Estimate
    p99_ms: Estimate
    throughput_per_s: Estimate
    power_w: Estimate
    idle_w: Estimate
    extrapolation: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Logarithm:
    """A predicted logarithm and how far its interval reaches to either side."""

    mean: float
    reach: float

    def estimate(self) -> Estimate:
        middle = self.mean
        return Estimate(exp(middle), exp(middle - self.reach), exp(middle + self.reach))


def predict(model: Model, case: Case) -> Prediction:
    case = replace(case, release=case.release or newest_release(model, case))
    beyond = extrapolation(model, case)
    time = CPU_TIME if case.engine == "cpu" else TIME
    latency = logarithm(model, time, (replace(case, kind=LATENCY), 0))
    rate = logarithm(model, time, (replace(case, kind=THROUGHPUT), 0))
    tails = {percent: logarithm(model, TAIL, (case, percent)) for percent in (90, 99)}
    tails[99] = replace(tails[99], mean=max(tails[90].mean, tails[99].mean))
    images_ms = case.images * 1e3
    mean = latency.estimate().times(images_ms)
    return Prediction(
        mean_ms=mean,
        p50_ms=mean.times(exp(-(_spread(tails[90].mean) ** 2) / 2)),
        p90_ms=total(latency, tails[90]).estimate().times(images_ms),
        p99_ms=total(latency, tails[99]).estimate().times(images_ms),
        throughput_per_s=rate.estimate().inverse(1.0),
        power_w=logarithm(model, POWER, (case, 0)).estimate(),
        idle_w=logarithm(model, POWER, (case, 1)).estimate(),
        extrapolation=beyond,
    )


def logarithm(model: Model, quantity: str, subject: Subject) -> Logarithm:
    return logarithms(model, quantity, [subject])[0]


def logarithms(model: Model, quantity: str, subjects: Sequence[Subject]) -> list[Logarithm]:
    """Predicted logarithms of a quantity, their reach widened where data is far."""
    regression = model.regressions[quantity]
    means, deviations = regression.predict(subjects)
    factors = model.factors[quantity]
    networks = {_known_as(case) for case, _ in regression.cases}
    devices = {case.device for case, _ in regression.cases}
    reaches = [
        factors.reach(
            slice_of(case),
            new_network=_known_as(case) not in networks,
            new_device=case.device not in devices,
        )
        for case, _ in subjects
    ]
    return [
        Logarithm(float(mean), float(deviation * reach))
        for mean, deviation, reach in zip(means, deviations, reaches, strict=True)
    ]


def measured_as(model: Model, hardware: Hardware, mode: PowerMode) -> str:
    """The name under which most measurements of the module go; its own when there are none."""
    names = [device for device, profile in DEVICES.items() if profile == hardware.name]
    slower = [device for device in names if SLOWER_MODES.get(device) == mode.name]
    usual = [device for device in names if device not in SLOWER_MODES]
    counts = Counter(one.case.device for one in model.observations[TIME])
    return max(slower or usual or [hardware.name], key=lambda device: counts[device])


def _known_as(case: Case) -> str:
    return case.network.name


def total(left: Logarithm, right: Logarithm) -> Logarithm:
    return Logarithm(left.mean + right.mean, hypot(left.reach, right.reach))


def _spread(tail: float) -> float:
    """Of a log-normal distribution whose 90th percentile over its mean has this logarithm.

    Solves q s - s^2 / 2 = tail for the smaller s; the measurements give no median.
    """
    root = QUANTILE_90**2 - 2 * max(tail, 0.0)
    return QUANTILE_90 - sqrt(max(root, 0.0))


def newest_release(model: Model, case: Case) -> str:
    """The latest round measured on the device, else on its architecture; its software is newest."""
    if case.software != REFERENCE_SOFTWARE or case.engine == "cpu":
        return ""
    known = [one for one, _ in model.regressions[TIME].cases if one.release]
    same = [one.release for one in known if one.device == case.device]
    alike = [
        one.release for one in known if one.hardware.architecture == case.hardware.architecture
    ]
    return max(same or alike or [""])


def extrapolation(model: Model, case: Case) -> tuple[str, ...]:
    """What of the case is outside the measurements, in words; empty when nothing is."""
    regression = model.regressions[CPU_TIME if case.engine == "cpu" else TIME]
    known = [one for one, _ in regression.cases]
    engine = [one for one in known if one.engine == case.engine]
    reasons: list[str] = []
    if case.network.name not in {one.network.name for one in known}:
        reasons.append(f"no measurement of {case.network.name}")
    if case.device not in {one.device for one in known}:
        reasons.append(f"no measurement on {case.device}")
    elif not [one for one in engine if _place(one) == _place(case)]:
        reasons.append(f"no measurement of {case.precision} on {case.engine} of {case.device}")
    if case.software not in {one.software for one in known}:
        reasons.append(f"no measurement with {case.software}")
    return (*reasons, *_ranges(case, engine))


def _place(case: Case) -> tuple[str, str]:
    return case.device, case.precision


def _ranges(case: Case, known: Sequence[Case]) -> list[str]:
    alike = [one for one in known if one.hardware.architecture == case.hardware.architecture]
    if not alike:
        return [f"no measurement of {case.engine} on {case.hardware.architecture}"]
    reasons: list[str] = []
    largest = max(one.batch for one in alike)
    if case.batch > BATCH_BEYOND * largest:
        reasons.append(f"batch {case.batch}; measured up to {largest}")
    clocks = [_clock_mhz(one) for one in alike]
    own, low, high = _clock_mhz(case), min(clocks), max(clocks)
    if not low * (1 - CLOCK_BEYOND) <= own <= high * (1 + CLOCK_BEYOND):
        reasons.append(f"{own:.0f} MHz; measured {low:.0f} to {high:.0f} MHz")
    work = [one.network.macs for one in alike]
    if not min(work) / 2 <= case.network.macs <= 2 * max(work):
        reasons.append(f"{case.network.macs / 1e9:.3g} GMACs an image; measured "
                       f"{min(work) / 1e9:.3g} to {max(work) / 1e9:.3g}")  # fmt: skip
    return reasons


def _clock_mhz(case: Case) -> float:
    mode = case.mode
    by_engine = {"dla": mode.dla_mhz, "cpu": mode.cpu_mhz}
    return by_engine.get(case.engine, mode.gpu_mhz)
