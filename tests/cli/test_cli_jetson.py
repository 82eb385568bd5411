from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from harness.cli.app import run

ROOT = Path(__file__).parents[2]
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
HEAD = (ROOT / "device_profiles/performance/measurements.csv").read_text().partition("\n")[0]


def test_predict_prints_every_quantity_with_its_interval(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--mode", "15W", "--model", "resnet50", "--precision", "int8", "--batch", "8"]
    assert run(["jetson", "predict", "--profile", "lenovo-se70", *options]) == 0
    shown = capsys.readouterr().out
    assert "resnet50@224x224 int8, batch 8, gpu of lenovo-se70 in MODE_15W_6CORE" in shown
    for name in ("latency mean", "latency p99", "throughput", "power at the plug"):
        (line,) = [line for line in shown.splitlines() if line.startswith(name)]
        assert "9 of 10 within" in line
    assert "extrapolates" not in shown


def test_predict_as_json_for_an_onnx_file(capsys: pytest.CaptureFixture[str]) -> None:
    model = str(LIGHT / "light_squeezenet.onnx")
    options = ["--profile", "jetson-agx-orin", "--model", model, "--engine", "both", "--json"]
    assert run(["jetson", "predict", *options]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["mode"] == "MAXN"
    assert value["grade"] == "V"
    assert value["mean_ms"]["low"] < value["mean_ms"]["value"] < value["mean_ms"]["high"]
    assert "no measurement of light_squeezenet" in value["extrapolation"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--profile", "toaster", "--model", "resnet50"], "no appliance profile 'toaster'"),
        (["--profile", "lenovo-se70", "--model", "nonesuch"], "network 'nonesuch' is not known"),
        (["--profile", "lenovo-se70", "--model", "vgg16", "--mode", "99W"], "no power mode '99W'"),
        (
            ["--profile", "jetson-orin-nano-8gb", "--model", "vgg16", "--engine", "dla"],
            "jetson-orin-nano-8gb has no DLA in mode MAXN_SUPER",
        ),
        (
            ["--profile", "lenovo-se70", "--model", "vgg16", "--software", "magic"],
            "no measurement was made with 'magic'",
        ),
    ],
)
def test_what_cannot_be_predicted_is_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["jetson", "predict", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "hint: " in error


def test_score_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    case = "resnet50,224x224,int8,1,gpu,SingleStream"
    source = "mlcommons/inference_results_v1.1"
    rows = (
        f"xavier_nx,20W(JP4.6),{case},latency_mean_ms,2.4,ms,{source}",
        f"xavier_nx,20W(JP4.6),{case},latency_p99_ms,2.5,ms,{source}",
        f"toaster,MAXN,{case},latency_mean_ms,2.4,ms,{source}",
    )
    path.write_text("\n".join((HEAD, *rows)) + "\n", encoding="utf-8")
    assert run(["jetson", "score", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "time on accelerators" in shown
    assert "no profile describes the device toaster" in shown
    assert run(["jetson", "score", str(path), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [row["line"] for row in value["rows"]] == [2, 3]
    assert value["rows"][0]["off"] < 0.25
    assert value["not_predicted"][0]["line"] == 4


def test_score_with_configurations_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jetson", "score", "--leave-out", "configuration"]) == 0
    shown = capsys.readouterr().out
    assert "ratios between power modes" in shown
    assert "engine dla" in shown
    assert run(["jetson", "score", "--refit"]) == 2


def test_networks_and_describe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["jetson", "networks"]) == 0
    assert "resnet50@224x224" in capsys.readouterr().out
    assert run(["jetson", "describe", str(LIGHT / "light_resnet50.onnx"), "--name", "mine"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["model"] == "mine"
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    options = ["--profile", "lenovo-se70", "--model", str(path)]
    assert run(["jetson", "predict", *options]) == 0
    assert "no measurement of mine" in capsys.readouterr().out


def test_charts_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jetson", "chart", str(tmp_path / "images")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert (tmp_path / "images/jetson-error.svg").read_bytes().startswith(b"<svg")


def test_plan_says_what_an_appliance_carries(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--profile", "panorama-appliance", "--model", "resnet50", "--precision", "int8"]
    fast = [*options, "--host-ms", "5", "--cameras", "8"]
    assert run(["jetson", "plan", *fast]) == 0
    shown = capsys.readouterr().out
    assert "8 cameras of 1920x1080 at 15 frames/s" in shown
    assert "keeps up with " in shown
    assert run(["jetson", "plan", *fast, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["fps_per_camera"]["value"] == 15.0
    assert 8 <= value["cameras_kept_up_with"] <= 12
    assert value["gpu"] == pytest.approx(8 * 15 * value["inference_ms"]["value"] / 1e3, rel=0.05)
    assert 10 < value["power_w"] < 65
    assert run(["jetson", "plan", *options, "--cameras", "8", "--ambient", "60", "--json"]) == 0
    slow = json.loads(capsys.readouterr().out)
    assert slow["bottleneck"] == "loop"  # 59 ms of Python a frame, as the sample application
    assert slow["fps_per_camera"]["value"] < 3
    assert slow["temperature_c"] > 60
    moves = {one["change"]: one["fps_per_camera"] for one in slow["what_would_move_it"]}
    assert moves["2 instances"] > 1.8 * slow["fps_per_camera"]["value"]
    assert list(moves.values()) == sorted(moves.values(), reverse=True)
    assert "the DLA" not in moves  # the accelerator is not what it waits for
    assert value["what_would_move_it"] == []  # nothing has to
    assert value["encode"] == 0.0
    assert run(["jetson", "plan", *fast, "--encode", "1920x1080", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["encode"] == pytest.approx(8 * 15 * 1920 * 1080 / 1.87e9, rel=0.02)


def test_plan_of_an_application_folder(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(ROOT / "fixtures/apps/people-counter")
    options = ["--profile", "lenovo-se70", "--app", folder, "--cameras", "4", "--instances", "4"]
    assert run(["jetson", "plan", *options, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["network"] == "model@360x640"
    assert value["fps_per_camera"]["value"] > 10
    assert value["extrapolation"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "vgg16", "--app", "somewhere"], "what runs is not said once"),
        ([], "what runs is not said once"),
        (["--app", "nowhere"], "nowhere: 0 ONNX files"),
        (["--model", "vgg16", "--size", "big"], "'big' is not the size of a picture"),
    ],
)
def test_plan_refuses(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["jetson", "plan", "--profile", "lenovo-se70", "--cameras", "1"]
    assert run([*base, *options]) == 2
    assert message in capsys.readouterr().err
