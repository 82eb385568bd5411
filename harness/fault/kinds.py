"""What a kind of fault is, and what it can get hold of.

A fault acts on the `World`, the few handles every engine offers. Its `shows` sign is an event
that proves it took effect: a fault nobody noticed proves nothing, and the run is inconclusive.
Its `recovers` sign, after the heal, proves that the system came back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.fault.camera import CameraFault, Parameter
    from harness.record.event import Event

MODEL, PROCESS = "model", "process"


class World(Protocol):
    """What a fault can get hold of, by name. All calls return at once."""

    def break_uplink(self, appliance: str) -> None:
        """Reset every connection of the appliance to the control plane and refuse new ones."""

    def hush_uplink(self, appliance: str) -> None:
        """Keep connections open and pass nothing in either direction."""

    def restore_uplink(self, appliance: str) -> None: ...

    def inject_camera(self, camera: str, fault: CameraFault) -> None:
        """Let `fault` act on the camera, beside others that do."""

    def heal_camera(self, camera: str, kind: type[CameraFault]) -> None: ...

    def withhold_credentials(self, camera: str) -> None:
        """From now on appliances cannot fetch the camera's credentials when they connect anew."""

    def return_credentials(self, camera: str) -> None: ...

    def cut_power(self, appliance: str) -> None: ...

    def restore_power(self, appliance: str) -> None: ...

    def pull_cable(self, appliance: str, port: str) -> None:
        """Out of `eth0` or `eth1`."""

    def plug_cables(self, appliance: str) -> None:
        """Both of them, where one is out."""

    def silence_ntp(self, appliance: str) -> None:
        """No NTP server answers it any more."""

    def answer_ntp(self, appliance: str) -> None: ...

    def step_clock(self, appliance: str, by_s: float) -> None:
        """Set its clock wrong."""

    def empty_clock(self, appliance: str) -> None:
        """Nothing has kept the time when it powers on again: it begins in 1970."""

    def rot_part(self, appliance: str, part: str) -> None:
        """Flip a bit of a part of the image that runs."""

    def rot_application(self, instance: str) -> None:
        """Flip a bit of a file that the application uses."""

    def make_read_only(self, appliance: str) -> None:
        """The data partition takes no write."""

    def fill_storage(self, appliance: str) -> None:
        """The data partition has no room."""

    def slow_storage(self, appliance: str, by_s: float) -> None:
        """Every sync of the data partition takes so much longer."""

    def mend_storage(self, appliance: str, trouble: str) -> None:
        """Take back one of them: `read-only`, `full` or `slow`."""

    def kill_node(self, instance: str) -> None:
        """SIGKILL to the application."""


@dataclass(frozen=True, slots=True)
class Sign:
    """An event that tells about a target: by its source, or by one of its values.

    `where` says what other values are, `above` which are larger than a number, `lacks` which
    lists do not hold something.
    """

    kind: str
    source: str = ""  # "appliance" means source appliance/<target>
    value: str = ""  # the key of `values` that holds the target
    where: Mapping[str, Any] = field(default_factory=dict)
    above: Mapping[str, float] = field(default_factory=dict)
    lacks: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, event: Event, target: str) -> bool:
        if event.kind != self.kind:
            return False
        if self.source and event.source != f"{self.source}/{target}":
            return False
        if self.value and event.values.get(self.value) != target:
            return False
        values = event.values
        return (
            all(values.get(key) == value for key, value in self.where.items())
            and all(values.get(key, least) > least for key, least in self.above.items())
            and all(one not in values.get(key, (one,)) for key, one in self.lacks.items())
        )


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One kind of fault. `target` is what it strikes: appliance, camera or instance.

    A fault that is not `lasting` is over in a moment: recovery does not wait for its heal.
    `inject` gets the values of its `parameters`; `engines` are the rungs that can tell what it
    does; with `user` only a camera that asks for a user can have it. `wire` makes the fault of a
    camera's own that it is, if it is one, of its values: a camera may have to prepare for it.
    """

    name: str
    target: str
    label: str
    summary: str
    inject: Callable[[World, str, Mapping[str, Any]], None]
    heal: Callable[[World, str], None]
    shows: Sign
    recovers: Sign
    lasting: bool = True
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    engines: tuple[str, ...] = (MODEL, PROCESS)
    user: bool = False
    wire: Callable[[Mapping[str, Any]], CameraFault] | None = None
