"""What is asked before an image is written, and what becomes of a download that is interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.appliance import boot_control
from harness.appliance.defects import lookup
from harness.appliance.fitness import REACH_AGAIN_S, REACH_TRIES
from harness.appliance.image import PAYLOAD_AT
from harness.appliance.install import SEGMENT_BYTES_MIN
from harness.appliance.release import SOUND
from harness.appliance.update import LIVES_MAX
from harness.engine.sweep.cloud import payload
from harness.engine.sweep.stand import (
    SLOT_BYTES,
    complete,
    online_box,
    provisioned_box,
    read_control,
)
from harness.engine.sweep.truth import running_version, settings, violations

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.appliance.boot_control import BootControl
    from harness.engine.sweep.box import Box

OLD, NEW = "6.0.8", "6.2.1"
LARGE = 5 * SEGMENT_BYTES_MIN
_SLOTS = ("boot-control", "slot-a", "slot-b")


def _ended(box: Box, job: str) -> bool:
    ended = box.cloud.jobs[job]["status"] not in ("QUEUED", "IN_PROGRESS")
    return ended and bool(box.noted("ota.ended")) and box.online and box.idle


def _update(box: Box, document: dict[str, Any]) -> dict[str, Any]:
    job = box.cloud.order(document)
    assert box.run(lambda: _ended(box, job), for_s=7200.0)
    entry: dict[str, Any] = box.cloud.jobs[job]
    return entry


def _refused(box: Box, document: dict[str, Any]) -> str:
    """An update of which nothing is written. Outcome: the reason given."""
    before = {name: box.disk[name].read(0, 8192) for name in _SLOTS}
    entry = _update(box, document)
    assert entry["status"] == "FAILED"
    assert box.fetches == []
    assert before == {name: box.disk[name].read(0, 8192) for name in _SLOTS}
    assert box.restarts == []
    return str(entry["reason"])


# --- what the vendor says of an image ---------------------------------------------------------


def test_a_recalled_image_is_not_installed_and_who_runs_it_may_leave() -> None:
    box = online_box(version="7.0.11")
    assert "7.0.12 was recalled" in _refused(box, box.cloud.offer("7.0.12", {"kind": "recalled"}))
    assert _update(box, box.cloud.offer("6.2.1"))["status"] == "SUCCEEDED"
    assert running_version(box) == "6.2.1"


def test_an_image_that_asks_for_a_newer_one_first_is_refused_until_that_runs() -> None:
    box = online_box()
    custom = {"minimum_version": "6.2.1"}
    assert "may be installed from 6.2.1 on" in _refused(box, box.cloud.offer("6.3.0", custom))
    assert _update(box, box.cloud.offer("6.2.1"))["status"] == "SUCCEEDED"
    assert _update(box, box.cloud.offer("6.3.0", custom))["status"] == "SUCCEEDED"


def test_an_image_larger_than_a_slot_is_refused_before_a_byte_of_it_is_fetched() -> None:
    box = online_box()
    fits = SLOT_BYTES - PAYLOAD_AT
    reason = _refused(box, box.cloud.offer("6.3.0", size_bytes=fits + 1))
    assert f"{SLOT_BYTES + 1} bytes, a slot has {SLOT_BYTES}" in reason
    assert _update(box, box.cloud.offer("6.3.1", size_bytes=fits))["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    "custom",
    [
        {"kind": "beta"},
        {"boards": None},
        {"version": "six"},
        {"minimum_version": "old"},
        {"endpoints": ["https://ecr.test"]},
        {"endpoints": [443]},
        {"fuse_level": "1"},
    ],
)
def test_what_describes_no_release_is_refused(custom: dict[str, Any]) -> None:
    box = online_box()
    assert "payload: custom: " in _refused(box, box.cloud.offer(NEW, custom))


# --- endpoints --------------------------------------------------------------------------------


NEEDS = {"endpoints": ["api.ecr.test:443", "credentials.iot.test:443"]}


def test_an_image_is_refused_while_what_it_needs_cannot_be_reached() -> None:
    box = online_box()
    document = {**box.cloud.offer("7.0.13", NEEDS), "allowMajorVersionUpdate": True}
    box.blocked.add("api.ecr.test:443")
    reason = _refused(box, document)
    assert "7.0.13 needs endpoints that cannot be reached" in reason
    assert "api.ecr.test:443: no answer" in reason
    assert "credentials" not in reason
    box.blocked.clear()
    assert _update(box, document)["status"] == "SUCCEEDED"


def test_an_endpoint_that_answers_in_the_end_is_good_enough() -> None:
    box = online_box()
    job = box.cloud.order(box.cloud.offer(NEW, NEEDS))
    box.blocked.add("api.ecr.test:443")
    box.run(for_s=REACH_AGAIN_S * (REACH_TRIES - 1) - 1.0)
    assert box.cloud.jobs[job]["status"] == "IN_PROGRESS"
    box.blocked.clear()
    assert box.run(lambda: _ended(box, job))
    assert box.cloud.jobs[job]["status"] == "SUCCEEDED"


# --- the slots --------------------------------------------------------------------------------


def test_what_the_slots_can_do_is_said_before_they_are_touched() -> None:
    box = online_box()
    for version, spare_boots in ((NEW, False), ("6.3.0", True)):
        box.notes.clear()
        assert _update(box, box.cloud.offer(version))["status"] == "SUCCEEDED"
        (said,) = box.noted("ota.readiness")
        assert (said["way_back"], said["spare_boots"], said["reason"]) == (True, spare_boots, "")
        kinds = [kind for kind, _ in box.notes]
        assert kinds.index("ota.readiness") < kinds.index("boot.control")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda control: control.armed("a"), "slot a runs on trial and is not committed"),
        (lambda control: control.committed("b"), "slot a runs, but b is the one to boot"),
    ],
)
def test_an_update_without_a_way_back_is_refused(
    change: Callable[[BootControl], BootControl], reason: str
) -> None:
    """As a release leaves the boot control that forgets to commit, or an operator's tool."""
    box = online_box()
    complete(boot_control.save(change(read_control(box.disk))), box.disk)
    assert f"redundancy is not armed: {reason}" in _refused(box, box.cloud.offer(NEW))
    assert box.noted("ota.readiness")[0]["way_back"] is False


