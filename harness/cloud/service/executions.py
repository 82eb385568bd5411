"""Job executions as AWS IoT serves them to devices: what waits, what is next, how it goes.

Requests come on the reserved topics of the jobs service and are answered on `/accepted` or
`/rejected`, with the codes of the IoT developer guide (2024). A device has one job at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.appliance.topic import (
    ACCEPTED,
    REJECTED,
    job_get,
    job_notify,
    job_start,
    job_update,
    jobs_get,
    jobs_notify,
)
from harness.record.kind import CLOUD_JOB

if TYPE_CHECKING:
    from harness.cloud.service.core import Core
    from harness.cloud.service.devices import Devices
    from harness.cloud.service.state import Device, Job

NEXT = "$next"

# Progress only advances, whatever a device says that starts over or reports late. In progress is
# what has no word of its own: an appliance says so while it writes what it has verified.
_STAGES = ("PENDING", "DOWNLOADING", "VERIFYING", "IN_PROGRESS", "REBOOTING")
_ENDED = {"SUCCEEDED": "COMPLETED", "FAILED": "FAILED", "REJECTED": "FAILED"}


class _Refused(Exception):
    """`job` is told of, where the device seems to be wrong about its state."""

    def __init__(self, code: str, message: str, job: Job | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.job = job


class Executions:
    def __init__(self, core: Core, devices: Devices) -> None:
        self._core = core
        self._devices = devices

    def request(self, device: Device, rest: list[str], payload: Mapping[str, Any]) -> None:
        """Answer a request; `rest` is its topic below `jobs/`."""
        token = payload.get("clientToken")
        try:
            match rest:
                case ["get"]:
                    topic = jobs_get(device.id)
                    answer = self._pending(device)
                case ["start-next"]:
                    topic = job_start(device.id)
                    answer = self._start(device, payload)
                case [job, "get"]:
                    topic = job_get(device.id, job)
                    answer = self._get(device, job, payload)
                case [job, "update"]:
                    topic = job_update(device.id, job)
                    answer = self._update(device, job, payload)
                case _:
                    return
        except _Refused as refused:
            self.reject(device, topic, refused.code, str(refused), token, refused.job)
            return
        self._publish(device, topic + ACCEPTED, answer, token)

    def reject(
        self,
        device: Device,
        topic: str,
        code: str,
        message: str,
        token: Any = None,
        job: Job | None = None,
    ) -> None:
        answer: dict[str, Any] = {"code": code, "message": message}
        if job is not None:
            answer["executionState"] = _state(job)
        self._publish(device, topic + REJECTED, answer, token)

    def notify(self, device: Device) -> None:
        """A job has come, or has ended: say what is left, and what is next."""
        job = self._core.store.active_job(device)
        waiting = {} if job is None else {job.status: [_summary(job)]}
        self._publish(device, jobs_notify(device.id), {"jobs": waiting}, None)
        following = {} if job is None else {"execution": _execution(job)}
        self._publish(device, job_notify(device.id), following, None)

    # --- requests -----------------------------------------------------------------------

    def _pending(self, device: Device) -> dict[str, Any]:
        job = self._core.store.active_job(device)
        begun = job is not None and job.status == "IN_PROGRESS"
        listed = [] if job is None else [_summary(job)]
        return {
            "inProgressJobs": listed if begun else [],
            "queuedJobs": [] if begun else listed,
        }

    def _get(self, device: Device, identifier: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        if identifier == NEXT:
            job = self._core.store.active_job(device)
            if job is None:
                return {}
        else:
            job = self._job(device, identifier)
        document = payload.get("includeJobDocument", True) is not False
        return {"execution": _execution(job, document=document)}

    def _start(self, device: Device, payload: Mapping[str, Any]) -> dict[str, Any]:
        job = self._core.store.active_job(device)
        if job is None:
            return {}
        if job.status == "QUEUED":
            self._advance(device, job, "IN_PROGRESS", _details(payload))
        return {"execution": _execution(job)}

    def _update(
        self, device: Device, identifier: str, payload: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The device reports on a job. A job that has ended stays as it ended."""
        job = self._job(device, identifier)
        status, expected = payload.get("status"), payload.get("expectedVersion")
        if status not in _ENDED and status != "IN_PROGRESS":
            raise _Refused("InvalidRequest", f"status {status!r} is unknown")
        if expected is not None and str(expected) != str(job.version):
            message = f"version of {job.id} is {job.version}, not {expected}"
            raise _Refused("VersionMismatch", message, job)
        if job.ended and status != job.status:
            message = f"job has ended: {job.status} to {status} is no transition"
            raise _Refused("InvalidStateTransition", message, job)
        if not job.ended:
            self._advance(device, job, status, _details(payload))
        answer: dict[str, Any] = {}
        if payload.get("includeJobExecutionState") is True:
            answer["executionState"] = _state(job)
        if payload.get("includeJobDocument") is True:
            answer["jobDocument"] = job.document
        return answer

    def _job(self, device: Device, identifier: str) -> Job:
        job = self._core.store.jobs.get(identifier)
        if job is None or job.device != device.id:
            raise _Refused("ResourceNotFound", f"no job {identifier}")
        return job

    def _advance(self, device: Device, job: Job, status: str, details: Mapping[str, Any]) -> None:
        job.status = status
        job.details = details
        job.version += 1
        job.updated_s = self._core.clock()
        job.started_s = job.started_s or job.updated_s
        progress = _ENDED[status] if status in _ENDED else _progress(job, details)
        if progress != job.progress:
            job.progress = progress
            self.record(device, job)
            self._devices.refresh(device)
        if job.ended:
            self.notify(device)

    # --- messages and events --------------------------------------------------------------

    def record(self, device: Device, job: Job) -> None:
        values = {"job": job.id, "device": device.name, "status": job.progress}
        self._core.record(CLOUD_JOB, values)

    def _publish(self, device: Device, topic: str, message: Mapping[str, Any], token: Any) -> None:
        echoed = {"clientToken": token} if isinstance(token, str) else {}
        stamped = {**message, "timestamp": int(self._core.clock()), **echoed}
        self._core.publish(device.id, topic, stamped)


def _details(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    details = payload.get("statusDetails")
    if details is None:
        return {}
    if not isinstance(details, Mapping):
        raise _Refused("InvalidRequest", "statusDetails is not an object")
    return details


def _progress(job: Job, details: Mapping[str, Any]) -> str:
    told = details.get("progress", "IN_PROGRESS")
    if told not in _STAGES or _STAGES.index(told) < _STAGES.index(job.progress):
        return job.progress
    return str(told)


def _summary(job: Job) -> dict[str, Any]:
    times = {"queuedAt": int(job.created_s), "lastUpdatedAt": int(job.updated_s or job.created_s)}
    started = {"startedAt": int(job.started_s)} if job.started_s else {}
    return {
        "jobId": job.id,
        **times,
        **started,
        "versionNumber": job.version,
        "executionNumber": 1,
    }


def _execution(job: Job, *, document: bool = True) -> dict[str, Any]:
    return {
        **_summary(job),
        "thingName": job.device,
        "status": job.status,
        "statusDetails": job.details,
        **({"jobDocument": job.document} if document else {}),
    }


def _state(job: Job) -> dict[str, Any]:
    return {
        "status": job.status,
        "statusDetails": job.details,
        "versionNumber": job.version,
    }
