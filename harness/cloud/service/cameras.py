"""Cameras registered from the RTSP template: a package of one media source, and a secret.

The secret has the name of the job. It stays when the camera is deregistered, as the vendor's does.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.cloud.api.error import ApiError, conflict, not_found, validation
from harness.cloud.service.packages import package_tags
from harness.cloud.service.paging import by_creation, page
from harness.cloud.service.secret import REDACTED
from harness.cloud.service.state import PackageVersion, TemplateJob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.cloud.service.core import Answer, Core, Parameters
    from harness.cloud.service.packages import Packages

REGISTERED = "Successfully created node from template"
_NAMES = ("Username", "Password", "StreamUrl")
_SCHEMES = ("rtsp", "rtsps")


class Cameras:
    """`queue` gets a new job once it is in its table."""

    def __init__(
        self, core: Core, packages: Packages, queue: Callable[[TemplateJob], None]
    ) -> None:
        self._core = core
        self._packages = packages
        self._queue = queue

    # --- operations ---------------------------------------------------------------------

    def create(self, parameters: Parameters) -> Answer:
        """A job that registers `<output package>.<node name>`; credentials go to the secrets."""
        given = parameters["TemplateParameters"]
        _check(given)
        name, version = parameters["OutputPackageName"], parameters["OutputPackageVersion"]
        package = self._packages.by_name(name)
        if package is not None and package.find(version) is not None:
            message = f"Package {name} {version} exists already."
            raise conflict("PACKAGE", package.id, message, "PackageVersionTaken")
        now_s, identifier = self._core.clock(), self._core.new_id("job")
        self._core.secrets.put(identifier, {key: given.get(key, "") for key in _NAMES})
        job = TemplateJob(
            identifier, now_s, now_s, parameters["NodeName"], name, version,
            {key: REDACTED if key != "StreamUrl" else _public(url) for key, url in given.items()},
            identifier, parameters.get("NodeDescription"), list(parameters.get("JobTags") or ()),
        )  # fmt: skip
        self._core.store.template_jobs[identifier] = job
        self._queue(job)
        return {"JobId": identifier}

    def describe(self, parameters: Parameters) -> Answer:
        job = self._core.store.template_jobs.get(parameters["JobId"])
        if job is None:
            raise not_found("JOB", parameters["JobId"])
        return {
            **_summary(job),
            "LastUpdatedTime": job.updated_s,
            "OutputPackageName": job.package,
            "OutputPackageVersion": job.version,
            "NodeDescription": job.description,
            "TemplateParameters": job.parameters,
            "JobTags": job.tags,
        }

    def list(self, parameters: Parameters) -> Answer:
        jobs = self._core.store.template_jobs.values()
        shown, token = page(
            self._core, "ListNodeFromTemplateJobs", parameters, jobs, by_creation, _summary
        )
        return {"NodeFromTemplateJobs": shown, "NextToken": token}

    # --- the work -----------------------------------------------------------------------

    def carry_out(self, job: TemplateJob) -> None:
        try:
            self._register(job)
            job.status, job.message = "SUCCEEDED", REGISTERED
        except ApiError as problem:  # a quota, or a version that another job made meanwhile
            job.status, job.message = "FAILED", problem.message
        job.updated_s = self._core.clock()

    def _register(self, job: TemplateJob) -> None:
        package = self._packages.by_name(job.package)
        if package is None:
            package = self._packages.add(job.package, package_tags(job.tags))
        elif package.find(job.version) is not None:
            message = f"Package {job.package} {job.version} exists already."
            raise conflict("PACKAGE", package.id, message, "PackageVersionTaken")
        manifest = _manifest(job)
        canonical = json.dumps(manifest, sort_keys=True).encode()
        patch = hashlib.sha256(canonical).hexdigest()
        found = PackageVersion(
            job.version, patch, self._core.clock(), "REGISTER_COMPLETED", "", manifest,
            secret=job.secret,
        )  # fmt: skip
        self._packages.keep(package, found)


def _summary(job: TemplateJob) -> Answer:
    return {
        "JobId": job.id,
        "TemplateType": "RTSP_CAMERA_STREAM",
        "Status": job.status,
        "StatusMessage": job.message,
        "CreatedTime": job.created_s,
        "NodeName": job.node,
    }


def _check(given: Mapping[str, str]) -> None:
    problems = [
        (f"TemplateParameters[{name}]", f"is unknown; known: {', '.join(_NAMES)}")
        for name in given
        if name not in _NAMES
    ]
    if "StreamUrl" not in given:
        problems.append(("TemplateParameters[StreamUrl]", "is required"))
    elif not _is_stream(given["StreamUrl"]):
        problems.append(("TemplateParameters[StreamUrl]", "must look like rtsp://host/path"))
    if problems:
        raise validation("The template parameters are not those of an RTSP camera.", problems)


def _is_stream(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in _SCHEMES and bool(parts.hostname)


def _public(url: str) -> str:
    """The URL without any credentials in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _manifest(job: TemplateJob) -> dict[str, Any]:
    text = [{"name": port, "type": "string"} for port in ("username", "password", "streamUrl")]
    source = {"type": "system", "assetUri": "source/video/camera/rtsp/source_rtsp"}
    return {
        "nodePackage": {
            "envelopeVersion": "2021-01-01",
            "name": job.package,
            "version": job.version,
            "description": job.description or "",
            "assets": [{"name": job.node, "implementations": [source]}],
            "interfaces": [
                {
                    "name": job.node,
                    "description": job.description or "",
                    "category": "media_source",
                    "asset": job.node,
                    "inputs": text,
                    "outputs": [{"name": "video_out", "type": "media"}],
                }
            ],
        }
    }
