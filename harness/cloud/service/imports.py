"""Package versions imported from an archive in the object store."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from harness.cloud.api.error import ApiError, conflict, not_found, validation
from harness.cloud.service import archive
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import PACKAGE_BUCKET
from harness.cloud.service.packages import (
    NAME_PREFIX,
    asset_key,
    manifest_key,
    package_tags,
)
from harness.cloud.service.paging import by_creation, page
from harness.cloud.service.state import ImportJob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.cloud.service.core import Answer, Core, Parameters
    from harness.cloud.service.packages import Packages

UNKNOWN = "unknown"
IMPORTED = "Successfully imported the package version"
_KINDS = {"InputConfig": "PackageVersionInputConfig", "OutputConfig": "PackageVersionOutputConfig"}


class ImportFailed(Exception):
    """The import cannot be done; the text is the job's message."""


class Imports:
    """`queue` gets a new job once it is in its table."""

    def __init__(self, core: Core, packages: Packages, queue: Callable[[ImportJob], None]) -> None:
        self._core = core
        self._packages = packages
        self._queue = queue

    # --- operations ---------------------------------------------------------------------

    def create(self, parameters: Parameters) -> Answer:
        """A job; the same call with the same client token is the same job."""
        missing = [
            (f"{config}.{kind}", "is required")
            for config, kind in _KINDS.items()
            if parameters[config].get(kind) is None
        ]
        if missing:
            raise validation("The import says not what to read or what to make.", missing)
        known = self._by_token(parameters["ClientToken"])
        if known is not None:
            return {"JobId": self._same(known, parameters).id}
        now_s, identifier = self._core.clock(), self._core.new_id("job")
        job = ImportJob(identifier, now_s, now_s, parameters)
        self._core.store.import_jobs[identifier] = job
        self._queue(job)
        return {"JobId": identifier}

    def _by_token(self, token: str) -> ImportJob | None:
        jobs = self._core.store.import_jobs.values()
        return next((job for job in jobs if job.request["ClientToken"] == token), None)

    def _same(self, job: ImportJob, parameters: Parameters) -> ImportJob:
        if dict(job.request) != dict(parameters):
            message = f"Client token {parameters['ClientToken']} was used for another import."
            token = {"ClientToken": parameters["ClientToken"]}
            raise conflict("JOB", job.id, message, "ClientTokenReused", **token)
        return job

    def describe(self, parameters: Parameters) -> Answer:
        job = self._core.store.import_jobs.get(parameters["JobId"])
        if job is None:
            raise not_found("JOB", parameters["JobId"])
        request = job.request
        return {
            **_summary(job),
            "ClientToken": request["ClientToken"],
            "InputConfig": request["InputConfig"],
            "OutputConfig": request["OutputConfig"],
            "JobTags": request.get("JobTags"),
            "Output": self._output(job),
        }

    def _output(self, job: ImportJob) -> Answer:
        """What came of it. All of it is required: what there is not yet, or never, is unknown."""
        name, version = _wanted(job)["PackageName"], _wanted(job)["PackageVersion"]
        made = job.status == "SUCCEEDED"
        key = manifest_key(job.package, version, job.patch) if made else UNKNOWN
        return {
            "PackageId": job.package if made else f"{NAME_PREFIX}{name}",
            "PackageVersion": version,
            "PatchVersion": job.patch if made else UNKNOWN,
            "OutputS3Location": {"BucketName": PACKAGE_BUCKET, "ObjectKey": key},
        }

    def list(self, parameters: Parameters) -> Answer:
        jobs = self._core.store.import_jobs.values()
        shown, token = page(
            self._core, "ListPackageImportJobs", parameters, jobs, by_creation, _summary
        )
        return {"PackageImportJobs": shown, "NextToken": token}

    # --- the work -----------------------------------------------------------------------

    def carry_out(self, job: ImportJob) -> None:
        try:
            self._import(job)
            job.status, job.message = "SUCCEEDED", IMPORTED
        except (ImportFailed, archive.ArchiveInvalid) as problem:
            job.status, job.message = "FAILED", str(problem)
        except ApiError as problem:  # a quota, or a name that was taken meanwhile
            job.status, job.message = "FAILED", problem.message
        job.updated_s = self._core.clock()

    def _import(self, job: ImportJob) -> None:
        if job.request["JobType"] != "NODE_PACKAGE_VERSION":
            raise ImportFailed("The account is not subscribed to a package of the marketplace.")
        read = self._read(job.request["InputConfig"]["PackageVersionInputConfig"]["S3Location"])
        name, version = _wanted(job)["PackageName"], _wanted(job)["PackageVersion"]
        patch = hashlib.sha256(read.manifest).hexdigest()
        package = self._packages.by_name(name)
        if package is not None and package.find(version, patch) is not None:
            raise ImportFailed(f"Package {name} {version} has patch version {patch} already.")
        if package is None:
            package = self._packages.add(name, package_tags(job.request.get("JobTags")))
        for file, data in read.assets.items():
            self._put(asset_key(package.id, file), data)
        self._put(manifest_key(package.id, version, patch), read.manifest)
        latest = bool(_wanted(job).get("MarkLatest"))
        problem = self._packages.take(package, version, patch, latest=latest)
        if problem:
            self._packages.drop(package, version, patch)
            self._core.objects.remove(PACKAGE_BUCKET, manifest_key(package.id, version, patch))
            raise ImportFailed(problem)
        job.package, job.patch = package.id, patch

    def _read(self, place: Mapping[str, Any]) -> archive.Archive:
        bucket, key = place["BucketName"], place["ObjectKey"]
        region = place.get("Region", self._core.region)
        if region != self._core.region:
            raise ImportFailed(f"Bucket {bucket} is in {self._core.region}, not in {region}.")
        content = self._core.objects.get(bucket, key)
        if content is None:
            raise ImportFailed(f"There is no object {key} in bucket {bucket}.")
        return archive.read(content)

    def _put(self, key: str, data: bytes) -> None:
        self._core.objects.put(PACKAGE_BUCKET, key, BytesContent(data))


def _wanted(job: ImportJob) -> Mapping[str, Any]:
    found: Mapping[str, Any] = job.request["OutputConfig"]["PackageVersionOutputConfig"]
    return found


def _summary(job: ImportJob) -> Answer:
    return {
        "JobId": job.id,
        "JobType": job.request["JobType"],
        "Status": job.status,
        "StatusMessage": job.message,
        "CreatedTime": job.created_s,
        "LastUpdatedTime": job.updated_s,
    }
