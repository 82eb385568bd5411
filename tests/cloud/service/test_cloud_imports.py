"""Imports: a package version out of an archive in the object store, or a job that says why not."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest

from harness.cloud.api import ApiError
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import PACKAGE_BUCKET, Settings
from harness.scenario.quota import Quotas

BUCKET, KEY = "uploads", "counter.tar.gz"


def put(core: Any, application: Any, *, without: str = "", manifest: bytes | None = None) -> None:
    """An archive of the application's package, as a folder of a project."""
    buffer = io.BytesIO()
    location = {"BinaryPrefixLocation": "assets", "ManifestPrefixLocation": "manifests"}
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for key, data in application.uploads(location).items():
            name = "packages/package.json" if key.startswith("manifests") else key
            content = manifest if manifest is not None and key.startswith("manifests") else data
            if not without or not name.endswith(without):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    core.objects.put(BUCKET, KEY, BytesContent(buffer.getvalue()))


def request(**more: Any) -> dict[str, Any]:
    place = {"BucketName": BUCKET, "ObjectKey": KEY, **more.pop("place", {})}
    output = {"PackageName": "counter", "PackageVersion": "1.0", **more.pop("output", {})}
    return {
        "ClientToken": "token-1",
        "JobType": "NODE_PACKAGE_VERSION",
        "InputConfig": {"PackageVersionInputConfig": {"S3Location": place}},
        "OutputConfig": {"PackageVersionOutputConfig": output},
        **more,
    }


def run(core: Any, **more: Any) -> dict[str, Any]:
    job = core.call("CreatePackageImportJob", **request(**more))["JobId"]
    found: dict[str, Any] = core.call("DescribePackageImportJob", JobId=job)
    return found


def test_an_import_makes_a_version_that_can_be_deployed(core: Any, application: Any) -> None:
    put(core, application)
    tags = [{"ResourceType": "PACKAGE", "Tags": {"site": "a"}}]
    job = run(core, JobTags=tags)
    assert (job["Status"], job["JobTags"]) == ("SUCCEEDED", tags)
    package = core.call("DescribePackage", PackageId="packageName/counter")
    assert package["Tags"] == {"site": "a"}
    location = package["StorageLocation"]
    assert job["Output"] == {
        "PackageId": package["PackageId"],
        "PackageVersion": "1.0",
        "PatchVersion": application.patch,
        "OutputS3Location": {
            "BucketName": location["Bucket"],
            "ObjectKey": f"{location['ManifestPrefixLocation']}/1.0/{application.patch}.json",
        },
    }
    for key, data in application.uploads(location).items():
        assert core.objects.get(PACKAGE_BUCKET, key) == BytesContent(data)
    device = core.online()
    core.call("CreateNodeFromTemplateJob", **_camera("door"))
    assert core.call("CreateApplicationInstance", **application.request(device, "door"))


def _camera(name: str) -> dict[str, Any]:
    return {
        "TemplateType": "RTSP_CAMERA_STREAM", "NodeName": name, "OutputPackageName": name,
        "OutputPackageVersion": "1.0", "TemplateParameters": {"StreamUrl": "rtsp://127.0.0.1/x"},
    }  # fmt: skip


def test_an_import_goes_into_a_package_that_exists(core: Any, application: Any) -> None:
    package = core.call("CreatePackage", PackageName="counter")["PackageId"]
    put(core, application)
    assert run(core)["Output"]["PackageId"] == package
    again = {**application.manifest, "more": 1}
    put(core, application, manifest=json.dumps(again).encode())
    second = run(core, ClientToken="token-2", output={"MarkLatest": True})
    version = {"PackageId": package, "PackageVersion": "1.0"}
    latest = core.call("DescribePackageVersion", **version)["PatchVersion"]
    assert latest == second["Output"]["PatchVersion"] != application.patch


