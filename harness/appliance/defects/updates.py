"""Defects of updates and of what a boot makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.appliance import boot_control
from harness.appliance.defects.kind import Defect, altering
from harness.appliance.effect import Charge, Note, Publish, Restart, Sleep, Write
from harness.appliance.journal import HALF_BYTES
from harness.appliance.storage import BOOT_CONTROL, DATA
from harness.errors import LinkDown

if TYPE_CHECKING:
    from harness.appliance.defects.kind import Change
    from harness.appliance.effect import Effect, Program
    from harness.appliance.firmware import Firmware, Step


def _self_test_fails(_sound: Step) -> Step:
    def health_check(_firmware: Firmware) -> Program[str]:
        yield Charge("self-test")
        return "self-test failed"

    return health_check


def _self_test_hangs(_sound: Step) -> Step:
    def health_check(_firmware: Firmware) -> Program[str]:
        while True:
            yield Sleep(3600.0)

    return health_check


def _boot_control(effect: Effect) -> boot_control.BootControl | None:
    """What an effect would write into the boot control."""
    if isinstance(effect, Write) and effect.partition == BOOT_CONTROL:
        return boot_control.decode(effect.data)
    return None


def _never_armed(firmware: Firmware) -> Change:
    def change(effect: Effect) -> Program[Any]:
        control = _boot_control(effect)
        if control is not None and control.active != firmware.slot:
            return None
        return (yield effect)

    return change


def _never_cleared(firmware: Firmware) -> Change:
    def change(effect: Effect) -> Program[Any]:
        control, slot = _boot_control(effect), firmware.slot
        if control is not None and control.active == slot and control.slot(slot).successful:
            return None
        return (yield effect)

    return change


def _success_before_reboot(_firmware: Firmware) -> Change:
    def change(effect: Effect) -> Program[Any]:
        if isinstance(effect, Publish) and "statusDetails" in effect.payload:
            details = effect.payload["statusDetails"]
            if details["progress"] == "REBOOTING":
                done = {
                    "status": "SUCCEEDED",
                    "statusDetails": {**details, "progress": "COMPLETED"},
                }
                return (yield Publish(effect.topic, done))
        return (yield effect)

    return change


def _forgets_applications(firmware: Firmware) -> Change:
    def change(effect: Effect) -> Program[Any]:
        outcome = yield effect
        rolled_back = isinstance(effect, Note) and effect.values.get("outcome") == "rolled-back"
        if rolled_back:
            yield from firmware.journal.put({"applications": {}, "assets": {}})
        return outcome

    return change


def _corrupts_disk(_firmware: Firmware) -> Change:
    def change(effect: Effect) -> Program[Any]:
        if isinstance(effect, Restart):
            for half in (0, HALF_BYTES):
                yield Write(DATA, half, b"\xff" * 64)
        return (yield effect)

    return change


def _end_is_never_told(_firmware: Firmware) -> Change:
    def change(effect: Effect) -> Program[Any]:
        if isinstance(effect, Publish) and effect.payload.get("status") in ("SUCCEEDED", "FAILED"):
            raise LinkDown("the report of a job's end")
        return (yield effect)

    return change


DEFECTS = (
    Defect(
        name="health-check-fails",
        step="health_check",
        summary="the self-test after the update reports a failure",
        seen="any release that does not work on this hardware",
        caught_by="steps",
        wrap=_self_test_fails,
    ),
    Defect(
        name="self-test-hangs",
        step="health_check",
        summary="the self-test after the update never ends: a watchdog has to",
        seen="field: images that wait for hardware that is not there",
        caught_by="steps",
        wrap=_self_test_hangs,
    ),
    Defect(
        name="redundancy-never-armed",
        step="update",
        summary="the slot that was written is not made the next to boot: every update fails",
        seen="field: A/B updates whose bootloader flag is not set",
        caught_by="steps",
        wrap=altering(_never_armed),
    ),
    Defect(
        name="boot-counter-never-cleared",
        step="update",
        summary="a good boot is not recorded: after three of them the old slot boots again",
        seen="field: A/B updates whose boot counter is left to run out",
        caught_by="ota-truthful",
        wrap=altering(_never_cleared),
    ),
    Defect(
        name="success-before-reboot",
        step="update",
        summary="a job is reported as done before the new image has booted",
        seen="field: update agents that report what they are about to do",
        caught_by="ota-truthful",
        wrap=altering(_success_before_reboot),
    ),
    Defect(
        name="end-never-told",
        step="update",
        summary="what became of a job is not reported",
        seen="field: update agents that lose their report over the reboot",
        caught_by="ota-truthful",
        wrap=altering(_end_is_never_told),
    ),
    Defect(
        name="rollback-forgets-applications",
        step="update",
        summary="after a roll-back the applications are gone",
        seen="field: migrations of settings that are not undone",
        caught_by="applications-return",
        wrap=altering(_forgets_applications),
    ),
    Defect(
        name="shutdown-corrupts-disk",
        step="update",
        summary="a write is still under way at a reboot and destroys the settings",
        seen="vendor's change log, fixed in 5.1.7: race at shutdown corrupts the disk",
        caught_by="configuration-kept",
        wrap=altering(_corrupts_disk),
    ),
)
