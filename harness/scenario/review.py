"""What a schema cannot say: names that must exist, numbers that must agree; all with places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.fault.camera import OtherCodec, Resolution
from harness.jetson.hardware import power_mode
from harness.scenario.appearance import coding_of, look_of
from harness.scenario.coding import CODECS, Coding
from harness.scenario.firmware import fuse_level
from harness.scenario.problem import FileInvalid, did_you_mean
from harness.scenario.profile import appliance_profile, camera_profile
from harness.scenario.quota import DOCUMENTED
from harness.scenario.schema import ENGINES, ENGINES_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from harness.fault import FaultKind
    from harness.fault.camera import CameraFault
    from harness.jetson.profile import Profile
    from harness.scenario.camera import CameraProfile
    from harness.scenario.document import Document, Loc
    from harness.scenario.problem import Problem
    from harness.scenario.profile import ProfileLibrary
    from harness.scenario.quota import Quotas
    from harness.scenario.schema import (
        DeployFile,
        FaultFile,
        NemesisFile,
        ScenarioFile,
        StepFile,
        UpdateFile,
    )


@dataclass(frozen=True, slots=True)
class Known:
    """The names a scenario may use that come from elsewhere. None: whatever it says."""

    faults: Mapping[str, FaultKind]
    defects: Iterable[str]
    checks: Mapping[str, tuple[str, ...]] | None


@dataclass(slots=True)
class Review:
    """Collects problems, and what was resolved on the way."""

    document: Document
    file: ScenarioFile
    known: Known
    problems: list[Problem] = field(default_factory=list)
    appliance_profiles: dict[str, Profile] = field(default_factory=dict)
    camera_profiles: dict[str, CameraProfile] = field(default_factory=dict)
    applications: dict[str, Path] = field(default_factory=dict)

    @property
    def quotas(self) -> Quotas:
        """What steps are held to before anything starts: the documented, unless the file says."""
        chosen = self.file.cloud.quotas
        return DOCUMENTED if chosen is None else chosen.quotas

    def add(self, loc: Loc, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.problems.append(self.document.problem(loc, message, hint=hint, at_key=at_key))

    def name(
        self, loc: Loc, what: str, name: str, known: Iterable[str], *, at_key: bool = False
    ) -> bool:
        """Whether `name` is known; if not, a problem that says what is."""
        names = list(known)
        if name in names:
            return True
        hint = did_you_mean(name, names, what=f"known {what}s")
        self.add(loc, f"unknown {what} `{name}`", hint, at_key=at_key)
        return False


def review(found: Review, library: ProfileLibrary) -> None:
    """Check everything but applications and the order of steps; resolve profiles."""
    _profiles(found, library)
    _images(found)
    for loc, step in walk(found.file):
        _step(found, loc, step)
    _nemesis(found)
    _checks(found)


def walk(file: ScenarioFile) -> Iterator[tuple[Loc, StepFile]]:
    """Every step with its place, those inside `parallel` too."""
    for part in ("bring_up", "workload"):
        yield from _walk((part,), getattr(file, part))


def _walk(loc: Loc, steps: list[StepFile]) -> Iterator[tuple[Loc, StepFile]]:
    for index, step in enumerate(steps):
        yield (*loc, index), step
        for branch, inner in enumerate(step.parallel or ()):
            yield from _walk((*loc, index, "parallel", branch), inner)


def _profiles(found: Review, library: ProfileLibrary) -> None:
    site = found.file.site
    for name, appliance in site.appliances.items():
        loc: Loc = ("site", "appliances", name, "profile")
        _load(found, loc, appliance.profile, "appliances", library, found.appliance_profiles)
        profile = found.appliance_profiles.get(appliance.profile)
        if profile and fuse_level(appliance.firmware) < profile.fuse_level:
            found.add(
                ("site", "appliances", name, "firmware"),
                f"firmware {appliance.firmware} has fuse level {fuse_level(appliance.firmware)}: "
                f"a {profile.name} leaves the factory with {profile.fuse_level} fuses blown",
                "choose a newer firmware",
            )
        if profile:
            _power_mode(found, name, profile, appliance.power_mode)
    for name, camera in site.cameras.items():
        loc = ("site", "cameras", name, "profile")
        _load(found, loc, camera.profile, "cameras", library, found.camera_profiles)
        if (made := found.camera_profiles.get(camera.profile)) is not None:
            _appearance(found, name, made)


def _power_mode(found: Review, name: str, profile: Profile, mode: str) -> None:
    loc = ("site", "appliances", name, "power_mode")
    if profile.hardware is None:
        if mode != "max":
            found.add(loc, f"profile {profile.name} has no power modes", "leave power_mode out")
        return
    try:
        power_mode(profile.hardware, mode)
    except InputError as error:
        found.add(loc, str(error), error.hint)


def _appearance(found: Review, name: str, profile: CameraProfile) -> None:
    """What the scenario changes must go together, and with the profile's picture."""
    for part, settle in (("look", look_of), ("coding", coding_of)):
        try:
            settle(profile, found.file.site.cameras[name])
        except InputError as error:
            found.add(("site", "cameras", name, part), f"camera `{name}`: {error}", error.hint)


