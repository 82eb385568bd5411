"""Where a bit flips: in a part of the system that runs, or in a file of an application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.appliance import boot_control, chain, image, journal
from harness.appliance import effect as fx
from harness.appliance.storage import DATA, SLOT_PARTITION
from harness.errors import EngineError, InputError

if TYPE_CHECKING:
    from harness.appliance.storage import Disk


def rot_part(disk: Disk, root_key: bytes, part: str, chance: float) -> None:
    """Flip a bit of `part` of the image in the active slot; `chance` in [0, 1) says which.

    Raises `InputError` when that image has no such part.
    """
    control: boot_control.BootControl = _look(boot_control.load(), disk)
    partition = SLOT_PARTITION[control.active]
    signed, manifest = _look(image.read_header(partition, root_key), disk)
    areas = {p.name: (at, p.size_bytes) for p, at in chain.places(manifest.parts, image.PAYLOAD_AT)}
    areas[chain.MANIFEST] = (4, len(signed))
    if part not in areas:
        raise InputError(f"the image in {partition} has no {part}", hint=", ".join(areas))
    _flip(disk, partition, *areas[part], chance)


def rot_application(disk: Disk, instance: str, chance: float) -> bool:
    """Flip a bit of the largest file that an application uses; False when it is not installed."""
    settings: journal.Journal = _look(journal.load(), disk)
    entry = settings.values.get("applications", {}).get(instance)
    if entry is None:
        return False
    places = settings.values["assets"]
    largest = max(entry["uses"], key=lambda sha256: (places[sha256][1], sha256))
    offset, size = places[largest]
    _flip(disk, DATA, offset, size, chance)
    return True


def _flip(disk: Disk, partition: str, offset: int, size: int, chance: float) -> None:
    bit = int(chance * size * 8)
    disk[partition].rot(offset + bit // 8, bit % 8)


def _look(program: fx.Program[Any], disk: Disk) -> Any:
    """The outcome of a program that only reads."""
    value: Any = None
    while True:
        try:
            request = program.send(value)
        except StopIteration as end:
            return end.value
        match request:
            case fx.Read(partition, offset, length):
                value = disk[partition].read(offset, length)
            case fx.Draw():
                value = 0.0
            case _:
                raise EngineError(f"a look at the disk asked for {request!r}")
