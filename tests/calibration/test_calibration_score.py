from __future__ import annotations

from dataclasses import replace
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.calibration import score
from harness.calibration.measurement import Measurement, read_measurements
from harness.calibration.model import Data, Model
from harness.calibration.observation import (
    POWER,
    TAIL,
    TIME,
    Observation,
    Unusable,
    observe,
)

if TYPE_CHECKING:
    from harness.calibration.library import NetworkLibrary
    from harness.jetson.hardware import Hardware

PERFORMANCE = Path(__file__).parents[2] / "device_profiles/performance"
MEAN = Measurement(
    2, "agx_xavier", "MAXN", "resnet50", "224x224", "int8", "1", "gpu", "SingleStream",
    "latency_mean_ms", 1.9, "ms", "mlcommons/inference_results_v1.1@1:a",
)  # fmt: skip
P99 = replace(MEAN, line=3, metric="latency_p99_ms", value=2.0)
LOADED = replace(MEAN, line=4, metric="wall_power_loaded_W", value=30.0, unit="W")


@pytest.fixture
def observed(
    hardware: dict[str, Hardware], library: NetworkLibrary
) -> tuple[list[Observation], list[Unusable]]:
    strange = replace(MEAN, line=5, device="toaster")
    mode = replace(MEAN, line=6, power_mode="TURBO")
    network = replace(MEAN, line=7, model="perceptron")
    lonely = replace(P99, line=8, scenario="elsewhere")
    metric = replace(MEAN, line=9, metric="memset")
    rows = [MEAN, P99, LOADED, strange, mode, network, lonely, metric]
    return observe(rows, hardware, library)


def test_rows_are_sorted_into_what_can_be_predicted_and_why_not(
    observed: tuple[list[Observation], list[Unusable]],
) -> None:
    found, left = observed
    assert [one.quantity for one in found] == [TIME, TAIL, POWER]
    assert found[0].logarithm == pytest.approx(-6.266, abs=1e-3)
    reasons = {one.measurement.line: one.reason for one in left}
    assert reasons[5] == "no profile describes the device toaster"
    assert "no power mode 'TURBO'" in reasons[6]
    assert reasons[7] == "the work of perceptron@224x224 is not known"
    assert reasons[8] == "a percentile without the mean of its run"
    assert reasons[9] == "nothing predicts memset of SingleStream"


def test_a_percentile_errs_by_mean_and_tail_together(
    model: Model, observed: tuple[list[Observation], list[Unusable]]
) -> None:
    mean, tail, _ = score.against(model, observed[0])
    assert mean.predicted == pytest.approx(1.9 * exp(-mean.error))
    assert tail.predicted > mean.predicted
    assert tail.reach >= mean.reach
    assert mean.inside


def test_a_rate_is_predicted_in_its_own_unit(
    model: Model, hardware: dict[str, Hardware], library: NetworkLibrary
) -> None:
    row = replace(MEAN, scenario="Offline", metric="throughput", value=500.0, unit="fps")
    (scored,) = score.against(model, observe([row], hardware, library)[0])
    assert scored.error > 0  # 2 ms an image: took about as long as predicted, or longer
    assert scored.predicted == pytest.approx(500.0 * exp(scored.error))


def test_configurations_left_out_are_predicted_as_documented(model: Model) -> None:
    """docs/jetson-model.md states these figures; here they are held."""
    scored = score.leaving_out(model, "configuration")
    lines = {one.name: one for one in score.table(scored)}
    times = lines["time on accelerators"]
    assert times.count == 383
    assert times.median < 0.06
    assert times.p90 < 0.20
    assert 0.85 <= times.inside <= 0.95
    for device, limit in (("agx_xavier", 0.08), ("xavier_nx", 0.05), ("agx_orin", 0.07)):
        assert lines[f"device {device}"].median < limit
    assert lines["architecture volta"].median < 0.06  # both Xaviers
    assert lines["architecture volta"].p90 < 0.20


def test_networks_and_devices_left_out_are_harder_but_covered(model: Model) -> None:
    configuration, network, device = (
        score.line("", [
            one for one in score.leaving_out(model, what) if one.observation.quantity == TIME
        ])
        for what in score.GROUPS
    )  # fmt: skip
    assert configuration.median < device.median < network.median < 0.2
    assert 0.85 <= network.inside <= 0.95
    assert 0.85 <= device.inside <= 0.95


def test_ratios_between_power_modes(model: Model) -> None:
    ratios = score.mode_ratios(model)
    assert ratios.count > 80
    assert ratios.median < 0.05
    assert ratios.within > 0.9


def test_refitting_predicts_every_row_once_without_its_configuration(model: Model) -> None:
    kept = {
        quantity: [one for one in own if one.case.network.name in ("resnet50", "")][::2]
        for quantity, own in model.observations.items()
    }
    scored = score.refitting(Data(kept, model.library, ""), "configuration", folds=2)
    lines = sorted(one.observation.measurement.line for one in scored)
    assert lines == sorted(one.measurement.line for own in kept.values() for one in own)
    times = [one for one in scored if one.observation.quantity == TIME]
    seen = [one.off for one in score.against(model, [one.observation for one in times])]
    assert sum(one.off for one in times) > 2 * sum(seen)  # the whole model has seen these rows


def test_the_shipped_measurements_are_read_whole(
    hardware: dict[str, Hardware], library: NetworkLibrary
) -> None:
    rows = read_measurements(PERFORMANCE / "measurements.csv")
    found, left = observe(rows, hardware, library)
    assert (len(rows), len(found)) == (865, 840)
    assert len({one.reason for one in left}) == 7
    assert all(row.source for row in rows)
