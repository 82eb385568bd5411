"""Jobs: over-the-air updates and reboots, and what a boot after one of them means.

An update is written into the slot that is not running, tried, judged by a health check and
only then committed. Everything the job needs to end truthfully is in the journal before the
reboot; after it the device looks at what really runs and reports that. A download that power
interrupted goes on where it was, when the control plane still wants the job. How an image gets
into a slot is in `install`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.appliance import boot_control, restore, topic, transfer
from harness.appliance.applications import runnable
from harness.appliance.effect import (
    BlowFuses,
    MessageArrived,
    Note,
    Now,
    Program,
    Receive,
    Restart,
    Sleep,
    Spawn,
)
from harness.appliance.firmware import Mailbox, Online
from harness.appliance.install import Withdrawn, install, refuse_withdrawn
from harness.errors import Corrupt, LinkDown, PeerError, PeerRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.appliance.firmware import Firmware

HEALTH_POLL_S = 5.0
HEALTH_S = 180.0
WATCHDOG_S = 600.0
WATCHDOG_POLL_S = 60.0
LIVES_MAX = 5  # how often an update is begun again after power was lost


def update(firmware: Firmware) -> Program[None]:
    """First settle what the last boot meant, then take jobs one at a time."""
    yield from _settle(firmware)
    while True:
        message = yield Receive()
        if isinstance(message, Online):
            yield from _report_ended(firmware)
            yield from transfer.publish(topic.job_next(firmware.thing), {})
        elif isinstance(message, MessageArrived):
            yield from _take(firmware, message.payload.get("execution"))


def health_check(firmware: Firmware) -> Program[str]:
    """Outcome: "" when the release works here, else why not.

    Works: the settings can be read, the control plane answers, every application runs that this
    release does not refuse as such.
    """
    began_s = yield Now()
    while True:
        stopped = sorted(runnable(firmware) - firmware.running)
        if firmware.online and not stopped:
            return ""
        if (yield Now()) - began_s >= HEALTH_S:
            break
        yield Sleep(HEALTH_POLL_S)
    if stopped:
        return f"applications not running: {', '.join(stopped)}"
    return "no connection to the control plane"


def _settle(firmware: Firmware) -> Program[None]:
    job = firmware.journal.values.get("job")
    if not firmware.committed:
        yield from _try(firmware, job)
        yield from _keep(firmware, job)
        return
    yield from _burn(firmware)
    yield from _keep(firmware, job)
    if job is None or job["phase"] == "ended":
        return
    # What runs decides, not how far the journal got: power may go between arming and that entry.
    arrived = job["source"] != job["target"] == firmware.manifest.version
    if arrived or job["operation"] == "REBOOT":
        yield from _end(firmware, job, "committed", "")
    elif job["phase"] == "rebooting":
        reason = job.get("reason") or "the new image did not come up; rolled back"
        yield from _end(firmware, job, "rolled-back", reason)


def _try(firmware: Firmware, job: dict[str, Any] | None) -> Program[None]:
    """First boots of a fresh image: commit it, or close its slot and go back."""
    yield Spawn(Mailbox.WATCHDOG, _watchdog(firmware))
    if job is not None:
        yield Note("ota.phase", {"job": job["id"], "phase": "health-check"})
    problem = yield from firmware.steps.health_check(firmware)
    if problem:
        if job is not None:
            failed = {**job, "phase": "rebooting", "reason": f"health check: {problem}"}
            yield from firmware.journal.put({"job": failed})
        firmware.control = yield from boot_control.save(firmware.control.unbootable(firmware.slot))
        yield Note("boot.control", firmware.control.describe(firmware.fuses))
        yield Restart("rollback")
    # The commit comes before the fuses: a cut in between must leave a slot that may boot.
    firmware.control = yield from boot_control.save(firmware.control.committed(firmware.slot))
    yield from _burn(firmware)
    yield Note("boot.control", firmware.control.describe(firmware.fuses))
    if job is not None:
        yield from _end(firmware, job, "committed", "")


def _keep(firmware: Firmware, job: dict[str, Any] | None) -> Program[None]:
    """What an update brought is what the buttons restore; what they restored is not."""
    if job is not None and job["operation"] == "OTA" and job["target"] == firmware.manifest.version:
        yield from restore.keep(firmware)


def _burn(firmware: Firmware) -> Program[None]:
    """Blow the fuses of a committed release; a cut before it is made good at the next boot."""
    if firmware.manifest.fuse_level > firmware.fuses:
        yield BlowFuses(firmware.manifest.fuse_level)
        firmware.fuses = firmware.manifest.fuse_level


def _watchdog(firmware: Firmware) -> Program[None]:
    """A release that hangs while it is on trial is rebooted; its tries run out."""
    began_s = yield Now()
    while not firmware.committed:
        if (yield Now()) - began_s >= WATCHDOG_S:
            yield Restart("watchdog")
        yield Sleep(WATCHDOG_POLL_S)


def _end(firmware: Firmware, job: dict[str, Any], outcome: str, reason: str) -> Program[None]:
    """Keep the outcome, put it into the history, tell the cloud (again later if it must)."""
    status = {"committed": "SUCCEEDED", "cancelled": "CANCELED"}.get(outcome, "FAILED")
    # Who cancelled a job knows that it has ended.
    told = outcome == "cancelled"
    ended = {**job, "phase": "ended", "status": status, "reason": reason, "told": told}
    yield from firmware.journal.put({"job": ended})
    if job["operation"] == "OTA":
        now_s = yield Now()
        yield Note(
            "ota.ended",
            {
                "job": job["id"],
                "outcome": outcome,
                "version_from": job["source"],
                "version_to": job["target"],
                "duration_s": round(now_s - job["began_s"], 6),
                "reason": reason,
            },
        )
    if told:
        yield from transfer.publish(topic.job_next(firmware.thing), {})
    yield from _report_ended(firmware)


def _report_ended(firmware: Firmware) -> Program[None]:
    job = firmware.journal.values.get("job")
    if job is None or job["phase"] != "ended" or job["told"] or not firmware.online:
        return
    progress = "COMPLETED" if job["status"] == "SUCCEEDED" else "FAILED"
    if (yield from _report(firmware, job["id"], job["status"], progress, job["reason"])):
        yield from firmware.journal.put({"job": {**job, "told": True}})
        yield from transfer.publish(topic.job_next(firmware.thing), {})


def _take(firmware: Firmware, execution: Mapping[str, Any] | None) -> Program[None]:
    """Do what the control plane says is next; nothing, when nothing is."""
    known = firmware.journal.values.get("job")
    if known is not None and known["phase"] == "transfer":
        # Of an earlier life, since in this one it would not be listened to.
        try:
            refuse_withdrawn(known, execution)
        except Withdrawn as withdrawn:
            yield from _end(firmware, known, "cancelled", str(withdrawn))
            known = firmware.journal.values["job"]
    if not execution:
        return
    begun: Mapping[str, Any] | None = None
    if known is not None and known["id"] == execution["jobId"]:
        if known["phase"] != "transfer":
            return  # its end is reported by the journal
        begun = known
    document = execution["jobDocument"]
    now_s = yield Now()
    begun = begun or _begun(execution["jobId"], document, now_s)
    running = firmware.manifest.version  # buttons may have restored another since it began
    job = {"target": running, **begun, "source": running}
    if document["operation"] == "REBOOT":
        yield from _reboot(firmware, {**job, "phase": "rebooting"}, "reboot")
        return
    yield from _update(firmware, {**job, "lives": job["lives"] + 1}, document)


def _begun(job: str, document: Mapping[str, Any], now_s: float) -> dict[str, Any]:
    target = {"target": document["imageVersion"]} if "imageVersion" in document else {}
    begun = {"id": job, "operation": document["operation"], "phase": "transfer"}
    return {**begun, **target, "began_s": now_s, "lives": 0}


def _update(firmware: Firmware, job: dict[str, Any], document: Mapping[str, Any]) -> Program[None]:
    def phase(name: str, progress: str) -> Program[None]:
        yield from _phase(firmware, job, name, progress)

    try:
        yield from firmware.journal.put({"job": job})
        if job["lives"] > LIVES_MAX:
            raise LinkDown(f"power was lost {LIVES_MAX} times during the update")
        yield from install(firmware, job, document, phase)
    except Withdrawn as withdrawn:
        yield from _end(firmware, job, "cancelled", str(withdrawn))
    except PeerError as problem:
        outcome = "refused" if isinstance(problem, (PeerRefused, Corrupt)) else "failed"
        yield from _end(firmware, job, outcome, str(problem))
    else:
        yield from _reboot(firmware, {**job, "phase": "rebooting"}, "update")


def _reboot(firmware: Firmware, job: dict[str, Any], reason: str) -> Program[None]:
    yield from firmware.journal.put({"job": job})
    if job["operation"] == "OTA":
        yield Note("ota.phase", {"job": job["id"], "phase": "rebooting"})
    yield from _report(firmware, job["id"], "IN_PROGRESS", "REBOOTING", "")
    yield Restart(reason)


def _phase(firmware: Firmware, job: dict[str, Any], phase: str, progress: str) -> Program[None]:
    yield Note("ota.phase", {"job": job["id"], "phase": phase, "version": job["target"]})
    yield from _report(firmware, job["id"], "IN_PROGRESS", progress, "")


def _report(firmware: Firmware, job: str, status: str, progress: str, reason: str) -> Program[bool]:
    details = {"progress": progress, "reason": reason}
    told = yield from transfer.publish(
        topic.job_update(firmware.thing, job), {"status": status, "statusDetails": details}
    )
    if told:
        yield Note("job.reported", {"job": job, "status": progress})
    return bool(told)
