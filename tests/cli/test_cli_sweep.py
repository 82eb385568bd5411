from __future__ import annotations

import json
import re

import pytest

from harness.cli.app import run

SMALL = ["sweep", "ota", "--image-mib", "2"]


def test_a_sweep_that_is_survived(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(SMALL) == 0
    out = capsys.readouterr().out
    assert re.match(r"ota: \d+ moments, \d+ cuts, depth 1, \d+ different states, ", out)
    assert "ended as: runs 6.2.1, OTA SUCCEEDED" in out


def test_a_sweep_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SMALL, "--defect", "health-check-fails", "--depth", "2", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["schema"] == 1
    assert value["complete"] is True
    assert value["failures"] == []
    assert set(value["outcomes"]) == {"runs 6.0.8, OTA FAILED"}


def test_a_bounded_sweep_is_inconclusive(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SMALL, "--states-max", "3"]) == 3
    assert "not every state was looked at" in capsys.readouterr().err


def test_a_cut_is_followed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SMALL, "--replay", "20.0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("before moment 20: ")
    assert lines[-1] == "everything holds that must"
    assert any(line.startswith("  appliance.booted ") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "otb"], "unknown road 'otb'"),
        ([*SMALL, "--replay", "x"], "'x' is no replay id"),
        ([*SMALL, "--defect", "nothing"], "unknown defect 'nothing'"),
        ([*SMALL, "--workers", "0"], "0 workers"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert message in capsys.readouterr().err
