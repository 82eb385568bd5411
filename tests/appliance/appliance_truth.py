"""What must hold of an appliance whatever happened to it, once it has had power and rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from appliance_box import complete, read_control
from appliance_cloud import BOARD, ROOT_KEY, sha256

from harness.appliance import image, journal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from appliance_box import Box

REST_S = 2 * 3600.0  # longer than every retry, back-off, trial and watchdog together


def settle(box: Box) -> None:
    """Give the box power, a link and time."""
    box.cut_at = None
    box.break_after_steps = None
    box.mend_link()
    if not box.powered:
        box.power_up()
    box.run(for_s=REST_S)


def settings(box: Box) -> dict[str, Any]:
    """What a boot would find in the journal."""
    loaded: journal.Journal = complete(journal.load(), box.disk)
    return loaded.values


def running_version(box: Box) -> str:
    return str(box.noted("appliance.booted")[-1]["version"])


def assert_true(box: Box, device: Mapping[str, Any], factory_version: str = "6.0.8") -> None:
    """`box` has been settled; `device` is its identity and configuration as first kept."""
    _assert_boots_what_it_should(box)
    assert settings(box)["device"] == device
    _assert_applications(box)
    _assert_jobs(box, factory_version)


def _assert_boots_what_it_should(box: Box) -> None:
    assert not box.halted
    assert box.online
    control, booted = read_control(box.disk), box.noted("appliance.booted")[-1]
    active = control.slot(control.active)
    assert control.active == booted["slot"]
    assert active.bootable
    assert active.successful, "a release on trial was neither committed nor rolled back"
    runs = complete(image.read_slot(control.active, ROOT_KEY, BOARD, box.disk.fuses), box.disk)
    assert runs.version == booted["version"]
    assert box.disk.fuses == runs.fuse_level, "what is committed has its fuses blown"
    fuses = 0
    for kind, values in box.notes:
        if kind == "boot.control":
            assert values["fuse_level"] >= fuses, "fuses do not grow back"
            fuses = values["fuse_level"]
        elif kind == "appliance.booted":
            assert values["fuse_level"] >= fuses, "ran an image below the fuses"


def _assert_applications(box: Box) -> None:
    wanted = {name for name, state in box.cloud.desired.items() if state["state"] == "RUNNING"}
    kept = settings(box)
    assert set(kept.get("applications", {})) == wanted
    assert set(box.nodes) == wanted
    for contents in box.nodes.values():
        for digest, data in contents.items():
            assert sha256(data) == digest, "started from damaged assets"
    assert {name for name, told in box.cloud.reported.items() if told["status"] == "RUNNING"} == (
        wanted
    )
    used = {digest for app in kept.get("applications", {}).values() for digest in app["uses"]}
    assert set(kept.get("assets", {})) == used, "removal leaves no catalogue entry"


def _assert_jobs(box: Box, version: str) -> None:
    """Every job has ended, and the last update that is called a success is what runs."""
    for job, entry in box.cloud.jobs.items():
        assert entry["status"] in ("SUCCEEDED", "FAILED"), f"{job} never ended: {entry}"
        if entry["status"] == "SUCCEEDED" and entry["doc"]["operation"] == "OTA":
            version = entry["doc"]["imageVersion"]
    assert running_version(box) == version
