"""The order of steps: what a step needs must have come before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from harness.scenario.firmware import fuse_level, major, version_key
from harness.scenario.review import walk

if TYPE_CHECKING:
    from harness.scenario.document import Loc
    from harness.scenario.review import Review
    from harness.scenario.schema import (
        DeployFile,
        FaultFile,
        RestoreFile,
        SignalFile,
        StepFile,
        UpdateFile,
    )

T = TypeVar("T")


@dataclass(slots=True)
class _State:
    """The site as far as steps have brought it; branches of `parallel` start from a copy."""

    provisioned: set[str] = field(default_factory=set)
    off: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)  # deregistered, and not reset since
    firmware: dict[str, str] = field(default_factory=dict)
    required: dict[str, str] = field(default_factory=dict)  # what recovery restores at least
    fuses: dict[str, int] = field(default_factory=dict)
    instances: dict[str, DeployFile] = field(default_factory=dict)
    ever: set[str] = field(default_factory=set)

    def copy(self) -> _State:
        return _State(
            set(self.provisioned),
            set(self.off),
            set(self.deleted),
            dict(self.firmware),
            dict(self.required),
            dict(self.fuses),
            dict(self.instances),
            self.ever,  # shared: an instance name is used once in a whole run
        )

    def join(self, before: _State, branches: list[_State]) -> None:
        """Take over what each branch changed."""
        for branch in branches:
            self.provisioned |= branch.provisioned - before.provisioned
            self.provisioned -= before.provisioned - branch.provisioned
            self.off |= branch.off - before.off
            self.off -= before.off - branch.off
            self.deleted |= branch.deleted - before.deleted
            self.deleted -= before.deleted - branch.deleted
            _take(self.firmware, branch.firmware, before.firmware)
            _take(self.required, branch.required, before.required)
            _take(self.fuses, branch.fuses, before.fuses)
            for name in before.instances.keys() - branch.instances.keys():
                self.instances.pop(name, None)
            for name in branch.instances.keys() - before.instances.keys():
                self.instances[name] = branch.instances[name]


def _take(mine: dict[str, T], theirs: dict[str, T], before: dict[str, T]) -> None:
    mine.update({name: value for name, value in theirs.items() if before[name] != value})


def sequence(found: Review) -> None:
    """Walk the steps in order and report what cannot work. Unknown names are passed over."""
    file = found.file
    firmware = {name: a.firmware for name, a in file.site.appliances.items()}
    state = _State(
        firmware=firmware,
        required=dict(firmware),
        fuses={name: _blown(found, name) for name in firmware},
    )
    _steps(found, ("bring_up",), file.bring_up, state)
    _unprovisioned(found, state)
    up = state.copy()
    _steps(found, ("workload",), file.workload, state)
    _left(found, state)
    later = [step.deploy for loc, step in walk(file) if loc[0] == "workload" and step.deploy]
    reach = {**up.instances, **{deploy.instance: deploy for deploy in later}}
    for index, fault in enumerate(file.nemesis):
        _fault(found, ("nemesis", index), fault, up, reach)
    _length(found)


def _blown(found: Review, appliance: str) -> int:
    """Fuses blown when the appliance leaves the factory."""
    made = found.file.site.appliances[appliance]
    profile = found.appliance_profiles.get(made.profile)
    return max(fuse_level(made.firmware), profile.fuse_level if profile else 0)


def _unprovisioned(found: Review, state: _State) -> None:
    for name in found.file.site.appliances:
        if name not in state.provisioned:
            found.add(
                ("site", "appliances", name),
                f"`{name}` is not provisioned in bring_up: it could never be online",
                f"add `- provision: {name}` to bring_up",
                at_key=True,
            )
            state.provisioned.add(name)  # said once


def _left(found: Review, state: _State) -> None:
    """In the end all must be online: what is off or blank then never is."""
    for name in sorted(state.off):
        hint = f"add `- power_on: {name}` to the workload"
        found.add(("site", "appliances", name), f"`{name}` is off in the end", hint, at_key=True)
    for name in sorted(state.firmware.keys() - state.provisioned - state.off):
        hint = f"add `- provision: {name}` after the restore to factory"
        message = f"`{name}` is not provisioned in the end"
        found.add(("site", "appliances", name), message, hint, at_key=True)


def _steps(found: Review, loc: Loc, steps: list[StepFile], state: _State) -> None:
    for index, step in enumerate(steps):
        _step(found, (*loc, index), step, state)


def _step(found: Review, loc: Loc, step: StepFile, state: _State) -> None:
    for index, name in enumerate(step.provision or ()):
        if name in state.provisioned:
            hint = "an appliance is provisioned once"
            found.add((*loc, "provision", index), f"`{name}` is provisioned already", hint)
        if name in state.deleted:
            hint = "`- restore: {appliance: " + name + ", to: factory}` before this step"
            message = f"`{name}` was deregistered: it registers again only after a reset"
            found.add((*loc, "provision", index), message, hint)
            state.deleted.discard(name)  # said once
        state.provisioned.add(name)
    for index, name in enumerate(step.deregister or ()):
        _needs(found, (*loc, "deregister", index), name, state)
        state.provisioned.discard(name)
        state.deleted.add(name)
        _forget(state, name)
    for index, name in enumerate(step.collect_logs or ()):
        _needs(found, (*loc, "collect_logs", index), name, state)
    for verb in ("pause_cameras", "resume_cameras"):
        if signal := getattr(step, verb):
            _signal(found, (*loc, verb), signal, state)
    for index, name in enumerate(step.reboot or ()):
        _needs(found, (*loc, "reboot", index), name, state)
    for index, name in enumerate(step.shutdown or ()):
        _needs(found, (*loc, "shutdown", index), name, state)
        state.off.add(name)
    for index, name in enumerate(step.power_on or ()):
        if name not in state.off and name in state.firmware:
            hint = f"shut it down in an earlier step: `- shutdown: {name}`"
            found.add((*loc, "power_on", index), f"`{name}` is not off", hint)
        state.off.discard(name)
    if step.restore:
        _restore(found, (*loc, "restore"), step.restore, state)
    if step.deploy:
        _deploy(found, (*loc, "deploy"), step.deploy, state)
    if step.remove:
        _remove(found, (*loc, "remove"), step.remove, state)
    if step.update:
        _update(found, (*loc, "update"), step.update, state)
    if step.fault:
        _fault(found, (*loc, "fault"), step.fault, state, state.instances)
    if step.parallel:
        before = state.copy()
        branches = []
        for index, branch in enumerate(step.parallel):
            branches.append(before.copy())
            _steps(found, (*loc, "parallel", index), branch, branches[-1])
        state.join(before, branches)


def _restore(found: Review, loc: Loc, restore: RestoreFile, state: _State) -> None:
    name = restore.appliance
    if name not in state.firmware:
        return
    state.off.discard(name)
    if restore.to == "latest":
        return
    version = state.required[name]
    if (level := fuse_level(version)) < state.fuses[name]:
        blown = f"`{name}` has blown {state.fuses[name]}"
        message = f"{version}, the last required version, has fuse level {level}; {blown}"
        found.add((*loc, "to"), f"{message}: it is not restored", "mark a newer image `required`")
    state.firmware[name] = version
    if restore.to == "factory":
        state.provisioned.discard(name)
        state.deleted.discard(name)
        _forget(state, name)


def _forget(state: _State, appliance: str) -> None:
    """Its applications are nobody's any more."""
    for instance in [i for i, d in state.instances.items() if d.appliance == appliance]:
        del state.instances[instance]


