"""Jobs: what becomes of an update, what is refused, and what the cloud is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness.appliance import topic
from harness.appliance.boot_control import TRIES
from harness.appliance.effect import Program, Sleep
from harness.appliance.release import SOUND, release
from harness.appliance.transfer import GIVE_UP_S, RETRY_S
from harness.appliance.update import HEALTH_S, WATCHDOG_S
from harness.engine.sweep.cloud import RELEASE_KEY, THING, manifest, payload
from harness.engine.sweep.stand import online_box, provisioned_box, read_control
from harness.engine.sweep.truth import running_version, settings, settle, violations

if TYPE_CHECKING:
    from harness.engine.sweep.box import Box

OLD, NEW = "6.0.8", "6.2.1"
TOLD_OF_SUCCESS = ["DOWNLOADING", "VERIFYING", "IN_PROGRESS", "REBOOTING", "COMPLETED"]


def _ended(box: Box, job: str) -> bool:
    return box.cloud.jobs[job]["status"] in ("SUCCEEDED", "FAILED") and box.idle


def _update(box: Box, document: dict[str, Any], for_s: float = 7200.0) -> dict[str, Any]:
    """Order it and wait for its end. Outcome: the job as the cloud has it."""
    job = box.cloud.order(document)
    assert box.run(lambda: _ended(box, job), for_s=for_s)
    entry: dict[str, Any] = box.cloud.jobs[job]
    return entry


def _refused(box: Box, document: dict[str, Any]) -> str:
    """An update that must not touch the slots. Outcome: the reason given."""
    before = read_control(box.disk)
    entry = _update(box, document)
    assert entry["status"] == "FAILED"
    (ended,) = box.noted("ota.ended")
    assert (ended["outcome"], ended["reason"]) == ("refused", entry["reason"])
    assert box.restarts == []
    assert read_control(box.disk) == before
    return str(entry["reason"])


def _told(box: Box) -> list[str]:
    return [progress for _, progress in box.cloud.progress]


# --- the good way ---------------------------------------------------------------------------------


def test_a_good_update_is_written_tried_and_committed() -> None:
    box = online_box("door")
    began_s = box.now_s
    entry = _update(box, box.cloud.offer(NEW, fuse_level=2))
    assert entry["status"] == "SUCCEEDED"
    assert _told(box) == TOLD_OF_SUCCESS
    assert [v["phase"] for v in box.noted("ota.phase")] == [
        "downloading",
        "verifying",
        "writing",
        "rebooting",
        "health-check",
    ]
    (ended,) = box.noted("ota.ended")
    assert ended == {
        "job": "job-0",
        "outcome": "committed",
        "version_from": OLD,
        "version_to": NEW,
        "duration_s": pytest.approx(box.now_s - began_s),
        "reason": "",
    }
    control = read_control(box.disk)
    assert (control.active, control.b.successful, control.a.successful) == ("b", True, True)
    assert box.disk.fuses == 2
    assert {"software": NEW, "slot": "b"}.items() <= box.cloud.device.items()
    assert set(box.nodes) == {"door"}


def test_the_next_update_goes_into_the_slot_that_does_not_run() -> None:
    box = online_box()
    for version, slot in ((NEW, "b"), ("6.3.1", "a"), ("6.3.2", "b")):
        assert _update(box, box.cloud.offer(version))["status"] == "SUCCEEDED"
        assert read_control(box.disk).active == slot
        assert running_version(box) == version


def test_a_slot_is_closed_before_it_is_written_over() -> None:
    """Half an image must not be what the box falls back to."""
    box = online_box()
    assert _update(box, box.cloud.offer(NEW))["status"] == "SUCCEEDED"
    assert read_control(box.disk).a.may_boot
    box.break_after_steps = 1
    box.cloud.order(box.cloud.offer("6.3.1"))
    assert box.run(lambda: box.uplink == "broken")
    assert not read_control(box.disk).a.may_boot
    box.cut_power()
    box.power_up()
    assert box.run(lambda: bool(box.noted("appliance.booted")))
    assert running_version(box) == NEW


def test_an_older_release_is_installed_as_any_other_while_the_fuses_allow_it() -> None:
    box = online_box()
    assert _update(box, box.cloud.offer("5.1.7"))["status"] == "SUCCEEDED"
    assert running_version(box) == "5.1.7"


# --- what does not work here ----------------------------------------------------------------------


def test_a_failed_health_check_rolls_back_and_says_why() -> None:
    box = online_box("door")
    entry = _update(box, box.cloud.offer(NEW, fuse_level=2, defects=("health-check-fails",)))
    assert entry["status"] == "FAILED"
    assert "health check: self-test failed" in entry["reason"]
    assert box.restarts == ["update", "rollback"]
    assert running_version(box) == OLD
    control = read_control(box.disk)
    assert (control.active, control.b.bootable) == ("a", False)
    assert box.disk.fuses == 1, "what was not committed blows no fuses"
    assert box.noted("ota.ended")[0]["outcome"] == "rolled-back"


def test_an_application_that_does_not_start_under_the_new_release_rolls_it_back() -> None:
    box = online_box("door")
    box.unstartable.add("door")
    entry = _update(box, box.cloud.offer(NEW))
    assert entry["status"] == "FAILED"
    assert "applications not running: door" in entry["reason"]
    assert running_version(box) == OLD


def test_a_release_that_cannot_reach_the_cloud_is_rolled_back() -> None:
    box = online_box()
    job = box.cloud.order(box.cloud.offer(NEW))
    assert box.run(lambda: running_version(box) == NEW if box.noted("appliance.booted") else False)
    box.break_link()
    assert box.run(lambda: "rollback" in box.restarts, for_s=HEALTH_S + 60.0)
    box.mend_link()
    assert box.run(lambda: _ended(box, job))
    assert "no connection to the control plane" in box.cloud.jobs[job]["reason"]
    assert running_version(box) == OLD


def test_a_release_that_hangs_is_ended_by_the_watchdog_until_its_tries_run_out() -> None:
    def hangs(_firmware: Any) -> Program[str]:
        while True:
            yield Sleep(3600.0)

    box = provisioned_box()
    box.release = lambda made: (
        replace(SOUND, health_check=hangs) if made.version == NEW else release(made)
    )
    box.power_up()
    assert box.run(lambda: box.online and box.idle)
    entry = _update(box, box.cloud.offer(NEW), for_s=(TRIES + 2) * (WATCHDOG_S + 200.0))
    assert entry["status"] == "FAILED"
    assert "did not come up; rolled back" in entry["reason"]
    assert box.restarts == ["update"] + ["watchdog"] * TRIES
    assert running_version(box) == OLD
    assert read_control(box.disk).active == "a"


def test_an_image_that_rots_before_the_reboot_is_not_run() -> None:
    box = online_box()
    job = box.cloud.order(box.cloud.offer(NEW))
    assert box.run(lambda: box.restarts == ["update"])
    box.disk["slot-b"].write(100, b"\0\0\0\0")
    box.disk.sync_all()
    assert box.run(lambda: _ended(box, job))
    assert box.noted("boot.refused")[0]["slot"] == "b"
    assert box.noted("ota.ended")[0]["outcome"] == "rolled-back"
    assert running_version(box) == OLD


# --- what is refused ------------------------------------------------------------------------------


def test_another_content_than_the_manifests_is_not_armed() -> None:
    box = online_box()
    document = box.cloud.offer(NEW)
    box.cloud.content[document["imageUrl"]] = payload("other")
    entry = _update(box, document)
    assert entry["status"] == "FAILED"
    assert "is not the manifest's" in entry["reason"]
    assert box.restarts == []
    assert not read_control(box.disk).b.bootable


def _vouch(box: Box, signed: bytes) -> dict[str, Any]:
    """Serve this manifest, and have the signed targets vouch for it. Outcome: the job document."""
    document = box.cloud.offer(NEW)
    box.cloud.content[document["manifestUrl"]] = signed
    box.cloud.publish(box.cloud.repository.offering(manifest(NEW), signed).files())
    return document


def test_a_manifest_that_the_release_key_did_not_sign_is_refused_whoever_vouches() -> None:
    box = online_box()
    document = _vouch(box, b"0" * 128 + b"{}")
    assert "signature does not match" in _refused(box, document)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"boards": ("orin",)}, "is for orin"),
        ({"fuse_level": 0}, "has fuse level 0, below the 1 fuses"),
    ],
)
def test_an_image_that_could_not_boot_is_refused_before_it_is_fetched(
    changes: dict[str, Any], reason: str
) -> None:
    box = online_box()
    document = box.cloud.offer(NEW, **changes)
    del box.cloud.content[document["imageUrl"]]
    assert reason in _refused(box, document)


def test_a_manifest_of_another_version_than_ordered_is_refused() -> None:
    box = online_box()
    document = _vouch(box, manifest("6.1.0").sign(RELEASE_KEY))
    assert "manifest says 6.1.0, the job says 6.2.1" in _refused(box, document)


def test_the_version_that_runs_is_refused() -> None:
    box = online_box()
    assert "installed already" in _refused(box, box.cloud.offer(OLD))


def test_a_major_version_is_crossed_only_when_asked_for() -> None:
    box = online_box()
    document = box.cloud.offer("7.0.13")
    assert "crosses a major version" in _refused(box, document)
    assert _update(box, {**document, "allowMajorVersionUpdate": True})["status"] == "SUCCEEDED"
    assert running_version(box) == "7.0.13"


def test_there_is_no_way_back_below_8() -> None:
    box = online_box(version="8.0.29")
    document = {**box.cloud.offer("7.0.13"), "allowMajorVersionUpdate": True}
    assert "no way back below 8" in _refused(box, document)


def test_an_image_that_nobody_serves_is_a_failed_job() -> None:
    box = online_box()
    document = box.cloud.offer(NEW)
    del box.cloud.content[document["imageUrl"]]
    assert "404" in _update(box, document)["reason"]
    assert box.restarts == []
    assert read_control(box.disk).active == "a"


# --- the link -------------------------------------------------------------------------------------


def test_a_download_goes_on_where_the_link_broke() -> None:
    box = online_box()
    document = box.cloud.offer(NEW)
    box.break_after_steps = 2
    job = box.cloud.order(document)
    assert box.run(lambda: box.uplink == "broken")
    box.run(for_s=3 * RETRY_S)
    box.mend_link()
    assert box.run(lambda: _ended(box, job))
    assert box.cloud.jobs[job]["status"] == "SUCCEEDED"
    assert any("interrupted at 2097152 of" in v["line"] for v in box.noted("log.line"))
    assert box.fetches == [("image/6.2.1", 0), ("image/6.2.1", 2 << 20)]


def test_a_link_that_stays_away_fails_the_job_and_says_so_when_it_is_back() -> None:
    box = online_box()
    box.break_after_steps = 1
    job = box.cloud.order(box.cloud.offer(NEW))
    box.run(for_s=GIVE_UP_S + 100.0)
    assert box.noted("ota.ended")[0]["outcome"] == "failed"
    assert box.cloud.jobs[job]["status"] == "IN_PROGRESS", "nobody could be told"
    box.mend_link()
    assert box.run(lambda: _ended(box, job))
    assert box.cloud.jobs[job]["status"] == "FAILED"
    assert _update(box, box.cloud.offer("6.3.1"))["status"] == "SUCCEEDED"


def test_a_link_lost_before_the_end_is_told_leaves_the_end_to_be_told() -> None:
    box = online_box()
    job = box.cloud.order(box.cloud.offer(NEW, defects=("health-check-fails",)))
    assert box.run(lambda: "rollback" in box.restarts)
    box.break_link()
    box.run(for_s=600.0)
    assert box.noted("ota.ended")[0]["outcome"] == "rolled-back"
    assert box.cloud.jobs[job]["status"] == "IN_PROGRESS"
    box.mend_link()
    assert box.run(lambda: _ended(box, job))
    assert settings(box)["job"]["told"] is True
    assert _told(box).count("FAILED") == 1


# --- power ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["downloading", "verifying", "writing"])
def test_power_lost_before_the_reboot_is_an_update_gone_on_with(phase: str) -> None:
    box = online_box("door")
    device = settings(box)["device"]
    job = box.cloud.order(box.cloud.offer(NEW))
    assert box.run(lambda: any(v["phase"] == phase for v in box.noted("ota.phase")))
    box.cut_power()
    settle(box)
    assert box.cloud.jobs[job]["status"] == "SUCCEEDED"
    assert running_version(box) == NEW
    assert list(violations(box, device)) == []


@pytest.mark.parametrize("phase", ["rebooting", "health-check"])
def test_power_lost_after_arming_is_as_good_as_a_reboot(phase: str) -> None:
    box = online_box("door")
    device = settings(box)["device"]
    job = box.cloud.order(box.cloud.offer(NEW, fuse_level=2))
    assert box.run(lambda: any(v["phase"] == phase for v in box.noted("ota.phase")))
    box.cut_power()
    settle(box)
    assert box.cloud.jobs[job]["status"] == "SUCCEEDED"
    assert running_version(box) == NEW
    assert list(violations(box, device)) == []


def test_power_lost_in_every_try_is_a_roll_back() -> None:
    box = online_box()
    job = box.cloud.order(box.cloud.offer(NEW))
    for _ in range(TRIES):
        box.notes.clear()
        assert box.run(lambda: bool(box.noted("appliance.booted")))
        assert running_version(box) == NEW
        box.cut_power()
        box.power_up()
    settle(box)
    assert running_version(box) == OLD
    assert box.cloud.jobs[job]["status"] == "FAILED"


def test_fuses_that_a_cut_left_whole_are_blown_at_the_next_boot() -> None:
    box = online_box()
    box.cloud.order(box.cloud.offer(NEW, fuse_level=3))
    assert box.run(lambda: read_control(box.disk).b.successful)
    assert box.disk.fuses == 1
    box.cut_power()
    settle(box)
    assert box.disk.fuses == 3
    assert running_version(box) == NEW


# --- reboots, and jobs that come twice ------------------------------------------------------------


def test_a_reboot_job_reboots_once_and_is_completed() -> None:
    box = online_box("door")
    entry = _update(box, {"operation": "REBOOT"})
    assert entry["status"] == "SUCCEEDED"
    assert box.restarts == ["reboot"]
    assert _told(box) == ["REBOOTING", "COMPLETED"]
    assert box.noted("ota.ended") == []
    box.run(for_s=3600.0)
    assert box.restarts == ["reboot"]


def test_a_job_that_is_offered_again_is_not_done_again() -> None:
    box = online_box()
    document = box.cloud.offer(NEW)
    assert _update(box, document)["status"] == "SUCCEEDED"
    execution = {"execution": {"jobId": "job-0", "jobDocument": document}}
    for _ in range(3):
        box.cloud.say(topic.job_notify(THING), execution)
    box.run(for_s=3600.0)
    assert box.restarts == ["update"]
    assert _told(box) == TOLD_OF_SUCCESS


def test_a_job_ordered_while_the_box_was_off_is_done_when_it_comes() -> None:
    box = provisioned_box()
    job = box.cloud.order(box.cloud.offer(NEW))
    box.power_up()
    assert box.run(lambda: _ended(box, job))
    assert running_version(box) == NEW
