"""What the control plane remembers: plain records, and the store that holds them.

Times are seconds since the Unix epoch by the plane's clock. Records are changed in place; the
store is the one place to put a database behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cloud.service.content import Content


@dataclass(slots=True)
class Claim:
    """The temporary credentials of one archive: for minutes, and for one registration."""

    certificate_id: str
    expires_s: float
    spent: bool = False


@dataclass(slots=True)
class Shadow:
    """A named shadow. `version` grows with every change of either half."""

    desired: dict[str, Any] = field(default_factory=dict)
    reported: dict[str, Any] = field(default_factory=dict)
    version: int = 0


@dataclass(slots=True)
class Job:
    """A job for one device; `progress` is UpdateProgress, `status` that of the execution."""

    id: str
    device: str
    type: str  # OTA | REBOOT
    image: str | None
    created_s: float
    document: Mapping[str, Any]
    progress: str = "PENDING"
    status: str = "QUEUED"  # QUEUED | IN_PROGRESS | SUCCEEDED | FAILED | REJECTED
    details: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1

    @property
    def ended(self) -> bool:
        return self.status in ("SUCCEEDED", "FAILED", "REJECTED")


@dataclass(slots=True)
class Device:
    """One registered appliance. The id is also the name of its IoT thing."""

    id: str
    name: str
    arn: str
    created_s: float
    claim: Claim
    description: str | None = None
    networking: Mapping[str, Any] | None = None
    tags: dict[str, str] = field(default_factory=dict)
    provisioning: str = "AWAITING_PROVISIONING"  # DeviceStatus
    certificate_id: str | None = None  # the one that may connect
    pending: dict[str, str] = field(default_factory=dict)  # ownership token -> certificate id
    connected: bool = False
    online: bool = False
    steady: bool = False  # heartbeats are promised until the link is lost
    seen_s: float = 0.0
    aggregated: str = ""  # as last recorded
    shadows: dict[str, Shadow] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    instances: dict[str, Instance] = field(default_factory=dict)  # not yet removed

    def shadow(self, name: str) -> Shadow:
        shadow = self.shadows.get(name)
        if shadow is None:
            shadow = self.shadows[name] = Shadow()
        return shadow

    @property
    def reported(self) -> Mapping[str, Any]:
        shadow = self.shadows.get("device")
        return shadow.reported if shadow is not None else {}

    @property
    def active_job(self) -> Job | None:
        """Jobs run one at a time, so only the newest can be unfinished."""
        return self.jobs[-1] if self.jobs and not self.jobs[-1].ended else None


@dataclass(slots=True)
class PackageVersion:
    version: str
    patch: str
    registered_s: float
    status: str  # PackageVersionStatus
    description: str
    manifest: Mapping[str, Any]
    assets: tuple[Mapping[str, Any], ...] = ()  # name, sha256, size, key, descriptor
    secret: str | None = None  # of a camera: where its stream URL and credentials are


@dataclass(slots=True)
class Package:
    id: str
    name: str
    arn: str
    created_s: float
    tags: dict[str, str] = field(default_factory=dict)
    versions: dict[tuple[str, str], PackageVersion] = field(default_factory=dict)
    latest: dict[str, str] = field(default_factory=dict)  # version -> latest patch

    def find(self, version: str, patch: str | None = None) -> PackageVersion | None:
        """The patch asked for, or the latest of the version."""
        chosen = patch or self.latest.get(version)
        return self.versions.get((version, chosen)) if chosen else None


@dataclass(slots=True)
class TemplateJob:
    """A camera made from a template; `parameters` are already redacted."""

    id: str
    created_s: float
    node: str
    package: str
    version: str
    parameters: Mapping[str, str]
    description: str | None = None
    tags: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node instance of a deployed graph; parameters have no package."""

    name: str
    package: str = ""
    version: str = ""
    patch: str = ""


@dataclass(slots=True)
class Instance:
    """One deployment of an application to one device."""

    id: str
    arn: str
    device: str
    device_name: str
    created_s: float
    updated_s: float
    nodes: tuple[NodeRecord, ...]
    request: Mapping[str, Any]
    status: str = "DEPLOYMENT_PENDING"
    description: str = ""
    desired: str = "RUNNING"
    reported: str = ""  # DeviceReportedStatus
    reported_s: float = 0.0
    node_statuses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """A firmware image in the catalogue; `required` is the vendor's mandatory update."""

    version: str
    manifest: bytes
    payload: Content
    required: bool


@dataclass(slots=True)
class Store:
    """All records, by id and by name where names are unique."""

    devices: dict[str, Device] = field(default_factory=dict)
    device_names: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    packages: dict[str, Package] = field(default_factory=dict)
    package_names: dict[str, str] = field(default_factory=dict)
    template_jobs: dict[str, TemplateJob] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
