"""`harness load` as people use it: it starts the service it loads, and leaves nothing running."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from harness.cli.app import run
from harness.cli.load import make_directory
from harness.fleet import swarm

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = ("--devices", "3", "--operators", "1", "--seconds", "10")

needs_locust = pytest.mark.skipif(bool(swarm.missing()), reason=swarm.missing())


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    before = {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}
    yield
    after = {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}
    assert after <= before


def load(tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, Any]:
    """Exit code and what is on stdout."""
    code = run(["load", *options, *SMALL, "--output", str(tmp_path), "--json"])
    return code, json.loads(capsys.readouterr().out)


@needs_locust
def test_it_starts_a_service_and_loads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = load(tmp_path, capsys, "steady", "--workers", "2")
    (result,) = told["results"]
    assert (code, result["verdict"], result["errors"]) == (0, "PASS", {}), result
    counts = {row["name"]: row["requests"] for row in result["rows"]}
    assert counts["register"] == counts["connect"] == 3
    directory = Path(told["directory"])
    assert json.loads((directory / "load.json").read_text("utf-8")) == told
    names = ("cloud.log", "locust-steady.html", "locust-steady.log", "outcome-steady.json")
    assert {path.name for path in directory.iterdir()} == {"load.json", *names}
    asked = (directory / "cloud.log").read_text("utf-8")
    assert asked.count('"operation": "ProvisionDevice"') == 3


@needs_locust
def test_a_bound_that_is_not_met_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = load(tmp_path, capsys, "steady", "--p99-ms", "0.001")
    (result,) = told["results"]
    assert (code, result["verdict"]) == (1, "FAIL")
    assert any(why.startswith("ListDevices: p99 is ") for why in result["why"])


def test_what_cannot_be_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    wrong = {
        "unknown load profile 'stead'": ("stead",),
        "no control plane to load: AWS_ENDPOINT_URL": ("steady", "--served"),
        "0 workers": ("steady", "--workers", "0"),
    }
    for said, options in wrong.items():
        assert run(["load", *options, "--output", str(tmp_path)]) == 2
        assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_runs_of_the_same_second_have_directories_of_their_own(tmp_path: Path) -> None:
    began = datetime(2026, 5, 31, tzinfo=UTC)
    made = [make_directory(tmp_path / "load-steady", began) for _ in range(3)]
    assert [path.name for path in made] == [
        "20260531T000000Z", "20260531T000000Z-2", "20260531T000000Z-3",
    ]  # fmt: skip
