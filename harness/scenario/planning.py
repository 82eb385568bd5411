"""From a scenario to a plan: every choice made, every seed drawn, nothing left to chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.appliance.defects import lookup
from harness.errors import InputError
from harness.fault import FAULTS
from harness.scenario import plan as planned
from harness.scenario.appearance import coding_of, look_of
from harness.scenario.firmware import fuse_level
from harness.scenario.problem import did_you_mean
from harness.scenario.quota import OFF
from harness.scenario.schema import ENGINES, ENGINES_KEY, SEED_MAX
from harness.scenario.seed import derive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness.scenario.loading import Scenario
    from harness.scenario.plan import FaultPlan, Plan, Step
    from harness.scenario.schema import DeployFile, FaultFile, ScenarioFile, StepFile


def compile_plan(
    scenario: Scenario,
    *,
    seed: int | None = None,
    engine: str | None = None,
    defects: Sequence[str] = (),
) -> Plan:
    """Compile a scenario. The same scenario, seed and engine give the same plan and digest.

    `defects` are added to every image that is a candidate. Raises `InputError` when the seed or
    the engine given here is not possible, the engine cannot do one of its faults, or there are
    defects and no candidate.
    """
    file = scenario.file
    seed = file.seed if seed is None else seed
    engine = file.engine if engine is None else engine
    if not 0 <= seed <= SEED_MAX:
        raise InputError(f"seed {seed} is not possible", hint=f"from 0 to {SEED_MAX}")
    if engine not in ENGINES:
        hint = did_you_mean(engine, ENGINES, what="engines")
        raise InputError(f"unknown engine `{engine}`", hint=hint)
    if defects and not any(image.candidate for image in file.images.values()):
        raise InputError(
            f"{scenario.source} has no image that is a candidate",
            hint="say `candidate: true` of the image that is to carry the defects",
        )
    compiler = _Compiler(scenario, seed, engine, tuple(lookup(name).name for name in defects))
    return planned.Plan(
        scenario=file.name,
        description=file.description,
        source=scenario.source,
        seed=seed,
        engine=engine,
        time_scale=float(file.time_scale),
        appliances=compiler.appliances(),
        cameras=compiler.cameras(),
        images=compiler.images(),
        applications=compiler.applications(),
        bring_up=compiler.steps(file.bring_up),
        workload=compiler.steps(file.workload),
        nemesis=compiler.nemesis(),
        checks=_checks(file, engine),
        limits=_limits(file),
        stop_after_s=file.stop_after,
        converge_within_s=file.converge_within,
        cloud=_cloud(file),
        timing=file.timing,
    )


class _Compiler:
    def __init__(
        self, scenario: Scenario, seed: int, engine: str, defects: tuple[str, ...]
    ) -> None:
        self._added = defects
        self.scenario = scenario
        self.file = scenario.file
        self.seed = seed
        self.engine = engine
        self._faults = 0

    def appliances(self) -> tuple[planned.AppliancePlan, ...]:
        return tuple(
            planned.AppliancePlan(
                name=name,
                profile=self.scenario.appliance_profiles[made.profile],
                firmware=made.firmware,
                seed=derive(self.seed, "appliance", name),
                power_mode=made.power_mode,
                ambient_c=float(made.ambient_c),
                defects=self._defects(made.firmware),
                blocked=tuple(made.blocked),
                network=made.network.made(),
            )
            for name, made in self.file.site.appliances.items()
        )

    def _defects(self, version: str) -> tuple[str, ...]:
        """Of a version that the scenario has as an image, as the factory's or for updates."""
        image = self.file.images.get(version)
        if image is None:
            return ()
        added = self._added if image.candidate else ()
        return tuple(dict.fromkeys((*image.defects, *added)))

    def cameras(self) -> tuple[planned.CameraPlan, ...]:
        return tuple(self._camera(name) for name in self.file.site.cameras)

    def _camera(self, name: str) -> planned.CameraPlan:
        made = self.file.site.cameras[name]
        profile = self.scenario.camera_profiles[made.profile]
        password = f"{derive(self.seed, 'camera', name, 'password'):014x}"
        return planned.CameraPlan(
            name=name,
            profile=profile.name,
            width_px=profile.width_px,
            height_px=profile.height_px,
            rate_fps=float(profile.rate_fps),
            gop_frames=profile.gop_frames,
            bitrate_kbps=profile.bitrate_kbps,
            clip_s=profile.clip_s,
            objects=made.objects,
            path=profile.path.replace("{camera}", name),
            username=profile.username,
            password=password if profile.username else "",
            seed=derive(self.seed, "camera", name),
            scheme=profile.scheme,
            quirks=profile.quirks,
            slow_rate_fps=profile.slow_rate_fps,
            look=look_of(profile, made),
            coding=coding_of(profile, made),
            transport=made.transport,
        )

    def images(self) -> tuple[planned.ImagePlan, ...]:
        return tuple(
            planned.ImagePlan(
                version=version,
                defects=self._defects(version),
                size_bytes=made.size,
                fuse_level=fuse_level(version) if made.fuse_level is None else made.fuse_level,
                seed=derive(self.seed, "image", version),
                required=made.required,
                recalled=made.recalled,
                minimum_version=made.minimum_version or "",
                endpoints=tuple(made.endpoints),
                candidate=made.candidate,
            )
            for version, made in self.file.images.items()
        )

    def applications(self) -> tuple[planned.ApplicationPlan, ...]:
        paths = self.scenario.applications
        return tuple(planned.ApplicationPlan(name, path) for name, path in paths.items())

    def steps(self, steps: list[StepFile]) -> tuple[Step, ...]:
        return tuple(self._step(step) for step in steps)

    def _step(self, step: StepFile) -> Step:
        made: Step = getattr(self, f"_{step.verb}")(step)
        return made

    def _provision(self, step: StepFile) -> Step:
        return _side_by_side(planned.Provision, step.provision or [], _timeout(step))

    def _reboot(self, step: StepFile) -> Step:
        return _side_by_side(planned.Reboot, step.reboot or [], _timeout(step))

    def _shutdown(self, step: StepFile) -> Step:
        return _side_by_side(planned.Shutdown, step.shutdown or [], _timeout(step))

    def _power_on(self, step: StepFile) -> Step:
        return _side_by_side(planned.PowerOn, step.power_on or [], _timeout(step))

    def _deregister(self, step: StepFile) -> Step:
        return _side_by_side(planned.Deregister, step.deregister or [], _timeout(step))

    def _collect_logs(self, step: StepFile) -> Step:
        return _side_by_side(planned.CollectLogs, step.collect_logs or [], _timeout(step))

    def _pause_cameras(self, step: StepFile) -> Step:
        assert step.pause_cameras is not None
        signal = step.pause_cameras
        return planned.PauseCameras(signal.instance, tuple(signal.cameras), **_timeout(step))

    def _resume_cameras(self, step: StepFile) -> Step:
        assert step.resume_cameras is not None
        signal = step.resume_cameras
        return planned.ResumeCameras(signal.instance, tuple(signal.cameras), **_timeout(step))

    def _restore(self, step: StepFile) -> Step:
        assert step.restore is not None
        return planned.Restore(step.restore.appliance, step.restore.to, **_timeout(step))

    def _deploy(self, step: StepFile) -> Step:
        assert step.deploy is not None
        deploy = step.deploy
        return planned.Deploy(
            instance=deploy.instance,
            application=deploy.application,
            appliance=deploy.appliance,
            inputs={port: tuple(cameras) for port, cameras in deploy.inputs.items()},
            parameters=dict(deploy.parameters),
            work=self._work(deploy),
            role=deploy.role or "",
            open_ports=tuple(deploy.open_ports),
            expect=deploy.expect,
            **_timeout(step),
        )

    def _work(self, deploy: DeployFile) -> planned.WorkPlan | None:
        if deploy.work is None:
            return None
        profile = self.file.site.appliances[deploy.appliance].profile
        return deploy.work.made(self.scenario.appliance_profiles[profile])

    def _remove(self, step: StepFile) -> Step:
        assert step.remove is not None
        return planned.Remove(step.remove, **_timeout(step))

    def _update(self, step: StepFile) -> Step:
        assert step.update is not None
        update = step.update
        return planned.Update(
            appliance=update.appliance,
            image=update.image,
            expect=update.expect,
            allow_major=update.allow_major,
            **_timeout(step),
        )

    def _fault(self, step: StepFile) -> Step:
        assert step.fault is not None
        return planned.Inject(self._fault_plan(step.fault, None), **_timeout(step))

    def _observe(self, step: StepFile) -> Step:
        assert step.observe is not None
        return planned.Observe(step.observe)

    def _parallel(self, step: StepFile) -> Step:
        return planned.Parallel(tuple(self.steps(branch) for branch in step.parallel or ()))

    def nemesis(self) -> tuple[FaultPlan, ...]:
        ordered = sorted(self.file.nemesis, key=lambda fault: fault.at_s)
        return tuple(self._fault_plan(fault, fault.at_s) for fault in ordered)

    def _fault_plan(self, fault: FaultFile, at_s: float | None) -> FaultPlan:
        self._faults += 1
        name, kind = f"f{self._faults}", FAULTS[fault.kind]
        if self.engine not in kind.engines:
            raise InputError(
                f"{fault.kind} on {fault.target}: the {self.engine} rung knows nothing like it",
                hint=f"run it with --engine {kind.engines[0]}, or leave the fault out",
            )
        parameters = {
            key: one.read(fault.parameters.get(key, one.default))
            for key, one in kind.parameters.items()
        }
        if "seed" in parameters and "seed" not in fault.parameters:
            parameters["seed"] = derive(self.seed, "fault", name)
        return planned.FaultPlan(
            id=name,
            kind=fault.kind,
            target=fault.target,
            for_s=fault.for_s,
            at_s=at_s,
            parameters=parameters,
        )


