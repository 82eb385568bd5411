from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from harness.errors import InputError
from harness.record.rundir import RunDir, RunIndex, RunRow

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 5, 4, 9, 30, 7, tzinfo=UTC)
ROW = RunRow(
    scenario="first-light",
    seed=(1 << 64) - 1,
    engine="process",
    grade="L",
    verdict="PASS",
    path="first-light/20260504T093007Z-7",
    started=NOW,
    duration_s=61.5,
    measurements={"boot_s": {"p50": 1.5, "unit": "s"}},
)


def test_the_name_tells_time_and_seed(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "first-light", 7, NOW)
    assert run.path == tmp_path / "first-light" / "20260504T093007Z-7"
    assert run.path.is_dir()


def test_the_name_is_in_utc(tmp_path: Path) -> None:
    local = NOW.astimezone(timezone(timedelta(hours=5)))
    assert RunDir.create(tmp_path, "s", 1, local).path.name == "20260504T093007Z-1"


def test_runs_of_the_same_second_have_their_own_directories(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: RunDir.create(tmp_path, "s", 1, NOW), range(24)))
    assert len({run.path for run in runs}) == 24
    assert tmp_path / "s" / "20260504T093007Z-1-24" in {run.path for run in runs}


@pytest.mark.parametrize("name", ["", "..", "a/b", "../up", "-x", "a" * 101, "new\nline"])
def test_a_scenario_that_cannot_be_a_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        RunDir.create(tmp_path, name, 1, NOW)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_plan_round_trip(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "s", 1, NOW)
    run.write_plan({"b": [1, 2.5], "a": "ü"})
    assert run.read_plan() == {"a": "ü", "b": [1, 2.5]}


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_a_damaged_plan_is_refused_by_name(tmp_path: Path, text: str) -> None:
    run = RunDir.create(tmp_path, "s", 1, NOW)
    run.plan.write_text(text)
    with pytest.raises(InputError, match=r"plan\.json"):
        run.read_plan()


def test_opening_wants_a_plan_and_a_history(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "s", 1, NOW)
    with pytest.raises(InputError, match=r"plan\.json is missing"):
        RunDir.open(run.path)
    run.write_plan({})
    with pytest.raises(InputError, match=r"history\.jsonl is missing"):
        RunDir.open(run.path)
    run.history.touch()
    assert RunDir.open(run.path) == run


def test_the_index_lists_the_newest_first(tmp_path: Path) -> None:
    index = RunIndex(tmp_path / "reports" / "index.sqlite")
    assert index.runs() == []
    later = replace(ROW, path="other/2", scenario="other", started=NOW + timedelta(seconds=1))
    index.put(ROW)
    index.put(later)
    assert index.runs() == [later, ROW]
    assert index.runs(limit=1) == [later]
    assert index.runs("first-light") == [ROW]
    assert index.runs("nothing-such") == []


def test_judging_again_replaces_the_row(tmp_path: Path) -> None:
    index = RunIndex(tmp_path / "index.sqlite")
    index.put(ROW)
    index.put(replace(ROW, verdict="FAIL"))
    assert [row.verdict for row in index.runs()] == ["FAIL"]


def test_many_writers_at_once(tmp_path: Path) -> None:
    index = RunIndex(tmp_path / "index.sqlite")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: index.put(replace(ROW, path=f"s/{n}")), range(20)))
    assert len(index.runs()) == 20
