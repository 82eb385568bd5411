"""What the control plane remembers: plain records, and the store that holds them.

Records are changed in place, hold nothing but JSON values and other such records, and refer to
what stands in a table of its own by id. Times are seconds since the Unix epoch by the plane's
clock. A record is good for one call: take it out of its table again in the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from harness.cloud.service.table import Table

if TYPE_CHECKING:
    from harness.cloud.service.table import Change, Journal

R = TypeVar("R")
Records: TypeAlias = MutableMapping[str, R]  # by id; a plain dictionary when nothing is kept
Document: TypeAlias = Mapping[str, Any]


@dataclass(slots=True)
class Claim:
    """The temporary credentials of one archive: for minutes, and for one registration."""

    certificate_id: str
    expires_s: float
    spent: bool = False


@dataclass(slots=True)
class Shadow:
    """A named shadow. `version` grows with every change of either half.

    `metadata` holds, for `desired` and `reported`, when each attribute was set.
    """

    desired: dict[str, Any] = field(default_factory=dict)
    reported: dict[str, Any] = field(default_factory=dict)
    version: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    deleted: bool = False


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
    status: str = "QUEUED"  # QUEUED | IN_PROGRESS | SUCCEEDED | FAILED | REJECTED | CANCELED
    details: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    started_s: float = 0.0  # 0: not yet
    updated_s: float = 0.0  # by the device; 0: not yet

    @property
    def ended(self) -> bool:
        return self.status in ("SUCCEEDED", "FAILED", "REJECTED", "CANCELED")


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
    certificate_id: str | None = None  # the newest that may connect
    certificates: dict[str, float] = field(default_factory=dict)  # until when, where they expire
    pending: dict[str, str] = field(default_factory=dict)  # ownership token -> certificate id
    serials: dict[str, str] = field(default_factory=dict)  # of its certificates, by their ids
    connected: bool = False
    online: bool = False
    steady: bool = False  # heartbeats are promised until the link is lost
    seen_s: float = 0.0
    changed_s: float = 0.0  # by an administrator
    aggregated: str = ""  # as last recorded
    shadows: dict[str, Shadow] = field(default_factory=dict)
    jobs: int = 0  # how many it has had; they are called `<device id>-<n>`, from 0
    instances: list[str] = field(default_factory=list)  # ids of those not yet removed

    def shadow(self, name: str) -> Shadow:
        shadow = self.shadows.get(name)
        if shadow is None:
            shadow = self.shadows[name] = Shadow()
        return shadow

    @property
    def reported(self) -> Mapping[str, Any]:
        shadow = self.shadows.get("device")
        return shadow.reported if shadow is not None else {}


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


def version_id(version: str, patch: str) -> str:
    return f"{version}/{patch}"


@dataclass(slots=True)
class Package:
    id: str
    name: str
    arn: str
    created_s: float
    tags: dict[str, str] = field(default_factory=dict)
    versions: dict[str, PackageVersion] = field(default_factory=dict)  # by `version_id`
    latest: dict[str, str] = field(default_factory=dict)  # version -> latest patch

    def find(self, version: str, patch: str | None = None) -> PackageVersion | None:
        """The patch asked for, or the latest of the version."""
        chosen = patch or self.latest.get(version)
        return self.versions.get(version_id(version, chosen)) if chosen else None


@dataclass(slots=True)
class TemplateJob:
    """The registration of a camera; `parameters` are already redacted, `secret` names the rest."""

    id: str
    created_s: float
    updated_s: float
    node: str
    package: str
    version: str
    parameters: Mapping[str, str]
    secret: str  # where the parameters are kept as they were given
    description: str | None = None
    tags: list[Mapping[str, Any]] = field(default_factory=list)
    status: str = "PENDING"  # NodeFromTemplateJobStatus
    message: str = ""


@dataclass(slots=True)
class ImportJob:
    """The import of a package version; `request` is what CreatePackageImportJob was called with."""

    id: str
    created_s: float
    updated_s: float
    request: Mapping[str, Any]
    status: str = "PENDING"  # PackageImportJobStatus
    message: str = ""
    package: str = ""  # id of the package it went into
    patch: str = ""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node instance of a deployed graph; parameters have no package."""

    name: str
    package: str = ""
    version: str = ""
    patch: str = ""
    interface: str = ""
    camera: bool = False  # a stream that can be paused


