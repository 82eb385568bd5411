"""The chain of trust: every part of an image is verified in order, and rot of each is named."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.appliance import boot_control, image
from harness.appliance.chain import MANIFEST, PARTS, divide, places
from harness.appliance.storage import RECOVERY_LATEST, SLOT_PARTITION, Blob, Partition
from harness.engine.factory import Payload
from harness.engine.sweep.box import Box
from harness.engine.sweep.cloud import RELEASE_KEY, ROOT_KEY, Cloud, manifest, payload
from harness.engine.sweep.stand import (
    complete,
    empty_disk,
    flash,
    online_box,
    read_control,
    set_control,
)
from harness.engine.sweep.truth import running_version
from harness.errors import Corrupt


def two_slots() -> Box:
    """6.2.1 runs from slot b; 6.0.8 in slot a is the way back."""
    disk = empty_disk()
    flash(disk, SLOT_PARTITION["a"], manifest("6.0.8"))
    flash(disk, SLOT_PARTITION["b"], manifest("6.2.1"))
    set_control(disk, boot_control.FACTORY.committed("b"))
    return Box(disk, Cloud())


def rot(box: Box, slot: str, part: str, bit: int = 3) -> None:
    at = {p.name: offset for p, offset in places(manifest("6.2.1").parts, image.PAYLOAD_AT)}
    box.disk[SLOT_PARTITION[slot]].rot(at.get(part, 200), bit)


def boot(box: Box) -> Box:
    box.power_up()
    box.run(lambda: bool(box.noted("appliance.booted")) or bool(box.halted), for_s=600.0)
    return box


@pytest.mark.parametrize("part", [MANIFEST, *PARTS])
def test_rot_of_any_part_is_named_and_the_other_slot_runs(part: str) -> None:
    box = two_slots()
    rot(box, "b", part)
    boot(box)
    assert [v["part"] for v in box.noted("boot.refused")] == [part]
    assert running_version(box) == "6.0.8"
    control = read_control(box.disk)
    assert (control.active, control.b.bootable) == ("a", False)


def test_the_first_part_in_the_order_of_the_chain_is_named() -> None:
    box = two_slots()
    for part in ("root", "kernel", "tee"):
        rot(box, "b", part)
    assert [v["part"] for v in boot(box).noted("boot.refused")] == ["tee"]


def test_with_both_slots_rotten_nothing_runs() -> None:
    box = two_slots()
    rot(box, "a", "bootloader")
    rot(box, "b", "root")
    boot(box)
    assert box.halted == "no-bootable-slot"
    assert not box.noted("appliance.booted")
    assert box.leds[-1] == ("status", "red", "fast")


def test_a_bit_that_flips_back_is_no_rot() -> None:
    box = two_slots()
    rot(box, "b", "kernel")
    rot(box, "b", "kernel")
    assert running_version(boot(box)) == "6.2.1"


def test_rot_is_copied_with_what_it_is_in() -> None:
    source, target = Partition("source", 1 << 20), Partition("target", 1 << 20)
    source.write(0, payload("6.2.1", 1 << 19))
    source.sync()
    source.rot(1000, 2)
    target.write(0, source.bulk(0, 1 << 19))
    assert target.digest(0, 1 << 19) == source.digest(0, 1 << 19) != payload("6.2.1").digest
    assert target.digest(4096, 4096) == source.digest(4096, 4096)


@given(st.integers(1, 1 << 22))
def test_parts_are_the_whole_payload_in_order(size: int) -> None:
    parts = divide(size, lambda at, length: f"{at}:{length}")
    assert [part.name for part in parts] == [
        name for name in PARTS if name in {p.name for p in parts}
    ]
    assert sum(part.size_bytes for part in parts) == size
    assert [f"{at}:{part.size_bytes}" for part, at in places(parts, 0)] == [p.sha256 for p in parts]


@pytest.mark.parametrize("virtual", [False, True])
def test_a_payloads_sections_are_what_a_partition_says_they_are(*, virtual: bool) -> None:
    made = Payload(3, 300_000, virtual)
    partition = Partition("slot", 1 << 20)
    whole = Blob(made.digest, made.size_bytes, made.size_bytes)
    partition.write(0, whole if virtual else made.read(0, made.size_bytes))
    for part, at in places(divide(made.size_bytes, made.section), 0):
        assert partition.digest(at, part.size_bytes) == part.sha256
    assert partition.digest(0, made.size_bytes) == made.digest


def test_parts_that_are_not_the_whole_are_no_manifest() -> None:
    made = manifest("6.2.1")
    short = dataclasses.replace(made, parts=made.parts[:-1])
    with pytest.raises(Corrupt, match="not the whole payload"):
        image.verify(short.sign(RELEASE_KEY), ROOT_KEY)


def test_an_image_without_parts_is_verified_as_one() -> None:
    box = two_slots()
    flash(box.disk, SLOT_PARTITION["b"], manifest("6.2.1", parts=()))
    assert running_version(boot(box.fork())) == "6.2.1"
    rot(box, "b", "kernel")
    (refused,) = boot(box).noted("boot.refused")
    assert "payload hash" in refused["reason"]


@pytest.mark.parametrize("part", [MANIFEST, "bootloader", "root"])
def test_what_rots_while_it_is_on_trial_does_not_spoil_recovery(part: str) -> None:
    box = online_box()
    box.cloud.order(box.cloud.offer("6.2.1"))
    assert box.run(lambda: bool(box.noted("appliance.booted")))
    rot(box, "b", part)
    box.run(for_s=600.0)
    header = complete(image.read_header(RECOVERY_LATEST, ROOT_KEY), box.disk)
    assert header[1].version == "6.0.8"
    lines = [values["line"] for values in box.noted("log.line")]
    assert any("recovery-latest not renewed" in line for line in lines), lines
    box.cut_power()
    box.power_up()
    box.run(for_s=600.0)
    assert running_version(box) == "6.0.8"
    assert box.noted("boot.refused")[-1]["part"] == part