def _signal(found: Review, loc: Loc, signal: SignalFile, state: _State) -> None:
    deploy = state.instances.get(signal.instance)
    if deploy is None:
        running = ", ".join(f"`{name}`" for name in sorted(state.instances)) or "none"
        found.add((*loc, "instance"), f"`{signal.instance}` does not run", f"running: {running}")
        return
    read = {camera for cameras in deploy.inputs.values() for camera in cameras}
    for index, name in enumerate(signal.cameras):
        if name not in read and name in found.file.site.cameras:
            message = f"`{signal.instance}` does not read `{name}`"
            hint = f"one of {', '.join(sorted(read))}"
            found.add((*loc, "cameras", index), message, hint)


def _needs(found: Review, loc: Loc, appliance: str, state: _State) -> None:
    if appliance in state.off:
        hint = f"`- power_on: {appliance}` before this step"
        found.add(loc, f"`{appliance}` is off", hint)
        state.off.discard(appliance)  # said once
    if appliance not in state.provisioned and appliance in state.firmware:
        hint = f"provision it in an earlier step: `- provision: {appliance}`"
        found.add(loc, f"`{appliance}` is not provisioned yet", hint)
        state.provisioned.add(appliance)  # said once


def _deploy(found: Review, loc: Loc, deploy: DeployFile, state: _State) -> None:
    _needs(found, (*loc, "on"), deploy.appliance, state)
    if deploy.instance in state.ever:
        hint = "every instance of a run has its own name"
        found.add((*loc, "as"), f"there is an instance `{deploy.instance}` already", hint)
    state.ever.add(deploy.instance)
    state.instances[deploy.instance] = deploy
    here = sum(other.appliance == deploy.appliance for other in state.instances.values())
    most = found.quotas.applications_per_device
    if most is not None and here > most:
        hint = "remove one before, or raise `applications_per_device` in `cloud: {quotas: ...}`"
        found.add((*loc, "on"), f"`{deploy.appliance}` holds at most {most} applications", hint)


