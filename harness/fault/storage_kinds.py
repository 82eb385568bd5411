"""Faults of an appliance's storage: bits that flip, and a data partition that takes no writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.fault.camera import Parameter
from harness.fault.kinds import FaultKind, Sign
from harness.record import kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.fault.kinds import World

PARTS = ("manifest", "bootloader", "tee", "kernel", "root")
SLOW_S_MAX = 30.0


def _rot_part(world: World, target: str, values: Mapping[str, Any]) -> None:
    """It is noticed when it is verified: at power-on."""
    world.cut_power(target)
    world.rot_part(target, values["part"])
    world.restore_power(target)


def _rot_application(world: World, target: str, _values: Mapping[str, Any]) -> None:
    """It is noticed when the application is started."""
    world.rot_application(target)
    world.kill_node(target)


def _trouble(
    trouble: str,
    label: str,
    summary: str,
    inject: Callable[[World, str, Mapping[str, Any]], None],
    **parameters: Parameter,
) -> FaultKind:
    told = {"partition": "data", "trouble": trouble}
    return FaultKind(
        name=f"storage.{trouble}",
        target="appliance",
        label=label,
        summary=summary,
        inject=inject,
        heal=lambda world, target: world.mend_storage(target, trouble),
        shows=Sign(kind.STORAGE_TROUBLE, source="appliance", where=told),
        recovers=Sign(kind.STORAGE_CLEAR, source="appliance", where=told),
        parameters=parameters,
    )


KINDS: Sequence[FaultKind] = (
    FaultKind(
        name="storage.rot",
        target="appliance",
        label="system rotten",
        summary="a bit of a part of the running image flips, and the power blinks",
        inject=_rot_part,
        heal=lambda _world, _target: None,
        shows=Sign(kind.BOOT_REFUSED, source="appliance"),
        recovers=Sign(kind.STATE, source="appliance", where={"state": "online"}),
        lasting=False,
        parameters={"part": Parameter("part", "root", "of the image", choices=PARTS)},
    ),
    FaultKind(
        name="storage.rot-application",
        target="instance",
        label="application rotten",
        summary="a bit of a file of the application flips, and it has to start again",
        inject=_rot_application,
        heal=lambda _world, _target: None,
        shows=Sign(kind.DAMAGED, value="instance"),
        recovers=Sign(kind.NODE_STARTED, value="instance"),
        lasting=False,
    ),
    _trouble(
        "read-only",
        "data read-only",
        "the data partition takes no write, as after an I/O error",
        lambda world, target, _: world.make_read_only(target),
    ),
    _trouble(
        "full",
        "data full",
        "the data partition has no room for a write",
        lambda world, target, _: world.fill_storage(target),
    ),
    _trouble(
        "slow",
        "data slow",
        "every sync of the data partition takes longer",
        lambda world, target, values: world.slow_storage(target, values["by_s"]),
        by_s=Parameter("by_s", 2.0, "how much longer each takes", "s", 1.0, SLOW_S_MAX),
    ),
)