def _load(
    found: Review,
    loc: Loc,
    name: str,
    kind: str,
    library: ProfileLibrary,
    into: dict[str, Any],
) -> None:
    if name in into:
        return
    path = library.find(kind, name)
    if path is None:
        what = f"{kind.removesuffix('s')} profile"
        found.name(loc, what, name, library.known(kind))
        return
    read: Callable[..., Any] = appliance_profile if kind == "appliances" else camera_profile
    try:
        into[name] = read(path, shown_as=f"{path.parent.parent.name}/{kind}/{path.name}")
    except FileInvalid as invalid:
        found.problems += invalid.problems


def _images(found: Review) -> None:
    for version, image in found.file.images.items():
        for index, defect in enumerate(image.defects):
            loc: Loc = ("images", version, "defects", index)
            found.name(loc, "defect", defect, found.known.defects)
        for profile in found.appliance_profiles.values():
            if image.size > profile.slot_bytes:
                found.add(
                    ("images", version, "size"),
                    f"image {version} is larger than a slot of {profile.name}",
                    f"at most {profile.slot_bytes >> 20}MiB",
                )


def _step(found: Review, loc: Loc, step: StepFile) -> None:
    appliances = found.file.site.appliances
    for verb in ("provision", "reboot", "shutdown", "power_on", "deregister", "collect_logs"):
        named = getattr(step, verb) or ()
        for index, name in enumerate(named):
            place = (*loc, verb, index)
            if found.name(place, "appliance", name, appliances) and name in named[:index]:
                found.add(place, f"appliance `{name}` is named twice", "name it once")
    if step.restore:
        place = (*loc, "restore", "appliance")
        found.name(place, "appliance", step.restore.appliance, appliances)
    for verb in ("pause_cameras", "resume_cameras"):
        signal = getattr(step, verb)
        for index, name in enumerate(signal.cameras if signal else ()):
            found.name((*loc, verb, "cameras", index), "camera", name, found.file.site.cameras)
    if step.deploy:
        _deploy(found, (*loc, "deploy"), step.deploy)
    if step.update:
        _update(found, (*loc, "update"), step.update)
    if step.fault:
        _fault(found, (*loc, "fault"), step.fault)


def _deploy(found: Review, loc: Loc, deploy: DeployFile) -> None:
    file = found.file
    found.name((*loc, "application"), "application", deploy.application, file.applications)
    if found.name((*loc, "on"), "appliance", deploy.appliance, file.site.appliances):
        _streams(found, loc, deploy)
    for port, cameras in deploy.inputs.items():
        for index, name in enumerate(cameras):
            place = (*loc, "inputs", port, index)
            if found.name(place, "camera", name, file.site.cameras) and name in cameras[:index]:
                found.add(place, f"camera `{name}` is named twice", "name it once")
    _readable(found, loc, deploy)
    _engine(found, loc, deploy)


def _engine(found: Review, loc: Loc, deploy: DeployFile) -> None:
    site = found.file.site.appliances.get(deploy.appliance)
    profile = found.appliance_profiles.get(site.profile) if site else None
    if deploy.work is None or deploy.work.engine == "gpu" or profile is None:
        return
    if profile.hardware is None or not profile.hardware.dla_count:
        found.add((*loc, "work", "engine"), f"{profile.name} has no DLA", "use engine gpu")


def _readable(found: Review, loc: Loc, deploy: DeployFile) -> None:
    """An application may have a camera that it cannot read, but not only such."""
    known = found.file.site.cameras
    named = [name for cameras in deploy.inputs.values() for name in cameras if name in known]
    if named and not any(known[name].readable for name in named):
        message = f"`{deploy.instance}` would never get a frame: an appliance reads h264 alone"
        found.add((*loc, "inputs"), message, "give it a camera that sends h264 beside the others")


def _streams(found: Review, loc: Loc, deploy: DeployFile) -> None:
    count = sum(len(cameras) for cameras in deploy.inputs.values())
    profile = found.appliance_profiles.get(found.file.site.appliances[deploy.appliance].profile)
    quota = found.quotas.streams_per_application
    most = min(quota or count, profile.streams_max if profile else count)
    if count > most:
        message = f"{count} cameras: an application reads at most {most}"
        found.add((*loc, "inputs"), message, "deploy a second instance for the others")


def _update(found: Review, loc: Loc, update: UpdateFile) -> None:
    found.name((*loc, "appliance"), "appliance", update.appliance, found.file.site.appliances)
    found.name((*loc, "image"), "image", update.image, found.file.images)


