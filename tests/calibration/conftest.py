"""The shipped data and model, read once; and a device to ask about."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.calibration.case import Case
from harness.calibration.model import Model, load
from harness.scenario import appliance_profile

if TYPE_CHECKING:
    from harness.calibration.library import NetworkLibrary
    from harness.jetson.hardware import Hardware

ROOT = Path(__file__).parents[2]
PERFORMANCE = ROOT / "device_profiles/performance"


@cache
def _hardware() -> dict[str, Hardware]:
    paths = (ROOT / "device_profiles/appliances").glob("*.yaml")
    found = {path.stem: appliance_profile(path).hardware for path in paths}
    return {name: one for name, one in found.items() if one is not None}


@cache
def _model() -> Model:
    return load(_hardware(), PERFORMANCE)


@pytest.fixture
def hardware() -> dict[str, Hardware]:
    return _hardware()


@pytest.fixture
def model() -> Model:
    """Frozen, so that tests may share it: to load it takes about a second."""
    return _model()


@pytest.fixture
def library(model: Model) -> NetworkLibrary:
    return model.library


@pytest.fixture
def case(hardware: dict[str, Hardware], library: NetworkLibrary) -> Case:
    """ResNet-50, int8, one image, on the GPU of an AGX Xavier at full clocks."""
    network = library.find("resnet50")
    assert network is not None
    xavier = hardware["panorama-appliance"]
    return Case("agx_xavier", xavier, xavier.fastest, network, "int8", "gpu")
