"""What leaves the factory: payloads, signed images, disks that boot."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness.appliance import boot_control, image
from harness.appliance.storage import Disk
from harness.engine import factory
from harness.engine.factory import BLOCK_BYTES, REAL_BYTES_MAX, Payload
from harness.errors import Corrupt
from harness.scenario.plan import ImagePlan

if TYPE_CHECKING:
    from harness.appliance.effect import Program
    from harness.scenario.plan import AppliancePlan

IMAGE = ImagePlan("7.0.13", ("health-check-fails",), 100_000, 2, 42)


@pytest.fixture
def appliance(make_plan: Any) -> AppliancePlan:
    plan: AppliancePlan = make_plan("model").appliances[0]
    return plan


def carried_out(program: Program[Any], disk: Disk) -> Any:
    """The outcome of a program that does nothing but storage."""
    value: Any = None
    while True:
        try:
            request: Any = program.send(value)
        except StopIteration as end:
            return end.value
        partition = disk[request.partition]
        if type(request).__name__ == "Digest":
            value = partition.digest(request.offset, request.length)
        else:
            value = partition.read(request.offset, request.length)


# --- payloads ------------------------------------------------------------------------------------


def test_any_range_of_a_payload_is_the_same_bytes() -> None:
    payload = Payload(1, 3 * BLOCK_BYTES + 100)
    whole = payload.read(0, payload.size_bytes)
    assert len(whole) == payload.size_bytes
    for offset, length in (
        (0, 1),
        (BLOCK_BYTES - 1, 2),
        (5, 2 * BLOCK_BYTES),
        (payload.size_bytes - 7, 100),
        (payload.size_bytes, 5),
        (0, 0),
    ):
        assert payload.read(offset, length) == whole[offset : offset + length]
    assert payload.digest == hashlib.sha256(whole).hexdigest()


def test_payloads_differ_by_seed_and_do_not_repeat() -> None:
    assert Payload(1, 1000).read(0, 1000) != Payload(2, 1000).read(0, 1000)
    one = Payload(1, 2 * BLOCK_BYTES)
    assert one.read(0, BLOCK_BYTES) != one.read(BLOCK_BYTES, BLOCK_BYTES)


def test_a_virtual_payload_has_a_digest_and_is_never_made() -> None:
    large = Payload(1, 1 << 50, virtual=True)
    assert large.digest == Payload(1, 1 << 50, virtual=True).digest
    assert large.digest != Payload(2, 1 << 50, virtual=True).digest
    assert large.digest != Payload(1, (1 << 50) + 1, virtual=True).digest


# --- images --------------------------------------------------------------------------------------


def test_a_signed_image_is_what_the_boot_rom_accepts() -> None:
    signed, payload = factory.signed_image(IMAGE, ["b", "a", "b"], 5, virtual=False)
    manifest = image.verify(signed, factory.root_key(5))
    assert manifest.version == "7.0.13"
    assert manifest.boards == ("a", "b")
    assert manifest.defects == ("health-check-fails",)
    assert manifest.fuse_level == 2
    assert (manifest.size_bytes, manifest.sha256) == (payload.size_bytes, payload.digest)


def test_every_run_has_a_release_key_of_its_own() -> None:
    signed, _ = factory.signed_image(IMAGE, ["a"], 5, virtual=False)
    with pytest.raises(Corrupt, match="signature does not match"):
        image.verify(signed, factory.root_key(6))


@pytest.mark.parametrize(
    ("size_bytes", "virtual"), [(REAL_BYTES_MAX, False), (REAL_BYTES_MAX + 1, True)]
)
def test_small_images_are_real_on_every_rung(size_bytes: int, virtual: bool) -> None:
    """The model rung reads small content byte by byte, so its digest must be of those bytes."""
    plan = replace(IMAGE, size_bytes=size_bytes)
    _, payload = factory.signed_image(plan, ["a"], 5, virtual=True)
    assert payload.virtual is virtual


# --- boards and disks ----------------------------------------------------------------------------


def test_a_board_is_the_appliances_own(appliance: AppliancePlan) -> None:
    north = factory.board(appliance.profile, 5, "north")
    assert north == factory.board(appliance.profile, 5, "north")
    assert north.serial != factory.board(appliance.profile, 5, "south").serial
    assert north.serial != factory.board(appliance.profile, 6, "north").serial
    assert north.name == appliance.profile.board
    assert north.root_key == factory.root_key(5)


@pytest.mark.parametrize("virtual", [True, False])
def test_a_flashed_disk_boots_from_slot_a(appliance: AppliancePlan, virtual: bool) -> None:
    disk = Disk(factory.sizes(appliance.profile))
    factory.flash(disk, appliance, 5, virtual=virtual)
    assert disk.fuses == appliance.profile.fuse_level
    disk.cut(lambda _name, _index: False)  # all of it is durable
    control = carried_out(boot_control.load(), disk)
    assert control == boot_control.FACTORY
    assert control.choose() == "a"
    board = factory.board(appliance.profile, 5, appliance.name)
    manifest = carried_out(image.read_slot("a", board.root_key, board.name, disk.fuses), disk)
    assert manifest.version == appliance.firmware
    with pytest.raises(Corrupt, match="slot-b: no image"):
        carried_out(image.read_slot("b", board.root_key, board.name, disk.fuses), disk)
