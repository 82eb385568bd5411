"""Application instances: asked for here, carried out by the device, known by its reports."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.cloud.api.error import ApiError, conflict, over_quota, validation
from harness.cloud.service import deployment
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import DEPLOYMENT_BUCKET, Answer, Core, Parameters
from harness.cloud.service.quota import DAY_S, full
from harness.cloud.service.shadow import told
from harness.cloud.service.state import DEPLOYING, REMOVING, Instance
from harness.record.kind import CLOUD_HEALTH, CLOUD_INSTANCE

if TYPE_CHECKING:
    from harness.appliance.graph import Graph
    from harness.cloud.service.instances import Instances
    from harness.cloud.service.packages import Packages
    from harness.cloud.service.state import Device

SHADOW = "applications"

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
_STATUSES = frozenset({*_DEPLOYING, *_REMOVING})  # all that a device may report
NODE_STATUSES = ("RUNNING", "ERROR", "NOT_AVAILABLE", "PAUSED")
_DESCRIPTION_MAX = 255
DEVICE_DELETED = "The device was deleted."


class Applications:
    def __init__(self, core: Core, packages: Packages, instances: Instances) -> None:
        self._core = core
        self._packages = packages
        self._instances = instances

    # --- operations ---------------------------------------------------------------------

    def create(self, parameters: Parameters) -> Answer:
        device = self._target(parameters)
        replaced = self._replaced(parameters, device)
        self._check_quotas(device, replaced)
        resolved = deployment.resolve(self._packages, parameters)
        self._check_streams(resolved.graph, device)
        now_s, identifier = self._core.clock(), self._core.new_id("applicationInstance")
        arn = self._core.arn(f"applicationInstance/{identifier}")
        instance = Instance(
            identifier, arn, device.id, device.name, now_s, now_s, resolved.nodes, parameters,
            paused=resolved.paused, tags=dict(parameters.get("Tags") or {}),
        )  # fmt: skip
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
        self._want(device, identifier, wanted | _paused(instance))
        if replaced is not None:
            self._retire(device, replaced)
        self._tell(device)
        return {"ApplicationInstanceId": identifier}

    def remove(self, parameters: Parameters) -> Answer:
        instance = self._instances.get(parameters["ApplicationInstanceId"])
        device = self._core.store.devices.get(instance.device)
        if instance.desired == "REMOVED" and instance.status != "REMOVAL_FAILED":
            message = f"The instance is being removed or was removed: {instance.status}."
            raise _conflict(instance, message, "InstanceRemoved")
        if device is None or device.provisioning == "DELETING":
            raise _conflict(instance, "Its device was deleted.", "DeviceDeleted")
        self._retire(device, instance)
        self._tell(device)
        return {}

    def signal(self, parameters: Parameters) -> Answer:
        """Pause or resume camera nodes: desired of the device, which says when it has done so."""
        instance = self._instances.get(parameters["ApplicationInstanceId"])
        device = self._core.store.devices.get(instance.device)
        if instance.desired == "REMOVED" or device is None:
            name = "ApplicationInstanceId"
            message = f"Application instance {instance.id} is not wanted to run any more."
            raise validation(message, [(name, "is not an instance that runs")])
        paused = sorted(signalled(instance, parameters["NodeSignals"]))
        if paused != instance.paused:
            instance.paused = paused
            entry = device.shadow(SHADOW).desired["instances"][instance.id]
            self._want(device, instance.id, {**entry, "paused": paused})
            self._tell(device)
        return {"ApplicationInstanceId": instance.id}

    def abandon(self, device: Device) -> None:
        """The device is being deleted: what it has not done yet it never will."""
        for identifier in device.instances:
            instance = self._core.store.instances[identifier]
            if instance.status in DEPLOYING:
                self._move(instance, "DEPLOYMENT_FAILED", DEVICE_DELETED)
            elif instance.status in REMOVING:
                self._move(instance, "REMOVAL_FAILED", DEVICE_DELETED)

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

    def _check_quotas(self, device: Device, replaced: Instance | None) -> None:
        quotas = self._core.settings.quotas
        most = quotas.applications_per_device
        if full(len(device.instances) - (replaced is not None), most):
            message = f"A device takes {most} applications."
            raise over_quota("DEVICE", device.id, "applications-per-device", message)
        most = quotas.deployments_per_device_day
        if most is not None and full(self._deployed_within_a_day(device), most):
            message = f"A device takes {most} deployments a day."
            raise over_quota("DEVICE", device.id, "deployments-per-device-per-day", message)

    def _deployed_within_a_day(self, device: Device) -> int:
        since_s = self._core.clock() - DAY_S
        return sum(
            instance.device == device.id and instance.created_s > since_s
            for instance in self._core.store.instances.values()
        )

    def _check_streams(self, graph: Graph, device: Device) -> None:
        most = self._core.settings.quotas.streams_per_application
        cameras = list(dict.fromkeys(camera.node for camera in graph.cameras))
        if most is not None and len(cameras) > most:
            codes = ", ".join(repr(code.node) for code in graph.codes)
            message = (
                f"Node {codes} reads {len(cameras)} camera streams ({', '.join(cameras)}); "
                f"an application takes {most}."
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
        told(self._core, device, SHADOW)
        if device.connected:
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
        instances = reported.get("instances")
        if not isinstance(instances, Mapping):
            return
        for identifier, report in instances.items():
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
        if status not in _STATUSES:
            return
        if status != instance.reported and instance.status == "DEPLOYMENT_SUCCEEDED":
            self._core.record(CLOUD_HEALTH, {"instance": instance.id, "status": status})
        instance.reported = status
        instance.reported_s = self._core.clock()
        nodes = report.get("nodes")
        if isinstance(nodes, Mapping):
            known = {node: said for node, said in nodes.items() if said in NODE_STATUSES}
            instance.node_statuses = known
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


def signalled(instance: Instance, signals: Sequence[Mapping[str, str]]) -> set[str]:
    """The camera nodes that are paused once `signals` count; the last word on a node holds.

    A camera goes by its name in the graph or, as the vendor's own script has it, by the name of
    its package. Raises a ValidationException naming what is no camera.
    """
    cameras = [node for node in instance.nodes if node.camera]
    paused, problems = set(instance.paused), []
    for index, signal in enumerate(signals):
        wanted = signal["NodeInstanceId"]
        named = [node.name for node in cameras if node.name == wanted]
        named = named or [node.name for node in cameras if node.package == wanted]
        if not named:
            listed = ", ".join(node.name for node in cameras) or "none"
            where = f"NodeSignals[{index}].NodeInstanceId"
            problems.append((where, f"is no camera node; those are: {listed}"))
        paused = paused - set(named) if signal["Signal"] == "RESUME" else paused | set(named)
    if problems:
        raise validation("Signals are for camera nodes of the instance.", problems)
    return paused


def _paused(instance: Instance) -> dict[str, Any]:
    """What the device is told of paused nodes: nothing as long as there never were any."""
    return {"paused": instance.paused} if instance.paused else {}


def _conflict(instance: Instance, message: str, error_id: str) -> ApiError:
    return conflict("APPLICATION_INSTANCE", instance.id, message, error_id)
