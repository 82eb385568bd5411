"""How good predictions are: against a file of measurements, or with parts of the data left out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import combinations
from math import exp, hypot
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.calibration import model as models
from harness.calibration.design import subject
from harness.calibration.interval import slice_of
from harness.calibration.likeness import clocks
from harness.calibration.observation import CPU_TIME, POWER, TAIL, TIME, by_quantity
from harness.calibration.predict import logarithms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.calibration.measurement import Measurement
    from harness.calibration.model import Data, Model
    from harness.calibration.observation import Observation

    Errors = tuple[Sequence[float], Sequence[float]]  # errors, and how far intervals reach

GROUPS: Mapping[str, Callable[[Measurement], str]] = {
    "configuration": lambda row: row.configuration,
    "network": lambda row: row.model,
    "device": lambda row: row.device,
}
MEAN = "latency_mean_ms"
NAMES = {
    "time on accelerators": TIME,
    "time on CPUs": CPU_TIME,
    "latency percentiles": TAIL,
    "power at the plug": POWER,
}
FOLDS = 8
FAR = 0.2  # a ratio between modes off by more is counted


@dataclass(frozen=True, slots=True)
class Scored:
    """One measurement and what was predicted of it. `error` is log measured over predicted."""

    observation: Observation
    error: float
    reach: float

    @property
    def off(self) -> float:
        """Predicted over measured, less one, without its sign."""
        return abs(exp(-self.error) - 1)

    @property
    def inside(self) -> bool:
        return abs(self.error) <= self.reach

    @property
    def predicted(self) -> float:
        """In the unit of the measurement."""
        row = self.observation.measurement
        inverted = row.metric in ("throughput", "streams")
        return row.value * exp(self.error if inverted else -self.error)


SLICES: Sequence[tuple[str, Callable[[Scored], str]]] = (
    ("architecture", lambda one: one.observation.case.hardware.architecture),
    ("device", lambda one: one.observation.case.device),
    ("engine", lambda one: one.observation.case.engine),
    ("precision", lambda one: one.observation.case.precision),
    ("software", lambda one: one.observation.case.software),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A slice of the scored: how many, median and 90th percentile of the error, coverage."""

    name: str
    count: int
    median: float
    p90: float
    inside: float


@dataclass(frozen=True, slots=True)
class Ratios:
    """Ratios between power modes of the same device and network, both modes left out."""

    count: int
    median: float
    worst: float
    within: float  # share of pairs off by 20 % at most


def against(model: Model, observations: Sequence[Observation]) -> list[Scored]:
    """Every observation of a file, predicted with the whole model."""
    predicted: dict[str, Errors] = {}
    members = by_quantity(observations)
    for quantity, own in members.items():
        guesses = logarithms(model, quantity, [subject(one) for one in own]) if own else []
        errors = [one.logarithm - guess.mean for one, guess in zip(own, guesses, strict=True)]
        predicted[quantity] = errors, [guess.reach for guess in guesses]
    return _scored(members, predicted)


def leaving_out(model: Model, what: str) -> list[Scored]:
    """Every measurement of the model, predicted without its configuration, network or device.

    Formula and terms are those of the rest; spreads and interval factors come from all.
    """
    predicted: dict[str, Errors] = {}
    for quantity, regression in model.regressions.items():
        own = model.observations[quantity]
        errors, deviations = regression.left_out([GROUPS[what](one.measurement) for one in own])
        reaches = [
            deviation * _factor(model, quantity, one, what)
            for one, deviation in zip(own, deviations, strict=True)
        ]
        predicted[quantity] = [float(error) for error in errors], reaches
    return _scored(model.observations, predicted)


def refitting(data: Data, what: str, folds: int = FOLDS) -> list[Scored]:
    """The same with everything fitted again for each fold, spreads and factors too. Needs scipy."""
    found: list[Scored] = []
    for fold in range(folds):

        def held(one: Observation, fold: int = fold) -> bool:
            return _fold(GROUPS[what](one.measurement), folds) == fold

        kept = {
            quantity: [one for one in own if not held(one)]
            for quantity, own in data.observations.items()
        }
        out = [one for own in data.observations.values() for one in own if held(one)]
        found += against(models.fit(replace(data, observations=kept)), out)
    return found


