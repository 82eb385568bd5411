"""From power to a running firmware: boot ROM, slot choice, verified boot.

Verified boot follows the chain of the vendor's guide (boot ROM, bootloader, TEE, signed kernel,
dm-verity root; `chain`): a slot whose signature, board, fuse level or any part does not match is
not run, and is closed. A slot that was written by an update has a few tries; when they are used up
the other slot boots. Firmware defects live above this line and cannot change it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.appliance import boot_control, image, journal, restore
from harness.appliance.boot_control import Restore
from harness.appliance.chain import refused_part
from harness.appliance.effect import Charge, Halt, Note, Now, Panel, Program, ReadFuses
from harness.appliance.firmware import Board, Firmware, run
from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.appliance.boot_control import BootControl
    from harness.appliance.effect import Pressed
    from harness.appliance.firmware import Steps
    from harness.appliance.image import Manifest


def power_on(
    board: Board, release: Callable[[Manifest], Steps], press: Pressed | None = None
) -> Program[None]:
    """The first program of an appliance. `release` gives an image's programs, defects applied.

    `press` is how the buttons were held as it came up, which may ask for a restore.
    """
    began_s = yield Now()
    yield Note("appliance.state", {"state": "booting"})
    yield Panel("status", "green", "fast")
    fuses = yield ReadFuses()
    control, slot, manifest = yield from choose(board, fuses, restore.meaning(press))
    yield Charge("boot")
    firmware = Firmware(
        board=board,
        slot=slot,
        manifest=manifest,
        control=control,
        fuses=fuses,
        steps=release(manifest),
        journal=(yield from journal.load()),
    )
    now_s = yield Now()
    yield Note("boot.control", control.describe(fuses))
    yield Note(
        "appliance.booted",
        {
            "slot": slot,
            "version": manifest.version,
            "committed": firmware.committed,
            "fuse_level": manifest.fuse_level,
            "duration_s": round(now_s - began_s, 6),
        },
    )
    yield from run(firmware)


def choose(
    board: Board, fuses: int, asked: Restore = Restore.NONE
) -> Program[tuple[BootControl, str, Manifest]]:
    """Outcome: the boot control as it stands, the slot to run and its verified manifest."""
    control = yield from boot_control.load()
    if asked is not Restore.NONE:
        control = yield from boot_control.save(control.restoring(asked))
    if control.restore is not Restore.NONE:
        control = yield from restore.restore(board, control, fuses)
        yield Panel("status", "green", "fast")
    while True:
        slot = control.choose()
        if slot is None:
            yield from _stop_for_good()
            continue
        if not control.slot(slot).successful:
            control = yield from boot_control.save(control.tried(slot))
        try:
            manifest = yield from image.read_slot(slot, board.root_key, board.name, fuses)
        except Corrupt as problem:
            part = refused_part(problem)
            yield Note("boot.refused", {"slot": slot, "part": part, "reason": str(problem)})
            control = yield from boot_control.save(control.unbootable(slot))
            continue
        if control.active != slot:
            control = yield from boot_control.save(control.fell_back(slot))
        return control, slot, manifest


def _stop_for_good() -> Program[None]:
    yield Panel("status", "red", "fast")
    yield Note("appliance.state", {"state": "failed"})
    yield Halt("no-bootable-slot")
