"""Whatever is asked of the API, in its form or not, is answered as declared, never with a 500."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.cloud.api import load
from harness.cloud.api.openapi import openapi
from harness.cloud.service.content import BytesContent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.cloud.clients.conftest import Clients

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
HOOKS = Path(__file__).with_name("signing.py")


@pytest.fixture
def known(cloud: Any, application: Any, new_camera: Any) -> dict[str, list[str]]:
    """One thing of every kind, by the parameters that name it."""
    plane = cloud.server.plane
    device = plane.call("ProvisionDevice", {"Name": "north"})
    record = plane._core.store.devices[device["DeviceId"]]
    record.provisioning, record.connected = "SUCCEEDED", True
    package = plane.call("CreatePackage", {"PackageName": "counter"})
    location = package["StorageLocation"]
    for key, data in application.uploads(location).items():
        plane.objects.put(location["Bucket"], key, BytesContent(data))
    version = {"PackageVersion": "1.0", "PatchVersion": application.patch}
    plane.call("RegisterPackageVersion", {"PackageId": package["PackageId"], **version})
    camera = plane.call("CreateNodeFromTemplateJob", new_camera("door"))["JobId"]
    reboot = {"DeviceIds": [device["DeviceId"]], "JobType": "REBOOT"}
    job = plane.call("CreateJobForDevices", reboot)["Jobs"][0]["JobId"]
    request = application.request(device["DeviceId"], "door")
    instance = plane.call("CreateApplicationInstance", request)["ApplicationInstanceId"]
    nodes = [node["NodeId"] for node in plane.call("ListNodes", {})["Nodes"]]
    return {
        "DeviceId": [device["DeviceId"]],
        "DefaultRuntimeContextDevice": [device["DeviceId"]],
        "PackageId": [package["PackageId"], "packageName/door"],
        "PackageVersion": ["1.0"],
        "PatchVersion": [application.patch],
        "JobId": [camera, job],
        "ApplicationInstanceId": [instance],
        "ResourceArn": [device["Arn"], package["Arn"]],
        "NodeId": nodes,
    }


@pytest.mark.parametrize(
    "paths",
    [
        "devices",
        "jobs|nodes|tags",
        "packages/(import|template)",
        "packages(?!/(import|template))",
        "application-instances",
    ],
)
async def test_no_request_is_an_error_of_the_service(
    cloud: Any,
    newest: Clients,
    credentials: Mapping[str, str],
    known: dict[str, list[str]],
    tmp_path: Path,
    paths: str,
) -> None:
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(openapi(load(), cloud.server.api_url)), encoding="utf-8")
    text = await newest.run(
        "schemathesis", "run", str(document), "--url", cloud.server.api_url,
        "--include-path-regex", f"^/({paths})", "--checks", ",".join(CHECKS),
        "--phases", "coverage,fuzzing", "--max-examples", "5", "--seed", "1",
        "--warnings", "off", "--no-color",
        folder=tmp_path,
        variables={
            "KNOWN": json.dumps(known),
            "SCHEMATHESIS_HOOKS": HOOKS.stem,
            "PYTHONPATH": str(HOOKS.parent),
            "HOME": str(tmp_path),
            **credentials,
        },
    )  # fmt: skip
    asked = [entry for entry in cloud.log if entry["operation"]]
    assert len(asked) > 100, text[-2000:]
    assert {entry["status"] for entry in asked} >= {200, 400}
    assert [entry for entry in cloud.log if entry["status"] >= 500] == []
