"""Faults of appliances and of their applications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.fault.camera import Parameter
from harness.fault.kinds import FaultKind, Sign
from harness.record import kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.fault.kinds import World

_LINK_LOST = Sign(kind.LINK_LOST, source="appliance")
_LINK_UP = Sign(kind.LINK_CONNECTED, source="appliance")

CENTURY = 100 * 365.25 * 86400.0


def _lose_clock(world: World, target: str, _values: Mapping[str, Any]) -> None:
    world.cut_power(target)
    world.empty_clock(target)


KINDS: Sequence[FaultKind] = (
    FaultKind(
        name="uplink.loss",
        target="appliance",
        label="no uplink",
        summary="connections to the control plane are reset, new ones refused",
        inject=lambda world, target, _: world.break_uplink(target),
        heal=lambda world, target: world.restore_uplink(target),
        shows=_LINK_LOST,
        recovers=_LINK_UP,
    ),
    FaultKind(
        name="uplink.blackhole",
        target="appliance",
        label="uplink black hole",
        summary="connections stay open and nothing passes; only a time-out tells",
        inject=lambda world, target, _: world.hush_uplink(target),
        heal=lambda world, target: world.restore_uplink(target),
        shows=_LINK_LOST,
        recovers=_LINK_UP,
    ),
    FaultKind(
        name="power.cut",
        target="appliance",
        label="no power",
        summary="the appliance loses power; unsynced writes are lost",
        inject=lambda world, target, _: world.cut_power(target),
        heal=lambda world, target: world.restore_power(target),
        shows=Sign(kind.STOPPED, source="appliance", where={"reason": "power-cut"}),
        recovers=Sign(kind.STATE, source="appliance", where={"state": "online"}),
    ),
    FaultKind(
        name="network.cable",
        target="appliance",
        label="cable out",
        summary="the cable is out of one Ethernet port, and nothing passes it",
        inject=lambda world, target, values: world.pull_cable(target, values["port"]),
        heal=lambda world, target: world.plug_cables(target),
        shows=Sign(kind.PORT, source="appliance", where={"cable": False}),
        recovers=Sign(kind.PORT, source="appliance", where={"cable": True}),
        parameters={
            "port": Parameter("port", "eth0", "which port", choices=("eth0", "eth1")),
        },
    ),
    FaultKind(
        name="ntp.down",
        target="appliance",
        label="no NTP",
        summary="no NTP server answers; noticed at the next poll, within 64 s of device time",
        inject=lambda world, target, _: world.silence_ntp(target),
        heal=lambda world, target: world.answer_ntp(target),
        shows=Sign(kind.CLOCK_ALONE, source="appliance"),
        recovers=Sign(kind.CLOCK_RIGHT, source="appliance"),
    ),
    FaultKind(
        name="clock.step",
        target="appliance",
        label="clock stepped",
        summary="the clock is set wrong; NTP sets it right at the next poll",
        inject=lambda world, target, values: world.step_clock(target, values["by_s"]),
        heal=lambda _world, _target: None,
        shows=Sign(kind.CLOCK_WRONG, source="appliance"),
        recovers=Sign(kind.CLOCK_RIGHT, source="appliance"),
        lasting=False,
        parameters={
            "by_s": Parameter("by_s", -3600.0, "how far, back if negative", "s", -CENTURY, CENTURY),
        },
    ),
    FaultKind(
        name="clock.empty",
        target="appliance",
        label="clock lost",
        summary="the appliance loses power and its clock the time: it comes up in 1970",
        inject=_lose_clock,
        heal=lambda world, target: world.restore_power(target),
        shows=Sign(kind.CLOCK_WRONG, source="appliance"),
        recovers=Sign(kind.STATE, source="appliance", where={"state": "online"}),
    ),
    FaultKind(
        name="app.kill",
        target="instance",
        label="application killed",
        summary="the application's process gets SIGKILL",
        inject=lambda world, target, _: world.kill_node(target),
        heal=lambda _world, _target: None,
        shows=Sign(kind.NODE_ENDED, value="instance"),
        recovers=Sign(kind.NODE_STARTED, value="instance"),
        lasting=False,
    ),
)