def _side_by_side(make: Callable[..., Step], names: list[str], timeout: dict[str, float]) -> Step:
    steps = [make(name, **timeout) for name in names]
    return steps[0] if len(steps) == 1 else planned.Parallel(tuple((step,) for step in steps))


def _timeout(step: StepFile) -> dict[str, Any]:
    """The step's own time limit, if it has one; else the default of its kind holds."""
    return {} if step.timeout is None else {"timeout_s": step.timeout}


def _cloud(file: ScenarioFile) -> planned.CloudPlan:
    chosen = file.cloud.quotas
    quotas = OFF if chosen is None else chosen.quotas
    return planned.CloudPlan(quotas, file.cloud.broker, file.cloud.certificates)


def _checks(file: ScenarioFile, engine: str) -> tuple[planned.CheckPlan, ...]:
    """The checks that this engine can answer; `engines` of a check says which those are."""
    return tuple(
        planned.CheckPlan(name, {k: v for k, v in parameters.items() if k != ENGINES_KEY})
        for entry in file.checks
        for name, parameters in entry.items()
        if engine in parameters.get(ENGINES_KEY, ENGINES)
    )


def _limits(file: ScenarioFile) -> tuple[planned.LimitPlan, ...]:
    return tuple(_each_limit(file))


def _each_limit(file: ScenarioFile) -> Iterator[planned.LimitPlan]:
    for measurement, statistics in file.limits.items():
        for statistic, limit in statistics.items():
            yield planned.LimitPlan(measurement, statistic, limit.comparison, limit.value)
