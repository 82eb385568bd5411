"""Boxes to start from: as they leave the factory, provisioned, online."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING, Any

from harness.appliance import boot_control, image
from harness.appliance import effect as fx
from harness.appliance.storage import (
    BOOT_CONTROL,
    RECOVERY_LATEST,
    RECOVERY_REQUIRED,
    SLOT_PARTITION,
    Blob,
    Disk,
    partition_sizes,
)
from harness.engine.sweep.box import Box
from harness.engine.sweep.cloud import RELEASE_KEY, STICK, Cloud, manifest
from harness.errors import EngineError

if TYPE_CHECKING:
    from harness.appliance.image import Manifest

SLOT_BYTES = 6 << 30  # as the profile of the AWS Panorama Appliance has it
DATA_BYTES = 1 << 20


def empty_disk(data_bytes: int = DATA_BYTES) -> Disk:
    return Disk(partition_sizes(SLOT_BYTES, data_bytes), fuses=1)


def flash(disk: Disk, name: str, made: Manifest) -> None:
    """Put an image into a partition, durably, as a factory does."""
    partition = disk[name]
    partition.write(0, image.header(made.sign(RELEASE_KEY)))
    partition.write(image.PAYLOAD_AT, Blob(made.sha256, made.size_bytes, made.size_bytes))
    partition.sync()


def set_control(disk: Disk, control: boot_control.BootControl) -> None:
    at = (control.sequence % 2) * boot_control.COPY_BYTES
    disk[BOOT_CONTROL].write(at, control.encode())
    disk[BOOT_CONTROL].sync()


def factory_box(version: str = "6.0.8", data_bytes: int = DATA_BYTES) -> Box:
    """As it leaves the factory: firmware in slot a, nothing else, power off."""
    disk = empty_disk(data_bytes)
    flash(disk, SLOT_PARTITION["a"], manifest(version))
    for recovery in (RECOVERY_LATEST, RECOVERY_REQUIRED):
        flash(disk, recovery, manifest(version))
    set_control(disk, boot_control.FACTORY)
    return Box(disk, Cloud())


@cache
def _provisioned(version: str, data_bytes: int, instances: tuple[str, ...]) -> Box:
    box = factory_box(version, data_bytes)
    box.stick = STICK.copy()
    box.power_up()
    _reach(box, instances=())
    for instance in instances:
        box.cloud.deploy(instance, {"code": f"code of {instance}".encode(), "model": b"weights"})
    _reach(box, instances)
    box.cut_power()
    return box


def _reach(box: Box, instances: tuple[str, ...]) -> None:
    """Go on until it is online, at rest, and runs these applications."""
    if not box.run(lambda: box.online and box.idle and set(box.nodes) == set(instances)):
        raise EngineError(f"the box did not come online with {', '.join(instances) or 'nothing'}")


def provisioned_box(*instances: str, version: str = "6.0.8", data_bytes: int = DATA_BYTES) -> Box:
    """Registered, with these applications installed; its power is off."""
    return _provisioned(version, data_bytes, instances).fork()


def online_box(*instances: str, version: str = "6.0.8", data_bytes: int = DATA_BYTES) -> Box:
    """The same, booted, connected and at rest; nothing that went before is in its notes."""
    box = provisioned_box(*instances, version=version, data_bytes=data_bytes)
    box.power_up()
    _reach(box, instances)
    for seen in (box.notes, box.leds, box.cloud.progress, box.cloud.statuses):
        seen.clear()
    return box


def read_control(disk: Disk) -> boot_control.BootControl:
    control: boot_control.BootControl = complete(boot_control.load(), disk)
    return control


def complete(program: fx.Program[Any], disk: Disk, seed: int = 7) -> Any:
    """Run a program that only uses storage and chance, and give its outcome."""
    draw = random.Random(seed)
    value: Any = None
    while True:
        try:
            request = program.send(value)
        except StopIteration as end:
            return end.value
        value = None
        match request:
            case fx.Read(partition, offset, length):
                value = disk[partition].read(offset, length)
            case fx.Digest(partition, offset, length):
                value = disk[partition].digest(offset, length)
            case fx.Write(partition, offset, data):
                disk[partition].write(offset, data)
            case fx.Sync(partition):
                disk[partition].sync()
            case fx.Draw():
                value = draw.random()
            case _:
                raise EngineError(f"a program of storage and chance alone asked for {request!r}")
