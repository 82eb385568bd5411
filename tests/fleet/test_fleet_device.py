"""The device of a load test against the control plane as it is served."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import pytest

from harness.cloud.front.client import ApiClient
from harness.errors import LinkDown, PeerRefused
from harness.fleet.device import Device

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.cloud.front.server import CloudServer


def call(server: CloudServer, operation: str, **parameters: Any) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with ApiClient(server.api_url, key=server.root_key) as client:
            return await client.call(operation, parameters)

    return asyncio.run(ask())


def archive_of(server: CloudServer, name: str) -> bytes:
    given = call(server, "ProvisionDevice", Name=name)["Certificates"]
    return given if isinstance(given, bytes) else base64.b64decode(given)


@pytest.fixture
def device(served: CloudServer) -> Iterator[Device]:
    made = Device(archive_of(served, "north"))
    yield made
    made.hang_up()


def test_a_device_registers_connects_and_reports(served: CloudServer, device: Device) -> None:
    device.register()
    device.connect()
    device.report()
    told = call(served, "DescribeDevice", DeviceId=device.thing)
    assert told["DeviceConnectionStatus"] == "ONLINE"
    assert told["CurrentSoftware"] == "6.2.1"


def test_a_claim_is_good_for_one_registration(served: CloudServer) -> None:
    archive = archive_of(served, "north")
    first = Device(archive)
    first.register()
    with pytest.raises(PeerRefused):
        Device(archive).register()
    first.hang_up()


def test_a_device_is_told_of_a_job_and_ends_it(served: CloudServer, device: Device) -> None:
    device.register()
    device.connect()
    device.report()
    answer = call(served, "CreateJobForDevices", DeviceIds=[device.thing], JobType="REBOOT")
    job = device.jobs.get(timeout=10.0)
    assert job == answer["Jobs"][0]["JobId"]
    device.report_job(job, "IN_PROGRESS", "REBOOTING")
    assert call(served, "DescribeDeviceJob", JobId=job)["Status"] == "REBOOTING"
    device.report_job(job, "SUCCEEDED", "COMPLETED")
    assert call(served, "DescribeDeviceJob", JobId=job)["Status"] == "COMPLETED"


def test_a_dropped_device_comes_back(served: CloudServer, device: Device) -> None:
    device.register()
    device.connect()
    device.drop()
    with pytest.raises(LinkDown, match="no connection"):
        device.report()
    device.connect()
    device.report()
    assert call(served, "DescribeDevice", DeviceId=device.thing)["CurrentSoftware"] == "6.2.1"
