from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from harness.calibration.regression import Design, Fit, Regression
from harness.calibration.roofline import Parameter

SIZES = (1.0, 2.0, 4.0, 8.0)
FACTORS = {"a": 0.3, "b": -0.2, "c": 0.0, "d": 0.1}


@dataclass(frozen=True)
class Run:
    kind: str
    size: float


DESIGN: Design[Run] = Design(
    parameters=(Parameter("rate", 1.0, 1.0, ""),),
    prepare=lambda runs: np.array([run.size for run in runs]),
    formula=lambda sizes, theta: np.log(sizes) + theta[0],
    likenesses={"kind": lambda run: run.kind},
    noises={"noise of large ones": lambda run: run.size > 4},
    spread_priors={"kind": 0.2},
)
RUNS = [Run(kind, size) for kind in FACTORS for size in SIZES]


def measured(noise: float = 0.01) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    wave = noise * np.array([(-1) ** index for index in range(len(RUNS))])
    return np.array([np.log(run.size) + 0.5 + FACTORS[run.kind] for run in RUNS]) + wave


def test_it_finds_the_parameter_and_what_kinds_have_in_common() -> None:
    regression = Regression(DESIGN, RUNS, measured())
    assert regression.fit.theta[0] == pytest.approx(0.55, abs=0.1)
    spreads = dict(zip(DESIGN.names, regression.fit.spreads, strict=True))
    assert spreads["kind"] > 5 * spreads["noise"]
    lower, upper = regression.bounds()
    assert lower[0] < np.exp(0.5) < upper[0]


def test_a_known_kind_is_predicted_closely_and_a_new_one_with_doubt() -> None:
    regression = Regression(DESIGN, RUNS, measured())
    mean, deviation = regression.predict([Run("a", 16.0), Run("new", 16.0)])
    assert mean[0] == pytest.approx(np.log(16) + 0.8, abs=0.03)
    assert mean[1] == pytest.approx(np.log(16) + 0.55, abs=0.1)
    assert deviation[1] > 3 * deviation[0]


def test_leaving_out_equals_fitting_without() -> None:
    """The closed form gives what a regression of the others predicts, at the same fit."""
    values = measured(0.05)
    regression = Regression(DESIGN, RUNS, values)
    error, deviation = regression.left_out([run.kind for run in RUNS])
    kept = [index for index, run in enumerate(RUNS) if run.kind != "a"]
    rest = Regression(DESIGN, [RUNS[index] for index in kept], values[kept], regression.fit)
    mean, expected = rest.predict(RUNS[:4])
    assert values[:4] - mean == pytest.approx(error[:4])
    assert expected == pytest.approx(deviation[:4])


def test_a_given_fit_is_kept() -> None:
    fit = Fit(np.array([0.5]), np.array([0.2, 0.01, 0.02]))
    regression = Regression(DESIGN, RUNS, measured(), fit)
    assert regression.fit is fit


def test_the_same_data_gives_the_same_fit() -> None:
    first, second = (Regression(DESIGN, RUNS, measured()) for _ in range(2))
    assert (first.fit.theta == second.fit.theta).all()
    assert (first.fit.spreads == second.fit.spreads).all()


def test_without_scipy_fitting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from harness.errors import CapabilityMissing

    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(CapabilityMissing, match="scipy") as caught:
        Regression(DESIGN, RUNS, measured())
    assert "jetson" in caught.value.hint