def test_the_same_token_is_the_same_job(core: Any, application: Any) -> None:
    put(core, application)
    first = core.call("CreatePackageImportJob", **request())
    assert core.call("CreatePackageImportJob", **request()) == first
    assert len(core.call("ListPackageImportJobs")["PackageImportJobs"]) == 1
    with pytest.raises(ApiError, match="ConflictException") as caught:
        core.call("CreatePackageImportJob", **request(output={"PackageName": "other"}))
    assert caught.value.members["ResourceId"] == first["JobId"]
    assert caught.value.members["ErrorId"] == "ClientTokenReused"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"place": {"ObjectKey": "none"}}, "no object none"),
        ({"place": {"BucketName": "none"}}, "in bucket none"),
        ({"place": {"Region": "eu-west-1"}}, "not in eu-west-1"),
        ({"output": {"PackageVersion": "2.0"}}, "is of version '1.0', not '2.0'"),
        ({"JobType": "MARKETPLACE_NODE_PACKAGE_VERSION"}, "not subscribed"),
    ],
)
def test_an_import_that_cannot_be_done_says_why(
    core: Any, application: Any, changes: dict[str, Any], said: str
) -> None:
    put(core, application)
    job = run(core, **changes)
    assert job["Status"] == "FAILED"
    assert said in job["StatusMessage"]
    assert job["Output"]["PatchVersion"] == "unknown"
    assert job["Output"]["PackageId"] == "packageName/counter"
    assert core.call("ListNodes", OwnerAccount="123456789012")["Nodes"] == []


@pytest.mark.parametrize("without", ["package.json", ".tar.gz", ".json.gz"])
def test_an_incomplete_archive_leaves_nothing(core: Any, application: Any, without: str) -> None:
    put(core, application, without=without)
    job = run(core)
    if without == ".json.gz":
        assert job["Status"] == "SUCCEEDED"
        return
    assert job["Status"] == "FAILED"
    assert "package.json" in job["StatusMessage"] or "was not uploaded" in job["StatusMessage"]
    assert [key for key in core.objects.keys(PACKAGE_BUCKET, "") if "/manifests/" in key] == []
    put(core, application)
    assert run(core, ClientToken="token-2")["Status"] == "SUCCEEDED"


def test_a_patch_that_is_there_is_not_imported_again(core: Any, application: Any) -> None:
    put(core, application)
    run(core)
    job = run(core, ClientToken="token-2")
    assert job["Status"] == "FAILED"
    assert "already" in job["StatusMessage"]


def test_the_quota_fails_the_job(make_core: Any, application: Any) -> None:
    core = make_core(Settings(quotas=Quotas(packages=0, changes_per_s=None)))
    put(core, application)
    assert "maximum number of 0 packages" in run(core)["StatusMessage"]


def test_an_import_is_pending_until_its_time_has_passed(make_core: Any, application: Any) -> None:
    core = make_core(Settings(package_job_s=3.0))
    put(core, application)
    job = run(core)
    assert (job["Status"], job["StatusMessage"]) == ("PENDING", "")
    core.start()
    core.now_s += 3.0
    assert core.plane.expire() is None
    found = core.call("DescribePackageImportJob", JobId=job["JobId"])
    assert found["Status"] == "SUCCEEDED"
    assert found["LastUpdatedTime"] == core.now_s


@pytest.mark.parametrize("config", ["InputConfig", "OutputConfig"])
def test_both_configurations_must_say_something(core: Any, config: str) -> None:
    with pytest.raises(ApiError, match="ValidationException") as caught:
        core.call("CreatePackageImportJob", **{**request(), config: {}})
    assert caught.value.members["Fields"][0]["Name"].startswith(f"{config}.")


def test_an_unknown_import_job_is_answered_as_declared(core: Any) -> None:
    with pytest.raises(ApiError, match="ValidationException"):
        core.call("DescribePackageImportJob", JobId="job-none")


def test_import_jobs_are_listed_oldest_first(core: Any, application: Any) -> None:
    put(core, application)
    made = []
    for number in range(3):
        core.now_s += 1.0
        made.append(run(core, ClientToken=f"token-{number}")["JobId"])
    listed = core.call("ListPackageImportJobs")["PackageImportJobs"]
    assert [job["JobId"] for job in listed] == made
    assert [job["Status"] for job in listed] == ["SUCCEEDED", "FAILED", "FAILED"]
    assert {job["JobType"] for job in listed} == {"NODE_PACKAGE_VERSION"}
