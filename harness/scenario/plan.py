"""The plan: a scenario compiled to frozen data, every choice made, every seed drawn.

Engines run plans and nothing else; a plan printed by `harness plan` is the whole truth about
what a run will do. `Plan.to_json()` is canonical and its digest names the plan in the history.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from harness.record.canonical import digest
from harness.scenario.coding import H264, USUAL, Coding
from harness.scenario.look import PLAIN, Look
from harness.scenario.quirk import NONE, Quirks
from harness.scenario.quota import OFF, Quotas

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.jetson.profile import Profile

AMBIENT_C = 25.0


BrokerKind: TypeAlias = Literal["embedded", "mosquitto"]


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """`layout`: `single`, one network and a spare port, or `dual`, cameras and internet apart.

    `configuration` is the NetworkPayload that the appliance is provisioned with; empty: DHCP.
    """

    layout: str = "single"
    configuration: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AppliancePlan:
    """One appliance: its hardware profile and the firmware it leaves the factory with.

    `defects` are that firmware's. Virtual time alone knows of power modes and heat. Endpoints that
    are `blocked` do not answer it.
    """

    name: str
    profile: Profile
    firmware: str
    seed: int
    power_mode: str = "max"
    ambient_c: float = AMBIENT_C
    defects: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    network: NetworkPlan = NetworkPlan()


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """One synthetic camera, everything resolved from its camera profile and the scenario.

    With `slow_rate_fps` it slows down to that rate in the second half of its loop.
    """

    name: str
    profile: str
    width_px: int
    height_px: int
    rate_fps: float
    gop_frames: int
    bitrate_kbps: int
    clip_s: float
    objects: int
    path: str
    username: str
    password: str = field(metadata={"secret": True})
    seed: int
    scheme: str = "digest"
    quirks: Quirks = NONE
    slow_rate_fps: float = 0.0
    look: Look = PLAIN
    coding: Coding = USUAL
    transport: str = "tcp"

    @property
    def readable(self) -> bool:
        """Whether an appliance can read it: H.264 alone (vendor's developer guide)."""
        return self.coding.codec == H264

    @property
    def granted(self) -> str:
        """The transport that an appliance gets when it asks for `transport`."""
        return "tcp" if self.quirks.tcp_only else self.transport


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """A firmware image offered for updates; `defects` name what is wrong with it.

    A `candidate` is the one under test: what a run adds in defects goes into it.
    """

    version: str
    defects: tuple[str, ...]
    size_bytes: int
    fuse_level: int
    seed: int
    required: bool = False
    candidate: bool = False
    recalled: bool = False
    minimum_version: str = ""
    endpoints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApplicationPlan:
    """An application directory (panoramacli layout) that deploy steps refer to by name."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class CloudPlan:
    """The control plane of the run; the model rung has no broker."""

    quotas: Quotas = OFF
    broker: BrokerKind = "embedded"
    certificate_s: float | None = None  # life of a device certificate; None: for ever


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """A fault with its target, its heal and its parameters. `at_s` None: when its step comes."""

    id: str
    kind: str
    target: str
    for_s: float
    at_s: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Provision:
    appliance: str
    timeout_s: float = 120.0


@dataclass(frozen=True, slots=True)
class WorkPlan:
    """What an application's frames cost in virtual time, where that differs from the profile.

    The first inference takes `first_inference_s` longer, and the first `cold_frames` frames take
    `cold_host_s` on the CPU. `encode_pixels` of each frame are encoded again. With `epoch_frames`
    the application tells of every so many; it prints `console_bytes_per_s` and holds
    `resident_bytes` of memory.
    """

    host_s: float
    inference_s: float
    loop_s: float = 0.0
    engine: str = "gpu"
    memory_bytes: float = 0.0
    encode_pixels: float = 0.0
    first_inference_s: float = 0.0
    cold_host_s: float = 0.0
    cold_frames: int = 0
    epoch_frames: int = 0
    console_bytes_per_s: int = 0
    resident_bytes: int = 600 << 20  # estimate: Python, a runtime and a small model; half or twice


@dataclass(frozen=True, slots=True)
class Deploy:
    """Deploy `application` to `appliance`; `inputs` maps a camera node of the graph to cameras.

    `open_ports` are container ports of its routing rules that the override document names again.
    `expect` is `running`, or `refused` by the appliance.
    """

    instance: str
    application: str
    appliance: str
    inputs: Mapping[str, tuple[str, ...]]
    parameters: Mapping[str, Any]
    timeout_s: float = 1200.0
    work: WorkPlan | None = None
    role: str = ""  # RuntimeRoleArn
    open_ports: tuple[int, ...] = ()
    expect: str = "running"


@dataclass(frozen=True, slots=True)
class Remove:
    instance: str
    timeout_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Update:
    """OTA to `image`; `expect` is `committed`, `rolled-back` or `refused`."""

    appliance: str
    image: str
    expect: str
    allow_major: bool
    timeout_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Reboot:
    appliance: str
    timeout_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Press the power button and wait until it is off."""

    appliance: str
    timeout_s: float = 120.0


@dataclass(frozen=True, slots=True)
class PowerOn:
    """Press the power button of an appliance that is off; wait until it is back."""

    appliance: str
    timeout_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Restore:
    """Shut down, hold the buttons for `what`: `latest`, `required` or `factory`."""

    appliance: str
    what: str
    timeout_s: float = 1200.0


@dataclass(frozen=True, slots=True)
class Deregister:
    """Delete the device of the appliance, which stays as it is and is refused from then on."""

    appliance: str
    timeout_s: float = 300.0


@dataclass(frozen=True, slots=True)
class CollectLogs:
    """Shut down, plug a stick that asks for a log image, power on, and wait for the image."""

    appliance: str
    timeout_s: float = 600.0


@dataclass(frozen=True, slots=True)
class PauseCameras:
    """Signal PAUSE to cameras of an instance, and wait until the appliance has done it."""

    instance: str
    cameras: tuple[str, ...]
    timeout_s: float = 300.0


@dataclass(frozen=True, slots=True)
class ResumeCameras:
    """Signal RESUME, and wait until frames come again."""

    instance: str
    cameras: tuple[str, ...]
    timeout_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Inject:
    """Inject a fault, hold it for its time, heal it, and wait until it is recovered from."""

    fault: FaultPlan
    timeout_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Observe:
    """Let the site run for a while."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class Parallel:
    """Branches run side by side; each branch is a sequence of steps."""

    branches: tuple[tuple[Step, ...], ...]


Step: TypeAlias = (
    "Provision | Deploy | Remove | Update | Reboot | Shutdown | PowerOn | Restore | Inject"
    " | Observe | Parallel | Deregister | CollectLogs | PauseCameras | ResumeCameras"
)


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """A checker of `harness.judge` by name, with its parameters."""

    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LimitPlan:
    """A limit on a measurement: `statistic` is p50 | p90 | p99 | max | mean | min | value."""

    measurement: str
    statistic: str
    comparison: str  # "<=" or ">="
    bound: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does. Times are engine seconds; nemesis times count from the workload's start.

    `time_scale` is how many device seconds pass in one wall second on the process rung: it
    shortens modelled durations (boot, flash writes, back-off), never video, inference or the
    network. The model rung ignores it. `timing` is host | jetson: how long an inference takes on
    the process rung, as this machine does it or as the appliance is predicted to.
    """

    scenario: str
    description: str
    source: str
    seed: int
    engine: str
    time_scale: float
    appliances: tuple[AppliancePlan, ...]
    cameras: tuple[CameraPlan, ...]
    images: tuple[ImagePlan, ...]
    applications: tuple[ApplicationPlan, ...]
    bring_up: tuple[Step, ...]
    workload: tuple[Step, ...]
    nemesis: tuple[FaultPlan, ...]
    checks: tuple[CheckPlan, ...]
    limits: tuple[LimitPlan, ...]
    stop_after_s: float
    converge_within_s: float
    cloud: CloudPlan = CloudPlan()
    timing: str = "host"
    schema: int = 1

    @property
    def faults(self) -> tuple[FaultPlan, ...]:
        """All of them: timed ones and those of steps."""
        steps = (*self.bring_up, *self.workload)
        return (*self.nemesis, *_faults_of(steps))

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values; steps carry their class name under `step`.

        Passwords are left out: they derive from the seed, and a run directory is handed around.
        """
        value = _plain(self)
        assert isinstance(value, dict)
        return value

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: same scenario and seed, same digest."""
        return digest(self.to_json())


_STEPS = (
    *(Provision, Deploy, Remove, Update, Reboot, Shutdown, PowerOn, Restore),
    *(Deregister, CollectLogs, PauseCameras, ResumeCameras),
    *(Inject, Observe, Parallel),
)


def action(step: Step) -> str:
    """The verb of a step, as scenario files write it: `power_on` of `PowerOn`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(step).__name__).lower()


def _faults_of(steps: tuple[Step, ...]) -> Iterator[FaultPlan]:
    for step in steps:
        if isinstance(step, Inject):
            yield step.fault
        elif isinstance(step, Parallel):
            for branch in step.branches:
                yield from _faults_of(branch)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {
            f.name: _plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not f.metadata.get("secret")
        }
        if isinstance(value, _STEPS):
            plain = {"step": action(value), **plain}
        return plain
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
