"""Jobs: over-the-air updates and reboots, as administrators order them and follow them."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.cloud.api.error import conflict, not_found, validation
from harness.cloud.service.core import FIRMWARE_BUCKET, Answer, Core, Parameters
from harness.cloud.service.paging import page
from harness.cloud.service.state import Image, Job

if TYPE_CHECKING:
    from harness.cloud.service.content import Content
    from harness.cloud.service.devices import Devices
    from harness.cloud.service.executions import Executions
    from harness.cloud.service.paging import Key
    from harness.cloud.service.state import Device


_MARKS = ("required", "alternate", "recalled")
_IMAGE_KEY = re.compile(
    r"images/(\d+(?:\.\d+){1,3})/(?:manifest|payload|required|alternate|recalled)"
)
METADATA = "metadata"  # where the signed metadata of all images lies in the firmware bucket
_MANIFEST_BYTES_MAX = 16 * 1024 - 4  # what has room before the payload in a slot


class Jobs:
    def __init__(self, core: Core, devices: Devices, executions: Executions) -> None:
        self._core = core
        self._devices = devices
        self._executions = executions

    def publish_image(
        self, version: str, manifest: bytes, payload: Content, manifest_content: Content,
        *, required: bool, alternate: bool, recalled: bool,
    ) -> None:  # fmt: skip
        self._core.store.images[version] = Image(version, manifest, required, alternate, recalled)
        self._core.objects.put(FIRMWARE_BUCKET, _manifest_key(version), manifest_content)
        self._core.objects.put(FIRMWARE_BUCKET, payload_key(version), payload)
        self._refresh_all()

    def _refresh_all(self) -> None:
        for device in self._core.store.devices.values():
            self._devices.refresh(device)

    def take_firmware(self, key: str) -> None:
        """The firmware bucket has changed at `key`: what is whole there is in the catalogue.

        That is `images/<version>/manifest` and `payload`; an object `required`, `alternate` or
        `recalled` beside them makes it that. Whether it is signed is for devices to judge.
        """
        match = _IMAGE_KEY.fullmatch(key)
        if match is None:
            return
        version, store = match[1], self._core.store
        get = partial(self._core.objects.get, FIRMWARE_BUCKET)
        manifest, payload = get(_manifest_key(version)), get(payload_key(version))
        if manifest is None or payload is None or manifest.size_bytes > _MANIFEST_BYTES_MAX:
            store.images.pop(version, None)
        else:
            data = manifest.read(0, manifest.size_bytes)
            marks = (get(f"images/{version}/{mark}") is not None for mark in _MARKS)
            store.images[version] = Image(version, data, *marks)
        self._refresh_all()

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
        self._executions.record(device, job)
        self._executions.notify(device)
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
        if self._core.store.images[version].recalled:
            message = f"Image version {version} was recalled."
            raise validation(message, [(f"{name}.ImageVersion", "was recalled")])
        return version

    def _document(self, parameters: Parameters, image: str | None) -> dict[str, Any]:
        if image is None:
            return {"operation": "REBOOT"}
        config = parameters["DeviceJobConfig"]["OTAJobConfig"]
        return {
            "operation": "OTA",
            "imageVersion": image,
            "allowMajorVersionUpdate": bool(config.get("AllowMajorVersionUpdate")),
            "metadataUrl": self._core.object_url(FIRMWARE_BUCKET, METADATA),
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

    def cancel(self, identifier: str, thing: str | None, *, force: bool) -> None:
        """As CancelJobExecution of AWS IoT: a job in progress only by `force`.

        The service's own API has no such operation, nor a word for the outcome: `Status` is FAILED.
        """
        job = self._core.store.jobs.get(identifier)
        if job is None or thing not in (None, job.device):
            raise not_found("JOB", identifier)
        if job.ended or (job.status == "IN_PROGRESS" and not force):
            message = f"Job {job.id} is {job.status} and cannot be cancelled."
            raise conflict("JOB", job.id, message, "InvalidStateTransition")
        job.status, job.progress = "CANCELED", "FAILED"
        job.version += 1
        device = self._devices.get(job.device)
        self._executions.record(device, job)
        self._devices.refresh(device)
        self._executions.notify(device)

    def abandon(self, device: Device) -> None:
        """The device is being deleted: a job it has not ended will not be."""
        job = self._core.store.active_job(device)
        if job is not None:
            job.status = job.progress = "FAILED"
            self._executions.record(device, job)


def _by_number(job: Job) -> Key:
    device, _, number = job.id.rpartition("-")
    return (job.created_s, device, int(number))


def _manifest_key(version: str) -> str:
    return f"images/{version}/manifest"


def payload_key(version: str) -> str:
    return f"images/{version}/payload"
