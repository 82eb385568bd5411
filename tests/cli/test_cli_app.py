from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import jsonschema
import pytest

from harness.cli import bench, doctor
from harness.cli.app import run
from harness.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

FILE = "scenarios/small.yaml"


def test_plan_prints_the_whole_truth(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", FILE]) == 0
    first = capsys.readouterr().out
    assert run(["plan", FILE]) == 0
    assert capsys.readouterr().out == first
    value = json.loads(first)
    assert value["source"] == FILE
    assert value["appliances"][0]["profile"]["boot_s"] == 60.0
    assert re.fullmatch("[0-9a-f]{64}", value["digest"])
    assert str(project) not in first


def test_validate_says_what_is_good_and_all_that_is_not(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["validate", "scenarios", "device_profiles"]) == 0
    assert "ok scenarios/small.yaml\nok device_profiles/appliances/" in capsys.readouterr().out
    bad = project / "scenarios/bad.yaml"
    text = (project / FILE).read_text(encoding="utf-8")
    bad.write_text(text.replace("seed", "sed").replace("[steps]", "[step]"), encoding="utf-8")
    assert run(["validate", "scenarios"]) == 2
    out, err = capsys.readouterr()
    assert out == "ok scenarios/small.yaml\n"
    assert "scenarios/bad.yaml:3:1: unknown key `sed`" in err
    bad.write_text(text.replace("[steps]", "[step]"), encoding="utf-8")
    assert run(["validate", "scenarios/bad.yaml"]) == 2
    assert "unknown check `step`" in capsys.readouterr().err
    (project / "empty").mkdir()
    assert run(["validate", "empty"]) == 2


@pytest.mark.parametrize("what", ["scenario", "appliance", "camera"])
def test_schema_prints_a_json_schema(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", what]) == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bogus"], "No such command"),
        (["run"], "Missing argument"),
        (["run", "none.yaml"], "none.yaml:1:1: cannot read the file"),
        (["run", FILE, "--engine", "modell"], "did you mean `model`?"),
        (["run", FILE, "--seed", "-1"], "seed -1 is not possible"),
        (["run", FILE, "--seed", "x"], "not a valid integer"),
        (["schema", "bogus"], "is not one of"),
    ],
)
def test_wrong_use_is_2_with_a_message(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""
    assert "Traceback" not in err
    assert not (project / "reports").exists()


def test_help_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert "validate" in capsys.readouterr().out


def test_what_nobody_expected_is_5_and_has_a_traceback_only_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def explode(*, as_json: bool) -> int:
        raise RuntimeError("boom")

    monkeypatch.setattr(doctor, "report", explode)
    assert run(["doctor"]) == 5
    err = capsys.readouterr().err
    assert "internal error: RuntimeError: boom" in err
    assert "Traceback" not in err
    assert run(["--debug", "doctor"]) == 5
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*, as_json: bool) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "report", interrupt)
    assert run(["doctor"]) == 130


def test_a_reader_that_leaves_early_is_no_error(project: Path) -> None:
    command = f"{sys.executable} -c 'from harness.cli import main; main()' schema | head -c 10"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, check=False, timeout=20
    )
    assert done.stderr == b""


def test_doctor_finds_this_machine_able(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:6]] == [
        "python",
        "packages",
        "video",
        "inference",
        "loopback",
        "tls",
    ]
    assert "libx264" in lines[2]


def test_doctor_says_what_is_missing_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> dict[str, str]:
        raise EngineError("package av is not installed", hint="make test")

    monkeypatch.setattr(doctor, "versions", missing)
    monkeypatch.setattr(doctor, "ENCODER", "no-such-encoder")
    monkeypatch.setattr(doctor, "DISK_FREE_BYTES_MIN", 1 << 62)
    monkeypatch.setattr(doctor, "DOCKER_SOCKET", "/nonexistent/docker.sock")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert run(["doctor", "--json"]) == 4
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["capabilities"]}
    assert {name for name, one in found.items() if one["required"] and not one["ok"]} == {
        "packages",
        "video",
        "disk",
    }
    assert found["packages"]["hint"] == "make test"
    assert found["docker"]["ok"] is False
    assert "No such file" in found["docker"]["detail"]


def test_bench_runs_what_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "made_up_bench.py").write_text(
        "def run():\n    return {'rate': 2.5, 'parts': {'n': 3}}\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(bench, "BENCHES", {"appliance": "made_up_bench"})
    assert run(["bench", "all", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["results"] == {"appliance": {"rate": 2.5, "parts": {"n": 3}}}
    assert value["command"] == "harness bench all"
    assert run(["bench", "appliance"]) == 0
    assert capsys.readouterr().out == "appliance.rate: 2.5\nappliance.parts.n: 3\n"
