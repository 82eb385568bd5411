"""Runs a plan in virtual time."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import simpy

from harness.cloud.service.core import Settings
from harness.engine import site
from harness.engine.board import works
from harness.engine.commands import perform
from harness.engine.conduct import Conductor
from harness.engine.factory import catalogue
from harness.engine.model.cloud import Cloud
from harness.engine.model.machine import EPOCH_S, Machine
from harness.engine.model.video import Nodes
from harness.engine.recorder import Recorder
from harness.engine.strikes import Strikes
from harness.errors import HarnessError
from harness.record import kind
from harness.scenario.seed import derive

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from harness.fault.camera import CameraFault
    from harness.record.history import HistoryWriter
    from harness.scenario.plan import Plan

POLL_S = 1.0
KEEP_ALIVE_S = 45.0  # one and a half heartbeats, as MQTT clients give up
STEPS_BETWEEN_LOOKS = 256  # how often a stop request is looked for


class ModelSite(Strikes):
    """Everything of one plan in one simpy environment; it is the `World` that faults act on."""

    def __init__(self, plan: Plan, recorder: Recorder, env: simpy.Environment) -> None:
        self.plan = plan
        self.env = env
        self.recorder = recorder
        settings = Settings(quotas=plan.cloud.quotas, certificate_s=plan.cloud.certificate_s)
        self.cloud = Cloud(env, recorder.note, derive(plan.seed, "cloud"), settings)
        self.nodes = Nodes(
            env,
            plan.cameras,
            recorder.note,
            random.Random(derive(plan.seed, "video")),
            recorder.name,
            works(plan),
        )
        self.machines: dict[str, Machine] = {
            appliance.name: Machine(
                appliance,
                env,
                self.cloud,
                self.nodes,
                recorder.note,
                random.Random(appliance.seed),
                plan.seed,
            )
            for appliance in plan.appliances
        }
        boards = [appliance.profile.board for appliance in plan.appliances]
        offered = catalogue(plan.images, boards, plan.seed, EPOCH_S, virtual=True)
        for version, signed, payload in offered.images:
            self.cloud.plane.publish_image(version, signed, payload)
        self.cloud.plane.publish_metadata(offered.metadata)

    def break_uplink(self, appliance: str) -> None:
        self.machines[appliance].break_uplink()

    def hush_uplink(self, appliance: str) -> None:
        self.machines[appliance].hush_uplink(KEEP_ALIVE_S)

    def restore_uplink(self, appliance: str) -> None:
        self.machines[appliance].restore_uplink()

    def inject_camera(self, camera: str, fault: CameraFault) -> None:
        self.nodes.inject(camera, fault)

    def heal_camera(self, camera: str, kind: type[CameraFault]) -> None:
        self.nodes.heal(camera, kind)

    def withhold_credentials(self, camera: str) -> None:
        self.nodes.withhold(camera, withheld=True)

    def return_credentials(self, camera: str) -> None:
        self.nodes.withhold(camera, withheld=False)

    def cut_power(self, appliance: str) -> None:
        self.machines[appliance].cut_power()

    def restore_power(self, appliance: str) -> None:
        self.machines[appliance].power_up()

    def kill_node(self, instance: str) -> None:
        self.nodes.kill(self.recorder.instance(instance))


class Course:
    """Interprets site commands: one task for a program, more for its forks."""

    def __init__(self, world: ModelSite) -> None:
        self.site = world
        self.env = world.env
        self._abandoned = False

    def abandon(self) -> None:
        """Go no further, whatever the programs still wait for."""
        self._abandoned = True

    def start(
        self, program: site.SiteProgram[None], ended: Callable[[HarnessError | None], None]
    ) -> None:
        self._advance(program, ended, None, None)

    def _advance(
        self,
        program: site.SiteProgram[None],
        ended: Callable[[HarnessError | None], None],
        value: Any,
        error: HarnessError | None,
    ) -> None:
        while not self._abandoned:
            try:
                command = program.send(value) if error is None else program.throw(error)
            except StopIteration:
                ended(None)
                return
            except HarnessError as problem:
                ended(problem)
                return
            value, error = None, None
            match command:
                case site.Pause(duration_s):
                    self._later(duration_s, program, ended)
                    return
                case site.Poll():
                    self._later(POLL_S, program, ended)
                    return
                case site.Fork(branches):
                    self._fork(branches, program, ended)
                    return
            try:
                value = self._do(command)
            except HarnessError as problem:
                error = problem

    def _later(
        self,
        delay_s: float,
        program: site.SiteProgram[None],
        ended: Callable[[HarnessError | None], None],
    ) -> None:
        timeout = self.env.timeout(delay_s)
        timeout.callbacks.append(lambda _event: self._advance(program, ended, None, None))

    def _fork(
        self,
        branches: tuple[site.SiteProgram[None], ...],
        program: site.SiteProgram[None],
        ended: Callable[[HarnessError | None], None],
    ) -> None:
        left = len(branches)
        errors: list[HarnessError] = []
        joined = self.env.event()
        joined.callbacks.append(
            lambda _event: self._advance(program, ended, None, errors[0] if errors else None)
        )

        def branch_ended(error: HarnessError | None) -> None:
            nonlocal left
            left -= 1
            if error is not None:
                errors.append(error)
            if left == 0:
                joined.succeed()

        for branch in branches:
            self._advance(branch, branch_ended, None, None)

    def _do(self, command: site.Command) -> Any:
        world = self.site
        match command:
            case site.Call(operation, parameters):
                answer = world.cloud.plane.call(operation, parameters)
                world.cloud.watch_clock()
                return answer
            case site.PutObject(bucket, key, data):
                world.cloud.put(bucket, key, data)
            case site.Account():
                world.nodes.account_all()
            case _:
                return perform(world, command)
        return None


class ModelEngine:
    """Virtual time, grade V: what follows from the model and the programs, exactly repeatable."""

    name = "model"
    grade = "V"
    epoch_s: float | None = EPOCH_S

    def run(self, plan: Plan, history: HistoryWriter, *, stop: threading.Event) -> None:
        env = simpy.Environment()
        recorder = Recorder(history, lambda: env.now)
        with tempfile.TemporaryDirectory(prefix="hil-model-") as workspace:
            world = ModelSite(plan, recorder, env)
            conductor = Conductor(plan, lambda camera: f"rtsp://{camera}.invalid/", Path(workspace))
            course = Course(world)
            ends: list[HarnessError | None] = []
            deadline = env.timeout(plan.stop_after_s)
            course.start(conductor.run(), ends.append)
            self._turn(env, lambda: bool(ends) or deadline.processed, stop)
            if not ends:
                course.abandon()
                self._cut_short(plan, world, conductor, stop)

    def _turn(
        self, env: simpy.Environment, done: Callable[[], bool], stop: threading.Event
    ) -> None:
        while not done() and not stop.is_set():
            for _ in range(STEPS_BETWEEN_LOOKS):
                if done() or env.peek() == float("inf"):
                    return
                env.step()

    def _cut_short(
        self, plan: Plan, world: ModelSite, conductor: Conductor, stop: threading.Event
    ) -> None:
        """Out of time or told to stop: heal, converge, account, and say so."""
        interrupted = stop.is_set()
        why = "interrupted" if interrupted else f"not done after {plan.stop_after_s:g} s"
        within_s = 0.0 if interrupted else plan.converge_within_s
        shortened = replace(conductor, plan=replace(plan, converge_within_s=within_s))
        ends: list[HarnessError | None] = []
        Course(world).start(shortened.finish(), ends.append)
        self._turn(world.env, lambda: bool(ends), type(stop)())
        outcome = "interrupted" if interrupted else "failed"
        world.recorder.note("scenario", kind.RUN_ENDED, {"outcome": outcome, "error": why})
