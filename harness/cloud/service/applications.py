"""Application instances: asked for here, carried out by the device, known by its reports."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.appliance.topic import shadow_delta
from harness.cloud.api.error import conflict, not_found, over_quota, validation
from harness.cloud.service import deployment
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import DEPLOYMENT_BUCKET, Answer, Core, Parameters, page
from harness.cloud.service.state import Instance
from harness.record.kind import CLOUD_INSTANCE

if TYPE_CHECKING:
    from harness.appliance.graph import Graph
    from harness.cloud.service.devices import Devices
    from harness.cloud.service.packages import Packages
    from harness.cloud.service.state import Device, NodeRecord

SHADOW = "applications"
CONTEXT = "default"  # the one runtime context of an instance

# Status descriptions as the vendor's developer guide shows them (2024 edition).
SCHEDULED = "Deployment Workflow has been scheduled."
VALIDATED = "Deployment Workflow has completed data validation."
DEPLOYED = "Application deployed successfully."

# What a reported status means while an instance is wanted: status, and whether it is healthy.
_DEPLOYING = {
    "INSTALL_IN_PROGRESS": "DEPLOYMENT_IN_PROGRESS",
    "STARTING": "DEPLOYMENT_IN_PROGRESS",
    "LAUNCHED": "DEPLOYMENT_IN_PROGRESS",
    "RUNNING": "DEPLOYMENT_SUCCEEDED",
    "INSTALL_ERROR": "DEPLOYMENT_ERROR",
    "LAUNCH_ERROR": "DEPLOYMENT_ERROR",
}
_REMOVING = {
    "STOPPING": "REMOVAL_IN_PROGRESS",
    "STOPPED": "REMOVAL_IN_PROGRESS",
    "REMOVAL_IN_PROGRESS": "REMOVAL_IN_PROGRESS",
    "STOP_ERROR": "REMOVAL_FAILED",
    "REMOVAL_FAILED": "REMOVAL_FAILED",
}
_UNHEALTHY = frozenset({"INSTALL_ERROR", "LAUNCH_ERROR", "STOP_ERROR", "REMOVAL_FAILED"})
_DESCRIPTION_MAX = 255
_FILTERS = {
    f"PROCESSING_{what}": (f"{what}_PENDING", f"{what}_REQUESTED", f"{what}_IN_PROGRESS")
    for what in ("DEPLOYMENT", "REMOVAL")
}


class Applications:
    def __init__(self, core: Core, devices: Devices, packages: Packages) -> None:
        self._core = core
        self._devices = devices
        self._packages = packages

    # --- operations ---------------------------------------------------------------------

    def create(self, parameters: Parameters) -> Answer:
        device = self._target(parameters)
        replaced = self._replaced(parameters, device)
        self._check_quota(device, replaced)
        resolved = deployment.resolve(self._packages, parameters)
        self._check_streams(resolved.graph, device)
        now_s, identifier = self._core.clock(), self._core.new_id("applicationInstance")
        arn = self._core.arn(f"applicationInstance/{identifier}")
        instance = Instance(
            identifier, arn, device.id, device.name, now_s, now_s, resolved.nodes, parameters
        )
        self._core.store.instances[identifier] = instance
        device.instances.append(identifier)
        self._move(instance, "DEPLOYMENT_PENDING", SCHEDULED)
        document = deployment.compose(self._core, resolved, identifier, parameters)
        key = f"{device.id}/{identifier}.json"
        self._core.objects.put(DEPLOYMENT_BUCKET, key, BytesContent(document))
        instance.description = VALIDATED
        wanted = {
            "state": "RUNNING",
            "url": self._core.object_url(DEPLOYMENT_BUCKET, key),
            "sha256": hashlib.sha256(document).hexdigest(),
        }
        self._want(device, identifier, wanted)
        if replaced is not None:
            self._retire(device, replaced)
        self._tell(device)
        return {"ApplicationInstanceId": identifier}

    def describe(self, parameters: Parameters) -> Answer:
        instance = self._get(parameters["ApplicationInstanceId"])
        request = instance.request
        return {
            **self._summary(instance),
            "ApplicationInstanceIdToReplace": request.get("ApplicationInstanceIdToReplace"),
            "RuntimeRoleArn": request.get("RuntimeRoleArn"),
            "LastUpdatedTime": instance.updated_s,
        }

    def list(self, parameters: Parameters) -> Answer:
        device, status = parameters.get("DeviceId"), parameters.get("StatusFilter")
        statuses = _FILTERS.get(status, (status,)) if status else None
        found = [
            instance
            for instance in self._core.store.instances.values()
            if device in (None, instance.device)
            and (statuses is None or instance.status in statuses)
        ]
        instances, token = page(found, parameters, self._summary)
        return {"ApplicationInstances": instances, "NextToken": token}

    def list_nodes(self, parameters: Parameters) -> Answer:
        instance = self._get(parameters["ApplicationInstanceId"])
        nodes, token = page(instance.nodes, parameters, lambda node: self._node(instance, node))
        return {"NodeInstances": nodes, "NextToken": token}

    def remove(self, parameters: Parameters) -> Answer:
        instance = self._get(parameters["ApplicationInstanceId"])
        device = self._core.store.devices.get(instance.device)
        if instance.desired == "REMOVED" and instance.status != "REMOVAL_FAILED":
            message = f"The instance is being removed or was removed: {instance.status}."
            raise conflict("APPLICATION_INSTANCE", instance.id, message)
        if device is None:
            raise conflict("APPLICATION_INSTANCE", instance.id, "Its device was deleted.")
        self._retire(device, instance)
        self._tell(device)
        return {}

    def _get(self, identifier: str) -> Instance:
        instance = self._core.store.instances.get(identifier)
        if instance is None:
            raise not_found("APPLICATION_INSTANCE", identifier)
        return instance

    def _on(self, device: Device, identifier: str) -> Instance | None:
        """An instance that has not been removed from the device."""
        here = identifier in device.instances
        return self._core.store.instances[identifier] if here else None

    def _target(self, parameters: Parameters) -> Device:
        name = "DefaultRuntimeContextDevice"
        device = self._core.store.devices.get(parameters[name])
        if device is None:
            raise validation(
                f"Device {parameters[name]} does not exist.", [(name, "is not a device")]
            )
        if device.provisioning != "SUCCEEDED":
            message = f"Device {device.id} is not registered yet: {device.provisioning}."
            raise validation(message, [(name, "is not registered")])
        return device

    def _replaced(self, parameters: Parameters, device: Device) -> Instance | None:
        name = "ApplicationInstanceIdToReplace"
        if parameters.get(name) is None:
            return None
        instance = self._on(device, parameters[name])
        if instance is None or instance.desired == "REMOVED":
            message = f"Device {device.id} has no application instance {parameters[name]}."
            raise validation(message, [(name, "is not an instance on the device")])
        return instance

    def _check_quota(self, device: Device, replaced: Instance | None) -> None:
        quotas = self._core.settings.quotas
        count = len(device.instances) - (replaced is not None)
        if quotas is not None and count >= quotas.applications_per_device:
            message = f"A device takes {quotas.applications_per_device} applications."
            raise over_quota("DEVICE", device.id, "applications-per-device", message)

    def _check_streams(self, graph: Graph, device: Device) -> None:
        quotas = self._core.settings.quotas
        cameras = list(dict.fromkeys(camera.node for camera in graph.cameras))
        if quotas is not None and len(cameras) > quotas.streams_per_application:
            codes = ", ".join(repr(code.node) for code in graph.codes)
            message = (
                f"Node {codes} reads {len(cameras)} camera streams ({', '.join(cameras)}); "
                f"an application takes {quotas.streams_per_application}."
            )
            raise over_quota("DEVICE", device.id, "camera-streams-per-application", message)

    # --- to the device ------------------------------------------------------------------

    def _retire(self, device: Device, instance: Instance) -> None:
        instance.desired = "REMOVED"
        self._move(instance, "REMOVAL_PENDING", "")
        entry = device.shadow(SHADOW).desired["instances"].get(instance.id, {})
        self._want(device, instance.id, {**entry, "state": "REMOVED"})

    def _want(self, device: Device, instance: str, entry: Mapping[str, Any] | None) -> None:
        """Set or drop what is desired of an instance; messages under way stay as they are."""
        shadow = device.shadow(SHADOW)
        wanted = {**shadow.desired.get("instances", {}), instance: entry}
        kept = {name: value for name, value in wanted.items() if value is not None}
        shadow.desired = {"instances": kept}

    def _tell(self, device: Device) -> None:
        """The desired state has changed. A device that is away asks when it is back."""
        shadow = device.shadow(SHADOW)
        shadow.version += 1
        if not device.connected:
            return
        delta = {"state": shadow.desired, "version": shadow.version}
        self._core.publish(device.id, shadow_delta(device.id, SHADOW), delta)
        self.delivered(device)

    def delivered(self, device: Device) -> None:
        """The device was sent what is wanted of it."""
        for identifier in device.instances:
            instance = self._core.store.instances[identifier]
            if instance.status == "DEPLOYMENT_PENDING":
                self._move(instance, "DEPLOYMENT_REQUESTED", VALIDATED)
            elif instance.status == "REMOVAL_PENDING":
                self._move(instance, "REMOVAL_REQUESTED", "")

    # --- from the device ----------------------------------------------------------------

    def reported(self, device: Device, reported: Mapping[str, Any]) -> None:
        """The `applications` shadow was reported; a null means that an instance is gone."""
        for identifier, report in (reported.get("instances") or {}).items():
            instance = self._on(device, identifier)
            if instance is None:
                continue
            if report is None:
                self._gone(device, instance)
            elif isinstance(report, Mapping):
                self._follow(instance, report)

    def _gone(self, device: Device, instance: Instance) -> None:
        if instance.desired != "REMOVED":
            return
        device.instances.remove(instance.id)
        self._want(device, instance.id, None)
        instance.reported = ""
        instance.node_statuses = {}
        self._move(instance, "REMOVAL_SUCCEEDED", "")

    def _follow(self, instance: Instance, report: Mapping[str, Any]) -> None:
        status = report.get("status", instance.reported)
        instance.reported = str(status)
        instance.reported_s = self._core.clock()
        if isinstance(report.get("nodes"), Mapping):
            instance.node_statuses = report["nodes"]
        meaning = _REMOVING if instance.desired == "REMOVED" else _DEPLOYING
        told = meaning.get(instance.reported)
        # Once it ran, a deployment has succeeded; how it fares since then is its health.
        if told is None or instance.status == "DEPLOYMENT_SUCCEEDED":
            return
        reason = str(report.get("reason") or "")[:_DESCRIPTION_MAX]
        self._move(instance, told, DEPLOYED if told == "DEPLOYMENT_SUCCEEDED" else reason)

    def _move(self, instance: Instance, status: str, description: str) -> None:
        if status == instance.status and description == instance.description:
            return
        instance.status = status
        instance.description = description
        instance.updated_s = self._core.clock()
        values = {
            "instance": instance.id,
            "name": instance.request.get("Name", ""),
            "status": status,
            "description": description,
        }
        self._core.record(CLOUD_INSTANCE, values)

    # --- answers ------------------------------------------------------------------------

    def _health(self, instance: Instance) -> str:
        device = self._core.store.devices.get(instance.device)
        if instance.reported in _UNHEALTHY:
            return "ERROR"
        if device is None or not device.online or instance.reported != "RUNNING":
            return "NOT_AVAILABLE"
        return "ERROR" if "ERROR" in instance.node_statuses.values() else "RUNNING"

    def _node(self, instance: Instance, node: NodeRecord) -> Answer:
        # A device that says nothing of single nodes speaks of all of them at once.
        status = instance.node_statuses.get(node.name, self._health(instance))
        return {
            "NodeInstanceId": node.name,
            "NodeName": node.name,
            "PackageName": node.package or None,
            "PackageVersion": node.version or None,
            "PackagePatchVersion": node.patch or None,
            "CurrentStatus": status,
        }

    def _summary(self, instance: Instance) -> Answer:
        request = instance.request
        context = {
            "DesiredState": instance.desired,
            "RuntimeContextName": CONTEXT,
            "DeviceReportedStatus": instance.reported,
            "DeviceReportedTime": instance.reported_s,
        }
        return {
            "ApplicationInstanceId": instance.id,
            "Arn": instance.arn,
            "Name": request.get("Name"),
            "Description": request.get("Description"),
            "DefaultRuntimeContextDevice": instance.device,
            "DefaultRuntimeContextDeviceName": instance.device_name,
            "CreatedTime": instance.created_s,
            "HealthStatus": self._health(instance),
            "Status": instance.status,
            "StatusDescription": instance.description or None,
            "RuntimeContextStates": [context] if instance.reported else [],
            "Tags": request.get("Tags") or {},
        }
