"""The course of a run, the same on every rung: bring up, work, heal, converge, account.

Whatever happens, all faults are healed before the end and the site is asked to converge; a
failed step ends the work but not that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import TYPE_CHECKING, Any

from harness.engine import deployment, site
from harness.engine.site import (
    Account,
    Ask,
    Elapsed,
    Fork,
    Heal,
    Pause,
    Plug,
    Poll,
    Press,
    SiteProgram,
    Strike,
    Tell,
    call,
)
from harness.engine.stick import for_logs, with_archive
from harness.engine.words import describe
from harness.errors import HarnessError, PeerError, PeerTimeout
from harness.record import kind
from harness.scenario.plan import (
    CollectLogs,
    Deploy,
    Deregister,
    FaultPlan,
    Inject,
    Observe,
    Parallel,
    PauseCameras,
    Plan,
    PowerOn,
    Provision,
    Reboot,
    Remove,
    Restore,
    ResumeCameras,
    Shutdown,
    Step,
    Update,
    action,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.engine.situation import Situation

SETTLE_S = 2.0
SHOW_S = 10.0  # how long a fault of a moment may take to show
SHORT_PRESS_S, LONG_PRESS_S = 1.0, 5.0  # vendor's guide, appliance buttons
PRESSES = {
    "latest": (("reset",), SHORT_PRESS_S),
    "required": (("reset",), LONG_PRESS_S),
    "factory": (("power", "reset"), LONG_PRESS_S),
}
# How late a timed fault may notice that the work has failed: a part of what is left, within these.
HOLD_STEP_S, HOLD_STEP_MAX_S, HOLD_PART = 2.0, 30.0, 1 / 50


class StepFailed(PeerError):
    """A step of the workload did not do what the scenario expects."""


@dataclass(slots=True)
class Conductor:
    """One run of one plan. `urls` gives the RTSP URL of a camera as appliances reach it."""

    plan: Plan
    urls: Callable[[str], str]
    workspace: Path
    devices: dict[str, str] = field(default_factory=dict)
    instances: dict[str, str] = field(default_factory=dict)
    paused: set[tuple[str, str]] = field(default_factory=set)
    open_faults: dict[str, FaultPlan] = field(default_factory=dict)
    failed: bool = False

    def run(self) -> SiteProgram[None]:
        """The whole run up to `run.ended`."""
        plan = self.plan
        yield Tell(kind.RUN_STARTED, {"plan": plan.digest, "time_scale": plan.time_scale})
        error = ""
        try:
            yield Tell(kind.PHASE_STARTED, {"phase": "bring-up"})
            for appliance in plan.appliances:
                yield site.PowerOn(appliance.name)
            yield from self._sequence(plan.bring_up, "b")
            yield Tell(kind.PHASE_STARTED, {"phase": "workload"})
            faults = tuple(self._timed(fault) for fault in plan.nemesis)
            yield Fork((self._sequence(plan.workload, ""), *faults))
        except HarnessError as problem:
            error = f"{type(problem).__name__}: {problem}"
        yield from self.finish()
        outcome = "failed" if error else "completed"
        yield Tell(kind.RUN_ENDED, {"outcome": outcome, "error": error})

    def finish(self) -> SiteProgram[None]:
        """Heal what is still open, wait for convergence, account for every frame."""
        for fault in list(self.open_faults.values()):
            yield from self._heal(fault)
        yield Tell(kind.PHASE_STARTED, {"phase": "convergence"})
        began_s = yield Elapsed()
        while (yield Elapsed()) - began_s < self.plan.converge_within_s:
            if (yield Ask(self._converged)):
                break
            yield Poll()
        yield Pause(SETTLE_S)
        yield Account()

    def _converged(self, now: Situation) -> bool:
        online = all(now.states.get(a.name) == "online" for a in self.plan.appliances)
        streams = self._streams(*(a.name for a in self.plan.appliances))
        flowing = all(now.flowing.get(stream, -1.0) > now.phase_s for stream in streams)
        recovered = all(f.recovered for f in now.faults.values() if f.observed)
        return online and flowing and recovered

    def _streams(self, *appliances: str) -> list[tuple[str, str]]:
        """(instance, camera) of every stream that has to flow on these appliances."""
        return [
            stream
            for step in deployment.deployments(self.plan)
            if step.appliance in appliances and step.instance in self.instances
            for stream in deployment.streams(self.plan, step)
            if stream not in self.paused
        ]

    def _sequence(self, steps: tuple[Step, ...], prefix: str) -> SiteProgram[None]:
        for number, step in enumerate(steps, start=1):
            yield from self._step(step, f"{prefix}{number}")

    def _step(self, step: Step, index: str) -> SiteProgram[None]:
        if isinstance(step, Parallel):
            branches = enumerate(step.branches, start=1)
            yield Fork(tuple(self._sequence(b, f"{index}.{n}.") for n, b in branches))
            return
        values = {"step": describe(step), "action": action(step), "index": index}
        yield Tell(kind.STEP_STARTED, values)
        began_s = yield Elapsed()
        error = ""
        try:
            yield from self._do(step)
        except HarnessError as problem:
            error = str(problem) or type(problem).__name__
        duration_s = round((yield Elapsed()) - began_s, 6)
        ended = {**values, "ok": not error, "duration_s": duration_s, "error": error}
        yield Tell(kind.STEP_ENDED, ended)
        if error:
            self.failed = True
            raise StepFailed(f"{values['step']}: {error}")

    def _timed(self, fault: FaultPlan) -> SiteProgram[None]:
        """A fault of the nemesis; once a step has failed it does not strike any more."""
        assert fault.at_s is not None
        yield from self._hold(fault.at_s)
        if not self.failed:
            yield from self._strike(fault)
            yield from self._hold(fault.for_s)
            yield from self._heal(fault)

    def _hold(self, duration_s: float) -> SiteProgram[None]:
        """Let `duration_s` pass, or less when a step fails meanwhile: that ends the work."""
        until_s = (yield Elapsed()) + duration_s
        while not self.failed and (left_s := until_s - (yield Elapsed())) > 0.0:
            step_s = min(max(HOLD_STEP_S, left_s * HOLD_PART), HOLD_STEP_MAX_S)
            yield Pause(min(left_s, step_s))

    def _strike(self, fault: FaultPlan) -> SiteProgram[None]:
        self.open_faults[fault.id] = fault
        yield Strike(fault)

    def _heal(self, fault: FaultPlan) -> SiteProgram[None]:
        self.open_faults.pop(fault.id, None)
        yield Heal(fault)

    @singledispatchmethod
    def _do(self, step: Any) -> SiteProgram[None]:
        raise StepFailed(f"unknown step {step!r}")

    @_do.register
    def _(self, step: Provision) -> SiteProgram[None]:
        if (known := self.devices.pop(step.appliance, None)) is not None:
            # It was reset: its old device is another one, and has its name.
            yield from call("DeleteDevice", {"DeviceId": known})
        request: dict[str, Any] = {
            "Name": step.appliance,
            "Description": "provisioned by a scenario",
        }
        plans = (plan for plan in self.plan.appliances if plan.name == step.appliance)
        for plan in plans:
            if plan.network.configuration:
                request["NetworkingConfiguration"] = dict(plan.network.configuration)
        answer = yield from call("ProvisionDevice", request)
        self.devices[step.appliance] = answer["DeviceId"]
        yield Plug(step.appliance, with_archive(step.appliance, answer["Certificates"]))
        yield from self._until(
            lambda now: (
                now.states.get(step.appliance) == "online"
                and now.clouds.get(step.appliance) == "ONLINE"
            ),
            step.timeout_s,
            f"{step.appliance} is not online",
        )

    @_do.register
    def _(self, step: Deploy) -> SiteProgram[None]:
        self.instances[step.instance] = ""
        self.instances[step.instance] = yield from deployment.create(
            step, self.plan, self.devices[step.appliance], self.urls, self.workspace
        )
        if step.expect == "refused":
            yield from self._instance_until(
                step.instance, "DEPLOYMENT_ERROR", ("SUCCEEDED", "FAILED"), step.timeout_s
            )
            del self.instances[step.instance]
            return
        yield from self._instance_until(
            step.instance, "DEPLOYMENT_SUCCEEDED", ("ERROR", "FAILED"), step.timeout_s
        )
        streams = list(deployment.streams(self.plan, step))
        yield from self._until(
            lambda now: all(stream in now.flowing for stream in streams),
            step.timeout_s,
            f"{step.instance}: no frames",
        )

    @_do.register
    def _(self, step: Remove) -> SiteProgram[None]:
        instance = self.instances.pop(step.instance)
        yield from call("RemoveApplicationInstance", {"ApplicationInstanceId": instance})
        self.instances[step.instance] = instance
        yield from self._instance_until(
            step.instance, "REMOVAL_SUCCEEDED", ("REMOVAL_FAILED",), step.timeout_s
        )
        del self.instances[step.instance]

    @_do.register
    def _(self, step: Update) -> SiteProgram[None]:
        config = {"ImageVersion": step.image, "AllowMajorVersionUpdate": step.allow_major}
        job = yield from self._job(
            step.appliance,
            {"JobType": "OTA", "DeviceJobConfig": {"OTAJobConfig": config}},
            step.timeout_s,
        )
        # A job that was cancelled has ended before its appliance hears of it.
        missing = f"{step.appliance} did not say how {job} ended"
        yield from self._until(lambda now: job in now.outcomes, step.timeout_s, missing)
        outcome, reason = yield Ask(lambda now: now.outcomes[job])
        if outcome != step.expect:
            because = f": {reason}" if reason else ""
            raise StepFailed(f"the update ended {outcome}, expected {step.expect}{because}")
        yield from self._back(step.appliance, step.timeout_s)

    @_do.register
    def _(self, step: Reboot) -> SiteProgram[None]:
        yield from self._job(step.appliance, {"JobType": "REBOOT"}, step.timeout_s)
        yield from self._back(step.appliance, step.timeout_s)

    @_do.register
    def _(self, step: Shutdown) -> SiteProgram[None]:
        yield Press(step.appliance, frozenset({"power"}), SHORT_PRESS_S)
        yield from self._until(
            lambda now: now.states.get(step.appliance) == "off",
            step.timeout_s,
            f"{step.appliance} is not off",
        )

    @_do.register
    def _(self, step: PowerOn) -> SiteProgram[None]:
        yield Press(step.appliance, frozenset({"power"}), SHORT_PRESS_S)
        yield from self._back(step.appliance, step.timeout_s)

    @_do.register
    def _(self, step: Restore) -> SiteProgram[None]:
        off = yield Ask(lambda now: now.states.get(step.appliance) == "off")
        if not off:
            yield from self._do(Shutdown(step.appliance, step.timeout_s))
        buttons, held_s = PRESSES[step.what]
        yield Press(step.appliance, frozenset(buttons), held_s)
        if step.what == "factory":
            self._forget_instances(step.appliance)
            yield from self._until(
                lambda now: now.states.get(step.appliance) == "provisioning",
                step.timeout_s,
                f"{step.appliance} does not wait for a stick",
            )
        else:
            yield from self._back(step.appliance, step.timeout_s)

    def _forget_instances(self, appliance: str) -> None:
        """A reset erased them; nothing is expected of them any more."""
        for done in deployment.deployments(self.plan):
            if done.appliance == appliance:
                self.instances.pop(done.instance, None)

    @_do.register
    def _(self, step: Deregister) -> SiteProgram[None]:
        yield from call("DeleteDevice", {"DeviceId": self.devices.pop(step.appliance)})
        self._forget_instances(step.appliance)
        yield from self._until(
            lambda now: now.states.get(step.appliance) == "offline",
            step.timeout_s,
            f"{step.appliance} is still connected",
        )

    @_do.register
    def _(self, step: CollectLogs) -> SiteProgram[None]:
        since_s = yield Elapsed()
        yield from self._do(Shutdown(step.appliance, step.timeout_s))
        yield Plug(step.appliance, for_logs())
        yield from self._do(PowerOn(step.appliance, step.timeout_s))
        yield site.Pull(step.appliance)
        written_s, problem = yield Ask(lambda now: now.images.get(step.appliance, (-1.0, "")))
        if written_s < since_s or problem:
            raise StepFailed(f"no log image on the stick: {problem or 'none was written'}")

    @_do.register
    def _(self, step: PauseCameras) -> SiteProgram[None]:
        yield from self._signal(step.instance, step.cameras, "PAUSE", "PAUSED", step.timeout_s)
        self.paused |= {(step.instance, camera) for camera in step.cameras}

    @_do.register
    def _(self, step: ResumeCameras) -> SiteProgram[None]:
        since_s = yield Elapsed()
        yield from self._signal(step.instance, step.cameras, "RESUME", "RUNNING", step.timeout_s)
        streams = {(step.instance, camera) for camera in step.cameras}
        self.paused -= streams
        yield from self._until(
            lambda now: all(now.flowing.get(stream, -1.0) > since_s for stream in streams),
            step.timeout_s,
            f"{step.instance}: no frames",
        )

    def _signal(
        self, instance: str, cameras: tuple[str, ...], signal: str, status: str, timeout_s: float
    ) -> SiteProgram[None]:
        """Send it to each camera's node, and wait until every one is what it makes of them."""
        query = {"ApplicationInstanceId": self.instances[instance]}
        signals = [{"NodeInstanceId": camera, "Signal": signal} for camera in cameras]
        request = {**query, "NodeSignals": signals}
        yield from call("SignalApplicationInstanceNodeInstances", request)
        began_s = yield Elapsed()
        while (yield Elapsed()) - began_s < timeout_s:
            answer = yield from call("ListApplicationInstanceNodeInstances", query)
            found = {n["NodeInstanceId"]: n["CurrentStatus"] for n in answer["NodeInstances"]}
            if all(found.get(camera) == status for camera in cameras):
                return
            yield Poll()
        raise PeerTimeout(f"{', '.join(cameras)} of {instance} not {status} after {timeout_s:g} s")

    @_do.register
    def _(self, step: Observe) -> SiteProgram[None]:
        yield Pause(step.duration_s)

    @_do.register
    def _(self, step: Inject) -> SiteProgram[None]:
        fault = step.fault
        yield from self._strike(fault)
        yield Pause(fault.for_s)
        yield from self._heal(fault)
        if fault.for_s == 0.0:
            yield from self._shown(fault)
        yield from self._until(
            lambda now: now.faults[fault.id].recovered or not now.faults[fault.id].observed,
            step.timeout_s,
            f"{fault.target} did not recover from {fault.kind}",
        )

    def _shown(self, fault: FaultPlan) -> SiteProgram[None]:
        """Wait for the effect of a fault that is healed as it strikes; it may have none."""
        began_s = yield Elapsed()
        while (yield Elapsed()) - began_s < SHOW_S:
            if (yield Ask(lambda now: now.faults[fault.id].observed)):
                return
            yield Poll()

    def _job(
        self, appliance: str, request: Mapping[str, Any], timeout_s: float
    ) -> SiteProgram[str]:
        """Create a job and follow it to its end. Outcome: the job id."""
        device = self.devices[appliance]
        created = yield from call("CreateJobForDevices", {"DeviceIds": [device], **request})
        job = str(created["Jobs"][0]["JobId"])
        began_s = yield Elapsed()
        while (yield Elapsed()) - began_s < timeout_s:
            status = (yield from call("DescribeDeviceJob", {"JobId": job}))["Status"]
            if status in ("COMPLETED", "FAILED"):
                return job
            yield Poll()
        raise PeerTimeout(f"job {job} is still {status} after {timeout_s:g} s")

    def _back(self, appliance: str, timeout_s: float) -> SiteProgram[None]:
        """Wait until the appliance is online and its applications deliver frames again."""
        since_s = yield Elapsed()
        streams = self._streams(appliance)
        yield from self._until(
            lambda now: (
                now.states.get(appliance) == "online"
                and all(now.flowing.get(stream, -1.0) > since_s for stream in streams)
            ),
            timeout_s,
            f"{appliance} or its applications did not come back",
        )

    def _instance_until(
        self, instance: str, wanted: str, refused: tuple[str, ...], timeout_s: float
    ) -> SiteProgram[None]:
        began_s = yield Elapsed()
        query = {"ApplicationInstanceId": self.instances[instance]}
        while (yield Elapsed()) - began_s < timeout_s:
            answer = yield from call("DescribeApplicationInstance", query)
            status = answer["Status"]
            if status == wanted:
                return
            if status.endswith(refused):
                raise StepFailed(f"{status}: {answer.get('StatusDescription', '')}")
            yield Poll()
        raise PeerTimeout(f"{instance} is still {status} after {timeout_s:g} s")

    def _until(
        self, question: Callable[[Situation], bool], timeout_s: float, otherwise: str
    ) -> SiteProgram[None]:
        began_s = yield Elapsed()
        while not (yield Ask(question)):
            if (yield Elapsed()) - began_s >= timeout_s:
                raise PeerTimeout(f"{otherwise} after {timeout_s:g} s")
            yield Poll()
