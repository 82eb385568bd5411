"""The buttons: shutting down, and every documented way back to software that works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.appliance import boot_control, image, restore
from harness.appliance.boot_control import Restore
from harness.appliance.effect import Pressed
from harness.appliance.storage import (
    DATA,
    RECOVERY_LATEST,
    RECOVERY_REQUIRED,
    Disk,
    Partition,
)
from harness.engine.sweep.cloud import ROOT_KEY, STICK
from harness.engine.sweep.stand import complete, factory_box, online_box, read_control
from harness.engine.sweep.truth import running_version, settings, settle, violations

if TYPE_CHECKING:
    from harness.engine.sweep.box import Box

OLD, NEW, NEWEST = "6.0.8", "6.2.1", "7.0.13"


def updated(*versions: str, required: tuple[str, ...] = ()) -> Box:
    """A box that was updated to each of these, and is off."""
    box = online_box("door", version=OLD)
    for version in versions:
        offer = box.cloud.offer(version, required=version in required)
        job = box.cloud.order({**offer, "allowMajorVersionUpdate": True})
        assert box.run(lambda: box.cloud.jobs[job]["status"] == "SUCCEEDED")  # noqa: B023
        assert box.run(lambda: box.online and box.idle)
    box.press("power")
    assert box.run(lambda: not box.powered)
    box.notes.clear()
    box.leds.clear()
    box.cloud.jobs.clear()
    return box


def held(partition: Partition) -> str:
    """The version that recovery holds."""
    disk = Disk({})
    disk.partitions = {partition.name: partition}
    return str(complete(image.read_header(partition.name, ROOT_KEY), disk)[1].version)


@pytest.mark.parametrize(
    ("buttons", "held_s", "asks"),
    [
        ((), 0.0, Restore.NONE),
        (("power",), 1.0, Restore.NONE),
        (("power",), 9.0, Restore.NONE),
        (("reset",), 1.0, Restore.LATEST),
        (("reset",), 4.9, Restore.LATEST),
        (("reset",), 5.0, Restore.REQUIRED),
        (("power", "reset"), 1.0, Restore.NONE),
        (("power", "reset"), 5.0, Restore.FACTORY),
    ],
)
def test_what_a_press_asks_for(buttons: tuple[str, ...], held_s: float, asks: Restore) -> None:
    assert restore.meaning(Pressed(frozenset(buttons), held_s)) is asks


def test_no_press_asks_for_nothing() -> None:
    assert restore.meaning(None) is Restore.NONE


def test_the_power_button_shuts_down_in_good_order() -> None:
    box = online_box("door")
    box.press("power")
    assert box.run(lambda: not box.powered)
    assert box.stopped == "power-button"
    assert all(part.pending == [] for part in box.disk.partitions.values())
    box.press("power")
    settle(box)
    assert list(violations(box, settings(box)["device"])) == []


@pytest.mark.parametrize("buttons", [("reset",), ("power", "reset")])
def test_other_buttons_mean_nothing_while_it_runs(buttons: tuple[str, ...]) -> None:
    box = online_box("door")
    box.press(*buttons, held_s=6.0)
    box.run(for_s=60.0)
    assert box.powered
    assert box.online


def test_a_short_press_of_reset_applies_the_latest_software_again() -> None:
    box = updated(NEW)
    before = read_control(box.disk).active
    box.press("reset", held_s=1.0)
    settle(box)
    assert running_version(box) == NEW
    assert read_control(box.disk).active != before
    assert ("status", "orange", "slow") in box.leds
    assert box.leds[-2:] != [("status", "red", "fast")]
    assert box.noted("restore.ended") == [
        {"what": "latest", "slot": read_control(box.disk).active, "ok": True, "reason": ""}
    ]
    assert set(box.nodes) == {"door"}


def test_a_long_press_of_reset_applies_the_latest_required_software() -> None:
    box = updated(NEW, NEWEST, required=(NEW,))
    box.press("reset", held_s=5.0)
    settle(box)
    assert running_version(box) == NEW
    assert ("status", "orange", "fast") in box.leds
    assert set(box.nodes) == {"door"}


def test_what_the_buttons_restored_is_not_what_they_restore() -> None:
    box = updated(NEW)
    box.press("reset", held_s=5.0)
    settle(box)
    assert running_version(box) == OLD
    assert held(box.disk[RECOVERY_LATEST]) == NEW
    box.press("power")
    box.run(lambda: not box.powered)
    box.press("reset")
    settle(box)
    assert running_version(box) == NEW


def test_recovery_follows_updates_and_required_ones_alone_its_lower_end() -> None:
    box = updated(NEW, NEWEST, required=(NEW,))
    assert held(box.disk[RECOVERY_LATEST]) == NEWEST
    assert held(box.disk[RECOVERY_REQUIRED]) == NEW


def test_an_image_that_is_rolled_back_is_not_kept() -> None:
    box = online_box("door", version=OLD)
    job = box.cloud.order(box.cloud.offer(NEW, defects=("health-check-fails",)))
    assert box.run(lambda: box.cloud.jobs[job]["status"] == "FAILED")
    settle(box)
    assert held(box.disk[RECOVERY_LATEST]) == OLD


def test_both_buttons_erase_everything_and_it_registers_anew() -> None:
    box = updated(NEW)
    device = settings(box)["device"]
    box.press("power", "reset", held_s=5.0)
    box.run(for_s=600.0)
    assert running_version(box) == OLD
    assert settings(box) == {}
    assert box.disk[DATA].durable == {}
    assert not box.online
    box.cloud.claims_spent.clear()
    box.plug(STICK)
    settle(box)
    assert list(violations(box, device, OLD)) == []


def test_a_deleted_device_does_not_register_with_another_stick() -> None:
    box = online_box("door")
    box.plug(STICK)
    box.run(for_s=60.0)
    assert box.noted("provision.ended") == []


@pytest.mark.parametrize("damage", ["rot", "empty"])
def test_recovery_that_is_damaged_leaves_what_runs(damage: str) -> None:
    box = updated(NEW)
    recovery = box.disk[RECOVERY_LATEST]
    if damage == "rot":
        recovery.rot(image.PAYLOAD_AT + 100, 3)
    else:
        recovery.erase(0, recovery.size)
    box.press("reset")
    settle(box)
    (ended,) = box.noted("restore.ended")
    assert not ended["ok"]
    assert "recovery-latest" in ended["reason"]
    assert ("status", "red", "fast") in box.leds
    assert running_version(box) == NEW
    assert read_control(box.disk).restore is Restore.NONE


def test_required_software_below_the_fuses_is_not_restored() -> None:
    box = online_box("door", version=OLD)
    job = box.cloud.order(box.cloud.offer(NEW, fuse_level=3))
    assert box.run(lambda: box.cloud.jobs[job]["status"] == "SUCCEEDED")
    settle(box)
    box.press("power")
    box.run(lambda: not box.powered)
    box.press("reset", held_s=5.0)
    settle(box)
    (ended,) = box.noted("restore.ended")
    assert "below the 3 fuses" in ended["reason"]
    assert running_version(box) == NEW


def test_a_partition_that_takes_no_writes_keeps_the_restore_from_harm() -> None:
    box = updated(NEW)
    slot = boot_control.other(read_control(box.disk).active)
    box.disk[f"slot-{slot}"].read_only = True
    box.press("reset")
    settle(box)
    assert running_version(box) == NEW
    assert box.noted("restore.ended")[0]["ok"] is False


def test_a_fresh_appliance_restores_what_the_factory_gave_it() -> None:
    box = factory_box(OLD)
    box.press("power", "reset", held_s=5.0)
    box.run(for_s=600.0)
    assert running_version(box) == OLD
    assert box.noted("restore.ended")[0]["ok"]
