"""The vendor's own tools, unmodified: a project is packaged and registered as it always was."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.cloud.clients.conftest import Clients

DESCRIPTOR = {
    "mlModelDescriptor": {
        "envelopeVersion": "2021-01-01",
        "framework": "PYTORCH",
        "frameworkVersion": "1.8",
        "precisionMode": "FP16",
        "inputs": [{"name": "data", "shape": [1, 3, 224, 224]}],
    }
}
SOMEBODY = "999999999999"  # whose application is imported


@pytest.fixture
def variables(cloud: Any, credentials: Mapping[str, str], tmp_path: Path) -> Mapping[str, str]:
    return {**credentials, "AWS_ENDPOINT_URL": cloud.server.api_url, "HOME": str(tmp_path)}


def _model(path: Path) -> bytes:
    """An archive as a model comes; what is in it the packager does not look at."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("model.pth")
        member.size = 1000
        archive.addfile(member, io.BytesIO(bytes(1000)))
    path.write_bytes(buffer.getvalue())
    return buffer.getvalue()


async def test_the_packager_makes_uploads_and_registers_a_project(
    cloud: Any, vendors: Clients, variables: Mapping[str, str], tmp_path: Path
) -> None:
    model = _model(tmp_path / "model.tar.gz")
    (tmp_path / "descriptor.json").write_text(json.dumps(DESCRIPTOR), encoding="utf-8")
    folder = tmp_path

    async def packager(*arguments: str) -> str:
        return await vendors.run("panorama-cli", *arguments, variables=variables, folder=folder)

    await packager("init-project", "--name", "demo")
    folder = tmp_path / "demo"
    await packager("create-package", "--name", "demo_model", "--type", "Model")
    await packager("add-panorama-package", "--type", "camera", "--name", "door")
    (package,) = (folder / "packages").iterdir()
    await packager(
        "add-raw-model", "--model-asset-name", "demo_model", "--model-local-path",
        str(tmp_path / "model.tar.gz"), "--descriptor-path", str(tmp_path / "descriptor.json"),
        "--packages-path", str(package.relative_to(folder)),
    )  # fmt: skip
    foreign = package.with_name(package.name.replace(cloud.server.plane.account, SOMEBODY))
    package.rename(foreign)  # as if somebody else had made it
    graph = folder / "graphs/demo/graph.json"
    text = graph.read_text(encoding="utf-8")
    graph.write_text(text.replace(cloud.server.plane.account, SOMEBODY), encoding="utf-8")
    await packager("import-application")
    assert SOMEBODY not in graph.read_text(encoding="utf-8")
    said = await packager("package-application")
    assert "All packages uploaded and registered successfully" in said
    asset = hashlib.sha256(model).hexdigest()
    (told,) = cloud.server.plane.call("ListPackages", {})["Packages"]
    assert told["PackageName"] == "demo_model"
    registered = cloud.server.plane.call(
        "DescribePackageVersion", {"PackageId": told["PackageId"], "PackageVersion": "1.0"}
    )
    assert registered["Status"] == "REGISTER_COMPLETED"
    assert registered["IsLatestPatch"]
    manifest = json.loads((package / "package.json").read_text(encoding="utf-8"))
    (listed,) = manifest["nodePackage"]["assets"]
    assert listed["implementations"][0]["assetUri"] == f"{asset}.tar.gz"


async def test_the_last_command_line_that_knew_the_service_lists_devices(
    cloud: Any, vendors: Clients, variables: Mapping[str, str]
) -> None:
    cloud.server.plane.call("ProvisionDevice", {"Name": "north"})
    text = await vendors.run(
        "aws", "panorama", "list-devices", "--output", "json", variables=variables
    )
    (device,) = json.loads(text)["Devices"]
    assert device["Name"] == "north"
    assert device["ProvisioningStatus"] == "AWAITING_PROVISIONING"
