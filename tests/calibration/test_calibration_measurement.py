from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.calibration.measurement import COLUMNS, Measurement, read_measurements
from harness.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

HEAD = ",".join(COLUMNS)
ROW = "agx_orin,MAXN,resnet50,224x224,int8,8,gpu,MultiStream8(gpu_batch=2),latency_mean_ms,2.5,ms,x"
V30 = "mlcommons/inference_results_v3.0@1:a"


def read(tmp_path: Path, *lines: str) -> list[Measurement]:
    path = tmp_path / "some.csv"
    path.write_text("\n".join((HEAD, *lines)) + "\n", encoding="utf-8")
    return read_measurements(path)


def made(scenario: str, source: str = "x", batch: str = "1", engine: str = "gpu") -> Measurement:
    return Measurement(
        2, "agx_orin", "MAXN", "resnet50", "224x224", "int8", batch,
        engine, scenario, "throughput", 1.0, "fps", source,
    )  # fmt: skip


def test_a_row_is_read(tmp_path: Path) -> None:
    (row,) = read(tmp_path, ROW)
    assert (row.line, row.value, row.size) == (2, 2.5, "224x224")
    assert row.configuration == "agx_orin|MAXN|resnet50|224x224|int8|8|gpu"
    assert row.batches == (2, 2)
    assert row.samples == 8


@pytest.mark.parametrize(
    ("batch", "expected"),
    [("gpu64+2xdla32", (64, 32)), ("8", (8, 8)), ("multi", (16, 16)), ("-", (16, 16))],
)
def test_batches_in_flight(batch: str, expected: tuple[int, int]) -> None:
    assert made("Offline", batch=batch).batches == expected


@pytest.mark.parametrize(
    ("scenario", "source", "engine", "expected"),
    [
        ("SingleStream", V30, "gpu", ("mlperf", "mlperf", "3.0")),
        ("Offline[Triton]", V30, "gpu", ("mlperf", "mlperf-triton", "3.0")),
        ("Offline[cTuning]", V30, "gpu", ("mlperf", "mlperf-others", "3.0")),
        ("SingleStream[tflite-v2.4.1]", V30, "cpu", ("tflite", "tflite-v2.4.1", "")),
        ("torch2trt(README)", "a", "gpu", ("torch2trt-readme", "torch2trt-readme", "")),
        ("torch2trt", "a", "gpu", ("torch2trt", "torch2trt", "")),
        ("paddle-TRT6", "a", "gpu", ("paddle", "paddle-trt", "")),
        ("something new", "a", "gpu", ("something new", "something new", "")),
    ],
)
def test_which_software_measured(
    scenario: str, source: str, engine: str, expected: tuple[str, str, str]
) -> None:
    assert made(scenario, source, engine=engine).software == expected


def test_the_limit_of_a_multistream_scenario() -> None:
    assert made("MultiStream(<=50ms)").limit_s == 0.05
    assert made("Offline").limit_s == 0.0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "no rows"),
        ((ROW.replace("2.5", "fast"),), "some.csv:2: value 'fast' is not a positive number"),
        ((ROW, ROW.replace("2.5", "-1")), "some.csv:3: value '-1'"),
        ((ROW.replace("2.5", "nan"),), "some.csv:2"),
        (("agx_orin,MAXN",), "some.csv:2: too few columns"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    tmp_path: Path, lines: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, *lines)
    assert caught.value.hint


def test_a_missing_column_and_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text("device,value\na,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column power_mode"):
        read_measurements(path)
    with pytest.raises(InputError, match="No such file"):
        read_measurements(tmp_path / "none.csv")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a CSV file"):
        read_measurements(path)
