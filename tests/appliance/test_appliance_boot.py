"""From power to firmware: which slot runs, what is refused, and when the box gives up."""

from __future__ import annotations

from typing import Any

import pytest

from harness.appliance import boot_control, image
from harness.appliance.boot_control import FACTORY, TRIES
from harness.engine.sweep.box import BOOT_S, Box
from harness.engine.sweep.cloud import manifest, payload
from harness.engine.sweep.stand import (
    factory_box,
    flash,
    provisioned_box,
    read_control,
    set_control,
)
from harness.engine.sweep.truth import running_version


def _boot(box: Box) -> Box:
    box.notes.clear()
    box.power_up()
    box.run(lambda: bool(box.halted) or bool(box.noted("appliance.booted")))
    return box


def _trial(version: str = "6.2.1", **image_changes: Any) -> Box:
    """Slot a committed with 6.0.8, slot b freshly written and armed."""
    box = factory_box()
    flash(box.disk, "slot-b", manifest(version, **image_changes))
    armed = boot_control.BootControl(2, "b", FACTORY.armed("b").a, FACTORY.armed("b").b)
    set_control(box.disk, armed)
    return box


def test_the_factory_slot_boots_and_says_so() -> None:
    box = _boot(factory_box())
    (booted,) = box.noted("appliance.booted")
    assert booted == {
        "slot": "a",
        "version": "6.0.8",
        "committed": True,
        "fuse_level": 1,
        "duration_s": BOOT_S,
    }
    assert box.leds[0] == ("status", "green", "fast")
    assert box.noted("appliance.state")[0] == {"state": "booting"}
    assert read_control(box.disk) == FACTORY, "a committed slot spends no try"


def test_an_armed_slot_boots_and_spends_a_try_first() -> None:
    box = _boot(_trial())
    assert running_version(box) == "6.2.1"
    assert box.noted("appliance.booted")[0]["committed"] is False
    assert read_control(box.disk).b.tries == TRIES - 1


def test_after_its_tries_the_other_slot_boots_and_becomes_active() -> None:
    box = _trial()
    for _ in range(TRIES):
        _boot(box)
        assert running_version(box) == "6.2.1"
        box.cut_power()
    _boot(box)
    assert running_version(box) == "6.0.8"
    control = read_control(box.disk)
    assert control.active == "a"
    assert not control.b.bootable


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"boards": ("orin",)}, "is for orin"),
        ({"fuse_level": 0}, "below the 1 fuses"),
        ({"sha256": payload("other").digest, "size_bytes": 1 << 20}, " hash "),
    ],
)
def test_a_slot_that_fails_verification_is_closed_and_not_run(
    changes: dict[str, Any], reason: str
) -> None:
    box = _trial(**changes)
    if "sha256" in changes:
        box.disk["slot-b"].write(image.PAYLOAD_AT, payload("6.2.1"))
        box.disk.sync_all()
    _boot(box)
    assert running_version(box) == "6.0.8"
    (refused,) = box.noted("boot.refused")
    assert refused["slot"] == "b"
    assert reason in refused["reason"]
    control = read_control(box.disk)
    assert (control.active, control.b.bootable) == ("a", False)


def test_no_bootable_slot_is_a_fast_red_light_and_the_end() -> None:
    box = factory_box()
    box.disk["slot-a"].write(200, b"\0")
    box.disk.sync_all()
    _boot(box)
    assert box.halted == "no-bootable-slot"
    assert box.leds[-1] == ("status", "red", "fast")
    assert box.noted("appliance.state")[-1] == {"state": "failed"}
    assert not box.noted("appliance.booted")


def test_a_fresh_box_waits_for_provisioning_and_a_known_one_connects() -> None:
    fresh = _boot(factory_box())
    fresh.run(for_s=1.0)
    assert fresh.noted("appliance.state")[-1] == {"state": "provisioning"}
    known = provisioned_box()
    known.power_up()
    assert known.run(lambda: known.online)
    assert "provisioning" not in [values["state"] for values in known.noted("appliance.state")]
    assert ("status", "green", "steady") in known.leds


def test_a_cut_at_any_moment_of_a_trial_boot_leaves_something_to_boot() -> None:
    moment = 0
    while True:
        box = _trial()
        box.cut_at = moment
        box.power_up()
        box.run(lambda: bool(box.noted("appliance.booted")))  # noqa: B023
        if box.powered:
            break
        box.cut_at = None
        assert running_version(_boot(box)) == "6.2.1", f"after a cut before moment {moment}"
        moment += 1
    assert moment > 5
