"""Published measurements: the CSV file, read row by row.

The columns: device, power_mode, model, input_hw, precision, batch, engine, scenario, metric,
value, unit, source. `scenario` and `source` say which software measured.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (
    "device", "power_mode", "model", "input_hw", "precision", "batch",
    "engine", "scenario", "metric", "value", "unit", "source",
)  # fmt: skip
ROWS_MAX = 100_000
MANY = 16  # images in flight where a source only says `multi`

_ROUND = re.compile(r"inference_results_v([0-9.]+)")
_BRACKET = re.compile(r"\[(.*)\]")
_BOTH = re.compile(r"gpu([0-9]+)\+2xdla([0-9]+)")
_MULTISTREAM = re.compile(r"MultiStream8\(gpu_batch=([0-9]+)\)")
_SOFTWARE = (
    ("torch2trt(README)", "torch2trt-readme"),
    ("torch2trt", "torch2trt"),
    ("pytorch-eager", "pytorch"),
    ("python end-to-end", "tensorrt_demos"),
    ("paddle", "paddle"),
    ("DeepStream5", "deepstream"),
    ("DeepStream TAO", "deepstream-tao"),
    ("DeepStream", "deepstream-ultralytics"),
    ("2xDLA", "dla-reference"),
    ("cuDLA", "cudla"),
    ("ultralytics", "ultralytics"),
    ("tkDNN", "tkdnn"),
    ("trt_pose", "trt_pose"),
    ("jetson_benchmarks", "jetson_benchmarks"),
    ("jetson-inference", "jetson-inference"),
    ("Panorama", "panorama"),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row. `line` is where it stands in the file."""

    line: int
    device: str
    power_mode: str
    model: str
    size: str
    precision: str
    batch: str
    engine: str
    scenario: str
    metric: str
    value: float
    unit: str
    source: str

    @property
    def configuration(self) -> str:
        """What is left out together when the model is tested: all rounds, metrics, scenarios."""
        parts = (self.device, self.power_mode, self.model, self.size)
        return "|".join((*parts, self.precision, self.batch, self.engine))

    @property
    def run(self) -> tuple[str, str, str]:
        """Rows that differ in the metric alone come from one run."""
        return self.configuration, self.scenario, self.source

    @property
    def batches(self) -> tuple[int, int]:
        """Images in flight on the GPU and on each DLA."""
        both = _BOTH.fullmatch(self.batch)
        if both:
            return int(both[1]), int(both[2])
        stream = _MULTISTREAM.match(self.scenario)
        if stream:
            return int(stream[1]), int(stream[1])
        many = int(self.batch) if self.batch.isdigit() else MANY
        return many, many

    @property
    def samples(self) -> int:
        """Images that the time of a latency row is for."""
        return int(self.batch) if self.batch.isdigit() else 1

    @property
    def software(self) -> tuple[str, str, str]:
        """Software, variant of it, and release (the MLPerf round), from scenario and source."""
        bracket = _BRACKET.search(self.scenario)
        inside = bracket[1] if bracket else ""
        if self.engine == "cpu" and inside:
            return inside.partition("-")[0], inside, ""
        mlperf = _ROUND.search(self.source)
        if mlperf:
            variant = {"": "", "Triton": "-triton"}.get(inside, "-others")
            return "mlperf", f"mlperf{variant}", mlperf[1]
        for beginning, name in _SOFTWARE:
            if self.scenario.startswith(beginning):
                trt = "-trt" if "TRT" in self.scenario and name == "paddle" else ""
                return name, name + trt, ""
        return self.scenario, self.scenario, ""

    @property
    def limit_s(self) -> float:
        """The latency limit of a scenario such as `MultiStream(<=50ms)`; 0 without one."""
        found = re.search(r"<=([0-9.]+)ms", self.scenario)
        return float(found[1]) / 1e3 if found else 0.0


def read_measurements(path: Path) -> list[Measurement]:
    """Read a CSV file. Raises `InputError` naming file, line and column."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return _rows(path, csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="give a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file: {error}", hint=_columns()) from error


def _rows(path: Path, reader: csv.DictReader[str]) -> list[Measurement]:
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{path}: no column {missing[0]}", hint=_columns())
    rows: list[Measurement] = []
    for row in reader:
        if len(rows) == ROWS_MAX:
            raise InputError(f"{path}: more than {ROWS_MAX} rows", hint="split the file")
        rows.append(_row(path, reader.line_num, row))
    if not rows:
        raise InputError(f"{path}: no rows", hint=_columns())
    return rows


def _row(path: Path, line: int, row: dict[str, str]) -> Measurement:
    if any(row[column] is None for column in COLUMNS):
        raise InputError(f"{path}:{line}: too few columns", hint=_columns())
    try:
        value = float(row["value"])
    except ValueError:
        value = 0.0
    if not 0 < value < 1e12:
        raise InputError(
            f"{path}:{line}: value {row['value']!r} is not a positive number",
            hint="numbers with a point, such as 7.185",
        )
    return Measurement(
        line=line,
        device=row["device"],
        power_mode=row["power_mode"],
        model=row["model"],
        size=row["input_hw"],
        precision=row["precision"],
        batch=row["batch"],
        engine=row["engine"],
        scenario=row["scenario"],
        metric=row["metric"],
        value=value,
        unit=row["unit"],
        source=row["source"],
    )


def _columns() -> str:
    return "the columns are " + ", ".join(COLUMNS)
