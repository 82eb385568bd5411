from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import Corrupt, InputError
from harness.judge import Judgement, Verdict, evaluate, index_row, judge
from harness.record import kind
from harness.record.event import Event
from harness.record.rundir import RunDir, RunIndex
from harness.scenario.plan import CheckPlan, FaultPlan, Inject, Parallel

if TYPE_CHECKING:
    from pathlib import Path


def verdicts(judgement: Judgement) -> dict[str, Verdict]:
    return {finding.checker: finding.verdict for finding in judgement.findings}


def test_the_whole_story_passes(site: Any) -> None:
    judgement = judge(site.history(), site.plan())
    assert judgement.verdict is Verdict.PASS, judgement.findings
    assert set(verdicts(judgement)) > {
        "plan",
        "run",
        "faults-bite",
        "converges",
        "limit:reconnect_s",
    }
    assert judgement.replay == "harness run scenarios/two-shops.yaml --engine process --seed 7"


def test_one_failed_limit_fails_the_run(site: Any) -> None:
    limit = {"measurement": "boot_s", "statistic": "max", "comparison": "<=", "bound": 0.1}
    judgement = judge(site.history(), {**site.plan(), "limits": [limit]})
    assert judgement.verdict is Verdict.FAIL


def test_a_run_without_end_cannot_pass(site: Any) -> None:
    judgement = judge(site.without(kind.RUN_ENDED), site.plan())
    assert judgement.verdict is Verdict.UNKNOWN
    assert verdicts(judgement)["run"] is Verdict.UNKNOWN


def test_the_laws_are_checked_without_being_asked_for(site: Any) -> None:
    plan = site.plan(checks=(), limits=())
    history = site.without(kind.FAULT_OBSERVED, fault="uplink-1")
    found = verdicts(judge(history, plan))
    assert found["faults-bite"] is Verdict.UNKNOWN
    assert set(found) == {"plan", "run", "steps", "faults-bite", "converges", "frames-account"}


def test_no_fault_planned_no_fault_demanded(site: Any) -> None:
    plan = site.plan(checks=(), limits=(), nemesis=(), workload=())
    history = site.only((1.0, "scenario", kind.RUN_ENDED, {"outcome": "completed"}))
    assert set(verdicts(judge(history, plan))) == {"plan", "run", "steps"}


def test_planned_faults_are_found_inside_parallel_steps(site: Any) -> None:
    def inject(name: str) -> Inject:
        return Inject(FaultPlan(name, "power.cut", "north", 1.0))

    steps = (Parallel(((inject("deep-1"),), (Parallel(((inject("deep-2"),), ())),))),)
    judgement = judge(site.history(), site.plan(workload=steps))
    message = next(f.message for f in judgement.findings if f.checker == "faults-bite")
    assert "deep-1 was never injected" in message
    assert "deep-2 was never injected" in message


def test_another_plan_than_the_one_that_ran_is_unknown(site: Any) -> None:
    judgement = judge(site.history(), site.plan(seed=8))
    assert verdicts(judgement)["plan"] is Verdict.UNKNOWN
    assert judgement.verdict is Verdict.UNKNOWN


def test_an_unknown_checker_is_unknown(site: Any) -> None:
    judgement = judge(site.history(), site.plan(checks=(CheckPlan("flies", {}),)))
    finding = next(f for f in judgement.findings if f.checker == "flies")
    assert finding.verdict is Verdict.UNKNOWN
    assert "slots-safe" in finding.message


def test_measuring_that_crashes_is_unknown_and_takes_nothing_with_it(site: Any) -> None:
    judgement = judge(site.bent(kind.BOOTED, {}, duration_s="long"), site.plan())
    assert verdicts(judgement)["measurements"] is Verdict.UNKNOWN
    assert verdicts(judgement)["slots-safe"] is Verdict.PASS


@pytest.mark.parametrize("plan", [{}, {"limits": [{"x": 1}]}, {"limits": [], "checks": "steps"}])
def test_what_is_no_plan_is_refused(site: Any, plan: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not a plan"):
        judge(site.history(), plan)


def test_evaluate_writes_everything_and_the_same_again(site: Any, tmp_path: Path) -> None:
    run = site.run(tmp_path)
    first = evaluate(run.path)
    files = [run.verdict, run.html, run.markdown, run.junit]
    written = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    assert evaluate(run.path) == first
    assert [file.read_bytes() for file in files] == written


def test_the_verdict_file_holds_the_judgement(site: Any, tmp_path: Path) -> None:
    run = site.run(tmp_path)
    judgement = evaluate(run.path)
    value = json.loads(run.verdict.read_text())
    assert value == json.loads(json.dumps(judgement.to_json()))
    assert (value["schema"], value["verdict"], value["grade"]) == (1, "PASS", "L")
    assert value["plan"] == judgement.head.plan
    assert {"checker", "verdict", "message", "evidence", "demand"} == set(value["findings"][0])


def test_an_interrupted_run_is_judged_as_far_as_it_goes(site: Any, tmp_path: Path) -> None:
    run = site.run(tmp_path)
    run.history.write_bytes(run.history.read_bytes()[:-30])
    judgement = evaluate(run.path)
    assert (judgement.verdict, judgement.complete) == (Verdict.UNKNOWN, False)
    assert "stops before the run ended" in run.html.read_text()


def test_an_edited_history_is_refused(site: Any, tmp_path: Path) -> None:
    run = site.run(tmp_path)
    run.history.write_bytes(run.history.read_bytes().replace(b"rolled-back", b"committed"))
    with pytest.raises(Corrupt, match=r"history\.jsonl: line"):
        evaluate(run.path)
    assert not run.verdict.exists()


def test_what_is_no_run_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run directory"):
        evaluate(tmp_path)


def test_the_row_of_a_run_goes_into_the_index(site: Any, tmp_path: Path) -> None:
    run: RunDir = site.run(tmp_path)
    row = index_row(run.path, evaluate(run.path), tmp_path)
    index = RunIndex(tmp_path / "index.sqlite")
    index.put(row)
    (stored,) = index.runs("two-shops")
    assert stored == row
    assert (stored.path, stored.verdict) == ("two-shops/20260504T093000Z-7", "PASS")
    assert stored.measurements["reconnect_s{appliance=north}"]["p99"] == 5.6


def test_a_history_of_one_event_can_be_judged_and_rendered(site: Any, tmp_path: Path) -> None:
    end = Event(0.0, "scenario", kind.RUN_ENDED, {"outcome": "failed", "error": "no port"})
    judgement = evaluate(site.run(tmp_path, [end]).path)
    assert judgement.verdict is Verdict.FAIL
