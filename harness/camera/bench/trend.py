"""Whether something grows for ever, from samples of it. Pure.

A process takes memory while it warms up, and allocators keep what they once had; a leak goes on.
So the first fifth is left out, and growth counts only where it shows in every quarter of the rest.
"""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP_SHARE = 0.2
QUARTERS = 4
SAMPLES_MIN = 3  # in a quarter
SHARE_MIN = 0.05  # growth below it is not called one


@dataclass(frozen=True, slots=True)
class Trend:
    """`first` and `last` are medians of the first and the last quarter after warming up."""

    first: float
    last: float
    slope_per_hour: float
    grows: bool


def trend(at_s: Sequence[float], values: Sequence[float], tolerance: float) -> Trend | None:
    """What `values`, taken at `at_s`, tend to; None where there are too few to tell.

    They grow when the medians of the quarters rise one after another, and by more than
    `tolerance` and a twentieth in all.
    """
    pairs = [(at, value) for at, value in zip(at_s, values, strict=True) if at >= _warm_until(at_s)]
    size = len(pairs) // QUARTERS
    if size < SAMPLES_MIN:
        return None
    parts = [pairs[number * size : (number + 1) * size] for number in range(QUARTERS)]
    medians = [statistics.median(value for _, value in part) for part in parts]
    centres_s = [statistics.median(at for at, _ in part) for part in parts]
    growth = medians[-1] - medians[0]
    rises = all(later > before for before, later in itertools.pairwise(medians))
    return Trend(
        first=medians[0],
        last=medians[-1],
        slope_per_hour=growth / (centres_s[-1] - centres_s[0]) * 3600,
        grows=rises and growth > max(tolerance, SHARE_MIN * medians[0]),
    )


def _warm_until(at_s: Sequence[float]) -> float:
    return at_s[0] + WARM_UP_SHARE * (at_s[-1] - at_s[0]) if at_s else 0.0
