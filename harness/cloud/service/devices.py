"""Devices: presence, lease and aggregated status, as far as their messages show them."""

from __future__ import annotations

import heapq
from functools import lru_cache
from typing import TYPE_CHECKING

from harness.cloud.api.error import not_found
from harness.cloud.service.core import Answer, Core, Parameters, page
from harness.record.kind import CLOUD_DEVICE

if TYPE_CHECKING:
    from harness.cloud.service.state import Device

CLAIM_PREFIX = "claim-"  # client ids of devices that are being provisioned


class Devices:
    """The registered devices of the account."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._deadlines: list[tuple[float, str, str]] = []  # when, what, device id

    def restore(self) -> None:
        """Take up what is kept: nobody is connected, and what is due follows from the records."""
        for device in self._core.store.devices.values():
            device.connected = device.steady = device.online = False
            if device.provisioning == "SUCCEEDED":
                self._remind(self._lease_s(device), "lease", device)
            else:
                self._remind(device.claim.expires_s, "claim", device)
            self.refresh(device)

    # --- operations ---------------------------------------------------------------------

    def add(self, device: Device) -> None:
        """A new device, waiting to be provisioned until its claim expires."""
        self._core.store.devices[device.id] = device
        self._core.store.device_names[device.name] = device.id
        self._remind(device.claim.expires_s, "claim", device)
        self.refresh(device)

    def describe(self, parameters: Parameters) -> Answer:
        device = self.get(parameters["DeviceId"])
        reported = device.reported
        return {
            **self._summary(device),
            "Arn": device.arn,
            "SerialNumber": reported.get("serial"),
            "DeviceConnectionStatus": _connection(device),
            "NetworkingConfiguration": device.networking,
            "LatestSoftware": self.latest_software(),
        }

    def list(self, parameters: Parameters) -> Answer:
        wanted = parameters.get("DeviceAggregatedStatusFilter")
        fragment = parameters.get("NameFilter") or ""
        found = [
            device
            for device in self._core.store.devices.values()
            if fragment in device.name and wanted in (None, device.aggregated)
        ]
        keys = {
            "DEVICE_ID": lambda device: device.id,
            "NAME": lambda device: device.name,
            "DEVICE_AGGREGATED_STATUS": lambda device: (device.aggregated, device.id),
        }
        key = keys.get(parameters.get("SortBy", ""), lambda device: (device.created_s, device.id))
        found.sort(key=key, reverse=parameters.get("SortOrder") == "DESCENDING")
        devices, token = page(found, parameters, self._summary)
        return {"Devices": devices, "NextToken": token}

    def delete(self, parameters: Parameters) -> Answer:
        """Deletes the device's thing: whatever certificate it holds no longer connects."""
        core, device = self._core, self.get(parameters["DeviceId"])
        device.provisioning = "DELETING"
        self.refresh(device)
        del core.store.devices[device.id]
        del core.store.device_names[device.name]
        core.disconnect(device.id)
        core.disconnect(CLAIM_PREFIX + device.id)
        return {"DeviceId": device.id}

    def get(self, identifier: str) -> Device:
        device = self._core.store.devices.get(identifier)
        if device is None:
            raise not_found("DEVICE", identifier)
        return device

    def latest_software(self) -> str | None:
        images = self._core.store.images
        return max(images, key=version_key) if images else None

    # --- presence ----------------------------------------------------------------------

    def connected(self, device: Device) -> None:
        device.connected = True
        device.steady = False
        self.refresh(device)

    def disconnected(self, device: Device) -> None:
        """The link went; the device counts as online until its status update is overdue."""
        device.connected = False
        if device.steady:
            device.steady = False
            device.seen_s = self._core.clock()
            self._remind(device.seen_s + self._core.settings.offline_after_s, "offline", device)

    def seen(self, device: Device) -> None:
        """A message came from the device."""
        device.seen_s = self._core.clock()
        if not device.online:
            device.online = True
            self._remind(device.seen_s + self._core.settings.offline_after_s, "offline", device)
            self.refresh(device)

    def expire(self) -> float | None:
        """Apply what is due by now; the time of the next deadline, if any."""
        now_s = self._core.clock()
        while self._deadlines and self._deadlines[0][0] <= now_s:
            _, what, identifier = heapq.heappop(self._deadlines)
            device = self._core.store.devices.get(identifier)
            if device is None:
                continue
            if what == "claim":
                self._expire_claim(device)
            elif what == "offline":
                self._expire_presence(device, now_s)
            else:
                self.refresh(device)
        return self._deadlines[0][0] if self._deadlines else None

    def _expire_claim(self, device: Device) -> None:
        if device.provisioning in ("AWAITING_PROVISIONING", "PENDING"):
            device.provisioning = "FAILED"
            self.refresh(device)

    def _expire_presence(self, device: Device, now_s: float) -> None:
        settings = self._core.settings
        if not device.online or device.steady:
            return
        due_s = device.seen_s + settings.offline_after_s
        if due_s > now_s:
            self._remind(due_s, "offline", device)
            return
        device.online = False
        self._remind(device.seen_s + settings.lease_s, "lease", device)
        self.refresh(device)

    def _remind(self, when_s: float, what: str, device: Device) -> None:
        heapq.heappush(self._deadlines, (when_s, what, device.id))

    # --- aggregated status --------------------------------------------------------------

    def refresh(self, device: Device) -> None:
        """Record the aggregated status when it has changed."""
        status = self.aggregated(device)
        if status != device.aggregated:
            device.aggregated = status
            self._core.record(CLOUD_DEVICE, {"device": device.name, "status": status})

    def aggregated(self, device: Device) -> str:
        if device.provisioning != "SUCCEEDED":
            return device.provisioning
        job = self._core.store.active_job(device)
        if job is not None and job.progress == "REBOOTING":
            return "REBOOTING"
        if not device.online:
            lapsed = self._core.clock() >= self._lease_s(device)
            return "LEASE_EXPIRED" if lapsed else "OFFLINE"
        return "UPDATE_NEEDED" if self._update_needed(device) else "ONLINE"

    def _update_needed(self, device: Device) -> bool:
        """A required release newer than the one that runs is in the catalogue."""
        software = device.reported.get("software")
        if not isinstance(software, str):
            return False
        current = version_key(software)
        return any(
            image.required and version_key(image.version) > current
            for image in self._core.store.images.values()
        )

    def _lease_s(self, device: Device) -> float:
        return max(device.seen_s, device.created_s) + self._core.settings.lease_s

    # --- answers ------------------------------------------------------------------------

    def _summary(self, device: Device) -> Answer:
        reported = device.reported
        job = self._core.store.last_job(device)
        latest = job and {"JobType": job.type, "Status": job.progress, "ImageVersion": job.image}
        registered = device.provisioning == "SUCCEEDED"
        return {
            "DeviceId": device.id,
            "Name": device.name,
            "Description": device.description,
            "CreatedTime": device.created_s,
            "LastUpdatedTime": max(device.seen_s, device.created_s),
            "ProvisioningStatus": device.provisioning,
            "DeviceAggregatedStatus": self.aggregated(device),
            "CurrentSoftware": reported.get("software"),
            "Brand": reported.get("brand"),
            "Type": reported.get("type"),
            "LatestDeviceJob": latest,
            "LeaseExpirationTime": self._lease_s(device) if registered else None,
            "Tags": device.tags,
        }


@lru_cache(maxsize=1024)
def version_key(version: str) -> tuple[int, ...]:
    """Orders release versions such as 7.0.13; anything else sorts first."""
    parts = version.split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()


def _connection(device: Device) -> str:
    if device.provisioning != "SUCCEEDED":
        return "AWAITING_CREDENTIALS"
    return "ONLINE" if device.online else "OFFLINE"
