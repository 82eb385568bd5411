from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import Corrupt, EngineError
from harness.record.histogram import RELATIVE_ERROR_MAX, Histogram

if TYPE_CHECKING:
    import random

values = st.floats(1e-6, 1e12) | st.just(0.0) | st.integers(0, 10_000).map(float)
lists = st.lists(values, min_size=1, max_size=200)
ROUNDING = 1e-12


@given(lists, st.floats(0, 1))
def test_quantiles_are_near_the_exact_ones(numbers: list[float], q: float) -> None:
    exact = sorted(numbers)[max(1, math.ceil(q * len(numbers))) - 1]
    estimate = Histogram(numbers).quantile(q)
    assert abs(estimate - exact) <= exact * (RELATIVE_ERROR_MAX + ROUNDING)


def test_the_promised_error() -> None:
    assert RELATIVE_ERROR_MAX <= 0.005


@given(lists)
def test_count_and_extremes_are_exact_and_the_mean_nearly(numbers: list[float]) -> None:
    histogram = Histogram(numbers)
    assert histogram.count == len(numbers)
    assert (histogram.min, histogram.max) == (min(numbers), max(numbers))
    assert math.isclose(
        histogram.mean, math.fsum(numbers) / len(numbers), rel_tol=1e-9, abs_tol=1e-9
    )


@given(st.lists(st.lists(values, max_size=30), min_size=1, max_size=6), st.randoms())
def test_merging_is_the_same_in_every_order(parts: list[list[float]], draw: random.Random) -> None:
    shuffled = list(parts)
    draw.shuffle(shuffled)
    results = []
    for order in (parts, shuffled):
        merged = Histogram()
        for part in order:
            merged.merge(Histogram(part))
        results.append(merged)
    together = Histogram(value for part in parts for value in part)
    assert results[0] == results[1] == together


@given(st.lists(values, max_size=60))
def test_json_round_trip(numbers: list[float]) -> None:
    histogram = Histogram(numbers)
    text = json.dumps(histogram.to_json(), sort_keys=True, allow_nan=False)
    again = Histogram.from_json(json.loads(text))
    assert again == histogram
    assert json.dumps(again.to_json(), sort_keys=True) == text


def test_a_count_is_that_many_records() -> None:
    one, many = Histogram(), Histogram([3.5] * 1000)
    one.record(3.5, 1000)
    assert one == many


def test_json_is_sparse() -> None:
    histogram = Histogram()
    histogram.record(16.7, 1_000_000)
    assert len(json.dumps(histogram.to_json())) < 120


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, 1e300])
def test_impossible_values_are_refused(value: float) -> None:
    histogram = Histogram()
    with pytest.raises(EngineError):
        histogram.record(value)
    assert histogram.count == 0


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(EngineError):
        Histogram().record(1.0, 0)


def test_an_empty_histogram_has_no_statistics() -> None:
    with pytest.raises(EngineError, match="empty"):
        Histogram().quantile(0.5)
    with pytest.raises(EngineError, match="empty"):
        _ = Histogram().mean


@pytest.mark.parametrize("q", [-0.01, 1.01, math.nan])
def test_a_quantile_lies_between_0_and_1(q: float) -> None:
    with pytest.raises(EngineError, match="quantile"):
        Histogram([1.0]).quantile(q)


@pytest.mark.parametrize(
    "change",
    [
        {"count": 4},
        {"zeros": -1},
        {"buckets": [[10, "many"]]},
        {"buckets": 3},
        {"buckets": [[10**9, 3]], "count": 3, "zeros": 0},
        {"min": None},
    ],
)
def test_damaged_json_is_refused(change: dict[str, object]) -> None:
    value = {**Histogram([1.0, 2.0, 0.0]).to_json(), **change}
    with pytest.raises(Corrupt) as caught:
        Histogram.from_json(value)
    assert caught.value.hint
