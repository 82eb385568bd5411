"""What is known of application instances: how they stand, their nodes, what they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cloud.api.error import not_found
from harness.cloud.service.nodes import node_id
from harness.cloud.service.paging import by_creation, page
from harness.cloud.service.state import DEPLOYING, REMOVING

if TYPE_CHECKING:
    from harness.cloud.service.core import Answer, Core, Parameters
    from harness.cloud.service.state import Instance, NodeRecord

_UNHEALTHY = frozenset({"INSTALL_ERROR", "LAUNCH_ERROR", "STOP_ERROR", "REMOVAL_FAILED"})
_FILTERS = {"PROCESSING_DEPLOYMENT": DEPLOYING, "PROCESSING_REMOVAL": REMOVING}


class Instances:
    """The reading half of application instances; `Applications` changes them."""

    def __init__(self, core: Core) -> None:
        self._core = core

    # --- operations ---------------------------------------------------------------------

    def describe(self, parameters: Parameters) -> Answer:
        instance = self.get(parameters["ApplicationInstanceId"])
        request = instance.request
        return {
            **self._summary(instance),
            "ApplicationInstanceIdToReplace": request.get("ApplicationInstanceIdToReplace"),
            "RuntimeRoleArn": request.get("RuntimeRoleArn"),
            "LastUpdatedTime": instance.updated_s,
        }

    def details(self, parameters: Parameters) -> Answer:
        """What the instance was deployed with."""
        instance = self.get(parameters["ApplicationInstanceId"])
        given = (
            "Name", "Description", "DefaultRuntimeContextDevice", "ManifestPayload",
            "ManifestOverridesPayload", "ApplicationInstanceIdToReplace",
        )  # fmt: skip
        return {
            "ApplicationInstanceId": instance.id,
            "CreatedTime": instance.created_s,
            **{name: instance.request.get(name) for name in given},
        }

    def list(self, parameters: Parameters) -> Answer:
        device, status = parameters.get("DeviceId"), parameters.get("StatusFilter")
        statuses = _FILTERS.get(status, (status,)) if status else None
        found = (
            instance
            for instance in self._core.store.instances.values()
            if device in (None, instance.device)
            and (statuses is None or instance.status in statuses)
        )
        instances, token = page(
            self._core, "ListApplicationInstances", parameters, found, by_creation, self._summary
        )
        return {"ApplicationInstances": instances, "NextToken": token}

    def list_nodes(self, parameters: Parameters) -> Answer:
        """In the order of the graph."""
        instance = self.get(parameters["ApplicationInstanceId"])
        nodes, token = page(
            self._core,
            "ListApplicationInstanceNodeInstances",
            parameters,
            enumerate(instance.nodes),
            lambda numbered: numbered[:1],
            lambda numbered: self._node(instance, numbered[1]),
        )
        return {"NodeInstances": nodes, "NextToken": token}

    def list_dependencies(self, parameters: Parameters) -> Answer:
        """The package versions that the nodes are of."""
        instance = self.get(parameters["ApplicationInstanceId"])
        packages = {(node.package, node.version, node.patch) for node in instance.nodes}
        found, token = page(
            self._core,
            "ListApplicationInstanceDependencies",
            parameters,
            (package for package in packages if package[0]),
            lambda package: package,
            lambda package: dict(
                zip(("Name", "PackageVersion", "PatchVersion"), package, strict=True)
            ),
        )
        return {"PackageObjects": found, "NextToken": token}

    def get(self, identifier: str) -> Instance:
        instance = self._core.store.instances.get(identifier)
        if instance is None:
            raise not_found("APPLICATION_INSTANCE", identifier)
        return instance

    # --- answers ------------------------------------------------------------------------

    def _health(self, instance: Instance) -> str:
        device = self._core.store.devices.get(instance.device)
        if instance.reported in _UNHEALTHY:
            return "ERROR"
        if device is None or not device.online or instance.reported != "RUNNING":
            return "NOT_AVAILABLE"
        return "ERROR" if "ERROR" in instance.node_statuses.values() else "RUNNING"

    def _node(self, instance: Instance, node: NodeRecord) -> Answer:
        """A device that says nothing of single nodes speaks of all of them at once."""
        status = self._health(instance)
        if instance.reported == "RUNNING" and status != "NOT_AVAILABLE":
            status = instance.node_statuses.get(node.name, status)
        of_package = {
            "NodeId": node_id(node.package, node.version, node.patch, node.interface),
            "PackageName": node.package,
            "PackageVersion": node.version,
            "PackagePatchVersion": node.patch,
        }
        return {
            "NodeInstanceId": node.name,
            "NodeName": node.interface or node.name,
            **(of_package if node.package else {}),
            "CurrentStatus": status,
        }

    def _summary(self, instance: Instance) -> Answer:
        request = instance.request
        context = {
            "DesiredState": instance.desired,
            "RuntimeContextName": instance.device_name,
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
            "Tags": instance.tags,
        }
