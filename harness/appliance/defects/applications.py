"""Defects of installed applications: their lives, their files, what is reported of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from harness.appliance.applications import ASSETS_AT
from harness.appliance.defects.kind import Defect, altering
from harness.appliance.effect import (
    Fetch,
    Get,
    MessageArrived,
    NodeEnded,
    Note,
    Post,
    Publish,
    Receive,
    Sleep,
    Spawn,
    StartNode,
    StopNode,
    Sync,
    Write,
)
from harness.appliance.firmware import Mailbox, Online
from harness.appliance.storage import DATA
from harness.errors import PeerRefused, StorageFull

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.appliance.defects.kind import Change
    from harness.appliance.demand import Demand
    from harness.appliance.effect import Effect, Program
    from harness.appliance.firmware import Firmware, Step

SEGFAULT = 139
CRASH_AFTER_S = 300.0
LATE_S = 600.0


def _end(instance: str) -> Program[None]:
    yield StopNode(instance)
    yield Post(Mailbox.APPLICATIONS, NodeEnded(instance, SEGFAULT, "segmentation fault"))


def _crash_later(instance: str) -> Program[None]:
    yield Sleep(CRASH_AFTER_S)
    yield from _end(instance)


def _crash(_firmware: Firmware) -> Change:
    def change(effect: Effect) -> Program[Any]:
        outcome = yield effect
        if isinstance(effect, StartNode):
            yield Spawn(f"crash:{effect.instance}", _crash_later(effect.instance))
        return outcome

    return change


def _crash_after_reboot(_firmware: Firmware) -> Change:
    """Those that are started before anything else is received are those of before the boot."""
    booting, ailing = True, set()

    def change(effect: Effect) -> Program[Any]:
        nonlocal booting
        booting = booting and not isinstance(effect, Receive)
        outcome = yield effect
        if isinstance(effect, StartNode):
            if booting:
                ailing.add(effect.instance)
            if effect.instance in ailing:
                yield from _end(effect.instance)
        return outcome

    return change


def _written_late(_firmware: Firmware) -> Change:
    """What is installed is in memory alone for ten minutes."""

    def change(effect: Effect) -> Program[Any]:
        settings = isinstance(effect, Write) and effect.offset < ASSETS_AT
        if isinstance(effect, Write) and settings and effect.partition == DATA:
            yield Spawn(f"late:{effect.offset}", _write_later(effect))
            return None
        return (yield effect)

    return change


def _write_later(write: Write) -> Program[None]:
    yield Sleep(LATE_S)
    yield write
    yield Sync(DATA)


def _faulty_stays(_firmware: Firmware) -> Change:
    crashed: set[str] = set()

    def change(effect: Effect) -> Program[Any]:
        if isinstance(effect, Note) and effect.kind == "node.ended":
            crashed.add(str(effect.values["instance"]))
        outcome = yield effect
        if isinstance(outcome, MessageArrived):
            return _without(outcome, crashed)
        return outcome

    return change


def _without(message: MessageArrived, instances: set[str]) -> MessageArrived:
    """A message that wants nothing of these."""
    state = message.payload.get("state", {})
    desired = state.get("desired", state)
    wanted = desired.get("instances", {})
    kept = {name: entry for name, entry in wanted.items() if name not in instances}
    return replace(message, payload={"state": {"desired": {"instances": kept}, "instances": kept}})


def _partial_when_full(_firmware: Firmware) -> Change:
    """A write for which there is no room is taken for done."""

    def change(effect: Effect) -> Program[Any]:
        try:
            return (yield effect)
        except StorageFull:
            return None

    return change


def _keeps_rotten(_firmware: Firmware) -> Change:
    """Files that turned out damaged are not brought again."""
    damaged = False

    def change(effect: Effect) -> Program[Any]:
        nonlocal damaged
        damaged = damaged or (isinstance(effect, Note) and effect.kind == "app.damaged")
        if damaged and isinstance(effect, (Fetch, Get)):
            raise PeerRefused("the file is here already")
        return (yield effect)

    return change


def _counts_one_code(sound: Step) -> Step:
    def unmet(firmware: Firmware, demand: Demand, others: Mapping[str, Demand]) -> Program[str]:
        seen = dataclasses.replace(demand, codes=demand.codes[:1])
        return str((yield from sound(firmware, seen, others)))

    return unmet


def _leaves_files(_sound: Step) -> Step:
    def remove(firmware: Firmware, instance: str) -> Program[None]:
        installed = firmware.journal.values.get("applications", {})
        kept = {name: entry for name, entry in installed.items() if name != instance}
        yield from firmware.journal.put({"applications": kept})

    return remove


def _reported_inactive(_firmware: Firmware) -> Change:
    """The report after a connection was made says of all that they are about to start."""
    connected = False

    def change(effect: Effect) -> Program[Any]:
        nonlocal connected
        if connected and isinstance(effect, Publish) and "state" in effect.payload:
            connected = False
            reported = effect.payload["state"]["reported"]["instances"]
            told = {
                name: entry and {**entry, "status": "STARTING"} for name, entry in reported.items()
            }
            return (yield Publish(effect.topic, {"state": {"reported": {"instances": told}}}))
        outcome = yield effect
        connected = connected or isinstance(outcome, Online)
        return outcome

    return change


DEFECTS = (
    Defect(
        name="application-crashes",
        step="supervise",
        summary="applications crash five minutes after their start",
        seen="vendor's change log, fixed in 4.3.23: application crashes",
        caught_by="crashes-explained",
        wrap=altering(_crash),
    ),
    Defect(
        name="application-crashes-after-reboot",
        step="supervise",
        summary="applications that were installed before a reboot crash after it",
        seen="vendor's change log, fixed in 5.0.74: applications crash after the device reboots",
        caught_by="applications-return",
        wrap=altering(_crash_after_reboot),
    ),
    Defect(
        name="applications-lost-on-power-cut",
        step="supervise",
        summary="what is installed reaches the disk ten minutes late",
        seen="vendor's change log, fixed in 5.0.42: application state wrong after power loss",
        caught_by="applications-return",
        wrap=altering(_written_late),
    ),
    Defect(
        name="faulty-application-stays",
        step="supervise",
        summary="an application that has crashed cannot be removed",
        seen="vendor's change log, fixed in 4.3.93: faulty applications could not be removed",
        caught_by="instances-settle",
        wrap=altering(_faulty_stays),
    ),
    Defect(
        name="partial-settings-after-full-disk",
        step="supervise",
        summary="settings that found no room on the disk count as stored",
        seen="field: settings half written after the disk was full",
        caught_by="applications-return",
        wrap=altering(_partial_when_full),
    ),
    Defect(
        name="corruption-not-recovered",
        step="supervise",
        summary="an application whose files rotted stays broken",
        seen="vendor's change log, fixed in 5.1.7: recovery from corruption",
        caught_by="recovers",
        wrap=altering(_keeps_rotten),
    ),
    Defect(
        name="two-code-nodes-accepted",
        step="unmet",
        summary="an application with two code nodes is installed and runs",
        seen="vendor's change log, fixed in 5.0.7: two code nodes could run in one application",
        caught_by="steps",
        wrap=_counts_one_code,
    ),
    Defect(
        name="files-left-behind",
        step="remove",
        summary="the files of a removed application stay",
        seen="vendor's change log, fixed in 5.0.42: application files left behind after removal",
        caught_by="removal-clean",
        wrap=_leaves_files,
    ),
    Defect(
        name="active-nodes-reported-inactive",
        step="supervise",
        summary="after a connection was lost, running applications are reported as starting",
        seen="vendor's change log, fixed in 4.3.23: active nodes reported inactive",
        caught_by="health-truthful",
        wrap=altering(_reported_inactive),
    ),
)