def test_a_spare_slot_that_takes_no_writes_is_found_before_it_is_closed() -> None:
    box = online_box()
    assert _update(box, box.cloud.offer(NEW))["status"] == "SUCCEEDED"
    box.restarts.clear()
    box.fetches.clear()
    box.notes.clear()
    box.disk["slot-a"].read_only = True
    assert "slot-a: mounted read-only" in _refused(box, box.cloud.offer("6.3.0"))
    assert read_control(box.disk).a.may_boot


def test_a_boot_control_that_does_not_take_the_new_slot_is_found_before_the_reboot() -> None:
    box = provisioned_box()
    faulty = lookup("redundancy-never-armed").apply(SOUND)
    box.release = lambda _made: faulty
    box.power_up()
    assert box.run(lambda: box.online and box.idle)
    entry = _update(box, box.cloud.offer(NEW))
    assert "slot b was written, and boot control did not take it" in entry["reason"]
    assert (box.restarts, running_version(box)) == ([], OLD)


# --- jobs that are wanted no longer -----------------------------------------------------------


def _downloading(box: Box, steps: int = 20) -> str:
    """Ordered, and broken off in the middle of the download: the line is dead."""
    job = box.cloud.order(box.cloud.offer(NEW, size_bytes=LARGE))
    box.break_after_steps = steps
    assert box.run(lambda: box.uplink == "broken")
    return job


def _withdrawn(box: Box, job: str, reason: str) -> None:
    assert box.run(lambda: bool(box.noted("ota.ended")))
    (ended,) = box.noted("ota.ended")
    assert (ended["job"], ended["outcome"], ended["reason"]) == (job, "cancelled", reason)
    assert box.restarts == []
    assert box.cloud.jobs[job]["status"] == "CANCELED"
    assert box.cloud.lies == []


def test_a_download_ends_when_its_job_is_cancelled() -> None:
    box = online_box()
    job = _downloading(box)
    box.cloud.cancel(job)
    box.mend_link()
    _withdrawn(box, job, "the job was cancelled")
    assert [start >> 20 for _, start in box.fetches] == [0, 16, 20, 32], "the rest was not fetched"
    assert _update(box, box.cloud.offer("6.3.0"))["status"] == "SUCCEEDED"


def test_a_job_that_is_cancelled_when_all_has_come_is_not_armed() -> None:
    box = online_box()
    job = box.cloud.order(box.cloud.offer(NEW))
    assert box.run(lambda: any(v["phase"] == "verifying" for v in box.noted("ota.phase")))
    box.cloud.cancel(job)
    _withdrawn(box, job, "the job was cancelled")
    assert not read_control(box.disk).b.bootable
    box.run(for_s=3600.0)
    assert box.cloud.lies == []


def test_a_job_that_another_took_the_place_of_gives_way_to_it() -> None:
    box = online_box()
    job = _downloading(box)
    box.cloud.cancel(job)
    following = box.cloud.order(box.cloud.offer("6.3.0"))
    box.mend_link()
    _withdrawn(box, job, f"the job was superseded by {following}")
    assert box.run(lambda: box.cloud.jobs[following]["status"] == "SUCCEEDED")
    assert running_version(box) == "6.3.0"


