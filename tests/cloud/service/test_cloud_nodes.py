"""Nodes: what registered packages offer, and what the service itself does."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from harness.cloud.api import ApiError
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import PACKAGE_BUCKET

CAMERA = {"Category": "MEDIA_SOURCE", "OwnerAccount": "panorama"}


def manifest(core: Any, package: str, interfaces: list[Any]) -> str:
    """Register a version 1.0 with these interfaces; its patch version."""
    text = json.dumps({"nodePackage": {"name": "p", "version": "1.0", "interfaces": interfaces}})
    patch = hashlib.sha256(text.encode()).hexdigest()
    key = f"{package}/manifests/1.0/{patch}.json"
    core.objects.put(PACKAGE_BUCKET, key, BytesContent(text.encode()))
    version = {"PackageId": package, "PackageVersion": "1.0", "PatchVersion": patch}
    core.call("RegisterPackageVersion", **version)
    assert core.call("DescribePackageVersion", **version)["Status"] == "REGISTER_COMPLETED"
    return patch


def test_the_services_own_nodes_are_there_from_the_start(core: Any) -> None:
    nodes = core.call("ListNodes", OwnerAccount="panorama")["Nodes"]
    assert [(n["PackageName"], n["Name"], n["Category"]) for n in nodes] == [
        ("abstract_rtsp_media_source", "rtsp_v1_interface", "MEDIA_SOURCE"),
        ("hdmi_data_sink", "hdmi0", "MEDIA_SINK"),
    ]
    display = core.call("DescribeNode", NodeId=nodes[1]["NodeId"], OwnerAccount="panorama")
    assert display["NodeId"] == f"hdmi_data_sink-1.0-{display['PatchVersion'][:8]}-hdmi0"
    assert len(display["PatchVersion"]) == 64
    assert display["NodeInterface"]["Inputs"][0]["Type"] == "MEDIA"
    assert display["NodeInterface"]["Outputs"] == []
    with pytest.raises(ApiError, match="ResourceNotFoundException"):
        core.call("DescribeNode", NodeId=display["NodeId"], OwnerAccount="123456789012")


def test_a_camera_is_a_media_source(core: Any, new_camera: Any) -> None:
    request = {**new_camera("door"), "NodeDescription": "the front door"}
    core.call("CreateNodeFromTemplateJob", **request)
    (node,) = core.call("ListNodes", PackageName="door")["Nodes"]
    found = core.call("DescribeNode", NodeId=node["NodeId"])
    assert found["NodeId"] == f"door-1.0-{found['PatchVersion'][:8]}-door"
    assert found["Category"] == "MEDIA_SOURCE"
    assert found["Description"] == "the front door"
    assert found["OwnerAccount"] == "123456789012"
    assert found["AssetName"] == "door"
    ports = found["NodeInterface"]
    assert {port["Name"]: port["Type"] for port in ports["Inputs"]} == {
        "username": "STRING", "password": "STRING", "streamUrl": "STRING",
    }  # fmt: skip
    assert ports["Outputs"] == [{"Name": "video_out", "Description": None, "Type": "MEDIA"}]
    assert "secret of" not in json.dumps(found)


def test_filters_narrow_the_list(core: Any, application: Any) -> None:
    application.install(core, "door", "yard")

    def names(**filters: Any) -> set[str]:
        return {node["PackageName"] for node in core.call("ListNodes", **filters)["Nodes"]}

    own = {"counter", "door", "yard"}
    assert names(OwnerAccount="123456789012") == own
    assert names() == own | {"abstract_rtsp_media_source", "hdmi_data_sink"}
    assert names(Category="BUSINESS_LOGIC") == {"counter"}
    assert names(Category="MEDIA_SOURCE", OwnerAccount="123456789012") == {"door", "yard"}
    assert names(PatchVersion=application.patch) == {"counter"}
    assert names(PackageName="door", PackageVersion="2.0") == set()
    with pytest.raises(ApiError, match="must be one of"):
        names(Category="CAMERA")


def test_pages_hold_every_node_once(core: Any, application: Any) -> None:
    application.install(core, "door", "yard")
    seen: list[str] = []
    token: str | None = None
    while token is not None or not seen:
        more: dict[str, Any] = {"NextToken": token} if token else {}
        page = core.call("ListNodes", MaxResults=2, **more)
        seen += [node["NodeId"] for node in page["Nodes"]]
        token = page.get("NextToken")
    assert len(seen) == len(set(seen)) == 5


def test_ports_say_their_type_default_and_connections(core: Any) -> None:
    package = core.call("CreatePackage", PackageName="p")["PackageId"]
    inputs = [
        {"name": "threshold", "type": "float32", "default": 0.5, "description": "least"},
        {"name": "flag", "type": "boolean", "default": True, "maxConnections": 1},
        {"name": "text", "type": "string", "default": "x" * 300},
        {"name": "odd", "type": "tensor", "maxConnections": "many"},
    ]
    interface = {"name": "i", "category": "business_logic", "asset": "a", "inputs": inputs}
    patch = manifest(core, package, [interface])
    found = core.call("DescribeNode", NodeId=f"p-1.0-{patch[:8]}-i")["NodeInterface"]["Inputs"]
    assert [(p["Type"], p["DefaultValue"], p["MaxConnections"]) for p in found] == [
        ("FLOAT32", "0.5", 0),
        ("BOOLEAN", "true", 1),
        ("STRING", "x" * 255, 0),
        (None, None, 0),
    ]
    assert found[0]["Description"] == "least"


def test_what_a_graph_could_not_refer_to_is_no_node(core: Any) -> None:
    package = core.call("CreatePackage", PackageName="p")["PackageId"]
    good = {"name": "good", "category": "ml_model"}
    strange = [{"name": "no spaces", "category": "ml_model"}, {"name": "x", "category": "y"}, {}]
    manifest(core, package, [*strange, good, good])
    nodes = core.call("ListNodes", PackageName="p")["Nodes"]
    assert [node["Name"] for node in nodes] == ["good"]


def test_nodes_go_with_their_version(core: Any, new_camera: Any) -> None:
    core.call("CreateNodeFromTemplateJob", **new_camera("door"))
    (node,) = core.call("ListNodes", PackageName="door")["Nodes"]
    core.call("DeletePackage", PackageId=node["PackageId"], ForceDelete=True)
    assert core.call("ListNodes", PackageName="door")["Nodes"] == []
    with pytest.raises(ApiError, match="ResourceNotFoundException") as caught:
        core.call("DescribeNode", NodeId=node["NodeId"])
    assert caught.value.members["ResourceType"] == "NODE"
