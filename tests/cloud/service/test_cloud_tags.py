"""Tags, by the ARN of whatever has them."""

from __future__ import annotations

from typing import Any

import pytest

from harness.cloud.api import ApiError


def resources(core: Any, application: Any) -> dict[str, str]:
    """ARNs of one resource of each kind."""
    device = core.online()
    application.install(core, "door")
    request = application.request(device, "door", Tags={"client": "sample"})
    instance = core.call("CreateApplicationInstance", **request)["ApplicationInstanceId"]
    return {
        "device": core.call("DescribeDevice", DeviceId=device)["Arn"],
        "package": core.call("DescribePackage", PackageId="packageName/door")["Arn"],
        "instance": core.call("DescribeApplicationInstance", ApplicationInstanceId=instance)["Arn"],
    }


@pytest.mark.parametrize("kind", ["device", "package", "instance"])
def test_tags_are_set_replaced_and_taken(core: Any, application: Any, kind: str) -> None:
    arn = resources(core, application)[kind]
    before = core.call("ListTagsForResource", ResourceArn=arn)["Tags"]
    core.call("TagResource", ResourceArn=arn, Tags={"site": "a", "floor": "1"})
    core.call("TagResource", ResourceArn=arn, Tags={"site": "b"})
    after = core.call("ListTagsForResource", ResourceArn=arn)["Tags"]
    assert after == {**before, "site": "b", "floor": "1"}
    core.call("UntagResource", ResourceArn=arn, TagKeys=["site", "absent"])
    core.start()
    assert core.call("ListTagsForResource", ResourceArn=arn)["Tags"] == {**before, "floor": "1"}


def test_tags_are_shown_with_the_resource(core: Any, application: Any) -> None:
    arns = resources(core, application)
    for arn in arns.values():
        core.call("TagResource", ResourceArn=arn, Tags={"site": "a"})
    assert core.call("ListDevices")["Devices"][0]["Tags"] == {"site": "a"}
    tags = {p["PackageName"]: p["Tags"] for p in core.call("ListPackages")["Packages"]}
    assert tags == {"counter": {}, "door": {"site": "a"}}
    (instance,) = core.call("ListApplicationInstances")["ApplicationInstances"]
    assert instance["Tags"] == {"client": "sample", "site": "a"}


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        ("x", "ValidationException"),
        ("arn:aws:panorama:us-east-1:123456789012:job/x", "ValidationException"),
        ("arn:aws:s3:::bucket", "ValidationException"),
        ("arn:aws:panorama:us-east-1:123456789012:device/none", "ResourceNotFoundException"),
        ("arn:aws:panorama:us-east-1:123456789012:package/none", "ResourceNotFoundException"),
        (
            "arn:aws:panorama:us-east-1:123456789012:applicationInstance/none",
            "ResourceNotFoundException",
        ),
    ],
)
@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("ListTagsForResource", {}),
        ("TagResource", {"Tags": {"a": "b"}}),
        ("UntagResource", {"TagKeys": ["a"]}),
    ],
)
def test_an_arn_of_nothing_is_refused(
    core: Any, operation: str, more: dict[str, Any], arn: str, code: str
) -> None:
    with pytest.raises(ApiError, match=code):
        core.call(operation, ResourceArn=arn, **more)


def test_an_arn_of_another_account_or_region_is_not_found(core: Any) -> None:
    device = core.online()
    arn = core.call("DescribeDevice", DeviceId=device)["Arn"]
    for other in (arn.replace("123456789012", "2" * 12), arn.replace("us-east-1", "eu-west-1")):
        with pytest.raises(ApiError, match="ResourceNotFoundException"):
            core.call("ListTagsForResource", ResourceArn=other)


def test_a_resource_takes_50_tags(core: Any) -> None:
    arn = core.call("ProvisionDevice", Name="north", Tags={"first": ""})["Arn"]
    core.call("TagResource", ResourceArn=arn, Tags={f"k{n}": "" for n in range(49)})
    core.call("TagResource", ResourceArn=arn, Tags={"first": "again"})
    with pytest.raises(ApiError, match="50 tags"):
        core.call("TagResource", ResourceArn=arn, Tags={"more": ""})
    assert len(core.call("ListTagsForResource", ResourceArn=arn)["Tags"]) == 50


@pytest.mark.parametrize(
    ("operation", "parameters", "where"),
    [
        ("ProvisionDevice", {"Name": "a", "Tags": {"aws:a": "b"}}, "Tags[aws:a]"),
        ("CreatePackage", {"PackageName": "a", "Tags": {"AWS:a": "b"}}, "Tags[AWS:a]"),
        (
            "CreateNodeFromTemplateJob",
            {"JobTags": [{"ResourceType": "PACKAGE", "Tags": {"aws:a": "b"}}]},
            "JobTags[0].Tags[aws:a]",
        ),
    ],
)
def test_nothing_is_made_with_a_reserved_key(
    core: Any, new_camera: Any, operation: str, parameters: dict[str, Any], where: str
) -> None:
    if operation == "CreateNodeFromTemplateJob":
        parameters = {**new_camera("door"), **parameters}
    with pytest.raises(ApiError, match="reserved") as raised:
        core.call(operation, **parameters)
    assert [field["Name"] for field in raised.value.members["Fields"]] == [where]
    assert core.call("ListDevices")["Devices"] == core.call("ListPackages")["Packages"] == []


def test_reserved_keys_are_refused(core: Any) -> None:
    arn = core.call("ProvisionDevice", Name="north")["Arn"]
    with pytest.raises(ApiError, match="reserved"):
        core.call("TagResource", ResourceArn=arn, Tags={"AWS:x": ""})
