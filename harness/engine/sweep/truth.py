"""What must hold of an appliance whatever happened to it, once it has had power and rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.appliance import image, journal
from harness.appliance.boot_control import Restore
from harness.engine.sweep.cloud import BOARD, ROOT_KEY, sha256
from harness.engine.sweep.stand import complete, read_control
from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.engine.sweep.box import Box

FACTORY_VERSION = "6.0.8"
REST_S = 2 * 3600.0  # longer than every retry, back-off, trial and watchdog together


def settle(box: Box) -> None:
    """Give the box power, a link and time."""
    box.cut_at = None
    box.break_after_steps = None
    box.mend_link()
    box.mend()
    if not box.powered:
        box.power_up()
    box.run(for_s=REST_S)


def settings(box: Box) -> dict[str, Any]:
    """What a boot would find in the journal."""
    loaded: journal.Journal = complete(journal.load(), box.disk)
    return loaded.values


def running_version(box: Box) -> str:
    return str(box.noted("appliance.booted")[-1]["version"])


def violations(box: Box, device: Mapping[str, Any], *versions: str) -> Iterator[str]:
    """What does not hold of a box that has settled, as `invariant: what is wrong`.

    `device` is its identity and configuration as first kept; one of `versions` runs unless a
    job brought another.
    """
    if box.halted:
        yield f"boots: halted, {box.halted}"
        return
    if not box.online:
        yield "reaches-cloud: has no connection after rest"
    yield from _boots_what_it_should(box)
    kept = settings(box)
    if kept.get("device") != device:
        yield "settings-whole: identity or configuration is not what was first kept"
    yield from _applications(box, kept)
    yield from _jobs(box, versions or (FACTORY_VERSION,))


def _boots_what_it_should(box: Box) -> Iterator[str]:
    booted = box.noted("appliance.booted")
    if not booted:
        yield "boots: never came up"
        return
    control, last = read_control(box.disk), booted[-1]
    active = control.slot(control.active)
    if control.active != last["slot"]:
        yield f"boots: slot {last['slot']} runs, boot control says {control.active}"
    if control.restore is not Restore.NONE:
        yield f"restore: {control.restore.name.lower()} is still to be done"
    if not (active.bootable and active.successful):
        yield f"committed: slot {control.active} was neither committed nor rolled back"
    try:
        runs = complete(image.read_slot(control.active, ROOT_KEY, BOARD, box.disk.fuses), box.disk)
    except Corrupt as problem:
        yield f"slot-whole: {problem}"
        return
    if runs.version != last["version"]:
        yield f"boots: {last['version']} runs, slot {control.active} holds {runs.version}"
    if box.disk.fuses != runs.fuse_level:
        yield f"fuses: {box.disk.fuses} blown, what is committed has {runs.fuse_level}"
    yield from _fuses_never_grow_back(box)


def _fuses_never_grow_back(box: Box) -> Iterator[str]:
    fuses = 0
    for kind, values in box.notes:
        if kind in ("boot.control", "appliance.booted"):
            if values["fuse_level"] < fuses:
                yield f"fuses: {kind} with level {values['fuse_level']} after {fuses} were blown"
            if kind == "boot.control":
                fuses = values["fuse_level"]


def _applications(box: Box, kept: Mapping[str, Any]) -> Iterator[str]:
    wanted = {name for name, state in box.cloud.desired.items() if state["state"] == "RUNNING"}
    installed = kept.get("applications", {})
    running = {name for name, told in box.cloud.reported.items() if told["status"] == "RUNNING"}
    for what, found in (("installed", installed), ("run", box.nodes), ("reported", running)):
        if set(found) != wanted:
            yield f"applications: {what} are {sorted(found)}, wanted {sorted(wanted)}"
    yield from _cameras(box)
    for instance, contents in box.nodes.items():
        for digest, data in contents.items():
            if sha256(data) != digest:
                yield f"applications: {instance} was started from damaged assets"
    used = {digest for app in installed.values() for digest in app["uses"]}
    if set(kept.get("assets", {})) != used:
        yield "applications: assets are listed that nobody uses, or used that are not listed"


def _cameras(box: Box) -> Iterator[str]:
    """Cameras are paused that shall be, and no others; and that is what was told."""
    for instance in box.nodes:
        wanted = sorted(box.cloud.desired.get(instance, {}).get("paused", []))
        nodes = box.cloud.reported.get(instance, {}).get("nodes", {})
        told = sorted(name for name, status in nodes.items() if status == "PAUSED")
        for what, found in (("paused", sorted(box.paused[instance])), ("told as paused", told)):
            if found != wanted:
                yield f"cameras: {what} of {instance} are {found}, wanted {wanted}"


def _jobs(box: Box, versions: tuple[str, ...]) -> Iterator[str]:
    """Every job has ended, and the last update that is called a success is what runs.

    Or one that was taken back, perhaps when it was too late.
    """
    yield from (f"job-truthful: {lie}" for lie in box.cloud.lies)
    for job, entry in box.cloud.jobs.items():
        if entry["status"] not in ("SUCCEEDED", "FAILED", "CANCELED"):
            yield f"job-truthful: {job} never ended: {entry['status']}, {entry['progress']}"
        if entry["status"] == "SUCCEEDED" and entry["doc"]["operation"] == "OTA":
            versions = (entry["doc"]["imageVersion"],)
        if entry["status"] == "CANCELED":  # in time or too late: what runs decides
            versions = (*versions, entry["doc"].get("imageVersion", ""))
    if box.noted("appliance.booted") and running_version(box) not in versions:
        said = " or ".join(versions)
        yield f"job-truthful: the jobs say {said} runs, {running_version(box)} does"
