"""Judging a run directory: read history and plan, judge, write verdict and reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness.judge.judgement import Judgement, judge
from harness.judge.report.html import render_html
from harness.judge.report.junit import render_junit
from harness.judge.report.markdown import render_markdown
from harness.record.history import History
from harness.record.rundir import RunDir, RunRow

if TYPE_CHECKING:
    from pathlib import Path


def evaluate(run_dir: Path) -> Judgement:
    """Judge `run_dir` and write verdict.json, report.html, report.md and junit.xml there.

    Judges plan.json and history.jsonl and nothing else (snapshots are only shown), so it can be
    done again at any time with the same result. Raises InputError when it is no run directory,
    Corrupt when the history was tampered with; a history that is cut off is judged as far as it
    goes.
    """
    run = RunDir.open(run_dir)
    history = History.load(run.history, accept_truncated=True)
    plan = run.read_plan()
    judgement = judge(history, plan)
    verdict = json.dumps(judgement.to_json(), indent=2, sort_keys=True)
    run.verdict.write_text(verdict + "\n", encoding="utf-8")
    run.junit.write_text(render_junit(judgement), encoding="utf-8")
    html = render_html(history, plan, judgement, run.display)
    run.html.write_text(html, encoding="utf-8")
    run.markdown.write_text(render_markdown(history, plan, judgement), encoding="utf-8")
    return judgement


def index_row(run_dir: Path, judgement: Judgement, reports: Path) -> RunRow:
    """The row of this run for `RunIndex.put`; its path is relative to `reports`."""
    head = judgement.head
    return RunRow(
        scenario=head.scenario,
        seed=head.seed,
        engine=head.engine,
        grade=head.grade,
        verdict=judgement.verdict.value,
        path=run_dir.resolve().relative_to(reports.resolve()).as_posix(),
        started=head.started,
        duration_s=judgement.duration_s,
        measurements={
            one.title: {"p50": one.p50, "p99": one.p99, "mean": one.mean, "unit": one.unit}
            for one in judgement.measurements
        },
    )