@pytest.mark.parametrize("superseded", [False, True])
def test_a_job_that_was_cancelled_while_the_power_was_off_is_not_gone_on_with(
    superseded: bool,
) -> None:
    box = online_box()
    job = _downloading(box)
    box.cut_power()
    box.cloud.cancel(job)
    following = box.cloud.order(box.cloud.offer("6.3.0")) if superseded else ""
    box.mend_link()
    box.power_up()
    reason = f"the job was superseded by {following}" if superseded else "the job was cancelled"
    _withdrawn(box, job, reason)
    box.run(for_s=3600.0)
    assert running_version(box) == ("6.3.0" if superseded else OLD)


def test_a_cancellation_that_comes_after_the_slot_was_armed_changes_nothing() -> None:
    """What runs decides; the cloud has been told that the job was taken back, and keeps to it."""
    box = online_box()
    job = box.cloud.order(box.cloud.offer(NEW))
    assert box.run(lambda: box.restarts == ["update"])
    box.cloud.cancel(job)
    box.run(for_s=3600.0)
    assert running_version(box) == NEW
    assert box.noted("ota.ended")[0]["outcome"] == "committed"
    assert box.cloud.jobs[job]["status"] == "CANCELED"


# --- power in the middle of a download --------------------------------------------------------


def test_a_download_goes_on_after_a_power_cut_from_what_is_known_to_be_in_place() -> None:
    box = online_box("door")
    job = _downloading(box, steps=40)
    box.cut_power()
    assert settings(box)["job"]["progress"]["bytes"] == 2 * SEGMENT_BYTES_MIN
    box.mend_link()
    box.fetches.clear()
    box.power_up()
    assert box.run(lambda: _ended(box, job))
    assert box.cloud.jobs[job]["status"] == "SUCCEEDED"
    assert [start >> 20 for _, start in box.fetches] == [32, 48, 64]
    assert any("goes on at 33554432 of" in line["line"] for line in box.noted("log.line"))
    assert list(violations(box, settings(box)["device"])) == []


def test_what_was_damaged_while_the_power_was_off_is_fetched_again() -> None:
    box = online_box()
    job = _downloading(box, steps=40)
    box.cut_power()
    box.mend_link()
    box.power_up()
    assert box.run(lambda: any("goes on" in line["line"] for line in box.noted("log.line")))
    box.disk["slot-b"].rot(PAYLOAD_AT + 5, 0)
    box.cloud.content["image/6.2.1"], sound = (
        payload("other", LARGE),
        box.cloud.content["image/6.2.1"],
    )
    assert box.run(lambda: any(v["phase"] == "verifying" for v in box.noted("ota.phase")))
    box.cloud.content["image/6.2.1"] = sound
    assert box.run(lambda: _ended(box, job))
    assert any("all of it again" in line["line"] for line in box.noted("log.line"))
    assert box.cloud.jobs[job]["status"] == "SUCCEEDED"


def test_another_image_does_not_go_on_where_the_one_before_it_was() -> None:
    box = online_box()
    job = _downloading(box, steps=40)
    box.cut_power()
    box.cloud.offer(NEW, size_bytes=LARGE, sha256=payload("rebuilt").digest)
    box.mend_link()
    box.fetches.clear()
    box.power_up()
    assert box.run(lambda: _ended(box, job))
    assert box.fetches[0] == ("image/6.2.1", 0)
    assert box.cloud.jobs[job]["status"] == "SUCCEEDED"


def test_software_that_was_restored_meanwhile_is_what_the_update_starts_from() -> None:
    """The buttons swap the slots, so that nothing that was fetched is where it has to be."""
    box = online_box()
    assert _update(box, box.cloud.offer(NEW))["status"] == "SUCCEEDED"
    box.notes.clear()
    job = box.cloud.order(box.cloud.offer("6.3.0", size_bytes=LARGE))
    box.break_after_steps = 40
    assert box.run(lambda: box.uplink == "broken")
    box.cut_power()
    box.mend_link()
    box.fetches.clear()
    box.press("reset", held_s=5.0)
    assert box.run(lambda: _ended(box, job))
    assert box.noted("restore.ended")[0]["what"] == "required"
    (ended,) = box.noted("ota.ended")
    assert (ended["outcome"], ended["version_from"], ended["version_to"]) == (
        "committed",
        OLD,
        "6.3.0",
    )
    assert box.fetches[0] == ("image/6.3.0", 0)


def test_an_update_during_which_power_is_lost_again_and_again_is_given_up() -> None:
    box = online_box()
    job = box.cloud.order(box.cloud.offer(NEW))
    for _ in range(LIVES_MAX):
        box.notes.clear()
        assert box.run(lambda: bool(box.noted("ota.phase")))
        box.cut_power()
        box.power_up()
    assert box.run(lambda: _ended(box, job))
    assert box.cloud.jobs[job]["reason"] == f"power was lost {LIVES_MAX} times during the update"
    assert running_version(box) == OLD
