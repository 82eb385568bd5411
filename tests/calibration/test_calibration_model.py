from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.calibration import chart, score
from harness.calibration.design import DESIGNS
from harness.calibration.model import FILE, Data, Model, fit, load, write
from harness.errors import InputError

if TYPE_CHECKING:
    from harness.jetson.hardware import Hardware

PERFORMANCE = Path(__file__).parents[2] / "device_profiles/performance"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PERFORMANCE, tmp_path / "performance"))


def test_writing_what_was_loaded_gives_the_same_values(model: Model, tmp_path: Path) -> None:
    path = tmp_path / FILE
    write(model, path)
    written, shipped = path.read_text(), (PERFORMANCE / FILE).read_text()
    assert written.count("\n") == shipped.count("\n")
    assert written.splitlines()[:5] == shipped.splitlines()[:5]


def test_every_parameter_lies_within_its_bounds(model: Model) -> None:
    for regression in model.regressions.values():
        lower, upper = regression.bounds()
        value = regression.fit.theta
        assert (lower < upper).all()
        assert len(value) == len(regression.design.parameters)


def test_other_data_beside_the_model_is_refused(
    folder: Path, hardware: dict[str, Hardware]
) -> None:
    path = folder / "measurements.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",2664,", ",2665,"), encoding="utf-8")
    with pytest.raises(InputError, match="fitted to other data") as caught:
        load(hardware, folder)
    assert "harness jetson fit" in caught.value.hint


def test_a_broken_or_missing_model_is_refused(folder: Path, hardware: dict[str, Hardware]) -> None:
    (folder / FILE).write_text("{}")
    with pytest.raises(InputError, match=FILE):
        load(hardware, folder)
    (folder / FILE).unlink()
    with pytest.raises(InputError, match="No such file"):
        load(hardware, folder)


def test_a_missing_profile_is_refused(folder: Path, hardware: dict[str, Hardware]) -> None:
    others = {name: one for name, one in hardware.items() if name != "lenovo-se70"}
    with pytest.raises(InputError, match="no appliance profile lenovo-se70"):
        Data.read(folder, others)


def test_fitting_is_deterministic_and_covers_every_quantity(model: Model, tmp_path: Path) -> None:
    few = {quantity: list(own)[::6] for quantity, own in model.observations.items()}
    data = Data(few, model.library, "digest")
    for name in ("one", "two"):
        write(fit(data), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert set(model.regressions) == set(DESIGNS)


def test_pictures_are_the_same_every_time_and_show_every_device(model: Model) -> None:
    scored = score.leaving_out(model, "configuration")
    picture = chart.scatter(scored)
    assert picture == chart.scatter(scored)
    for device in ("agx_xavier", "xavier_nx", "agx_orin"):
        assert f">{device}<".encode() in picture
    assert picture.count(b"<circle") == 383 + 8
    lines = chart.shares({"one": scored, "two": scored[:50]})
    assert lines.count(b"<path") == 2
    shown = Path(__file__).parents[2] / "docs/images/jetson-predicted.svg"
    assert shown.read_bytes() == picture
