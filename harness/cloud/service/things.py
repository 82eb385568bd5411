"""What registered devices say on the reserved topics of their thing, handed to whom it concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.appliance.topic import THINGS
from harness.cloud.service.applications import SHADOW
from harness.cloud.service.shadow import VERBS, Shadows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cloud.service.applications import Applications
    from harness.cloud.service.core import Core
    from harness.cloud.service.devices import Devices
    from harness.cloud.service.executions import Executions
    from harness.cloud.service.provisioning import Provisioning
    from harness.cloud.service.state import Device


class Things:
    def __init__(
        self,
        core: Core,
        devices: Devices,
        executions: Executions,
        applications: Applications,
        provisioning: Provisioning,
    ) -> None:
        self._provisioning = provisioning
        self._devices = devices
        self._executions = executions
        self._applications = applications
        self._shadows = Shadows(core, self._reported)

    def receive(self, device: Device, topic: str, payload: Mapping[str, Any]) -> None:
        """A message of the device itself; topics that nobody serves are ignored."""
        match topic.removeprefix(f"{THINGS}{device.id}/").split("/"):
            case ["jobs", *rest]:
                self._executions.request(device, rest, payload)
            case ["certificate", "renew"]:
                self._provisioning.renew(device, payload)
            case ["shadow", verb] if verb in VERBS:
                self._shadow(device, "", verb, payload)
            case ["shadow", "name", name, verb] if verb in VERBS:
                self._shadow(device, name, verb, payload)

    def garbled(self, device: Device, topic: str) -> None:
        """A message that is not a JSON object: refused as each service refuses it."""
        match topic.removeprefix(f"{THINGS}{device.id}/").split("/"):
            case ["jobs", *_]:
                self._executions.reject(device, topic, "InvalidJson", "not a JSON object")
            case ["shadow", verb] if verb in VERBS:
                self._shadows.reject(device, "", verb, 400, "Invalid JSON")
            case ["shadow", "name", name, verb] if verb in VERBS:
                self._shadows.reject(device, name, verb, 400, "Invalid JSON")

    def _shadow(self, device: Device, name: str, verb: str, payload: Mapping[str, Any]) -> None:
        software = device.reported.get("software")
        accepted = self._shadows.request(device, name, verb, payload)
        if accepted and name == SHADOW and verb == "get":
            self._applications.delivered(device)
        if device.reported.get("software") != software:
            self._devices.refresh(device)

    def _reported(self, device: Device, name: str, reported: Mapping[str, Any]) -> None:
        if name == SHADOW:
            self._applications.reported(device, reported)
