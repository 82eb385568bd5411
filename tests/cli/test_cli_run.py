from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.app import run
from harness.errors import CapabilityMissing, EngineError
from harness.judge import evaluate
from harness.record.history import History
from harness.record.rundir import RunIndex

if TYPE_CHECKING:
    import pytest

    from tests.cli.conftest import Script

FILE = "scenarios/small.yaml"


def test_a_run_that_passes(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", FILE]) == 0
    out, err = capsys.readouterr()
    verdict, report, replay = out.splitlines()
    assert verdict == "PASS"
    assert replay == "harness run scenarios/small.yaml --engine process --seed 3"
    html = Path(report.removeprefix("report: "))
    assert not html.is_absolute()
    assert html.is_file()
    assert {path.name for path in html.parent.iterdir()} == {
        "plan.json",
        "history.jsonl",
        "verdict.json",
        "report.html",
        "report.md",
        "junit.xml",
    }
    assert "bring-up" in err
    assert "3 checks passed: plan, run, steps" in err
    assert "\x1b[" not in out + err
    assert str(project) not in out + err


def test_the_last_line_runs_the_same_again(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["run", FILE, "--seed", "9", "--engine", "model"])
    replay = capsys.readouterr().out.splitlines()[-1].split()
    assert run(replay[1:]) == 0
    first, second = script.seen
    assert (first.seed, first.engine) == (9, "model")
    assert first.digest == second.digest


def test_a_check_that_fails(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    script.ok = False
    assert run(["run", FILE]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("FAIL\n")
    assert "FAIL" in err


def test_no_data_is_inconclusive(project: Path, script: Script) -> None:
    script.silent = True
    assert run(["run", FILE, "--quiet"]) == 3


def test_json_is_all_that_stdout_holds(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", FILE, "--json"]) == 0
    out, err = capsys.readouterr()
    value = json.loads(out)
    assert value["schema"] == 1
    assert value["judgement"]["verdict"] == "PASS"
    assert value["run_dir"].startswith("reports/small/")
    assert err == ""


def test_quiet_leaves_stderr_empty(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", FILE, "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert err == ""


def test_what_the_engine_raises_is_told_and_judged(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    script.error = CapabilityMissing("no port is free", hint="close some")
    assert run(["run", FILE]) == 4
    out, err = capsys.readouterr()
    assert "run ended early: no port is free" in err
    assert "hint: close some" in err
    assert not out.startswith("PASS")
    (history,) = project.rglob("history.jsonl")
    ending = History.load(history).events[-1]
    assert (ending.kind, ending.values["outcome"]) == ("run.ended", "failed")
    assert ending.values["error"] == "no port is free"


def test_an_engine_error_is_ours(project: Path, script: Script) -> None:
    script.error = EngineError("lost count")
    assert run(["run", FILE, "--quiet"]) == 5


def test_the_first_interrupt_ends_the_run_in_good_order(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    script.on_run = lambda: os.kill(os.getpid(), signal.SIGINT)
    assert run(["run", FILE]) == 130
    out, err = capsys.readouterr()
    assert not out.startswith("PASS")
    assert "once more to abort" in err
    assert list(project.rglob("report.html"))
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_interrupt_aborts(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    script.on_run = twice
    assert run(["run", FILE]) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")
    assert not list(project.rglob("report.html"))


def test_twice_says_that_both_are_the_same(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", FILE, "--engine", "model", "--twice"]) == 0
    assert "twice: the same, byte for byte" in capsys.readouterr().out
    assert len(script.seen) == 2


def test_twice_names_the_first_difference(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    script.jitter = [0.0, 0.25]
    assert run(["run", FILE, "--engine", "model", "--twice", "--json"]) == 1
    value = json.loads(capsys.readouterr().out)
    assert value["first_difference"].startswith("line 5: ")
    assert "1.25" in value["first_difference"]


def test_twice_needs_virtual_time(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", FILE, "--twice"]) == 2
    assert "--engine model" in capsys.readouterr().err
    assert script.seen == []


def test_report_judges_again_with_the_same_result(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["run", FILE, "--json"])
    first = json.loads(capsys.readouterr().out)
    Path(first["run_dir"], "verdict.json").unlink()
    assert run(["report", first["run_dir"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert evaluate(Path(first["run_dir"])).to_json() == first["judgement"]
    assert run(["report", "scenarios"]) == 2
    assert "not a run directory" in capsys.readouterr().err


def test_runs_are_listed_newest_first(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["runs"]) == 0
    assert capsys.readouterr().out == ""
    for seed in ("1", "2"):
        run(["run", FILE, "--quiet", "--seed", seed, "--output", "elsewhere"])
    assert len(RunIndex(Path("elsewhere/index.sqlite")).runs()) == 2
    capsys.readouterr()
    assert run(["runs", "--output", "elsewhere"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(Path(line.split()[-1], "report.html").is_file() for line in lines)
    assert run(["runs", "small", "--json", "--output", "elsewhere", "--limit", "1"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert (row["scenario"], row["verdict"], row["seed"]) == ("small", "PASS", 2)


def test_a_run_in_virtual_time_is_listed_by_when_it_was_made(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    for engine, seed in (("process", "1"), ("model", "2")):
        run(["run", FILE, "--quiet", "--engine", engine, "--seed", seed])
    capsys.readouterr()
    run(["runs", "--json"])
    rows = json.loads(capsys.readouterr().out)["runs"]
    assert [row["seed"] for row in rows] == [2, 1]


def test_a_folder_that_cannot_be_written_is_the_users_to_mend(
    project: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", FILE, "--output", "pyproject.toml"]) == 2
    assert "error: pyproject.toml/small/" in capsys.readouterr().err
    assert script.seen == []
