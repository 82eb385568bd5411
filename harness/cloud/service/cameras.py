"""Cameras registered from the RTSP template: a package of one media source, and a secret."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.cloud.api.error import conflict, not_found, validation
from harness.cloud.service.secret import REDACTED
from harness.cloud.service.state import PackageVersion, TemplateJob

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cloud.service.core import Answer, Core, Parameters
    from harness.cloud.service.packages import Packages

_NAMES = ("Username", "Password", "StreamUrl")
_SCHEMES = ("rtsp", "rtsps")


class Cameras:
    def __init__(self, core: Core, packages: Packages) -> None:
        self._core = core
        self._packages = packages

    def create(self, parameters: Parameters) -> Answer:
        """Registers `<output package>.<node name>` at once; credentials go to the secrets."""
        given = parameters["TemplateParameters"]
        _check(given)
        name, version = parameters["OutputPackageName"], parameters["OutputPackageVersion"]
        package = self._packages.by_name(name)
        if package is not None and package.find(version) is not None:
            raise conflict("PACKAGE", package.id, f"Package {name} {version} exists already.")
        if package is None:
            package = self._packages.add(name, {})
        manifest = _manifest(name, version, parameters)
        canonical = json.dumps(manifest, sort_keys=True).encode()
        patch = hashlib.sha256(canonical).hexdigest()
        secret = f"{package.id}/{version}"
        self._core.secrets.put(secret, {key: given.get(key, "") for key in _NAMES})
        now_s = self._core.clock()
        found = PackageVersion(
            version, patch, now_s, "REGISTER_COMPLETED", "", manifest, secret=secret
        )
        self._packages.keep(package, found)
        job = TemplateJob(
            self._core.new_id("job"), now_s, parameters["NodeName"], name, version,
            {key: REDACTED if key != "StreamUrl" else _public(url) for key, url in given.items()},
            parameters.get("NodeDescription"), list(parameters.get("JobTags") or ()),
        )  # fmt: skip
        self._core.store.template_jobs[job.id] = job
        return {"JobId": job.id}

    def describe(self, parameters: Parameters) -> Answer:
        job = self._core.store.template_jobs.get(parameters["JobId"])
        if job is None:
            raise not_found("JOB", parameters["JobId"])
        return {
            "JobId": job.id,
            "TemplateType": "RTSP_CAMERA_STREAM",
            "Status": "SUCCEEDED",
            "StatusMessage": "Successfully created node from template",
            "CreatedTime": job.created_s,
            "LastUpdatedTime": job.created_s,
            "OutputPackageName": job.package,
            "OutputPackageVersion": job.version,
            "NodeName": job.node,
            "NodeDescription": job.description,
            "TemplateParameters": job.parameters,
            "JobTags": job.tags,
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


def _manifest(name: str, version: str, parameters: Parameters) -> dict[str, Any]:
    node = parameters["NodeName"]
    text = [{"name": port, "type": "string"} for port in ("username", "password", "streamUrl")]
    source = {"type": "system", "assetUri": "source/video/camera/rtsp/source_rtsp"}
    return {
        "nodePackage": {
            "envelopeVersion": "2021-01-01",
            "name": name,
            "version": version,
            "description": parameters.get("NodeDescription", ""),
            "assets": [{"name": node, "implementations": [source]}],
            "interfaces": [
                {
                    "name": node,
                    "category": "media_source",
                    "asset": node,
                    "inputs": text,
                    "outputs": [{"name": "video_out", "type": "media"}],
                }
            ],
        }
    }
