"""Packages and cameras in the pure plane: registration verifies what was uploaded."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from harness.cloud.api import ApiError
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import PACKAGE_BUCKET, Quotas, Settings

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


def test_the_version_quota_reads_as_the_vendors(
    make_core: Callable[..., Any], application: Any
) -> None:
    core = make_core(Settings(quotas=Quotas(versions_per_package=1)))
    package = upload(core, application)
    register(core, package, application.patch)
    application.asset = b"newer"
    upload_again(core, application, package)
    with pytest.raises(ApiError) as caught:
        register(core, package, application.patch)
    assert caught.value.message == (
        "You've reached the maximum number of versions for package counter. "
        "Deregister unused package versions and try again."
    )


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
