"""`harness defects`, `harness bank`, and runs with a defect added."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.appliance.defects import OURS
from harness.cli.app import run

GATE = Path("scenarios/release-gate")
CAMERAS = str(GATE / "cameras.yaml")


def test_the_defects_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["defects", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["defects"]
    assert {one["name"] for one in listed} == set(OURS)
    assert all(one["summary"] and one["seen"] and one["caught_by"] for one in listed)
    assert run(["defects"]) == 0
    assert "memory-leak  (monitor; caught by memory-bounded)" in capsys.readouterr().out


def test_every_defect_is_caught_and_a_clean_image_passes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = run(["bank", "--seeds", "1", "--clean-seeds", "2", "--workers", "1", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["missed"], told["false_alarms"], code) == ([], [], 0)
    assert told["caught"] == len(OURS)
    assert told["trials"] == (len(OURS) + 2) * len(list(GATE.glob("*.yaml")))
    for row in told["defects"]:
        assert row["by"][row["expected"]] >= 1
        assert row["replay"].endswith(f"--defect {row['name']}")


def test_a_defect_that_a_campaign_cannot_see_is_missed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["bank", "--campaign", CAMERAS, "--seeds", "1", "--clean-seeds", "0"]
    seen = ["--defect", "camera-retry-stops"]
    unseen = ["--defect", "memory-leak"]
    assert run([*command, *seen]) == 0
    assert "caught    1/1  camera-retry-stops" in capsys.readouterr().out
    assert run([*command, *seen, *unseen, "--workers", "1"]) == 1
    printed = capsys.readouterr()
    assert "MISSED    0/1  memory-leak  by memory-bounded  (all: none)" in printed.out
    assert printed.err.startswith("1 of 2 defects caught; 0 false alarms in 0 clean runs")


def test_a_clean_image_that_fails_is_a_false_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (GATE / "fleet.yaml").read_text(encoding="utf-8")
    path = tmp_path / "strict.yaml"
    path.write_text(text.replace("- recovers", "- reached: {kinds: [app.error]}"))
    command = ["bank", "--campaign", str(path), "--defect", "health-check-fails", "--seeds", "1"]
    assert run([*command, "--clean-seeds", "1", "--workers", "1"]) == 1
    out = capsys.readouterr().out
    assert f"FALSE ALARM  reached\n  harness run {path} --engine model --seed 1\n" in out


def test_a_run_with_a_defect_replays_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", CAMERAS, "--quiet", "--output", str(tmp_path)]
    assert run([*command, "--defect", "media-gateway-dies"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (f"harness run {CAMERAS} --engine model --seed 1 --defect media-gateway-dies")
    assert run([*command]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bank", "--defect", "gremlins"], "unknown defect 'gremlins'"),
        (["bank", "--campaign", "scenarios/first-light.yaml"], "none of its images is a candidate"),
        (["bank", "--campaign", "docs"], "docs: no scenario files"),
        (
            ["run", "scenarios/first-light.yaml", "--defect", "memory-leak"],
            "has no image that is a candidate",
        ),
        (["run", CAMERAS, "--defect", "gremlins"], "unknown defect 'gremlins'"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert message in capsys.readouterr().err
