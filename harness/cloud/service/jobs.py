"""Jobs: over-the-air updates and reboots, driven by what the device says about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.appliance.topic import ACCEPTED, REJECTED, job_next, job_notify, job_update
from harness.cloud.api.error import conflict, not_found, validation
from harness.cloud.service.core import FIRMWARE_BUCKET, Answer, Core, Parameters
from harness.cloud.service.paging import page
from harness.cloud.service.state import Image, Job
from harness.record.kind import CLOUD_JOB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cloud.service.content import Content
    from harness.cloud.service.devices import Devices
    from harness.cloud.service.paging import Key
    from harness.cloud.service.state import Device

# Progress only advances, whatever a device says that starts over or reports late. In progress is
# what has no word of its own: an appliance says so while it writes what it has verified.
_STAGES = ("PENDING", "DOWNLOADING", "VERIFYING", "IN_PROGRESS", "REBOOTING")
_ENDED = {"SUCCEEDED": "COMPLETED", "FAILED": "FAILED", "REJECTED": "FAILED"}


class Jobs:
    def __init__(self, core: Core, devices: Devices) -> None:
        self._core = core
        self._devices = devices

    def publish_image(
        self, version: str, manifest: bytes, payload: Content, manifest_content: Content,
        *, required: bool, alternate: bool,
    ) -> None:  # fmt: skip
        self._core.store.images[version] = Image(version, manifest, required, alternate)
        self._core.objects.put(FIRMWARE_BUCKET, _manifest_key(version), manifest_content)
        self._core.objects.put(FIRMWARE_BUCKET, payload_key(version), payload)
        for device in self._core.store.devices.values():
            self._devices.refresh(device)

    # --- operations ---------------------------------------------------------------------

    def create(self, parameters: Parameters) -> Answer:
        device = self._devices.get(parameters["DeviceIds"][0])
        kind = parameters["JobType"]
        image = self._image(parameters) if kind == "OTA" else None
        if device.provisioning != "SUCCEEDED":
            message = f"The device is not registered: {device.provisioning}."
            raise conflict("DEVICE", device.id, message, "DeviceNotRegistered")
        active = self._core.store.active_job(device)
        if active is not None:
            message = f"Job {active.id} of the device has not ended."
            raise conflict("DEVICE", device.id, message, "DeviceBusy", JobId=active.id)
        if kind == "REBOOT" and not device.connected:
            raise conflict("DEVICE", device.id, "The device is not connected.", "DeviceOffline")
        job = Job(
            id=f"{device.id}-{device.jobs}",
            device=device.id,
            type=kind,
            image=image,
            created_s=self._core.clock(),
            document=self._document(parameters, image),
        )
        device.jobs += 1
        self._core.store.jobs[job.id] = job
        self._record(device, job)
        self._core.publish(device.id, job_notify(device.id), {"execution": _execution(job)})
        return {"Jobs": [{"JobId": job.id, "DeviceId": device.id}]}

    def _image(self, parameters: Parameters) -> str:
        config = (parameters.get("DeviceJobConfig") or {}).get("OTAJobConfig")
        name = "DeviceJobConfig.OTAJobConfig"
        if config is None:
            raise validation("An OTA job needs an OTAJobConfig.", [(name, "is required")])
        version = str(config["ImageVersion"])
        if version not in self._core.store.images:
            known = ", ".join(self._core.store.images) or "none"
            message = f"Image version {version} does not exist; published: {known}."
            raise validation(message, [(f"{name}.ImageVersion", "is not a published version")])
        return version

    def _document(self, parameters: Parameters, image: str | None) -> dict[str, Any]:
        if image is None:
            return {"operation": "REBOOT"}
        config = parameters["DeviceJobConfig"]["OTAJobConfig"]
        return {
            "operation": "OTA",
            "imageVersion": image,
            "allowMajorVersionUpdate": bool(config.get("AllowMajorVersionUpdate")),
            "manifestUrl": self._core.object_url(FIRMWARE_BUCKET, _manifest_key(image)),
            "imageUrl": self._core.object_url(FIRMWARE_BUCKET, payload_key(image)),
        }

    def describe(self, parameters: Parameters) -> Answer:
        job = self._core.store.jobs.get(parameters["JobId"])
        if job is None:
            raise not_found("JOB", parameters["JobId"])
        device = self._core.store.devices.get(job.device)
        return {
            **self._summary(job),
            "Status": job.progress,
            "ImageVersion": job.image,
            "DeviceArn": self._core.arn(f"device/{job.device}"),
            "DeviceType": device and device.reported.get("type"),
        }

    def list(self, parameters: Parameters) -> Answer:
        store, wanted = self._core.store, parameters.get("DeviceId")
        if wanted is not None:
            self._devices.get(wanted)
        found = (job for job in store.jobs.values() if wanted in (None, job.device))
        jobs, token = page(
            self._core, "ListDevicesJobs", parameters, found, _by_number, self._summary
        )
        return {"DeviceJobs": jobs, "NextToken": token}

    def _summary(self, job: Job) -> Answer:
        device = self._core.store.devices.get(job.device)
        return {
            "JobId": job.id,
            "JobType": job.type,
            "DeviceId": job.device,
            "DeviceName": device and device.name,
            "CreatedTime": job.created_s,
        }

    def abandon(self, device: Device) -> None:
        """The device is being deleted: a job it has not ended will not be."""
        job = self._core.store.active_job(device)
        if job is not None:
            job.status = job.progress = "FAILED"
            self._record(device, job)

    # --- messages -----------------------------------------------------------------------

    def answer_next(self, device: Device) -> None:
        job = self._core.store.active_job(device)
        answer = {"execution": _execution(job)} if job is not None else {}
        self._core.publish(device.id, job_next(device.id) + ACCEPTED, answer)

    def update(self, device: Device, identifier: str, payload: Mapping[str, Any]) -> None:
        """The device reports on a job. A job that has ended stays as it ended."""
        job = self._core.store.jobs.get(identifier)
        topic = job_update(device.id, identifier)
        if job is None or job.device != device.id:
            self._reject(device, topic, "ResourceNotFound", f"no job {identifier}")
            return
        status = payload.get("status")
        if job.ended and status != job.status:
            message = f"job has ended: {job.status} to {status} is no transition"
            self._reject(device, topic, "InvalidStateTransition", message)
            return
        if not job.ended:
            details = payload.get("statusDetails") or {}
            if status in _ENDED:
                self._advance(device, job, status, _ENDED[status], details)
            elif status == "IN_PROGRESS":
                self._advance(device, job, status, _progress(job, details), details)
            else:
                self._reject(device, topic, "InvalidRequest", f"status {status!r} is unknown")
                return
        self._core.publish(device.id, topic + ACCEPTED, {})

    def _advance(
        self, device: Device, job: Job, status: str, progress: str, details: Mapping[str, Any]
    ) -> None:
        job.status = status
        job.details = details
        job.version += 1
        if progress != job.progress:
            job.progress = progress
            self._record(device, job)
            self._devices.refresh(device)
        if job.ended:
            self._core.publish(device.id, job_notify(device.id), {})

    def _reject(self, device: Device, topic: str, code: str, message: str) -> None:
        answer = {"code": code, "message": message}
        self._core.publish(device.id, topic + REJECTED, answer)

    def _record(self, device: Device, job: Job) -> None:
        values = {"job": job.id, "device": device.name, "status": job.progress}
        self._core.record(CLOUD_JOB, values)


def _by_number(job: Job) -> Key:
    device, _, number = job.id.rpartition("-")
    return (job.created_s, device, int(number))


def _progress(job: Job, details: Mapping[str, Any]) -> str:
    told = details.get("progress", "IN_PROGRESS")
    if told not in _STAGES or _STAGES.index(told) < _STAGES.index(job.progress):
        return job.progress
    return str(told)


def _execution(job: Job) -> dict[str, Any]:
    return {
        "jobId": job.id,
        "status": job.status,
        "statusDetails": job.details,
        "versionNumber": job.version,
        "jobDocument": job.document,
    }


def _manifest_key(version: str) -> str:
    return f"images/{version}/manifest"


def payload_key(version: str) -> str:
    return f"images/{version}/payload"