def _fold(group: str, folds: int) -> int:
    """By digest, so that the folds are the same on every machine."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:4]) % folds


def _factor(model: Model, quantity: str, one: Observation, what: str) -> float:
    return model.factors[quantity].reach(
        slice_of(one.case), new_network=what == "network", new_device=what == "device"
    )


def _scored(
    members: Mapping[str, Sequence[Observation]], predicted: Mapping[str, Errors]
) -> list[Scored]:
    """A percentile is predicted as mean times tail, so both errors add up in it."""
    found: list[Scored] = []
    means: dict[tuple[str, str, str], Scored] = {}
    for quantity, own in members.items():
        for one, error, reach in zip(own, *predicted[quantity], strict=True):
            scored = Scored(one, error, reach)
            mean = means.get(one.measurement.run) if quantity == TAIL else None
            if mean is not None:
                scored = Scored(one, error + mean.error, hypot(reach, mean.reach))
            if one.measurement.metric == MEAN:
                means[one.measurement.run] = scored
            found.append(scored)
    return found


def table(scored: Sequence[Scored]) -> list[Line]:
    """By kind of quantity; times of networks on accelerators also by slice."""
    lines = [
        line(name, [one for one in scored if one.observation.quantity == quantity])
        for name, quantity in NAMES.items()
    ]
    times = [one for one in scored if one.observation.quantity == TIME]
    lines += [
        line(f"{title} {value}", [one for one in times if of(one) == value])
        for title, of in SLICES
        for value in sorted({of(one) for one in times})
    ]
    return [one for one in lines if one.count]


def line(name: str, scored: Sequence[Scored]) -> Line:
    off = np.array([one.off for one in scored])
    if not len(off):
        return Line(name, 0, 0.0, 0.0, 0.0)
    inside = sum(one.inside for one in scored) / len(scored)
    median, p90 = np.quantile(off, (0.5, 0.9))
    return Line(name, len(off), float(median), float(p90), inside)


def mode_ratios(model: Model) -> Ratios:
    """How well times in one power mode follow from those in another, both modes left out."""
    own = model.observations[TIME]
    regression = model.regressions[TIME]
    off: list[float] = []
    for first, second in _mode_pairs(own):
        configurations = {own[index].measurement.configuration for index in (*first, *second)}
        indices = [
            index for index, one in enumerate(own)
            if one.measurement.configuration in configurations
        ]  # fmt: skip
        error = dict(zip(indices, regression.without(indices)[0], strict=True))
        difference = _mean(error, first) - _mean(error, second)
        off.append(abs(exp(-difference) - 1))
    within = sum(one <= FAR for one in off) / max(len(off), 1)
    return Ratios(len(off), float(np.median(off)), max(off), within)


def _mode_pairs(own: Sequence[Observation]) -> list[tuple[list[int], list[int]]]:
    """Indices of measurements alike in all but the clocks, of the same release if there is one."""
    alike: dict[object, dict[object, list[int]]] = {}
    for index, one in enumerate(own):
        by_mode = alike.setdefault(_but_for_the_mode(one), {})
        by_mode.setdefault(clocks(one.case), []).append(index)
    pairs: list[tuple[list[int], list[int]]] = []
    for by_mode in alike.values():
        for first, second in combinations(by_mode.values(), 2):
            common = _releases(own, first) & _releases(own, second)
            pairs.append((_of_release(own, first, common), _of_release(own, second, common)))
    return pairs


def _but_for_the_mode(one: Observation) -> tuple[object, ...]:
    case, row = one.case, one.measurement
    return (
        case.device, case.network.key, case.precision, row.batch,
        case.engine, case.variant, case.kind, row.scenario,
    )  # fmt: skip


def _releases(own: Sequence[Observation], indices: Sequence[int]) -> set[str]:
    return {own[index].case.release for index in indices}


def _of_release(own: Sequence[Observation], indices: list[int], common: set[str]) -> list[int]:
    same = [index for index in indices if own[index].case.release in common]
    return same or indices


def _mean(error: Mapping[int, float], indices: Sequence[int]) -> float:
    return sum(error[index] for index in indices) / len(indices)


def to_json(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    return [
        {
            "line": one.observation.measurement.line,
            "device": one.observation.measurement.device,
            "configuration": one.observation.measurement.configuration,
            "metric": one.observation.measurement.metric,
            "measured": one.observation.measurement.value,
            "predicted": one.predicted,
            "off": one.off,
            "inside": one.inside,
        }
        for one in scored
    ]
