"""Unmodified clients, old and new, through every operation: both see one and the same service."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.cloud.api import load
from harness.cloud.service.content import BytesContent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.cloud.clients.conftest import Clients

JOURNEY = str(Path(__file__).with_name("journey.py"))
IMAGE = "6.2.1"


@pytest.fixture
def facts(cloud: Any, application: Any, tmp_path: Path) -> Callable[[str], Path]:
    """What a journey is told; each has a device of its own."""

    def make(prefix: str) -> Path:
        plane = cloud.server.plane
        plane.publish_image(IMAGE, b"manifest", BytesContent(b"payload"))
        application.package = f"{prefix}-counter"
        camera = f"{prefix}-door"
        places = {name: name for name in ("BinaryPrefixLocation", "ManifestPrefixLocation")}
        uploads = application.uploads(places)
        path = tmp_path / f"{prefix}.json"
        text = {
            "prefix": prefix,
            "device": _online(plane, prefix),
            "image": IMAGE,
            "patch": application.patch,
            "uploads": {key: base64.b64encode(data).decode() for key, data in uploads.items()},
            "archive": base64.b64encode(_packed(uploads)).decode(),
            "graph": application.graph,
            "overrides": application.overrides(camera),
        }
        path.write_text(json.dumps(text), encoding="utf-8")
        return path

    return make


def _packed(uploads: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for key, data in uploads.items():
            manifest = key.startswith("ManifestPrefixLocation")
            member = tarfile.TarInfo("package.json" if manifest else key)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _online(plane: Any, name: str) -> str:
    """A device that has registered and reports, as far as the plane knows."""
    device = str(plane.call("ProvisionDevice", {"Name": name})["DeviceId"])
    record = plane._core.store.devices[device]
    record.provisioning, record.connected = "SUCCEEDED", True
    report = {"state": {"reported": {"software": "6.0.8"}}}
    plane.receive(device, f"$aws/things/{device}/shadow/name/device/update", report)
    return device


async def _journey(clients: Clients, cloud: Any, facts: Path, keys: Mapping[str, str]) -> Any:
    program = clients.python.name
    arguments = (JOURNEY, cloud.server.api_url, str(facts))
    return json.loads((await clients.run(program, *arguments, variables=keys)).splitlines()[-1])


async def test_the_last_boto3_that_knew_the_service_goes_through_all_of_it(
    cloud: Any, pinned: Clients, facts: Callable[[str], Path], credentials: Mapping[str, str]
) -> None:
    told = await _journey(pinned, cloud, facts("old"), credentials)
    assert told["boto3"] == version("boto3") == "1.43.37"
    assert set(told["answers"]) == set(load().operations)
    statuses = {error[1]: [key for key in error[2] if key.startswith("status")] for error in
                told["errors"]}  # fmt: skip
    assert statuses == {
        "ConflictException": ["status 409"],
        "ValidationException": ["status 400"],
        "ResourceNotFoundException": ["status 404"],
    }


async def test_the_newest_boto3_with_the_model_installed_sees_the_same(
    cloud: Any,
    pinned: Clients,
    newest: Clients,
    facts: Callable[[str], Path],
    credentials: Mapping[str, str],
) -> None:
    old = await _journey(pinned, cloud, facts("old"), credentials)
    new = await _journey(newest, cloud, facts("new"), credentials)
    assert tuple(map(int, new["boto3"].split("."))) > tuple(map(int, old["boto3"].split(".")))
    assert new["answers"] == old["answers"]
    assert new["errors"] == old["errors"]
    assert not [entry for entry in cloud.log if entry["status"] >= 500]


async def test_the_newest_boto3_knows_no_such_service_without_the_model(newest: Clients) -> None:
    """Else the test before would say nothing about the model."""
    bare = type(newest)(newest.python)
    code = "import boto3; print('panorama' in boto3.session.Session().get_available_services())"
    assert (await bare.run(newest.python.name, "-c", code)).strip() == "False"
    assert (await newest.run(newest.python.name, "-c", code)).strip() == "True"


async def test_the_newest_command_line_knows_the_service_again(
    cloud: Any, newest: Clients, credentials: Mapping[str, str]
) -> None:
    device = cloud.server.plane.call("ProvisionDevice", {"Name": "north"})["DeviceId"]
    options = ("--endpoint-url", cloud.server.api_url, "--output", "json")
    text = await newest.run("aws", "panorama", "list-devices", *options, variables=credentials)
    assert [entry["DeviceId"] for entry in json.loads(text)["Devices"]] == [device]
