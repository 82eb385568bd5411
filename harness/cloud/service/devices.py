"""Devices: presence, lease and aggregated status, as far as their messages show them."""

from __future__ import annotations

import heapq
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from harness.cloud.api.error import conflict, not_found
from harness.cloud.service.paging import by_creation, page
from harness.record.kind import CLOUD_DEVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.cloud.service.core import Answer, Core, Parameters
    from harness.cloud.service.paging import Key
    from harness.cloud.service.state import Device, Job

_REPORTED = (("CurrentSoftware", "software"), ("Brand", "brand"), ("Type", "type"))
CLAIM_PREFIX = "claim-"  # client ids of devices that are being provisioned


class Devices:
    """The registered devices of the account."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._deadlines: list[tuple[float, str, str]] = []  # when, what, device id

    def restore(self) -> None:
        """Take up what is kept: nobody is connected, and what is due follows from the records."""
        for device in list(self._core.store.devices.values()):
            device.connected = device.steady = device.online = False
            if device.provisioning == "DELETING":
                self._forget(device)
                continue
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
            "CurrentNetworkingStatus": reported.get("network"),
            **self._releases(),
        }

    def _releases(self) -> Answer:
        """What the catalogue offers: beta releases stand beside the others."""
        images = [image for image in self._core.store.images.values() if not image.recalled]
        usual = [image.version for image in images if not image.alternate]
        beta = sorted((i.version for i in images if i.alternate), key=version_key, reverse=True)
        return {
            "LatestSoftware": max(usual, key=version_key) if usual else None,
            "LatestAlternateSoftware": beta[0] if beta else None,
            "AlternateSoftwares": [{"Version": version} for version in beta],
        }

    def list(self, parameters: Parameters) -> Answer:
        wanted = parameters.get("DeviceAggregatedStatusFilter")
        fragment = parameters.get("NameFilter") or ""
        found = [
            device
            for device in self._core.store.devices.values()
            if fragment in device.name and (wanted is None or wanted == self.aggregated(device))
        ]
        devices, token = page(
            self._core, "ListDevices", parameters, found, self._order(parameters), self._summary,
            descending=parameters.get("SortOrder") == "DESCENDING",
        )  # fmt: skip
        return {"Devices": devices, "NextToken": token}

    def _order(self, parameters: Parameters) -> Callable[[Device], Key]:
        match parameters.get("SortBy"):
            case "DEVICE_ID":
                return lambda device: (device.id,)
            case "NAME":
                return lambda device: (device.name,)
            case "DEVICE_AGGREGATED_STATUS":
                return lambda device: (self.aggregated(device), device.id)
        return by_creation

    def update(self, parameters: Parameters) -> Answer:
        """UpdateDeviceMetadata: a description that is not given stays."""
        device = self.get(parameters["DeviceId"])
        self._refuse_deleting(device)
        if "Description" in parameters:
            device.description = parameters["Description"]
        device.changed_s = self._core.clock()
        return {"DeviceId": device.id}

    def delete(self, device: Device) -> Answer:
        """Deletes the device's thing: whatever certificate it holds no longer connects.

        It is DELETING until its connection has ended, and gone then.
        """
        self._refuse_deleting(device)
        device.provisioning = "DELETING"
        self.refresh(device)
        if device.serials:
            self._core.authority.revoke(device.serials.values())
        self._core.disconnect(device.id)
        self._core.disconnect(CLAIM_PREFIX + device.id)
        if not device.connected:
            self._forget(device)
        return {"DeviceId": device.id}

    def _refuse_deleting(self, device: Device) -> None:
        if device.provisioning == "DELETING":
            message = "The device is being deleted."
            raise conflict("DEVICE", device.id, message, "DeviceDeleting")

    def _forget(self, device: Device) -> None:
        del self._core.store.devices[device.id]
        del self._core.store.device_names[device.name]

    def get(self, identifier: str) -> Device:
        device = self._core.store.devices.get(identifier)
        if device is None:
            raise not_found("DEVICE", identifier)
        return device

    # --- presence ----------------------------------------------------------------------

    def connected(self, device: Device) -> None:
        device.connected = True
        device.steady = False
        self.refresh(device)

    def disconnected(self, device: Device) -> None:
        """The link went; the device counts as online until its status update is overdue."""
        device.connected = False
        if device.provisioning == "DELETING":
            self._forget(device)
        elif device.steady:
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
        if device.provisioning in ("AWAITING_PROVISIONING", "PENDING", "ERROR"):
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
        return self._aggregated(device, self._core.store.last_job(device), self._lease_s(device))

    def _aggregated(self, device: Device, job: Job | None, lease_s: float) -> str:
        """By its newest job, since jobs run one at a time, and the end of its lease."""
        if device.provisioning != "SUCCEEDED":
            return device.provisioning
        if job is not None and job.progress == "REBOOTING" and not job.ended:
            return "REBOOTING"
        if not device.online:
            return "LEASE_EXPIRED" if self._core.clock() >= lease_s else "OFFLINE"
        return "UPDATE_NEEDED" if self._update_needed(device) else "ONLINE"

    def _update_needed(self, device: Device) -> bool:
        """A required release newer than the one that runs is in the catalogue."""
        software = device.reported.get("software")
        if not isinstance(software, str):
            return False
        current = version_key(software)
        return any(
            image.required and not image.recalled and version_key(image.version) > current
            for image in self._core.store.images.values()
        )

    def _lease_s(self, device: Device) -> float:
        return max(device.seen_s, device.created_s) + self._core.settings.lease_s

    # --- answers ------------------------------------------------------------------------

    def _summary(self, device: Device) -> Answer:
        """An entry of a listing, the busiest answer there is: only what it has is ever touched."""
        job, lease_s = self._core.store.last_job(device), self._lease_s(device)
        told: dict[str, Any] = {
            "DeviceId": device.id,
            "Name": device.name,
            "CreatedTime": device.created_s,
            "LastUpdatedTime": max(device.seen_s, device.changed_s, device.created_s),
            "ProvisioningStatus": device.provisioning,
            "DeviceAggregatedStatus": self._aggregated(device, job, lease_s),
            "Tags": device.tags,
        }
        if device.description is not None:
            told["Description"] = device.description
        if device.provisioning == "SUCCEEDED":
            told["LeaseExpirationTime"] = lease_s
        reported = device.reported
        for member, name in _REPORTED:
            if (value := reported.get(name)) is not None:
                told[member] = value
        if job is not None:
            latest = {"JobType": job.type, "Status": job.progress, "ImageVersion": job.image}
            told["LatestDeviceJob"] = latest
        return told


@lru_cache(maxsize=1024)
def version_key(version: str) -> tuple[int, ...]:
    """Orders release versions such as 7.0.13; anything else sorts first."""
    parts = version.split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()


def _connection(device: Device) -> str:
    """DeviceConnectionStatus; not available of a device that has never said a word."""
    match device.provisioning:
        case "AWAITING_PROVISIONING" | "PENDING":
            return "AWAITING_CREDENTIALS"
        case "ERROR":
            return "ERROR"
        case "SUCCEEDED" if device.online:
            return "ONLINE"
        case "SUCCEEDED" if device.seen_s:
            return "OFFLINE"
    return "NOT_AVAILABLE"
