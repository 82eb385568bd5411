from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.calibration.interval import Factors, factor, slice_factors, slice_of

if TYPE_CHECKING:
    from harness.calibration.case import Case


def test_the_factor_keeps_nine_of_ten_inside() -> None:
    errors = [index / 100 for index in range(1, 100)]
    assert factor(errors) == 0.9
    assert factor([-error for error in errors]) == 0.9
    assert factor([3.0]) == 3.0


def test_small_slices_take_the_factor_of_all() -> None:
    scaled = np.concatenate([np.linspace(0, 1, 30), np.linspace(2, 3, 30), [9.0]])
    found = slice_factors(scaled, ["near"] * 30 + ["far"] * 30 + ["rare"])
    assert set(found) == {"all", "near", "far"}
    assert found["near"] <= 1 < 2 < found["far"]


def test_what_is_new_widens() -> None:
    factors = Factors({"all": 1.5, "gpu": 1.2}, network=2.0, device=3.0)
    assert factors.reach("gpu", new_network=False, new_device=False) == 1.2
    assert factors.reach("dla", new_network=False, new_device=False) == 1.5
    assert factors.reach("gpu", new_network=True, new_device=False) == 2.0
    assert factors.reach("gpu", new_network=True, new_device=True) == 3.0


@pytest.mark.parametrize(("software", "end"), [("mlperf", "mlperf"), ("tkdnn", "others")])
def test_slices(case: Case, software: str, end: str) -> None:
    assert slice_of(replace(case, software=software)) == f"gpu/int8/{end}"
