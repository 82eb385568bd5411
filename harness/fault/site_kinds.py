"""Faults of appliances and of their applications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.fault.kinds import FaultKind, Sign
from harness.record import kind

if TYPE_CHECKING:
    from collections.abc import Sequence

_LINK_LOST = Sign(kind.LINK_LOST, source="appliance")
_LINK_UP = Sign(kind.LINK_CONNECTED, source="appliance")

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