def _fault(found: Review, loc: Loc, fault: FaultFile) -> None:
    if not found.name((*loc, "kind"), "fault", fault.kind, found.known.faults):
        return
    kind = found.known.faults[fault.kind]
    _target(found, (*loc, "target"), fault, kind.target)
    _rung(found, loc, kind)
    _user(found, loc, fault, kind)
    if fault.for_s == 0 and kind.lasting:
        found.add(loc, f"`for` is missing: how long does {fault.kind} last?", 'for example "3s"')
    values = {name: one.default for name, one in kind.parameters.items()}
    for name, value in fault.parameters.items():
        place = (*loc, "parameters", name)
        if not found.name(place, f"parameter of {fault.kind}", name, kind.parameters):
            continue
        parameter = kind.parameters[name]
        try:
            values[name] = parameter.read(value)
        except ValueError:
            hint = f"{parameter.range_text}: {parameter.says}"
            found.add(place, f"`{name}` cannot be `{value}`", hint)
    if kind.wire is not None:
        _pictures(found, loc, fault.target, kind.wire(values))


def _pictures(found: Review, loc: Loc, camera: str, wire: CameraFault) -> None:
    """Other pictures must be such as can be encoded."""
    made = found.file.site.cameras.get(camera)
    profile = found.camera_profiles.get(made.profile) if made is not None else None
    if profile is None:
        return
    size = (profile.width_px, profile.height_px)
    if isinstance(wire, OtherCodec):
        codec = next(codec for codec in CODECS if codec == wire.codec)
        try:
            Coding(codec=codec).check([size], slows_down=False)
        except InputError as error:
            found.add((*loc, "target"), f"camera `{camera}`: {error}", error.hint)
    if isinstance(wire, Resolution) and (wire.width_px % 2 or wire.height_px % 2):
        message = f"pictures of {wire.width_px}x{wire.height_px} pixels cannot be encoded"
        found.add((*loc, "parameters"), message, "an even width and an even height")


def _rung(found: Review, loc: Loc, kind: FaultKind) -> None:
    if found.file.engine not in kind.engines:
        message = f"{kind.name}: the {found.file.engine} rung knows nothing like it"
        hint = f"write `engine: {kind.engines[0]}`, or leave the fault out"
        found.add((*loc, "kind"), message, hint)


def _user(found: Review, loc: Loc, fault: FaultFile, kind: FaultKind) -> None:
    camera = found.file.site.cameras.get(fault.target)
    profile = found.camera_profiles.get(camera.profile) if camera is not None else None
    if kind.user and profile is not None and not profile.username:
        message = f"{kind.name}: anybody may read `{fault.target}`, a {profile.name}"
        found.add((*loc, "target"), message, "choose a camera whose profile has a `username`")


def _target(found: Review, loc: Loc, fault: FaultFile, wanted: str) -> None:
    by_kind: dict[str, set[str]] = {
        "appliance": set(found.file.site.appliances),
        "camera": set(found.file.site.cameras),
        "instance": {step.deploy.instance for _, step in walk(found.file) if step.deploy},
    }
    if fault.target in by_kind[wanted]:
        return
    others = [kind for kind, names in by_kind.items() if fault.target in names]
    if others:
        message = f"{fault.kind} strikes {_a(wanted)}, and `{fault.target}` is {_a(others[0])}"
        hint = did_you_mean(fault.target, by_kind[wanted], what=f"known {wanted}s")
        found.add(loc, message, hint)
    else:
        found.name(loc, wanted, fault.target, by_kind[wanted])


def _a(noun: str) -> str:
    return f"a{'n' if noun[0] in 'aeiou' else ''} {noun}"


def _nemesis(found: Review) -> None:
    struck: dict[tuple[str, str], list[NemesisFile]] = {}
    for index, fault in enumerate(found.file.nemesis):
        loc: Loc = ("nemesis", index)
        _fault(found, loc, fault)
        if fault.at_s + fault.for_s > found.file.stop_after:
            hint = "let it heal before stop_after"
            found.add((*loc, "at"), f"{fault.kind} outlasts the run", hint)
        earlier = struck.setdefault((fault.kind, fault.target), [])
        if any(_overlap(fault, other) for other in earlier):
            message = f"{fault.kind} strikes `{fault.target}` while it already does"
            found.add((*loc, "at"), message, "a fault must heal before it comes again")
        earlier.append(fault)


def _overlap(one: NemesisFile, other: NemesisFile) -> bool:
    return one.at_s <= other.at_s + other.for_s and other.at_s <= one.at_s + one.for_s


def _checks(found: Review) -> None:
    seen: set[str] = set()
    for index, entry in enumerate(found.file.checks):
        ((name, parameters),) = entry.items()
        loc: Loc = ("checks", index)
        place = (*loc, name)
        if name in seen:
            found.add(place, f"check `{name}` is listed twice", "list it once", at_key=True)
        seen.add(name)
        engines = parameters.get(ENGINES_KEY, ENGINES)
        if not isinstance(engines, list | tuple) or not engines or not set(engines) <= set(ENGINES):
            hint = f"a list of {' and '.join(ENGINES)}"
            found.add((*place, ENGINES_KEY), f"check `{name}` is for no known engine", hint)
        known = found.known.checks
        if known is None or not found.name(place, "check", name, known):
            continue
        for parameter in [p for p in parameters if p != ENGINES_KEY]:
            what = f"parameter of {name}"
            found.name((*place, parameter), what, parameter, known[name], at_key=True)
