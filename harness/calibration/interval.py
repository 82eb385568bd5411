"""Prediction intervals that hold: conformal factors on left-out errors.

A regression says how uncertain it thinks it is. Its errors on what was left out, over that
uncertainty, say how far to trust this: the factor of a slice is the quantile that keeps nine of ten
left-out measurements inside, with the correction for a finite sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from harness.calibration.case import REFERENCE_SOFTWARE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.calibration.case import Case
    from harness.calibration.roofline import Array

COVERAGE = 0.9
SLICE_MIN = 25  # measurements; smaller slices take the factor of all
ALL = "all"


@dataclass(frozen=True, slots=True)
class Factors:
    """How many standard deviations a 90 % interval reaches, by slice and by what was left out."""

    by_slice: Mapping[str, float]
    network: float
    device: float

    def reach(self, where: str, *, new_network: bool, new_device: bool) -> float:
        known = self.by_slice.get(where, self.by_slice[ALL])
        return max(known, self.network if new_network else 0.0, self.device if new_device else 0.0)


def factor(scaled: Sequence[float]) -> float:
    """The conformal quantile of absolute errors over deviations."""
    ordered = np.sort(np.abs(np.asarray(scaled)))
    rank = min(ceil((len(ordered) + 1) * COVERAGE), len(ordered))
    return float(ordered[rank - 1])


def slice_factors(scaled: Array, slices: Sequence[str]) -> dict[str, float]:
    found = {ALL: factor(list(scaled))}
    for name in sorted(set(slices)):
        members = [float(value) for value, own in zip(scaled, slices, strict=True) if own == name]
        if len(members) >= SLICE_MIN:
            found[name] = factor(members)
    return found


def slice_of(case: Case) -> str:
    """Cases whose errors are alike: MLPerf's runs are steadier than what others publish."""
    origin = "mlperf" if case.software == REFERENCE_SOFTWARE else "others"
    return f"{case.engine}/{case.precision}/{origin}"
