"""`harness defects` and `harness bank`: what firmware can have, and whether a gate catches it."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.appliance.defects import known, lookup
from harness.cli.running import head, load_scenario
from harness.engine import create
from harness.errors import HarnessError, InputError
from harness.judge.checker import Verdict
from harness.judge.judgement import judge
from harness.record import kind
from harness.record.event import Event
from harness.record.history import History, HistoryWriter
from harness.scenario.planning import compile_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.scenario.loading import Scenario

JSON_SCHEMA = 1
PASSED, FAILED = 0, 1
CLEAN = ""  # as a defect: none
MODEL = "model"


@dataclass(frozen=True, slots=True)
class Options:
    campaign: Path
    defects: tuple[str, ...]
    seeds: int
    clean_seeds: int
    workers: int
    as_json: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """One scenario of the campaign, run with one seed and perhaps a defect."""

    file: Path
    seed: int
    defect: str

    @property
    def replay(self) -> str:
        carried = f" --defect {self.defect}" if self.defect else ""
        return f"harness run {self.file} --engine {MODEL} --seed {self.seed}{carried}"


@dataclass(frozen=True, slots=True)
class Ended:
    trial: Trial
    verdict: Verdict
    failed: tuple[str, ...]  # checkers
    doubted: tuple[str, ...]
    error: str = ""


@dataclass(slots=True)
class Row:
    """What became of a defect: by which checkers it was caught, and where."""

    defect: str
    expected: str
    by: dict[str, int] = field(default_factory=dict)
    trials: int = 0
    caught_seeds: set[int] = field(default_factory=set)
    replay: str = ""

    def add(self, ended: Ended) -> None:
        self.trials += 1
        for checker in ended.failed:
            self.by[checker] = self.by.get(checker, 0) + 1
        if self.expected in ended.failed:
            self.caught_seeds.add(ended.trial.seed)
            self.replay = self.replay or ended.trial.replay


def list_defects(*, as_json: bool) -> int:
    """Every defect: its name, the step it replaces, what it does, where it was seen."""
    found = sorted(known().values(), key=lambda one: one.name)
    if as_json:
        rows = [
            {name: getattr(one, name) for name in ("name", "step", "summary", "seen", "caught_by")}
            for one in found
        ]
        print(json.dumps({"schema": JSON_SCHEMA, "defects": rows}, indent=2))
        return PASSED
    for one in found:
        print(f"{one.name}  ({one.step}; caught by {one.caught_by})")
        print(f"    {one.summary}\n    {one.seen}")
    return PASSED


def run(options: Options) -> int:
    """Run the campaign for every defect, and clean for every seed. Gives the exit code."""
    files = _files(options.campaign)
    defects = [lookup(name) for name in options.defects] or list(known().values())
    rows = {one.name: Row(one.name, one.caught_by) for one in defects}
    trials = [
        Trial(file, seed, defect)
        for defect, seeds in (
            *((name, options.seeds) for name in rows),
            (CLEAN, options.clean_seeds),
        )
        for seed in range(1, seeds + 1)
        for file in files
    ]
    began_s = time.monotonic()
    false_alarms, clean = [], 0
    for ended in _all(trials, options.workers):
        if ended.trial.defect:
            rows[ended.trial.defect].add(ended)
            continue
        clean += 1
        if ended.verdict is not Verdict.PASS:
            false_alarms.append(ended)
    wall_s = time.monotonic() - began_s
    missed = [row for row in rows.values() if len(row.caught_seeds) < options.seeds]
    if options.as_json:
        print(json.dumps(_as_json(options, rows, false_alarms, len(trials), wall_s), indent=2))
    else:
        _print(options, rows, false_alarms, clean, wall_s)
    return FAILED if missed or false_alarms else PASSED


def _files(campaign: Path) -> list[Path]:
    """The scenarios of a campaign that have a candidate, checked before anything starts."""
    files = [campaign] if campaign.is_file() else sorted(campaign.glob("*.yaml"))
    if not files:
        raise InputError(f"{campaign}: no scenario files", hint="name a folder that holds some")
    for file in files:
        scenario = load_scenario(file)
        if not any(image.candidate for image in scenario.file.images.values()):
            raise InputError(
                f"{file}: none of its images is a candidate",
                hint="say `candidate: true` of the image that is under test",
            )
    return files


def _all(trials: Sequence[Trial], workers: int) -> Iterator[Ended]:
    if workers <= 1:
        yield from map(_run, trials)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(_run, trials, chunksize=4)


_scenarios: dict[Path, Scenario] = {}  # of this process: files are read once


def _run(trial: Trial) -> Ended:
    """A trial in a directory of its own, which is gone afterwards."""
    scenario = _scenarios.get(trial.file)
    if scenario is None:
        scenario = _scenarios[trial.file] = load_scenario(trial.file)
    defects = (trial.defect,) if trial.defect else ()
    plan = compile_plan(scenario, seed=trial.seed, engine=MODEL, defects=defects)
    engine, error = create(MODEL), ""
    with tempfile.TemporaryDirectory(prefix="hil-bank-") as directory:
        path = Path(directory) / "history.jsonl"
        with HistoryWriter(path, head(plan, engine)) as history:
            try:
                engine.run(plan, history, stop=threading.Event())
            except HarnessError as problem:
                error = str(problem)
                values = {"outcome": "failed", "error": error}
                history.append(Event(0.0, "scenario", kind.RUN_ENDED, values))
        judgement = judge(History.load(path, accept_truncated=True), plan.to_json())
    by: dict[Verdict, list[str]] = {verdict: [] for verdict in Verdict}
    for finding in judgement.findings:
        by[finding.verdict].append(finding.checker)
    return Ended(
        trial, judgement.verdict, tuple(by[Verdict.FAIL]), tuple(by[Verdict.UNKNOWN]), error
    )


def _as_json(
    options: Options,
    rows: Mapping[str, Row],
    false_alarms: Sequence[Ended],
    trials: int,
    wall_s: float,
) -> dict[str, Any]:
    return {
        "schema": JSON_SCHEMA,
        "campaign": str(options.campaign),
        "seeds": options.seeds,
        "clean_seeds": options.clean_seeds,
        "trials": trials,
        "wall_s": round(wall_s, 1),
        "caught": sum(len(row.caught_seeds) == options.seeds for row in rows.values()),
        "missed": [row.defect for row in rows.values() if len(row.caught_seeds) < options.seeds],
        "false_alarms": [
            {"replay": one.trial.replay, "failed": one.failed, "unknown": one.doubted}
            for one in false_alarms
        ],
        "defects": [
            {
                "name": row.defect,
                "expected": row.expected,
                "caught_on_seeds": len(row.caught_seeds),
                "by": row.by,
                "replay": row.replay,
            }
            for row in rows.values()
        ],
    }


def _print(
    options: Options,
    rows: Mapping[str, Row],
    false_alarms: Sequence[Ended],
    clean: int,
    wall_s: float,
) -> None:
    for row in sorted(rows.values(), key=lambda one: one.defect):
        caught = f"{len(row.caught_seeds)}/{options.seeds}"
        by = ", ".join(f"{name} {times}" for name, times in sorted(row.by.items()))
        word = "caught" if len(row.caught_seeds) == options.seeds else "MISSED"
        print(f"{word:7}{caught:>6}  {row.defect}  by {row.expected}  (all: {by or 'none'})")
    for one in false_alarms:
        told = ", ".join((*one.failed, *one.doubted)) or one.error
        print(f"FALSE ALARM  {told}\n  {one.trial.replay}")
    missed = sum(len(row.caught_seeds) < options.seeds for row in rows.values())
    print(
        f"{len(rows) - missed} of {len(rows)} defects caught; {len(false_alarms)} false alarms "
        f"in {clean} clean runs; {wall_s:.0f} s",
        file=sys.stderr,
    )


def usual_workers() -> int:
    return len(os.sched_getaffinity(0))
