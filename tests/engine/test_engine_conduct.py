"""The course of a run, driven command by command on a stage with a clock of its own."""

from __future__ import annotations

import heapq
import io
import itertools
import zipfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from harness.engine import site
from harness.engine.conduct import HOLD_STEP_MAX_S, SETTLE_S, SHOW_S, Conductor
from harness.engine.situation import FaultState, Situation
from harness.engine.words import describe
from harness.errors import HarnessError, PeerRefused
from harness.scenario.plan import (
    Deploy,
    FaultPlan,
    Inject,
    Observe,
    Parallel,
    Provision,
    Reboot,
    Remove,
    Update,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.scenario.plan import Plan

LOSS = FaultPlan("f1", "uplink.loss", "north", 3.0)
KILL = FaultPlan("f2", "app.kill", "counter", 0.0)
UPDATE = Update("north", "7.0.13", "committed", allow_major=True, timeout_s=60.0)


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("config.json", "{}")
    return buffer.getvalue()


@dataclass
class Branch:
    """A program under way: whose fork it is part of, and what it is resumed with."""

    program: site.SiteProgram[None]
    ended: Callable[[HarnessError | None], None]
    value: Any = None
    error: HarnessError | None = None


@dataclass
class Stage:
    """A site where nothing happens by itself: everything is recorded, time passes by waiting.

    Calls are answered from `answers`; `when` says what the situation is to become after a
    command of some kind.
    """

    answers: dict[str, Any] = field(default_factory=dict)
    now: Situation = field(default_factory=Situation)
    now_s: float = 0.0
    commands: list[tuple[float, site.Command]] = field(default_factory=list)
    when: Callable[[Stage, site.Command], None] = lambda _stage, _command: None
    _queue: list[tuple[float, int, Branch]] = field(default_factory=list)
    _numbers: Any = field(default_factory=itertools.count)

    def run(self, program: site.SiteProgram[None]) -> None:
        ends: list[HarnessError | None] = []
        self._later(0.0, Branch(program, ends.append))
        while not ends:
            self.now_s, _, branch = heapq.heappop(self._queue)
            self._advance(branch)
        if ends[0] is not None:
            raise ends[0]

    def _later(self, delay_s: float, branch: Branch) -> None:
        heapq.heappush(self._queue, (self.now_s + delay_s, next(self._numbers), branch))

    def _advance(self, branch: Branch) -> None:
        error, branch.error = branch.error, None
        try:
            send, throw = branch.program.send, branch.program.throw
            command = send(branch.value) if error is None else throw(error)
        except StopIteration:
            branch.ended(None)
            return
        except HarnessError as problem:
            branch.ended(problem)
            return
        self.commands.append((self.now_s, command))
        self.when(self, command)
        branch.value = None
        delay_s = 0.0
        match command:
            case site.Pause(duration_s):
                delay_s = duration_s
            case site.Poll():
                delay_s = 1.0
            case site.Fork(branches):
                self._fork(branches, branch)
                return
            case site.Elapsed():
                branch.value = self.now_s
            case site.Ask(question):
                branch.value = question(self.now)
            case site.Call(operation, parameters):
                self._call(branch, operation, parameters)
        self._later(delay_s, branch)

    def _call(self, branch: Branch, operation: str, parameters: Mapping[str, Any]) -> None:
        answer = self.answers[operation]
        try:
            branch.value = answer(parameters) if callable(answer) else answer
        except HarnessError as problem:
            branch.error = problem

    def _fork(self, programs: tuple[site.SiteProgram[None], ...], parent: Branch) -> None:
        left = [len(programs)]
        errors: list[HarnessError] = []

        def ended(error: HarnessError | None) -> None:
            left[0] -= 1
            errors.extend([error] if error is not None else [])
            if left[0] == 0:
                parent.error = errors[0] if errors else None
                self._later(0.0, parent)

        for program in programs:
            self._later(0.0, Branch(program, ended))

    def of(self, kind: type[Any]) -> list[tuple[float, Any]]:
        return [(when, command) for when, command in self.commands if isinstance(command, kind)]

    def told(self, kind: str) -> list[Mapping[str, Any]]:
        return [tell.values for _, tell in self.of(site.Tell) if tell.kind == kind]

    def faults(self) -> list[tuple[float, str, str]]:
        """(when, Strike or Heal, fault)."""
        return [
            (when, type(command).__name__, command.fault.id)
            for when, command in self.commands
            if isinstance(command, (site.Strike, site.Heal))
        ]


@pytest.fixture
def stage() -> Stage:
    """A site that has been online all along, and where faults show and pass at once."""

    def when(stage: Stage, command: site.Command) -> None:
        if isinstance(command, site.Strike):
            stage.now.faults[command.fault.id] = FaultState(
                command.fault, stage.now_s, observed=True, recovered=True
            )

    provisioned = {"DeviceId": "device-1", "Certificates": archive()}
    job = {"Jobs": [{"JobId": "job-1"}]}
    answers = {
        "ProvisionDevice": provisioned,
        "CreateJobForDevices": job,
        "DescribeDeviceJob": {"Status": "COMPLETED"},
    }
    made = Stage(answers, when=when)
    made.now.states["north"] = "online"
    made.now.clouds["north"] = "ONLINE"
    made.now.outcomes["job-1"] = ("committed", "")
    return made


@pytest.fixture
def conduct(make_plan: Any, tmp_path: Path) -> Callable[..., Conductor]:
    base: Plan = make_plan("model")

    def conduct(*workload: Any, **changes: Any) -> Conductor:
        plan = replace(base, workload=workload, **changes)
        return Conductor(plan, lambda camera: f"rtsp://{camera}", tmp_path)

    return conduct


# --- the frame of a run --------------------------------------------------------------------------


def test_a_run_brings_up_works_converges_and_accounts(
    stage: Stage, conduct: Callable[..., Conductor]
) -> None:
    stage.run(conduct(Observe(5.0)).run())
    assert stage.told("phase.started") == [
        {"phase": "bring-up"},
        {"phase": "workload"},
        {"phase": "convergence"},
    ]
    steps = [(v["index"], v["action"], v["ok"]) for v in stage.told("step.ended")]
    assert steps == [("b1", "provision", True), ("1", "observe", True)]
    assert stage.told("run.ended") == [{"outcome": "completed", "error": ""}]
    # Settled, then accounted for, and then the end.
    assert [type(command) for _, command in stage.commands[-3:]] == [
        site.Pause,
        site.Account,
        site.Tell,
    ]
    assert stage.commands[-3][1] == site.Pause(SETTLE_S)


def test_power_is_on_before_the_first_step(stage: Stage, conduct: Callable[..., Conductor]) -> None:
    stage.run(conduct().run())
    kinds = [type(command) for _, command in stage.commands]
    assert kinds.index(site.PowerOn) < kinds.index(site.Call)
    ((_, plug),) = stage.of(site.Plug)
    assert plug.stick.files == {"certificates-omni_north.zip": archive()}


def test_convergence_has_a_limit(stage: Stage, conduct: Callable[..., Conductor]) -> None:
    plan = {"converge_within_s": 7.0}
    stage.when = lambda stage, command: (
        stage.now.states.update(north="offline")
        if command == site.Tell("phase.started", {"phase": "convergence"})
        else None
    )
    stage.run(conduct(**plan).run())
    converging = [when for when, _ in stage.of(site.Poll)]
    assert converging[-1] - converging[0] == 6.0
    assert stage.told("run.ended") == [{"outcome": "completed", "error": ""}]


def test_parallel_steps_are_numbered_by_branch(
    stage: Stage, conduct: Callable[..., Conductor]
) -> None:
    branches = Parallel(((Observe(1.0), Observe(1.0)), (Observe(3.0),)))
    stage.run(conduct(Observe(1.0), branches).run())
    ended = [v["index"] for v in stage.told("step.ended")]
    assert ended == ["b1", "1", "2.1.1", "2.1.2", "2.2.1"]


# --- steps that fail -----------------------------------------------------------------------------


def test_a_failed_step_ends_the_work(stage: Stage, conduct: Callable[..., Conductor]) -> None:
    stage.now.outcomes["job-1"] = ("rolled-back", "self-test failed")
    stage.run(conduct(UPDATE, Observe(5.0)).run())
    failed = stage.told("step.ended")[-1]
    assert not failed["ok"]
    assert failed["error"] == ("the update ended rolled-back, expected committed: self-test failed")
    (ended,) = stage.told("run.ended")
    assert ended["outcome"] == "failed"
    assert ended["error"].startswith("StepFailed: update north to 7.0.13, to be committed: ")
    assert stage.of(site.Account)


def test_a_refusal_of_the_control_plane_is_the_steps_error(
    stage: Stage, conduct: Callable[..., Conductor]
) -> None:
    def refuse(_parameters: Mapping[str, Any]) -> Any:
        raise PeerRefused("job 7 of the device has not ended")

    stage.answers["CreateJobForDevices"] = refuse
    stage.run(conduct(Reboot("north")).run())
    assert stage.told("step.ended")[-1]["error"] == "job 7 of the device has not ended"


def test_a_job_that_never_ends_times_out(stage: Stage, conduct: Callable[..., Conductor]) -> None:
    stage.answers["DescribeDeviceJob"] = {"Status": "DOWNLOADING"}
    stage.run(conduct(UPDATE).run())
    assert stage.told("step.ended")[-1]["error"] == "job job-1 is still DOWNLOADING after 60 s"
    assert stage.told("step.ended")[-1]["duration_s"] == 60.0


def test_an_appliance_that_does_not_come_online_times_out(
    stage: Stage, conduct: Callable[..., Conductor]
) -> None:
    stage.now.clouds["north"] = "OFFLINE"
    plan = {"bring_up": (Provision("north", timeout_s=30.0),), "converge_within_s": 1.0}
    stage.run(conduct(Observe(5.0), **plan).run())
    assert stage.told("step.ended")[-1]["error"] == "north is not online after 30 s"
    assert [v["phase"] for v in stage.told("phase.started")] == ["bring-up", "convergence"]


def test_a_branch_that_fails_lets_the_others_finish(
    stage: Stage, conduct: Callable[..., Conductor]
) -> None:
    stage.now.outcomes["job-1"] = ("failed", "")
    stage.run(conduct(Parallel(((UPDATE,), (Observe(9.0),)))).run())
    ended = {v["index"]: v["ok"] for v in stage.told("step.ended")}
    assert ended == {"b1": True, "1.1.1": False, "1.2.1": True}


def test_an_unknown_application_state_is_told_with_its_reason(
    stage: Stage, conduct: Callable[..., Conductor]
) -> None:
    conductor = conduct(Remove("counter"))
    conductor.instances["counter"] = "instance-1"
    stage.answers["RemoveApplicationInstance"] = {}
    stage.answers["DescribeApplicationInstance"] = {
        "Status": "REMOVAL_FAILED",
        "StatusDescription": "it would not stop",
    }
    stage.run(conductor.run())
    assert stage.told("step.ended")[-1]["error"] == "REMOVAL_FAILED: it would not stop"


# --- faults --------------------------------------------------------------------------------------


def test_a_fault_step_strikes_holds_heals_and_waits(
    stage: Stage, conduct: Callable[..., Conductor]
) -> None:
    stage.run(conduct(Inject(LOSS)).run())
    assert stage.faults() == [(0.0, "Strike", "f1"), (3.0, "Heal", "f1")]


def test_a_fault_that_is_not_recovered_from_fails_its_step(
    stage: Stage, conduct: Callable[..., Conductor]
) -> None:
    def when(stage: Stage, command: site.Command) -> None:
        if isinstance(command, site.Strike):
            state = FaultState(command.fault, stage.now_s, observed=True)
            stage.now.faults[command.fault.id] = state

    stage.when = when
    stage.run(conduct(Inject(LOSS, timeout_s=20.0), converge_within_s=1.0).run())
    error = stage.told("step.ended")[-1]["error"]
    assert error == "north did not recover from uplink.loss after 20 s"


def test_an_inert_fault_is_not_waited_for(stage: Stage, conduct: Callable[..., Conductor]) -> None:
    def when(stage: Stage, command: site.Command) -> None:
        if isinstance(command, site.Strike):
            stage.now.faults[command.fault.id] = FaultState(command.fault, stage.now_s)

    stage.when = when
    stage.run(conduct(Inject(LOSS)).run())
    assert stage.told("step.ended")[-1]["duration_s"] == 3.0


def test_a_fault_of_a_moment_is_given_time_to_show(
    stage: Stage, conduct: Callable[..., Conductor]
) -> None:
    def when(stage: Stage, command: site.Command) -> None:
        if isinstance(command, site.Strike):
            stage.now.faults[command.fault.id] = FaultState(command.fault, stage.now_s)
        if isinstance(command, site.Poll) and stage.now.faults:
            stage.now.faults["f2"].observed = stage.now_s >= 2.0
            stage.now.faults["f2"].recovered = stage.now_s >= 4.0

    stage.when = when
    stage.run(conduct(Inject(KILL)).run())
    assert stage.told("step.ended")[-1]["duration_s"] == 5.0
    stage.when = lambda stage, command: (
        stage.now.faults.update(f2=FaultState(KILL, stage.now_s))
        if isinstance(command, site.Strike)
        else None
    )
    stage.run(conduct(Inject(KILL)).run())
    assert stage.told("step.ended")[-1]["duration_s"] == SHOW_S


def test_timed_faults_strike_and_heal_at_their_time(
    stage: Stage, conduct: Callable[..., Conductor]
) -> None:
    nemesis = (replace(LOSS, at_s=2.0, for_s=30.5), replace(KILL, at_s=20.0))
    stage.run(conduct(Observe(10.0), nemesis=nemesis).run())
    assert stage.faults() == [
        (2.0, "Strike", "f1"),
        (20.0, "Strike", "f2"),
        (20.0, "Heal", "f2"),
        (32.5, "Heal", "f1"),
    ]


def test_once_a_step_has_failed_no_timed_fault_strikes_and_open_ones_are_healed(
    stage: Stage, conduct: Callable[..., Conductor]
) -> None:
    stage.answers["DescribeDeviceJob"] = {"Status": "DOWNLOADING"}
    nemesis = (replace(LOSS, at_s=1.0, for_s=1e6), replace(KILL, at_s=1e6))
    stage.run(conduct(UPDATE, nemesis=nemesis).run())
    (strike, heal) = stage.faults()
    assert strike == (1.0, "Strike", "f1")
    assert heal[1:] == ("Heal", "f1")
    assert 60.0 <= heal[0] <= 60.0 + HOLD_STEP_MAX_S
    assert stage.told("run.ended")[0]["outcome"] == "failed"


def test_finishing_heals_what_is_open_once(stage: Stage, conduct: Callable[..., Conductor]) -> None:
    conductor = conduct()
    conductor.open_faults["f1"] = LOSS
    stage.run(conductor.finish())
    stage.run(conductor.finish())
    assert [kind for _, kind, _ in stage.faults()] == ["Heal"]


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Provision("north"), "provision north"),
        (
            Deploy("counter", "people-counter", "north", {}, {}),
            "deploy counter (people-counter) on north",
        ),
        (Remove("counter"), "remove counter"),
        (UPDATE, "update north to 7.0.13, to be committed"),
        (Reboot("north"), "reboot north"),
        (Inject(LOSS), "uplink.loss on north for 3 s"),
        (Observe(0.5), "observe for 0.5 s"),
        (Parallel(((), ())), "2 branches"),
    ],
)
def test_every_step_has_words(step: Any, words: str) -> None:
    assert describe(step) == words
