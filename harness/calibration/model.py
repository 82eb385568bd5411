"""The fitted model: four regressions and their interval factors, as one file.

The file holds parameters with bounds, spreads, factors, and the digest of the data they were fitted
to. The measurements themselves stay in their CSV file: with the parameters known, what they say
beyond the formula is worked out again in a fraction of a second.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from harness.calibration.design import DESIGNS, subject
from harness.calibration.interval import Factors, slice_factors, slice_of
from harness.calibration.library import NetworkLibrary, performance_folder
from harness.calibration.measurement import read_measurements
from harness.calibration.observation import DEVICES, by_quantity, observe
from harness.calibration.regression import Fit, Regression
from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from harness.calibration.design import Subject
    from harness.calibration.observation import Observation
    from harness.calibration.roofline import Array
    from harness.jetson.hardware import Hardware

FILE = "jetson-1.json"
MEASUREMENTS = "measurements.csv"
SCHEMA = 1
DIGITS = 6  # significant; more would differ between machines


class ParameterRow(msgspec.Struct, frozen=True):
    name: str
    value: float
    lower: float
    upper: float
    meaning: str


class FactorRow(msgspec.Struct, frozen=True):
    by_slice: dict[str, float]
    network: float
    device: float


class RegressionRow(msgspec.Struct, frozen=True):
    measurements: int
    parameters: list[ParameterRow]
    spreads: dict[str, float]
    factors: FactorRow


class ModelFile(msgspec.Struct, frozen=True):
    schema: int
    data_sha256: str
    regressions: dict[str, RegressionRow]


@dataclass(frozen=True, slots=True)
class Model:
    """Regressions by quantity, the measurements behind them, and factors of their intervals."""

    regressions: Mapping[str, Regression[Subject]]
    observations: Mapping[str, Sequence[Observation]]
    factors: Mapping[str, Factors]
    library: NetworkLibrary
    data_sha256: str

    def same_as(self, observations: Sequence[Observation]) -> bool:
        """Whether these are the observations it was fitted to."""
        return by_quantity(observations) == self.observations


@dataclass(frozen=True, slots=True)
class Data:
    """What a model is fitted to: measurements, networks, and the modules they were taken on."""

    observations: Mapping[str, Sequence[Observation]]
    library: NetworkLibrary
    sha256: str

    @classmethod
    def read(cls, folder: Path, hardware: Mapping[str, Hardware]) -> Data:
        missing = sorted(set(DEVICES.values()) - set(hardware))
        if missing:
            raise InputError(
                f"no appliance profile {missing[0]} with hardware",
                hint="the model needs the profiles that the harness ships",
            )
        library = NetworkLibrary.read(folder)
        rows = read_measurements(folder / MEASUREMENTS)
        found, _ = observe(rows, hardware, library)
        return cls.of(found, library, _digest(folder, hardware))

    @classmethod
    def of(cls, observations: Sequence[Observation], library: NetworkLibrary, sha256: str) -> Data:
        return cls(by_quantity(observations), library, sha256)


def _digest(folder: Path, hardware: Mapping[str, Hardware]) -> str:
    """Of all that a fit depends on; heat and codecs of a module are none of it."""
    total = hashlib.sha256()
    for name in (MEASUREMENTS, "networks.json", "derived.json"):
        total.update((folder / name).read_bytes())
    for name in sorted(set(DEVICES.values())):
        module = hardware[name]
        shape = (module.architecture, module.gpu_sms, module.memory_bytes_per_clock)
        total.update(repr((name, shape, module.modes)).encode())
    return total.hexdigest()


def fit(data: Data) -> Model:
    """Fit everything. Deterministic; takes about 10 s on one core. Needs scipy."""
    regressions = {
        quantity: Regression(DESIGNS[quantity], *_fitted_to(data.observations[quantity]))
        for quantity in DESIGNS
    }
    factors = {
        quantity: _factors(regressions[quantity], data.observations[quantity])
        for quantity in DESIGNS
    }
    return Model(regressions, data.observations, factors, data.library, data.sha256)


def _fitted_to(
    observations: Sequence[Observation],
) -> tuple[list[Subject], Array]:
    return [subject(one) for one in observations], np.array([one.logarithm for one in observations])


def _factors(regression: Regression[Subject], observations: Sequence[Observation]) -> Factors:
    rows = [one.measurement for one in observations]
    scaled = [
        np.divide(*regression.left_out(groups))
        for groups in (
            [row.configuration for row in rows],
            [row.model for row in rows],
            [row.device for row in rows],
        )
    ]
    by_slice = slice_factors(scaled[0], [slice_of(one.case) for one in observations])
    wider = [slice_factors(one, [""] * len(one))["all"] for one in scaled[1:]]
    return Factors(by_slice, network=wider[0], device=wider[1])


def write(model: Model, path: Path) -> None:
    rows = {
        quantity: _regression_row(regression, model.factors[quantity])
        for quantity, regression in model.regressions.items()
    }
    file = ModelFile(SCHEMA, model.data_sha256, rows)
    encoded = msgspec.json.format(msgspec.json.encode(file), indent=1)
    path.write_bytes(encoded + b"\n")


def _regression_row(regression: Regression[Subject], factors: Factors) -> RegressionRow:
    lower, upper = regression.bounds()
    fitted = zip(
        regression.design.parameters, np.exp(regression.fit.theta), lower, upper, strict=True
    )
    return RegressionRow(
        measurements=len(regression.cases),
        parameters=[
            ParameterRow(one.name, rounded(value), rounded(low), rounded(high), one.meaning)
            for one, value, low, high in fitted
        ],
        spreads={
            name: rounded(spread)
            for name, spread in zip(regression.design.names, regression.fit.spreads, strict=True)
        },
        factors=FactorRow(
            {name: rounded(value) for name, value in factors.by_slice.items()},
            rounded(factors.network),
            rounded(factors.device),
        ),
    )


def rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def load(hardware: Mapping[str, Hardware], folder: Path | None = None) -> Model:
    """The shipped model. Raises `InputError` when it was not fitted to the data beside it."""
    folder = folder or performance_folder()
    path = folder / FILE
    try:
        file = msgspec.json.decode(path.read_bytes(), type=ModelFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"{path.name}: {error}", hint="run `harness jetson fit`") from error
    data = Data.read(folder, hardware)
    if file.data_sha256 != data.sha256:
        raise InputError(
            f"{path.name} was fitted to other data than lies beside it",
            hint="run `harness jetson fit`",
        )
    regressions = {
        quantity: _regression(quantity, row, data.observations[quantity])
        for quantity, row in file.regressions.items()
    }
    factors = {
        quantity: Factors(row.factors.by_slice, row.factors.network, row.factors.device)
        for quantity, row in file.regressions.items()
    }
    return Model(regressions, data.observations, factors, data.library, data.sha256)


def _regression(
    quantity: str, row: RegressionRow, observations: Sequence[Observation]
) -> Regression[Subject]:
    design = DESIGNS[quantity]
    values = {one.name: one.value for one in row.parameters}
    fitted = Fit(
        np.log([values[one.name] for one in design.parameters]),
        np.array([row.spreads[name] for name in design.names]),
    )
    return Regression(design, *_fitted_to(observations), fitted)
