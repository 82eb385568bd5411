"""A plane that starts again with what was kept: the same answers, and timers where they were."""

from __future__ import annotations

from typing import Any

from harness.appliance.topic import ACCEPTED, CREATE_CERTIFICATE, REGISTER_THING
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import Settings

SETTINGS = Settings()


def answers(core: Any, device: str, instance: str) -> dict[str, Any]:
    """What an administrator sees of everything there is."""
    return {
        "device": core.call("DescribeDevice", DeviceId=device),
        "devices": core.call("ListDevices"),
        "job": core.call("DescribeDeviceJob", JobId=f"{device}-0"),
        "package": core.call("DescribePackage", PackageId="packageName/counter"),
        "version": core.call(
            "DescribePackageVersion", PackageId="packageName/counter", PackageVersion="1.0"
        ),
        "instance": core.call("DescribeApplicationInstance", ApplicationInstanceId=instance),
        "nodes": core.call("ListApplicationInstanceNodeInstances", ApplicationInstanceId=instance),
    }


def test_everything_is_known_again(core: Any, application: Any) -> None:
    device = core.online()
    core.plane.publish_image("7.0.1", b"manifest", BytesContent(b"payload"))
    update = {"OTAJobConfig": {"ImageVersion": "7.0.1"}}
    core.call("CreateJobForDevices", DeviceIds=[device], JobType="OTA", DeviceJobConfig=update)
    application.install(core, "door")
    request = application.request(device, "door")
    instance = core.call("CreateApplicationInstance", **request)["ApplicationInstanceId"]
    core.plane.disconnected(device)
    core.now_s += SETTINGS.offline_after_s
    core.plane.expire()
    before = answers(core, device, instance)
    core.start()
    assert answers(core, device, instance) == before
    certificate_id = core.store.devices[device].certificate_id
    assert core.plane.refusal(device, certificate_id) == ""


def test_devices_are_offline_until_they_connect_again(core: Any) -> None:
    device = core.online()
    assert core.call("DescribeDevice", DeviceId=device)["DeviceAggregatedStatus"] == "ONLINE"
    core.start()
    assert core.call("DescribeDevice", DeviceId=device)["DeviceAggregatedStatus"] == "OFFLINE"
    core.plane.connected(device)
    core.report(device, "device", {"slot": "a"})
    found = core.call("DescribeDevice", DeviceId=device)
    assert found["DeviceAggregatedStatus"] == "ONLINE"
    assert found["CurrentSoftware"] == "6.2.1", "what it reported earlier is still known"


def test_a_claim_expires_when_it_would_have(core: Any) -> None:
    device = core.call("ProvisionDevice", Name="north")["DeviceId"]
    core.start()
    core.now_s += SETTINGS.claim_valid_s - 1.0
    core.plane.expire()
    found = core.call("DescribeDevice", DeviceId=device)
    assert found["ProvisioningStatus"] == "AWAITING_PROVISIONING"
    core.now_s += 1.0
    core.plane.expire()
    assert core.call("DescribeDevice", DeviceId=device)["ProvisioningStatus"] == "FAILED"


def test_a_claim_that_ran_out_meanwhile_has_failed(core: Any) -> None:
    device = core.call("ProvisionDevice", Name="north")["DeviceId"]
    core.now_s += SETTINGS.claim_valid_s + 1.0
    core.start()
    core.plane.expire()
    assert core.call("DescribeDevice", DeviceId=device)["ProvisioningStatus"] == "FAILED"


def test_a_lease_ends_when_it_would_have(core: Any) -> None:
    device = core.online()
    due_s = core.now_s + SETTINGS.lease_s
    core.now_s += 3600.0
    core.start()
    core.now_s = due_s
    core.plane.expire()
    assert core.statuses("cloud.device")[-2:] == ["OFFLINE", "LEASE_EXPIRED"]
    assert core.call("DescribeDevice", DeviceId=device)["LeaseExpirationTime"] == due_s


def test_a_job_goes_on_where_it_was(core: Any) -> None:
    device = core.online()
    job = core.call("CreateJobForDevices", DeviceIds=[device], JobType="REBOOT")["Jobs"][0]["JobId"]
    core.say(device, f"jobs/{job}/update", {"status": "IN_PROGRESS"})
    core.start()
    core.plane.connected(device)
    core.say(device, "jobs/$next/get", {})
    execution = core.answer(f"$aws/things/{device}/jobs/$next/get/accepted")["execution"]
    assert (execution["jobId"], execution["status"]) == (job, "IN_PROGRESS")
    core.say(device, f"jobs/{job}/update", {"status": "SUCCEEDED"})
    assert core.call("DescribeDeviceJob", JobId=job)["Status"] == "COMPLETED"
    again = core.call("CreateJobForDevices", DeviceIds=[device], JobType="REBOOT")
    assert again["Jobs"][0]["JobId"] == f"{device}-1"


def test_names_stay_taken_and_deleted_things_stay_deleted(core: Any) -> None:
    gone = core.register("south")
    core.register("north")
    core.call("DeleteDevice", DeviceId=gone)
    core.start()
    assert [device["Name"] for device in core.call("ListDevices")["Devices"]] == ["north"]
    assert core.store.device_names.keys() == {"north"}


def test_an_interrupted_registration_is_taken_up(core: Any) -> None:
    device = core.call("ProvisionDevice", Name="north")["DeviceId"]
    claim = f"claim-{device}"
    core.plane.receive(claim, CREATE_CERTIFICATE, {"certificateSigningRequest": "request"})
    token = core.answer(CREATE_CERTIFICATE + ACCEPTED)["certificateOwnershipToken"]
    core.start()
    asked = {"certificateOwnershipToken": token, "parameters": {"DeviceId": device}}
    core.plane.receive(claim, REGISTER_THING, asked)
    assert core.call("DescribeDevice", DeviceId=device)["ProvisioningStatus"] == "SUCCEEDED"
