"""Growth that goes on is told from warming up, from steps, and from noise."""

from __future__ import annotations

import random

import pytest

from harness.camera.bench.trend import trend

TIMES_S = [float(second) for second in range(0, 3600, 10)]
RNG = random.Random(4)
NOISE = [RNG.uniform(-500, 500) for _ in TIMES_S]


def test_a_leak_is_seen_through_noise() -> None:
    values = [50_000 + 10 * at + noise for at, noise in zip(TIMES_S, NOISE, strict=True)]
    found = trend(TIMES_S, values, 8192)
    assert found is not None
    assert found.grows
    assert found.slope_per_hour == pytest.approx(36_000, rel=0.05)
    assert found.last > found.first


@pytest.mark.parametrize(
    "values",
    [
        [50_000 + noise for noise in NOISE],
        [50_000 + min(at, 600) * 50 for at in TIMES_S],  # warming up
        [50_000 + (20_000 if at > 2000 else 0) for at in TIMES_S],  # a step, and no more of it
        [90_000 - 10 * at for at in TIMES_S],
        [50_000 + 2 * at for at in TIMES_S],  # 6 MB: below the tolerance
        [500_000 + 5 * at for at in TIMES_S],  # below a twentieth
    ],
)
def test_what_is_no_leak(values: list[float]) -> None:
    found = trend(TIMES_S, values, 8192)
    assert found is not None
    assert not found.grows


@pytest.mark.parametrize("count", [0, 1, 2, 14])
def test_too_few_samples_tell_nothing(count: int) -> None:
    assert trend([float(n) for n in range(count)], [float(n) for n in range(count)], 1.0) is None
