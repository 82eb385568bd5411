from __future__ import annotations

from dataclasses import replace
from math import log
from typing import TYPE_CHECKING

import pytest

from harness.calibration.observation import TAIL, TIME
from harness.calibration.predict import logarithm, newest_release, predict
from harness.jetson.hardware import Hardware, power_mode

if TYPE_CHECKING:
    from harness.calibration.case import Case
    from harness.calibration.model import Model


def test_a_measured_case_comes_back_with_narrow_bounds(model: Model, case: Case) -> None:
    """MLPerf Inference v1.1, closed, NVIDIA: 1.8203 ms."""
    prediction = predict(model, replace(case, release="1.1"))
    assert prediction.mean_ms.value == pytest.approx(1.82, rel=0.1)
    assert prediction.mean_ms.low < 1.8203 < prediction.mean_ms.high
    assert prediction.mean_ms.high / prediction.mean_ms.low < 1.5
    assert prediction.extrapolation == ()


def test_percentiles_are_in_order_and_rates_agree(model: Model, case: Case) -> None:
    for batch in (1, 8):
        prediction = predict(model, replace(case, gpu_batch=batch))
        mean, p99 = prediction.mean_ms.value, prediction.p99_ms.value
        assert prediction.p50_ms.value <= mean <= prediction.p90_ms.value <= p99
        assert prediction.throughput_per_s.low < prediction.throughput_per_s.value
        assert prediction.throughput_per_s.value == pytest.approx(batch * 1e3 / mean, rel=0.15)
        assert prediction.idle_w.value < prediction.power_w.value


def test_slower_modes_are_slower_and_take_less_power(
    model: Model, case: Case, hardware: dict[str, Hardware]
) -> None:
    modes = [power_mode(hardware["panorama-appliance"], name) for name in ("MAXN", "15W", "10W")]
    predictions = [predict(model, replace(case, mode=mode)) for mode in modes]
    means = [one.mean_ms.value for one in predictions]
    watts = [one.power_w.value for one in predictions]
    assert means == sorted(means)
    assert watts == sorted(watts, reverse=True)


def test_what_was_never_measured_is_flagged_and_wider(model: Model, case: Case) -> None:
    known = predict(model, case)
    network = replace(case.network, name="my-network")
    unknown = predict(model, replace(case, network=network))
    assert unknown.extrapolation == ("no measurement of my-network",)
    assert spread(unknown.mean_ms.high, unknown.mean_ms.low) > 1.5 * spread(
        known.mean_ms.high, known.mean_ms.low
    )


def test_a_device_and_an_engine_nobody_measured(model: Model, case: Case) -> None:
    elsewhere = predict(model, replace(case, device="jetson-next"))
    assert "no measurement on jetson-next" in elsewhere.extrapolation
    dla = predict(model, replace(case, engine="dla", precision="fp32"))
    assert "no measurement of fp32 on dla of agx_xavier" in dla.extrapolation


def test_beyond_the_measured_range(model: Model, case: Case) -> None:
    large = predict(model, replace(case, gpu_batch=4096))
    assert any(reason.startswith("batch 4096; measured up to") for reason in large.extrapolation)
    slow = predict(model, replace(case, mode=replace(case.mode, gpu_mhz=114.75)))
    assert any(reason.startswith("115 MHz; measured") for reason in slow.extrapolation)


def test_the_newest_software_is_assumed(model: Model, case: Case) -> None:
    assert newest_release(model, case) == "1.1"
    assert newest_release(model, replace(case, device="xavier_nx")) == "2.0"
    assert newest_release(model, replace(case, software="tkdnn")) == ""


def test_networks_of_varying_input_have_long_tails(model: Model, case: Case) -> None:
    bert = model.library.find("bert_large")
    assert bert is not None
    steady = logarithm(model, TAIL, (case, 99)).mean
    varying = logarithm(model, TAIL, (replace(case, network=bert), 99)).mean
    assert steady < 0.2 < varying


def test_the_interval_is_that_of_the_regression_times_the_factor(model: Model, case: Case) -> None:
    known = replace(case, release="1.1")
    (mean,), (deviation,) = model.regressions[TIME].predict([(known, 0)])
    found = logarithm(model, TIME, (known, 0))
    assert found.mean == pytest.approx(mean)
    expected = deviation * model.factors[TIME].by_slice["gpu/int8/mlperf"]
    assert found.reach == pytest.approx(expected)


def spread(high: float, low: float) -> float:
    return log(high / low)
