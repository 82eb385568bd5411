"""The fault kinds.

A fault acts on the `World`, the few handles every engine offers. Its `shows` sign is an event
that proves it took effect: a fault nobody noticed proves nothing, and the run is inconclusive.
Its `recovers` sign, after the heal, proves that the system came back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from harness.record import kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.record.event import Event


class World(Protocol):
    """What a fault can get hold of, by name. All calls return at once."""

    def break_uplink(self, appliance: str) -> None:
        """Reset every connection of the appliance to the control plane and refuse new ones."""

    def hush_uplink(self, appliance: str) -> None:
        """Keep connections open and pass nothing in either direction."""

    def restore_uplink(self, appliance: str) -> None: ...

    def camera_offline(self, camera: str) -> None:
        """Close all sessions and the listener."""

    def camera_online(self, camera: str) -> None: ...

    def camera_stall(self, camera: str) -> None:
        """Keep sessions open and send nothing."""

    def camera_resume(self, camera: str) -> None: ...

    def cut_power(self, appliance: str) -> None: ...

    def restore_power(self, appliance: str) -> None: ...

    def kill_node(self, instance: str) -> None:
        """SIGKILL to the application."""


@dataclass(frozen=True, slots=True)
class Sign:
    """An event that tells about a target: by its source, or by one of its values."""

    kind: str
    source: str = ""  # "appliance" means source appliance/<target>
    value: str = ""  # the key of `values` that holds the target
    where: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, event: Event, target: str) -> bool:
        if event.kind != self.kind:
            return False
        if self.source and event.source != f"{self.source}/{target}":
            return False
        if self.value and event.values.get(self.value) != target:
            return False
        return all(event.values.get(key) == value for key, value in self.where.items())


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One kind of fault. `target` is what it strikes: appliance, camera or instance.

    A fault that is not `lasting` is over in a moment: recovery does not wait for its heal.
    """

    name: str
    target: str
    label: str
    summary: str
    inject: Callable[[World, str], None]
    heal: Callable[[World, str], None]
    shows: Sign
    recovers: Sign
    lasting: bool = True
    parameters: Mapping[str, tuple[type, Any]] = field(default_factory=dict)


_LINK_LOST = Sign(kind.LINK_LOST, source="appliance")
_LINK_UP = Sign(kind.LINK_CONNECTED, source="appliance")
_CAMERA_LOST = Sign(kind.CAMERA_LOST, value="camera")
_CAMERA_UP = Sign(kind.CAMERA_CONNECTED, value="camera")

FAULTS: Mapping[str, FaultKind] = {
    fault.name: fault
    for fault in (
        FaultKind(
            name="uplink.loss",
            target="appliance",
            label="no uplink",
            summary="connections to the control plane are reset, new ones refused",
            inject=lambda world, target: world.break_uplink(target),
            heal=lambda world, target: world.restore_uplink(target),
            shows=_LINK_LOST,
            recovers=_LINK_UP,
        ),
        FaultKind(
            name="uplink.blackhole",
            target="appliance",
            label="uplink black hole",
            summary="connections stay open and nothing passes; only a time-out tells",
            inject=lambda world, target: world.hush_uplink(target),
            heal=lambda world, target: world.restore_uplink(target),
            shows=_LINK_LOST,
            recovers=_LINK_UP,
        ),
        FaultKind(
            name="camera.offline",
            target="camera",
            label="camera off",
            summary="the camera closes its sessions and refuses connections",
            inject=lambda world, target: world.camera_offline(target),
            heal=lambda world, target: world.camera_online(target),
            shows=_CAMERA_LOST,
            recovers=_CAMERA_UP,
        ),
        FaultKind(
            name="camera.stall",
            target="camera",
            label="camera stalls",
            summary="the camera keeps its sessions and sends nothing",
            inject=lambda world, target: world.camera_stall(target),
            heal=lambda world, target: world.camera_resume(target),
            shows=_CAMERA_LOST,
            recovers=_CAMERA_UP,
        ),
        FaultKind(
            name="power.cut",
            target="appliance",
            label="no power",
            summary="the appliance loses power; unsynced writes are lost",
            inject=lambda world, target: world.cut_power(target),
            heal=lambda world, target: world.restore_power(target),
            shows=Sign(kind.STOPPED, source="appliance", where={"reason": "power-cut"}),
            recovers=Sign(kind.STATE, source="appliance", where={"state": "online"}),
        ),
        FaultKind(
            name="app.kill",
            target="instance",
            label="application killed",
            summary="the application's process gets SIGKILL",
            inject=lambda world, target: world.kill_node(target),
            heal=lambda _world, _target: None,
            shows=Sign(kind.NODE_ENDED, value="instance"),
            recovers=Sign(kind.NODE_STARTED, value="instance"),
            lasting=False,
        ),
    )
}