def _remove(found: Review, loc: Loc, instance: str, state: _State) -> None:
    if state.instances.pop(instance, None) is not None:
        return
    gone = instance in state.ever
    message = f"`{instance}` is {'removed already' if gone else 'not deployed yet'}"
    running = ", ".join(f"`{name}`" for name in sorted(state.instances)) or "none"
    found.add(loc, message, f"running at this step: {running}")


def _update(found: Review, loc: Loc, update: UpdateFile, state: _State) -> None:
    _needs(found, (*loc, "appliance"), update.appliance, state)
    image = found.file.images.get(update.image)
    if image is None or update.appliance not in state.firmware:
        return
    now, fuses = state.firmware[update.appliance], state.fuses[update.appliance]
    blocked = found.file.site.appliances[update.appliance].blocked
    missing = sorted(set(image.endpoints) & set(blocked))
    level = fuse_level(update.image) if image.fuse_level is None else image.fuse_level
    reason, hint = "", "write `expect: refused`, or choose another image"
    if update.image == now:
        reason = f"`{update.appliance}` runs {now} already"
    elif level < fuses:
        reason = f"{update.image} has fuse level {level}, `{update.appliance}` has blown {fuses}"
    elif major(update.image) > major(now) and not update.allow_major:
        reason = f"{now} to {update.image} crosses a major version"
        hint = "add `allow_major: true`, or write `expect: refused`"
    elif image.recalled:
        reason = f"{update.image} is recalled"
    elif image.minimum_version and version_key(now) < version_key(image.minimum_version):
        reason = f"{update.image} is installed from {image.minimum_version} on, this is {now}"
    elif missing:
        reason = f"`{update.appliance}` does not reach {', '.join(missing)}"
    if reason and update.expect != "refused":
        found.add((*loc, "image"), f"{reason}: the update is refused", hint)
    elif not reason and update.expect == "committed":
        state.firmware[update.appliance] = update.image
        state.fuses[update.appliance] = max(fuses, level)
        if image.required:
            state.required[update.appliance] = update.image


def _fault(
    found: Review,
    loc: Loc,
    fault: FaultFile,
    state: _State,
    instances: dict[str, DeployFile],
) -> None:
    kind = found.known.faults.get(fault.kind)
    target = kind.target if kind else ""
    place = (*loc, "target")
    if target == "appliance":
        _needs(found, place, fault.target, state)
    elif target == "instance" and fault.target not in instances:
        hint = "a fault without effect would leave the run inconclusive"
        found.add(place, f"`{fault.target}` is not deployed when {fault.kind} comes", hint)
    elif target == "camera" and fault.target in _unwatched(found, instances):
        hint = "a fault without effect would leave the run inconclusive"
        found.add(place, f"no application reads `{fault.target}` when {fault.kind} comes", hint)


def _unwatched(found: Review, instances: dict[str, DeployFile]) -> set[str]:
    """Cameras that no application gets frames of."""
    inputs = [cameras for deploy in instances.values() for cameras in deploy.inputs.values()]
    cameras = found.file.site.cameras
    readable = {name for name, camera in cameras.items() if camera.readable}
    return cameras.keys() - readable.intersection(name for names in inputs for name in names)


def _length(found: Review) -> None:
    least = _least_s(found.file.workload)
    if least > found.file.stop_after:
        message = f"the workload alone takes {least:g} s: it would be cut short"
        found.add(("stop_after",), message, f'at least "{least:g}s"')


def _least_s(steps: list[StepFile]) -> float:
    """Seconds that steps take at the very least: what they observe and hold."""
    return sum(
        (step.observe or 0.0)
        + (step.fault.for_s if step.fault else 0.0)
        + max((_least_s(branch) for branch in step.parallel or ()), default=0.0)
        for step in steps
    )
