"""Packages and cameras in the pure plane: registration verifies what was uploaded."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from harness.cloud.api import ApiError
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import PACKAGE_BUCKET, Settings
from harness.scenario.quota import Quotas

if TYPE_CHECKING:
    from collections.abc import Callable


def upload(core: Any, application: Any, damage: dict[str, bytes | None] | None = None) -> str:
    """Create and upload; `damage` replaces (or leaves out) objects by the end of their key."""
    made = core.call("CreatePackage", PackageName=application.package)
    for key, data in application.uploads(made["StorageLocation"]).items():
        harm = next((d for end, d in (damage or {}).items() if key.endswith(end)), data)
        if harm is not None:
            core.objects.put(PACKAGE_BUCKET, key, BytesContent(harm))
    return str(made["PackageId"])


def upload_again(core: Any, application: Any, package: str) -> None:
    location = core.call("DescribePackage", PackageId=package)["StorageLocation"]
    for key, data in application.uploads(location).items():
        core.objects.put(PACKAGE_BUCKET, key, BytesContent(data))


def register(core: Any, package: str, patch: str, **more: Any) -> dict[str, Any]:
    version = {"PackageId": package, "PackageVersion": "1.0", "PatchVersion": patch}
    core.call("RegisterPackageVersion", **version, **more)
    described: dict[str, Any] = core.call("DescribePackageVersion", **version)
    return described


def test_a_complete_upload_is_registered_at_once(core: Any, application: Any) -> None:
    package = upload(core, application)
    found = register(core, package, application.patch)
    assert found["Status"] == "REGISTER_COMPLETED"
    assert found["IsLatestPatch"] is True
    assert found["PackageName"] == "counter"


@pytest.mark.parametrize("kind", [".tar.gz", ".json"])
@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "was not uploaded"), (b"else", "has content with SHA-256"), (b"", "has content")],
)
def test_assets_must_be_there_and_be_what_they_are_named(
    core: Any, application: Any, kind: str, content: bytes | None, said: str
) -> None:
    original = application.asset if kind == ".tar.gz" else application.descriptor
    name = hashlib.sha256(original).hexdigest() + kind
    package = upload(core, application, {name: content})
    found = register(core, package, application.patch)
    assert found["Status"] == "FAILED"
    assert said in found["StatusDescription"]
    assert name in found["StatusDescription"]
    assert len(found["StatusDescription"]) <= 255


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (b"{", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"{}", "nodePackage"),
        (b'{"nodePackage": {"version": "2.0"}}', "is of version '2.0'"),
        (b'{"nodePackage": {"assets": [1]}}', "not an object"),
        (b'{"nodePackage": {"assets": [{"name": "a", "implementations": [{}]}]}}', "SHA-256"),
        (b'{"nodePackage": {"interfaces": [{"name": "i", "inputs": 5}]}}', "'i'"),
        (b'{"x": "' + b"x" * (1 << 20) + b'"}', "larger than"),
    ],
)
def test_a_bad_manifest_fails_with_a_reason(
    core: Any, application: Any, manifest: bytes, said: str
) -> None:
    package = upload(core, application, {f"{application.patch}.json": manifest})
    found = register(core, package, application.patch)
    assert found["Status"] == "FAILED"
    assert said in found["StatusDescription"]


def test_a_failed_registration_can_be_repeated(core: Any, application: Any) -> None:
    digest = hashlib.sha256(application.asset).hexdigest()
    package = upload(core, application, {f"{digest}.tar.gz": None})
    assert register(core, package, application.patch)["Status"] == "FAILED"
    key = f"{package}/assets/{digest}.tar.gz"
    core.objects.put(PACKAGE_BUCKET, key, BytesContent(application.asset))
    found = register(core, package, application.patch)
    assert (found["Status"], found["IsLatestPatch"]) == ("REGISTER_COMPLETED", True)


def test_without_a_manifest_nothing_is_registered(core: Any) -> None:
    package = core.call("CreatePackage", PackageName="counter")["PackageId"]
    with pytest.raises(ApiError, match="upload package"):
        register(core, package, "abc")


def test_an_unknown_package_is_answered_as_the_operation_declares(core: Any) -> None:
    with pytest.raises(ApiError, match="ValidationException"):
        register(core, "packageName/none", "abc")
    with pytest.raises(ApiError, match="ResourceNotFoundException"):
        core.call("DescribePackage", PackageId="packageName/none")
    core.call("CreatePackage", PackageName="twice")
    with pytest.raises(ApiError, match="ConflictException"):
        core.call("CreatePackage", PackageName="twice")


def test_the_latest_patch_moves_only_when_asked(core: Any, application: Any) -> None:
    package = upload(core, application)
    first = application.patch
    register(core, package, first)
    application.asset = b"a newer container"
    upload_again(core, application, package)
    assert register(core, package, application.patch)["IsLatestPatch"] is False
    assert register(core, package, application.patch, MarkLatest=True)["IsLatestPatch"] is True
    assert register(core, package, first)["IsLatestPatch"] is False


# --- cameras -------------------------------------------------------------------------------


# --- leaving -------------------------------------------------------------------------------


def patches(core: Any, application: Any, count: int) -> tuple[str, list[str]]:
    """A package with that many patches of version 1.0, the first of them the latest."""
    package = upload(core, application)
    made = []
    for number in range(count):
        text = json.dumps({**application.manifest, "number": number}).encode()
        patch = hashlib.sha256(text).hexdigest()
        core.objects.put(
            PACKAGE_BUCKET, f"{package}/manifests/1.0/{patch}.json", BytesContent(text)
        )
        register(core, package, patch)
        made.append(patch)
    return package, made


def latest(core: Any, package: str) -> Any:
    return core.call("DescribePackageVersion", PackageId=package, PackageVersion="1.0")[
        "PatchVersion"
    ]


def test_deregistering_the_latest_patch_names_another(core: Any, application: Any) -> None:
    package, (one, two, three) = patches(core, application, 3)
    version = {"PackageId": package, "PackageVersion": "1.0"}
    core.call("DeregisterPackageVersion", **version, PatchVersion=two)
    assert latest(core, package) == one
    core.call(
        "DeregisterPackageVersion", **version, PatchVersion=one, UpdatedLatestPatchVersion=three
    )
    assert latest(core, package) == three
    core.call("DeregisterPackageVersion", **version, PatchVersion=three)
    with pytest.raises(ApiError, match="ResourceNotFoundException"):
        latest(core, package)
    assert core.objects.keys(PACKAGE_BUCKET, f"{package}/manifests/"), "files stay"


def test_without_a_word_the_newest_patch_left_is_the_latest(core: Any, application: Any) -> None:
    package, (one, _, three) = patches(core, application, 3)
    core.call("DeregisterPackageVersion", PackageId=package, PackageVersion="1.0", PatchVersion=one)
    assert latest(core, package) == three


@pytest.mark.parametrize("successor", ["itself", "0123"])
def test_the_successor_must_be_another_registered_patch(
    core: Any, application: Any, successor: str
) -> None:
    package, (one, _) = patches(core, application, 2)
    with pytest.raises(ApiError, match="ValidationException") as caught:
        core.call(
            "DeregisterPackageVersion", PackageId=package, PackageVersion="1.0",
            PatchVersion=one, UpdatedLatestPatchVersion=one if successor == "itself" else "0123",
        )  # fmt: skip
    assert caught.value.members["Fields"][0]["Name"] == "UpdatedLatestPatchVersion"
    assert latest(core, package) == one


@pytest.mark.parametrize(
    "wrong", [{"PatchVersion": "0123"}, {"PackageVersion": "2.0"}, {"OwnerAccount": "panorama"}]
)
def test_what_is_not_there_cannot_be_deregistered(
    core: Any, application: Any, wrong: dict[str, str]
) -> None:
    package, (one,) = patches(core, application, 1)
    right = {"PackageId": package, "PackageVersion": "1.0", "PatchVersion": one}
    with pytest.raises(ApiError, match="ResourceNotFoundException"):
        core.call("DeregisterPackageVersion", **{**right, **wrong})


def test_a_package_that_holds_something_is_deleted_by_force(core: Any, application: Any) -> None:
    package = upload(core, application)
    with pytest.raises(ApiError, match="ConflictException") as caught:
        core.call("DeletePackage", PackageId=package)
    assert caught.value.members["ErrorId"] == "PackageNotEmpty"
    core.call("DeletePackage", PackageId=package, ForceDelete=True)
    assert core.objects.keys(PACKAGE_BUCKET, "") == []
    assert core.call("ListPackages")["Packages"] == []
    with pytest.raises(ApiError, match="ResourceNotFoundException"):
        core.call("DeletePackage", PackageId=package, ForceDelete=True)


def test_an_empty_package_is_deleted_and_its_name_is_free(core: Any) -> None:
    first = core.call("CreatePackage", PackageName="p")["PackageId"]
    core.call("DeletePackage", PackageId="packageName/p")
    assert core.call("CreatePackage", PackageName="p")["PackageId"] != first


def test_files_are_not_taken_from_under_a_deployment(core: Any, application: Any) -> None:
    device = core.online()
    application.install(core, "door")
    instance = core.call("CreateApplicationInstance", **application.request(device, "door"))
    version = {"PackageVersion": "1.0", "PatchVersion": application.patch}
    for operation, more in (("DeletePackage", {"ForceDelete": True}),
                            ("DeregisterPackageVersion", version)):  # fmt: skip
        with pytest.raises(ApiError, match="ConflictException") as caught:
            core.call(operation, PackageId="packageName/counter", **more)
        assert caught.value.members["ErrorArguments"] == [
            {"Name": "ApplicationInstanceId", "Value": instance["ApplicationInstanceId"]}
        ]
    core.call("DeletePackage", PackageId="packageName/door", ForceDelete=True)
    core.report_instance(device, instance["ApplicationInstanceId"], "RUNNING")
    core.call("DeletePackage", PackageId="packageName/counter", ForceDelete=True)


def test_a_camera_that_was_deregistered_can_be_registered_again(core: Any, new_camera: Any) -> None:
    core.call("CreateNodeFromTemplateJob", **new_camera("door"))
    (node,) = (
        node
        for node in core.call("ListNodes", Category="MEDIA_SOURCE")["Nodes"]
        if node["Name"] == "door"
    )
    core.call(
        "DeregisterPackageVersion", PackageId=node["PackageId"], PackageVersion="1.0",
        PatchVersion=node["PatchVersion"],
    )  # fmt: skip
    assert len(core.store.secrets) == 1, "the credentials are kept"
    job = core.call("CreateNodeFromTemplateJob", **new_camera("door"))["JobId"]
    assert core.call("DescribeNodeFromTemplateJob", JobId=job)["Status"] == "SUCCEEDED"


# --- cameras -------------------------------------------------------------------------------


def test_a_camera_is_a_package_with_a_media_source(core: Any, new_camera: Any) -> None:
    job = core.call("CreateNodeFromTemplateJob", **new_camera("door"))["JobId"]
    shown = core.call("DescribeNodeFromTemplateJob", JobId=job)
    assert shown["Status"] == "SUCCEEDED"
    assert shown["TemplateParameters"] == {
        "Username": "SAVED_AS_SECRET",
        "Password": "SAVED_AS_SECRET",
        "StreamUrl": "rtsp://127.0.0.1:8554/door",
    }
    version = core.call(
        "DescribePackageVersion", PackageId="packageName/door", PackageVersion="1.0"
    )
    assert version["Status"] == "REGISTER_COMPLETED"


def test_credentials_in_the_url_are_not_shown(core: Any, new_camera: Any) -> None:
    request = new_camera("door")
    request["TemplateParameters"]["StreamUrl"] = "rtsp://user:hunter2@10.0.0.5:554/live?x=1"
    job = core.call("CreateNodeFromTemplateJob", **request)["JobId"]
    shown = core.call("DescribeNodeFromTemplateJob", JobId=job)["TemplateParameters"]
    assert shown["StreamUrl"] == "rtsp://10.0.0.5:554/live?x=1"


def test_secrets_are_in_no_representation(core: Any, new_camera: Any) -> None:
    core.call("CreateNodeFromTemplateJob", **new_camera("door"))
    state = core.plane._core
    texts = [repr(state.secrets), repr(state.store), json.dumps(core.events)]
    assert not any("secret of door" in text for text in texts)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"Username": "u"}, "StreamUrl"),
        ({"StreamUrl": "http://x/y"}, "StreamUrl"),
        ({"StreamUrl": "rtsp://"}, "StreamUrl"),
        ({"StreamUrl": "rtsp://[bad"}, "StreamUrl"),
        ({"StreamUrl": "rtsp://x/y", "Colour": "red"}, "Colour"),
    ],
)
def test_template_parameters_are_checked(
    core: Any, new_camera: Any, parameters: dict[str, str], named: str
) -> None:
    request = {**new_camera("door"), "TemplateParameters": parameters}
    with pytest.raises(ApiError, match="ValidationException") as caught:
        core.call("CreateNodeFromTemplateJob", **request)
    assert any(named in field["Name"] for field in caught.value.members["Fields"])


def test_a_camera_twice_is_a_conflict(core: Any, new_camera: Any) -> None:
    core.call("CreateNodeFromTemplateJob", **new_camera("door"))
    with pytest.raises(ApiError, match="ConflictException"):
        core.call("CreateNodeFromTemplateJob", **new_camera("door"))


def test_an_unknown_template_job_is_answered_as_declared(core: Any) -> None:
    with pytest.raises(ApiError, match="ValidationException"):
        core.call("DescribeNodeFromTemplateJob", JobId="none")


def test_template_jobs_are_listed(core: Any, new_camera: Any) -> None:
    for name in ("door", "yard"):
        core.now_s += 1.0
        core.call("CreateNodeFromTemplateJob", **new_camera(name))
    listed = core.call("ListNodeFromTemplateJobs")["NodeFromTemplateJobs"]
    assert [job["NodeName"] for job in listed] == ["door", "yard"]
    assert {job["Status"] for job in listed} == {"SUCCEEDED"}
    assert "TemplateParameters" not in listed[0]


def test_a_template_job_over_the_quota_fails_with_the_reason(
    make_core: Callable[..., Any], new_camera: Any
) -> None:
    core = make_core(Settings(quotas=Quotas(packages=0, changes_per_s=None)))
    job = core.call("CreateNodeFromTemplateJob", **new_camera("door"))["JobId"]
    found = core.call("DescribeNodeFromTemplateJob", JobId=job)
    assert found["Status"] == "FAILED"
    assert "maximum number of 0 packages" in found["StatusMessage"]


def test_a_slow_template_job_is_pending_until_its_time_has_passed(
    make_core: Callable[..., Any], new_camera: Any
) -> None:
    core = make_core(Settings(package_job_s=5.0))
    job = core.call("CreateNodeFromTemplateJob", **new_camera("door"))["JobId"]
    for _ in range(5):
        assert core.call("DescribeNodeFromTemplateJob", JobId=job)["Status"] == "PENDING"
    assert core.call("ListPackages")["Packages"] == []
    core.start()
    assert core.plane.expire() == core.now_s + 5.0
    core.now_s += 5.0
    core.plane.expire()
    found = core.call("DescribeNodeFromTemplateJob", JobId=job)
    assert found["Status"] == "SUCCEEDED"
    assert found["LastUpdatedTime"] == found["CreatedTime"] + 5.0
    assert [p["PackageName"] for p in core.call("ListPackages")["Packages"]] == ["door"]


def test_tags_of_the_job_are_those_of_the_package(core: Any, new_camera: Any) -> None:
    tags = [{"ResourceType": "PACKAGE", "Tags": {"site": "a"}}]
    job = core.call("CreateNodeFromTemplateJob", **new_camera("door"), JobTags=tags)["JobId"]
    assert core.call("DescribePackage", PackageId="packageName/door")["Tags"] == {"site": "a"}
    assert core.call("DescribeNodeFromTemplateJob", JobId=job)["JobTags"] == tags