# Statuses of an instance whose deployment or removal is under way.
DEPLOYING = ("DEPLOYMENT_PENDING", "DEPLOYMENT_REQUESTED", "DEPLOYMENT_IN_PROGRESS")
REMOVING = ("REMOVAL_PENDING", "REMOVAL_REQUESTED", "REMOVAL_IN_PROGRESS")


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
    paused: list[str] = field(default_factory=list)  # camera nodes that shall not deliver
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """A firmware image in the catalogue.

    `required` is the vendor's mandatory update; an `alternate` is a beta release, offered beside
    the others; one that was `recalled` is offered no longer.
    """

    version: str
    manifest: bytes
    required: bool
    alternate: bool = False
    recalled: bool = False


@dataclass(frozen=True, slots=True)
class Secret:
    """Credentials of a camera."""

    values: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What an object is beside its content. Times are those of the plane's clock."""

    etag: str = ""
    modified_s: float = 0.0
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)
    crc32: str = ""  # base64, big endian, of the whole object


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object: its content is a file named by its SHA-256, or `inline` when it is small."""

    sha256: str
    size_bytes: int
    inline: bytes | None = field(default=None, repr=False)
    info: ObjectInfo = field(default_factory=ObjectInfo)


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """An object that arrives in parts; `info` is what it will be, `modified_s` when it began."""

    bucket: str
    key: str
    info: ObjectInfo


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """A part that was acknowledged; `file` is its name among the contents."""

    file: str
    size_bytes: int
    etag: str
    modified_s: float


@dataclass(frozen=True, slots=True)
class ExportTask:
    """A log group that was exported, as DescribeExportTasks tells it."""

    described: Mapping[str, Any]


@dataclass(slots=True)
class Bucket:
    """A bucket that a client made. `policy` is the JSON text it was given."""

    name: str
    created_s: float
    policy: str | None = None


@dataclass(slots=True)
class Store:
    """All records, by id; and ids by name, which follow from the records.

    Every field that is `Records` is a table: another one is added by another such field.
    """

    devices: Records[Device] = field(default_factory=dict)
    jobs: Records[Job] = field(default_factory=dict)
    packages: Records[Package] = field(default_factory=dict)
    template_jobs: Records[TemplateJob] = field(default_factory=dict)
    import_jobs: Records[ImportJob] = field(default_factory=dict)
    instances: Records[Instance] = field(default_factory=dict)
    images: Records[Image] = field(default_factory=dict)
    secrets: Records[Secret] = field(default_factory=dict)
    objects: Records[StoredObject] = field(default_factory=dict)
    buckets: Records[Bucket] = field(default_factory=dict)
    uploads: Records[MultipartUpload] = field(default_factory=dict)
    upload_parts: Records[UploadedPart] = field(default_factory=dict)  # by `part_id`
    export_tasks: Records[ExportTask] = field(default_factory=dict)
    device_names: dict[str, str] = field(init=False)
    package_names: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.device_names = {device.name: device.id for device in self.devices.values()}
        self.package_names = {package.name: package.id for package in self.packages.values()}

    def last_job(self, device: Device) -> Job | None:
        return self.jobs.get(f"{device.id}-{device.jobs - 1}") if device.jobs else None

    def active_job(self, device: Device) -> Job | None:
        """Jobs run one at a time, so only the newest can be unfinished."""
        job = self.last_job(device)
        return job if job is not None and not job.ended else None

    def commit(self) -> None:
        """Keep what has changed since the last commit. In memory there is nothing to do."""

    def forget(self) -> None:
        """What was taken out since the last commit was only read."""


class KeptStore(Store):
    """A store whose changes go to a journal.

    `rows` are all that is kept already: id and encoded record, by table, in order. Raises
    `ValueError` when they are not records, or of a table that does not exist.
    """

    def __init__(self, journal: Journal, rows: Mapping[str, Iterable[tuple[str, bytes]]]) -> None:
        types = record_types()
        unknown = sorted(rows.keys() - types.keys())
        if unknown:
            raise ValueError(f"there is no table {unknown[0]!r}")
        self._journal = journal
        self._tables = {
            name: Table(name, record, rows.get(name, ())) for name, record in types.items()
        }
        super().__init__(**self._tables)
        self.forget()

    def commit(self) -> None:
        changes: list[Change] = []
        for table in self._tables.values():
            changes += table.changes()
        if changes:
            self._journal.append(changes)

    def forget(self) -> None:
        for table in self._tables.values():
            table.forget()


def record_types() -> dict[str, type[Any]]:
    """The type of the records of every table of a store, by the table's name."""
    return {
        name: get_args(hint)[1]
        for name, hint in get_type_hints(Store).items()
        if get_origin(hint) is MutableMapping
    }
