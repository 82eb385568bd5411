"""Restoring software by the buttons, and keeping what there is to restore.

With the appliance off, a short press of reset applies the latest software again, a long one the
latest required one, and power with reset for long also erases configuration, certificates and
applications (vendor's guide, appliance buttons and lights). What was asked for is in boot
control before anything is touched, and the slot that runs stays until its successor is whole:
a cut leaves the appliance as before, or with the restore still to be done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.appliance import boot_control, image
from harness.appliance.boot_control import Restore, other
from harness.appliance.effect import Erase, Note, Panel, Program
from harness.appliance.storage import (
    DATA,
    RECOVERY_LATEST,
    RECOVERY_REQUIRED,
    SLOT_PARTITION,
)
from harness.errors import Corrupt, StorageReadOnly

if TYPE_CHECKING:
    from harness.appliance.boot_control import BootControl
    from harness.appliance.effect import Pressed
    from harness.appliance.firmware import Board, Firmware

LONG_PRESS_S = 5.0  # vendor's guide: a long press is held for 5 seconds
_SOURCE = {
    Restore.LATEST: RECOVERY_LATEST,
    Restore.REQUIRED: RECOVERY_REQUIRED,
    Restore.FACTORY: RECOVERY_REQUIRED,
}


def meaning(press: Pressed | None) -> Restore:
    """What a press asks for while the appliance is off; anything else just powers it on."""
    if press is None or "reset" not in press.buttons:
        return Restore.NONE
    held = press.held_s >= LONG_PRESS_S
    if "power" in press.buttons:
        return Restore.FACTORY if held else Restore.NONE
    return Restore.REQUIRED if held else Restore.LATEST


def restore(board: Board, control: BootControl, fuses: int) -> Program[BootControl]:
    """Do what boot control says is to be done. Outcome: boot control, with nothing left to do."""
    what = control.restore
    yield Note("appliance.state", {"state": "restoring"})
    yield Panel("status", "orange", "slow" if what is Restore.LATEST else "fast")
    slot, source = other(control.active), _SOURCE[what]
    problem = ""
    try:
        signed, manifest = yield from image.read_header(source, board.root_key)
        image.refuse_unfit(manifest, board.name, fuses)
        yield from image.check_payload(source, manifest)
        control = yield from boot_control.save(control.unbootable(slot))
        yield from image.copy(signed, manifest, source, SLOT_PARTITION[slot])
        if what is Restore.FACTORY:
            yield Erase(DATA)
        control = control.committed(slot)
    except (Corrupt, StorageReadOnly) as error:
        problem = str(error)
        yield Panel("status", "red", "fast")
    control = yield from boot_control.save(control.restoring(Restore.NONE))
    values = {"what": what.name.lower(), "slot": slot, "ok": not problem, "reason": problem}
    yield Note("restore.ended", values)
    return control


def keep(firmware: Firmware) -> Program[None]:
    """Have recovery hold what is committed; a copy that a cut interrupted is made again."""
    manifest = firmware.manifest
    targets = (RECOVERY_LATEST, RECOVERY_REQUIRED) if manifest.required else (RECOVERY_LATEST,)
    for target in targets:
        kept = ""
        try:
            _, there = yield from image.read_header(target, firmware.board.root_key)
            kept = there.sha256
        except Corrupt:
            pass  # a copy that was interrupted has no header yet
        if kept != manifest.sha256:
            yield from _copy_running(firmware, target)


def _copy_running(firmware: Firmware, target: str) -> Program[None]:
    """What runs may have rotted since it was verified: then recovery stays as it is."""
    source = SLOT_PARTITION[firmware.slot]
    try:
        signed, manifest = yield from image.read_header(source, firmware.board.root_key)
        yield from image.check_payload(source, manifest)
        yield from image.copy(signed, manifest, source, target)
    except Corrupt as problem:
        line = f"ERROR {target} not renewed: {problem}"
        yield Note("log.line", {"stream": "kern_log", "line": line})
