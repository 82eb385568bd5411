"""From a history and its plan to a judgement. Pure: files in, the same verdict out."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.judge import limit
from harness.judge.check import CHECKERS
from harness.judge.checker import Finding, Verdict, overall
from harness.judge.grade import meaning
from harness.judge.measure import Measurement, measure
from harness.record import kind
from harness.record.canonical import digest
from harness.scenario.plan import LimitPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.record.head import Head
    from harness.record.history import History

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict of a run with all that it rests on."""

    verdict: Verdict
    head: Head
    findings: tuple[Finding, ...]
    measurements: tuple[Measurement, ...]
    duration_s: float
    events: int
    complete: bool
    replay: str

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "verdict": self.verdict.value,
            **{key: value for key, value in self.head.to_json().items() if key != "schema"},
            "grade_meaning": meaning(self.head.grade),
            "duration_s": self.duration_s,
            "events": self.events,
            "complete": self.complete,
            "findings": [finding.to_json() for finding in self.findings],
            "measurements": [measurement.to_json() for measurement in self.measurements],
            "replay": self.replay,
        }


def judge(history: History, plan_json: Mapping[str, Any]) -> Judgement:
    """Run the plan's checks and limits, and those that the laws demand of every run.

    Always: the plan is the one that ran, the run completed, its steps ended well. When faults
    are planned or were injected: they bite, are healed, and the site converges. When frames
    were handed over: every frame is accounted for.
    """
    findings = [_check_plan(history, plan_json)]
    demands = _demands(history, plan_json)
    for name, parameters in demands.checks:
        checker = CHECKERS.get(name)
        if checker is None:
            known = ", ".join(CHECKERS)
            findings.append(
                Finding(name, Verdict.UNKNOWN, f"there is no such checker; there are {known}")
            )
        else:
            findings.append(checker.run(history, parameters))
    measurements, trouble = _measured(history)
    findings += trouble
    findings += limit.apply(demands.limits, measurements)
    return Judgement(
        verdict=overall(findings),
        head=history.head,
        findings=tuple(findings),
        measurements=measurements,
        duration_s=history.duration_s,
        events=len(history.events),
        complete=history.complete,
        replay=_replay(history, plan_json),
    )


@dataclass(frozen=True, slots=True)
class _Demands:
    checks: tuple[tuple[str, Mapping[str, Any]], ...]
    limits: tuple[LimitPlan, ...]


def _demands(history: History, plan_json: Mapping[str, Any]) -> _Demands:
    try:
        limits = tuple(LimitPlan(**one) for one in plan_json["limits"])
        return _Demands(tuple(_checks(history, plan_json)), limits)
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"not a plan: {type(error).__name__}: {error}",
            hint="judge with the plan.json that the run wrote",
        ) from error


def _measured(history: History) -> tuple[tuple[Measurement, ...], list[Finding]]:
    """Measuring must not take the verdict with it: what goes wrong is UNKNOWN, with the reason."""
    try:
        return measure(history), []
    except Exception as error:
        reason = f"measuring crashed: {type(error).__name__}: {error}"
        return (), [Finding("measurements", Verdict.UNKNOWN, reason)]


def _planned_faults(plan_json: Mapping[str, Any]) -> list[str]:
    """The ids of all faults of a plan: timed ones and those of its steps."""
    steps = [*plan_json["bring_up"], *plan_json["workload"]]
    return [*(fault["id"] for fault in plan_json["nemesis"]), *_faults_of(steps)]


def _faults_of(steps: list[Mapping[str, Any]]) -> Iterator[str]:
    for step in steps:
        if step["step"] == "inject":
            yield step["fault"]["id"]
        for branch in step.get("branches", ()):
            yield from _faults_of(branch)


def _checks(
    history: History, plan_json: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What the laws imply comes first, unless the scenario asks for it with its own parameters."""
    asked = [(one["name"], one["parameters"]) for one in plan_json["checks"]]
    planned = _planned_faults(plan_json)
    implied = ["run", "steps"]
    if planned or history.of(kind.FAULT_INJECTED):
        implied += ["faults-bite", "converges"]
    if history.of(kind.FRAMES):
        implied.append("frames-account")
    names = {name for name, _ in asked}
    for name, parameters in [*((name, {}) for name in implied if name not in names), *asked]:
        yield name, {"planned": planned, **parameters} if name == "faults-bite" else parameters


def _check_plan(history: History, plan_json: Mapping[str, Any]) -> Finding:
    found = digest(plan_json)
    demand = "the plan beside the history is the one that ran"
    if found == history.head.plan:
        return Finding("plan", Verdict.PASS, f"digest {found[:12]}", (), demand)
    message = f"the plan has digest {found[:12]}, the history names {history.head.plan[:12]}"
    return Finding("plan", Verdict.UNKNOWN, message, (), demand)


def _replay(history: History, plan_json: Mapping[str, Any]) -> str:
    head, source = history.head, plan_json.get("source") or history.head.scenario
    replay = f"harness run {shlex.quote(source)} --engine {head.engine} --seed {head.seed}"
    carried = (one["defects"] for one in plan_json.get("images", ()) if one.get("candidate"))
    defects = dict.fromkeys(name for names in carried for name in names)
    return " ".join((replay, *(f"--defect {shlex.quote(name)}" for name in defects)))
