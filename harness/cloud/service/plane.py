"""The control plane without I/O: calls and messages in, answers, messages and events out.

The process rung serves it over HTTP and MQTT (`cloud.front.server`); the model rung calls it
directly. What it says of a device follows what the device reports, never how often it is asked.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from harness.appliance.topic import THINGS
from harness.cloud.api import load
from harness.cloud.api.error import ApiError, validation
from harness.cloud.api.validation import check
from harness.cloud.service.applications import Applications
from harness.cloud.service.buckets import Buckets
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import (
    DEPLOYMENT_BUCKET,
    FIRMWARE_BUCKET,
    Answer,
    Core,
    Endpoints,
    Settings,
)
from harness.cloud.service.devices import CLAIM_PREFIX, Devices
from harness.cloud.service.executions import Executions
from harness.cloud.service.exports import ExportTasks
from harness.cloud.service.instances import Instances
from harness.cloud.service.jobs import METADATA, Jobs, payload_key
from harness.cloud.service.nodes import Nodes
from harness.cloud.service.package_jobs import PackageJobs
from harness.cloud.service.packages import NAME_PREFIX, Packages
from harness.cloud.service.provisioning import Provisioning
from harness.cloud.service.quota import Rates
from harness.cloud.service.state import Store
from harness.cloud.service.tags import Tags, check_reserved
from harness.cloud.service.telemetry import Telemetry
from harness.cloud.service.things import Things

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from harness.cloud.service.authority import Authority
    from harness.cloud.service.content import Content, ObjectStore
    from harness.cloud.service.core import Publish, Record
    from harness.cloud.service.state import Image

__all__ = ["ControlPlane"]


def _ignore(_: str) -> None:
    pass


class ControlPlane:
    """One account in one region.

    All it knows is in `store`: taken up when it is made, and committed at the end of every call
    or message that may have changed something, so whoever keeps the store keeps the plane.

    `clock` gives seconds since the Unix epoch, `draw` all randomness, `wall` the same without any
    haste (by default `clock`): rates of quotas and the lives of device certificates go by it.
    `publish` is called with (client id, topic, payload), `record` with (event kind, values),
    `disconnect` with a client id whose connection must end; none of them may raise or call back
    into the plane at once.
    Payloads given out are the plane's own: read, do not change.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        draw: random.Random,
        authority: Authority,
        objects: ObjectStore,
        publish: Publish,
        record: Record,
        endpoints: Endpoints,
        disconnect: Callable[[str], None] = _ignore,
        account: str = "123456789012",
        region: str = "us-east-1",
        settings: Settings | None = None,
        wall: Callable[[], float] | None = None,
        store: Store | None = None,
    ) -> None:
        self._core = core = Core(
            clock, draw, authority, objects, publish, disconnect, record, endpoints,
            account, region, settings or Settings(), store if store is not None else Store(),
        )  # fmt: skip
        self._service = load()
        wall = wall or clock
        self._rates = Rates(core.settings.quotas, wall)
        self.telemetry = Telemetry(core)
        self._devices = Devices(core)
        self._provisioning = Provisioning(core, self._devices, wall)
        executions = Executions(core, self._devices)
        self._jobs = Jobs(core, self._devices, executions)
        self.exports = ExportTasks(core)
        self.buckets = Buckets(core, {FIRMWARE_BUCKET: self._jobs.take_firmware})
        self._packages = Packages(core)
        self._package_jobs = PackageJobs(core, self._packages)
        self._instances = Instances(core)
        self._applications = Applications(core, self._packages, self._instances)
        self._things = Things(
            core, self._devices, executions, self._applications, self._provisioning
        )
        self._handlers = self._table()
        self._devices.restore()
        self._package_jobs.restore()
        core.store.commit()

    def _table(self) -> Mapping[str, Callable[[Mapping[str, Any]], Answer]]:
        cameras, imports = self._package_jobs.cameras, self._package_jobs.imports
        nodes, tags = Nodes(self._core), Tags(self._core)
        return {
            "ProvisionDevice": self._provisioning.provision,
            "DescribeDevice": self._devices.describe,
            "ListDevices": self._devices.list,
            "UpdateDeviceMetadata": self._devices.update,
            "DeleteDevice": self._delete_device,
            "CreateJobForDevices": self._jobs.create,
            "DescribeDeviceJob": self._jobs.describe,
            "ListDevicesJobs": self._jobs.list,
            "CreatePackage": self._packages.create,
            "DescribePackage": self._packages.describe,
            "ListPackages": self._packages.list,
            "DeletePackage": self._packages.delete,
            "RegisterPackageVersion": self._packages.register,
            "DescribePackageVersion": self._packages.describe_version,
            "DeregisterPackageVersion": self._packages.deregister,
            "CreateNodeFromTemplateJob": cameras.create,
            "DescribeNodeFromTemplateJob": cameras.describe,
            "ListNodeFromTemplateJobs": cameras.list,
            "CreatePackageImportJob": imports.create,
            "DescribePackageImportJob": imports.describe,
            "ListPackageImportJobs": imports.list,
            "DescribeNode": nodes.describe,
            "ListNodes": nodes.list,
            "CreateApplicationInstance": self._applications.create,
            "RemoveApplicationInstance": self._applications.remove,
            "SignalApplicationInstanceNodeInstances": self._applications.signal,
            "DescribeApplicationInstance": self._instances.describe,
            "DescribeApplicationInstanceDetails": self._instances.details,
            "ListApplicationInstances": self._instances.list,
            "ListApplicationInstanceNodeInstances": self._instances.list_nodes,
            "ListApplicationInstanceDependencies": self._instances.list_dependencies,
            "ListTagsForResource": tags.list,
            "TagResource": tags.add,
            "UntagResource": tags.remove,
        }

    def _delete_device(self, parameters: Mapping[str, Any]) -> Answer:
        device = self._devices.get(parameters["DeviceId"])
        answer = self._devices.delete(device)
        self._jobs.abandon(device)
        self._applications.abandon(device)
        return answer

    # --- the API ------------------------------------------------------------------------

    def call(self, operation: str, parameters: Mapping[str, Any]) -> Answer:
        """Validate and carry out an operation. Members without a value are left out.

        Raises `ApiError` with a code that the operation declares; ValidationException and
        ThrottlingException always may be.
        """
        declared = self._service.operations.get(operation)
        if declared is None:
            message = f"Operation {operation} is not known."
            raise validation(message, reason="UNKNOWN_OPERATION")
        self._rates.admit(declared)
        check(self._service, declared, parameters)
        check_reserved(parameters)
        try:
            answer = self._handlers[operation](parameters)
        except ApiError as error:
            if error.code in declared.errors or error.status != 404:
                raise
            raise validation(error.message) from None
        finally:
            if declared.method == "GET":
                self._core.store.forget()
            else:
                self._core.store.commit()
        return {name: value for name, value in answer.items() if value is not None}

    # --- devices ------------------------------------------------------------------------

    def refusal(self, client_id: str, certificate_id: str | None) -> str:
        """Why a client may not connect over MQTT or HTTPS; empty when it may.

        `certificate_id` is the authority's name of the certificate it presents; None: one that
        was made for it and is not revoked.
        """
        return self._provisioning.refusal(client_id, certificate_id)

    def connected(self, client_id: str) -> None:
        """An admitted client has connected over MQTT."""
        device = self._core.store.devices.get(client_id)
        if device is not None:
            self._devices.connected(device)
            self._core.store.commit()

    def disconnected(self, client_id: str) -> None:
        """The MQTT connection of a client has ended, in whatever way."""
        device = self._core.store.devices.get(client_id)
        if device is not None:
            self._devices.disconnected(device)
            self._core.store.commit()

    def receive(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None:
        """A message from an admitted client. Topics that are not its own are ignored."""
        try:
            self._receive(client_id, topic, payload)
        finally:
            self._core.store.commit()

    def _receive(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None:
        device = self._core.store.devices.get(client_id)
        if device is not None and device.provisioning != "DELETING":
            self._devices.seen(device)
            if topic.startswith(f"{THINGS}{client_id}/"):
                self._things.receive(device, topic, payload)
        elif client_id.startswith(CLAIM_PREFIX):
            claimed = self._core.store.devices.get(client_id.removeprefix(CLAIM_PREFIX))
            if claimed is not None:
                self._provisioning.receive(claimed, topic, payload)

    def told(self, thing: str, document: Any) -> None:
        """Logs and metrics from a registered device. Raises `Corrupt`."""
        device = self._core.store.devices.get(thing)
        if device is not None:
            try:
                self.telemetry.receive(device, document)
            finally:
                self._core.store.forget()

    def camera_secrets(self, after: int) -> list[tuple[str, Mapping[str, str], float]]:
        """Credentials of cameras beyond the first `after`: name, values, when they were given."""
        store = self._core.store
        made = [
            (name, secret.values) for name, secret in islice(store.secrets.items(), after, None)
        ]
        jobs = store.template_jobs
        found = [(name, values, jobs[name].created_s) for name, values in made]
        store.forget()
        return found

    def role_of(self, thing: str, instance: str) -> str:
        """The role given to an application of a device; empty when it has none, or is no such."""
        found = self._core.store.instances.get(instance)
        own = found is not None and found.device == thing
        return str(found.request.get("RuntimeRoleArn") or "") if own and found else ""

    def garbled(self, client_id: str, topic: str) -> None:
        """A message from an admitted client that is not a JSON object."""
        device = self._core.store.devices.get(client_id.removeprefix(CLAIM_PREFIX))
        if device is not None and client_id.startswith(CLAIM_PREFIX):
            self._provisioning.garbled(device, topic)
        elif device is not None and topic.startswith(f"{THINGS}{client_id}/"):
            self._things.garbled(device, topic)

    def heartbeat(self, client_id: str, topic: str, payload: Mapping[str, Any]) -> None:
        """As `receive`, once for all repetitions: heartbeats come until the link is lost.

        Spares a simulation in virtual time the messages that would change nothing.
        """
        self.receive(client_id, topic, payload)
        device = self._core.store.devices.get(client_id)
        if device is not None and device.connected:
            device.steady = True
            self._core.store.commit()

    def expire(self) -> float | None:
        """Apply what the passing of time changes; when to call again, by the plane's clock."""
        try:
            due = (self._devices.expire(), self._package_jobs.expire())
            return min((when_s for when_s in due if when_s is not None), default=None)
        finally:
            self._core.store.commit()

    def may_read(self, thing: str, bucket: str, key: str) -> bool:
        """Whether a device may fetch an object: a deployment document is for its own only."""
        device = self._core.store.devices.get(thing)
        if device is None or device.provisioning == "DELETING":
            return False
        return bucket != DEPLOYMENT_BUCKET or key.startswith(f"{thing}/")

    # --- firmware and objects -----------------------------------------------------------

    def publish_image(
        self, version: str, manifest: bytes, payload: Content, *,
        required: bool = False, alternate: bool = False, recalled: bool = False,
    ) -> None:  # fmt: skip
        """Put a firmware image into the catalogue.

        `required` marks a mandatory update, `alternate` a beta release, `recalled` one that is
        installed no longer.
        """
        self._jobs.publish_image(
            version, manifest, payload, BytesContent(manifest),
            required=required, alternate=alternate, recalled=recalled,
        )  # fmt: skip
        self._core.store.commit()

    def cancel_job(self, job: str, *, thing: str | None = None, force: bool = False) -> None:
        """Take a job back, as an operator does with AWS IoT; in progress only by `force`.

        With a `thing` it must be that one's. The device hears that it is no longer its next one.
        Raises `ApiError`.
        """
        try:
            self._jobs.cancel(job, thing, force=force)
        finally:
            self._core.store.commit()

    def publish_metadata(self, files: Mapping[str, bytes]) -> None:
        """Put signed metadata of the catalogue, by file name, where jobs tell devices to look.

        Whether it is signed, and with which keys, is for devices to judge.
        """
        for name, data in files.items():
            self._core.objects.put(FIRMWARE_BUCKET, f"{METADATA}/{name}", BytesContent(data))
        self._core.store.commit()

    @property
    def images(self) -> Mapping[str, Image]:
        return self._core.store.images

    def adopt_images(self, other: ControlPlane) -> None:
        """Take over the vendor's catalogue of another account or region: it is one and the same."""
        for image in other.images.values():
            payload = other.objects.get(FIRMWARE_BUCKET, payload_key(image.version))
            if payload is not None:
                self.publish_image(
                    image.version, image.manifest, payload,
                    required=image.required, alternate=image.alternate, recalled=image.recalled,
                )  # fmt: skip
        for key in other.objects.keys(FIRMWARE_BUCKET, f"{METADATA}/"):
            metadata = other.objects.get(FIRMWARE_BUCKET, key)
            if metadata is not None:
                self._core.objects.put(FIRMWARE_BUCKET, key, metadata)
        self._core.store.commit()

    @property
    def objects(self) -> ObjectStore:
        return self._core.objects

    def knows(self, device: str) -> bool:
        """Whether this plane provisioned a device and has not deleted it."""
        return device in self._core.store.devices

    def identified(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parameters with ids where names are allowed, for whoever compares resources."""
        package = str(parameters.get("PackageId", ""))
        if not package.startswith(NAME_PREFIX):
            return parameters
        found = self._core.store.package_names.get(package.removeprefix(NAME_PREFIX))
        return {**parameters, "PackageId": found or package}

    def counts(self) -> Mapping[str, int]:
        """How much there is of everything."""
        store = self._core.store
        online = sum(device.online for device in store.devices.values())
        store.forget()
        return {
            "devices": len(store.devices),
            "online": online,
            "packages": len(store.packages),
            "applications": len(store.instances),
            "jobs": len(store.jobs),
        }

    @property
    def clock_s(self) -> float:
        return self._core.clock()

    @property
    def account(self) -> str:
        return self._core.account

    @property
    def region(self) -> str:
        return self._core.region
