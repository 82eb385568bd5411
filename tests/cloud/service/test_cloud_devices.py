"""Devices in the pure plane: provisioning, admission, presence, aggregated status, listing."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from harness.appliance.topic import ACCEPTED, CREATE_CERTIFICATE, REGISTER_THING, REJECTED
from harness.cloud.api import ApiError
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import Settings

if TYPE_CHECKING:
    from collections.abc import Callable


def test_the_archive_holds_what_a_device_needs(core: Any) -> None:
    made = core.call("ProvisionDevice", Name="north")
    with zipfile.ZipFile(io.BytesIO(made["Certificates"])) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert json.loads(files["config.json"]) == {
        "DeviceId": made["DeviceId"],
        "DeviceName": "north",
        "ThingName": made["IotThingName"],
        "Endpoint": "cloud:8883",
        "HttpsEndpoint": "https://cloud",
        "Region": "us-east-1",
        "ProvisioningTemplate": "panorama",
        "NetworkingConfiguration": None,
    }
    claim = core.authority.certificate_id(files["claim.cert.pem"])
    assert core.plane.refusal(f"claim-{made['DeviceId']}", claim) == ""


def test_a_static_connection_needs_its_address(core: Any) -> None:
    with pytest.raises(ApiError, match="needs its address") as raised:
        core.call(
            "ProvisionDevice",
            Name="north",
            NetworkingConfiguration={"Ethernet1": {"ConnectionType": "STATIC_IP"}},
        )
    (field,) = raised.value.members["Fields"]
    assert field["Name"] == "NetworkingConfiguration.Ethernet1.StaticIpConnectionInfo"
    assert core.call("ListDevices")["Devices"] == []


def test_the_same_seed_makes_the_same_archive(make_core: Callable[..., Any]) -> None:
    first, second = (make_core(seed=5).call("ProvisionDevice", Name="north") for _ in range(2))
    assert first == second
    assert make_core(seed=6).call("ProvisionDevice", Name="north") != first


def test_a_device_becomes_registered_and_online(core: Any) -> None:
    device = core.online("north")
    assert core.statuses("cloud.device") == [
        "AWAITING_PROVISIONING",
        "PENDING",
        "OFFLINE",
        "ONLINE",
    ]
    shown = core.call("DescribeDevice", DeviceId=device)
    assert shown["CurrentSoftware"] == "6.2.1"
    assert shown["DeviceConnectionStatus"] == "ONLINE"
    assert shown["LeaseExpirationTime"] > core.now_s


def test_the_devices_own_facts_are_shown(core: Any) -> None:
    device = core.online("north")
    facts = {"brand": "LENOVO", "type": "PANORAMA_APPLIANCE", "serial": "123"}
    core.report(device, "device", facts)
    shown = core.call("DescribeDevice", DeviceId=device)
    assert (shown["Brand"], shown["Type"], shown["SerialNumber"]) == tuple(facts.values())


# --- admission -----------------------------------------------------------------------------


def test_only_the_registered_certificate_is_admitted(core: Any) -> None:
    device = core.register()
    certificate = core.answer(CREATE_CERTIFICATE + ACCEPTED)["certificateId"]
    assert core.plane.refusal(device, certificate) == ""
    assert "not active" in core.plane.refusal(device, "another")
    assert "no such thing" in core.plane.refusal("device-unknown", certificate)


def test_a_claim_is_for_one_registration(core: Any) -> None:
    device = core.register()
    claim = core.plane._core.store.devices[device].claim
    assert "used already" in core.plane.refusal(f"claim-{device}", claim.certificate_id)
    core.plane.receive(f"claim-{device}", CREATE_CERTIFICATE, {"certificateSigningRequest": "x"})
    assert core.answer(CREATE_CERTIFICATE + REJECTED)["code"] == "Forbidden"


def test_a_claim_is_valid_for_five_minutes(core: Any) -> None:
    device = core.call("ProvisionDevice", Name="north")["DeviceId"]
    claim = core.plane._core.store.devices[device].claim.certificate_id
    deadline_s = core.plane.expire()
    assert deadline_s == core.now_s + 300.0
    core.now_s = deadline_s - 1.0
    assert core.plane.refusal(f"claim-{device}", claim) == ""
    core.now_s = deadline_s
    assert "expired" in core.plane.refusal(f"claim-{device}", claim)
    core.plane.expire()
    assert core.call("DescribeDevice", DeviceId=device)["ProvisioningStatus"] == "FAILED"


def test_another_devices_claim_is_refused(core: Any) -> None:
    north, south = (core.call("ProvisionDevice", Name=n)["DeviceId"] for n in ("north", "south"))
    claim = core.plane._core.store.devices[south].claim.certificate_id
    assert "not of this device" in core.plane.refusal(f"claim-{north}", claim)


@pytest.mark.parametrize("parameters", [{}, {"DeviceId": "another"}, None])
def test_registering_for_another_device_is_rejected(core: Any, parameters: Any) -> None:
    device = core.call("ProvisionDevice", Name="north")["DeviceId"]
    claim = f"claim-{device}"
    core.plane.receive(claim, CREATE_CERTIFICATE, {"certificateSigningRequest": "x"})
    token = core.answer(CREATE_CERTIFICATE + ACCEPTED)["certificateOwnershipToken"]
    asked = {"certificateOwnershipToken": token, "parameters": parameters}
    core.plane.receive(claim, REGISTER_THING, asked)
    assert core.answer(REGISTER_THING + REJECTED)["code"] == "Forbidden"
    found = core.call("DescribeDevice", DeviceId=device)
    assert found["ProvisioningStatus"] == found["DeviceAggregatedStatus"] == "ERROR"
    assert found["DeviceConnectionStatus"] == "ERROR"
    core.plane.receive(claim, REGISTER_THING, {**asked, "parameters": {"DeviceId": device}})
    assert core.call("DescribeDevice", DeviceId=device)["ProvisioningStatus"] == "SUCCEEDED"


def test_an_unknown_token_registers_nothing(core: Any) -> None:
    device = core.call("ProvisionDevice", Name="north")["DeviceId"]
    asked = {"certificateOwnershipToken": "x", "parameters": {"DeviceId": device}}
    core.plane.receive(f"claim-{device}", REGISTER_THING, asked)
    assert "token" in core.answer(REGISTER_THING + REJECTED)["message"]


def test_deleting_revokes_and_disconnects(core: Any) -> None:
    device = core.online("north")
    certificate = core.plane._core.store.devices[device].certificate_id
    core.call("DeleteDevice", DeviceId=device)
    assert core.cut == [device, f"claim-{device}"]
    assert core.plane.refusal(device, certificate)
    assert core.statuses("cloud.device")[-1] == "DELETING"
    found = core.call("DescribeDevice", DeviceId=device)
    assert found["DeviceAggregatedStatus"] == "DELETING"
    assert found["DeviceConnectionStatus"] == "NOT_AVAILABLE"
    for operation in ("DeleteDevice", "UpdateDeviceMetadata"):
        with pytest.raises(ApiError, match="ConflictException") as caught:
            core.call(operation, DeviceId=device)
        assert caught.value.members["ErrorId"] == "DeviceDeleting"
    core.plane.disconnected(device)
    core.report(device, "device", {"software": "1.0"})
    with pytest.raises(ApiError, match="ResourceNotFoundException"):
        core.call("DescribeDevice", DeviceId=device)
    assert core.register("north") != device


def test_a_device_that_is_not_connected_is_gone_at_once(core: Any) -> None:
    device = core.register("north")
    core.call("DeleteDevice", DeviceId=device)
    assert core.call("ListDevices")["Devices"] == []


def test_a_deletion_that_a_crash_cut_off_is_done(core: Any) -> None:
    device = core.online("north")
    core.call("DeleteDevice", DeviceId=device)
    core.start()
    assert core.call("ListDevices")["Devices"] == []
    assert core.online("north")


def test_what_a_deleted_device_had_to_do_has_failed(core: Any, application: Any) -> None:
    device = core.online("north")
    application.install(core, "door")
    request = application.request(device, "door")
    ran, waits, goes = (
        core.call("CreateApplicationInstance", **request)["ApplicationInstanceId"] for _ in range(3)
    )
    core.report_instance(device, ran, "RUNNING")
    core.call("RemoveApplicationInstance", ApplicationInstanceId=goes)
    job = core.call("CreateJobForDevices", DeviceIds=[device], JobType="REBOOT")["Jobs"][0]
    core.call("DeleteDevice", DeviceId=device)
    core.plane.disconnected(device)
    shown = {
        entry["ApplicationInstanceId"]: (entry["Status"], entry.get("StatusDescription"))
        for entry in core.call("ListApplicationInstances")["ApplicationInstances"]
    }
    assert shown[ran][0] == "DEPLOYMENT_SUCCEEDED"
    assert shown[waits] == ("DEPLOYMENT_FAILED", "The device was deleted.")
    assert shown[goes] == ("REMOVAL_FAILED", "The device was deleted.")
    assert core.call("DescribeDeviceJob", JobId=job["JobId"])["Status"] == "FAILED"
    described = core.call("DescribeApplicationInstance", ApplicationInstanceId=ran)
    assert described["HealthStatus"] == "NOT_AVAILABLE"
    with pytest.raises(ApiError, match="ConflictException"):
        core.call("RemoveApplicationInstance", ApplicationInstanceId=ran)


def test_metadata_can_be_changed(core: Any) -> None:
    device = core.call("ProvisionDevice", Name="north", Description="old")["DeviceId"]
    core.now_s += 10.0
    assert core.call("UpdateDeviceMetadata", DeviceId=device) == {"DeviceId": device}
    assert core.call("DescribeDevice", DeviceId=device)["Description"] == "old"
    core.call("UpdateDeviceMetadata", DeviceId=device, Description="")
    assert core.call("DescribeDevice", DeviceId=device)["Description"] == ""
    assert core.call("ListDevices")["Devices"][0]["LastUpdatedTime"] == core.now_s
    with pytest.raises(ApiError, match="ResourceNotFoundException"):
        core.call("UpdateDeviceMetadata", DeviceId="device-none")


# --- presence ------------------------------------------------------------------------------


def test_a_silent_device_goes_offline_and_comes_back(core: Any) -> None:
    device = core.online("north")
    core.now_s += 60.0
    core.report(device, "device", {"uptime_s": 60})
    core.now_s += 89.0
    core.plane.expire()
    assert core.statuses("cloud.device")[-1] == "ONLINE"
    core.now_s += 1.0
    core.plane.expire()
    assert core.statuses("cloud.device")[-1] == "OFFLINE"
    core.report(device, "device", {"uptime_s": 150})
    assert core.statuses("cloud.device")[-1] == "ONLINE"


def test_a_short_loss_of_the_link_is_not_seen(core: Any) -> None:
    device = core.online("north")
    before = list(core.events)
    core.plane.disconnected(device)
    core.now_s += 30.0
    core.plane.expire()
    core.plane.connected(device)
    core.report(device, "device", {"uptime_s": 1})
    assert core.events == before


def test_connected_without_status_updates_is_offline(core: Any) -> None:
    """As release 6.2.1 and older ones appeared after a network interruption."""
    device = core.online("north")
    core.plane.disconnected(device)
    core.now_s += 120.0
    core.plane.expire()
    core.plane.connected(device)
    assert core.call("DescribeDevice", DeviceId=device)["DeviceAggregatedStatus"] == "OFFLINE"


def test_promised_heartbeats_keep_a_device_online_until_the_link_is_lost(core: Any) -> None:
    device = core.online("north")
    report = {"state": {"reported": {"software": "6.2.1"}}}
    core.plane.heartbeat(device, f"$aws/things/{device}/shadow/name/device/update", report)
    core.now_s += 86_400.0
    core.plane.expire()
    assert core.statuses("cloud.device")[-1] == "ONLINE"
    core.plane.disconnected(device)
    core.now_s += 89.0
    assert core.plane.expire() == core.now_s + 1.0
    assert core.statuses("cloud.device")[-1] == "ONLINE"
    core.now_s += 1.0
    core.plane.expire()
    assert core.statuses("cloud.device")[-1] == "OFFLINE"


def test_the_lease_lapses_when_a_device_stays_away(make_core: Callable[..., Any]) -> None:
    core = make_core(Settings(lease_s=1000.0))
    core.online("north")
    for _ in range(2):
        core.now_s = core.plane.expire()
    core.now_s = core.plane.expire() or core.now_s
    core.plane.expire()
    assert core.statuses("cloud.device")[-2:] == ["OFFLINE", "LEASE_EXPIRED"]


def test_a_required_release_asks_for_an_update(core: Any) -> None:
    device = core.online("north", software="7.0.13")
    core.plane.publish_image("6.0.8", b"m", BytesContent(b"p"), required=True)
    core.plane.publish_image("8.0.1", b"m", BytesContent(b"p"))
    assert core.statuses("cloud.device")[-1] == "ONLINE"
    core.plane.publish_image("8.0.29", b"m", BytesContent(b"p"), required=True)
    assert core.statuses("cloud.device")[-1] == "UPDATE_NEEDED"
    core.report(device, "device", {"software": "8.0.29"})
    assert core.statuses("cloud.device")[-1] == "ONLINE"


# --- shadows -------------------------------------------------------------------------------


def test_beta_releases_stand_beside_the_others(core: Any) -> None:
    device = core.online()
    for version, more in {
        "6.2.1": {},
        "9.0.1": {"alternate": True},
        "9.0.10": {"alternate": True},
    }.items():
        core.plane.publish_image(version, b"m", BytesContent(b"p"), **more)
    found = core.call("DescribeDevice", DeviceId=device)
    assert found["LatestSoftware"] == "6.2.1"
    assert found["LatestAlternateSoftware"] == "9.0.10"
    assert found["AlternateSoftwares"] == [{"Version": "9.0.10"}, {"Version": "9.0.1"}]
    update = {"OTAJobConfig": {"ImageVersion": "9.0.1", "AllowMajorVersionUpdate": True}}
    assert core.call(
        "CreateJobForDevices", DeviceIds=[device], JobType="OTA", DeviceJobConfig=update
    )["Jobs"]


def test_connection_status_says_whether_anything_was_ever_heard(core: Any) -> None:
    device = core.register("north")

    def status() -> str:
        return str(core.call("DescribeDevice", DeviceId=device)["DeviceConnectionStatus"])

    assert status() == "NOT_AVAILABLE"
    core.plane.connected(device)
    core.report(device, "device", {"software": "6.2.1"})
    assert status() == "ONLINE"
    core.plane.disconnected(device)
    core.now_s += 91.0
    core.plane.expire()
    assert status() == "OFFLINE"


def test_shadows_merge_and_null_deletes(core: Any) -> None:
    device = core.online("north")
    core.report(device, "device", {"a": {"b": 1, "c": 2}, "d": [1]})
    core.report(device, "device", {"a": {"b": None, "e": 3}, "d": None})
    core.say(device, "shadow/name/device/get", {})
    answer = core.answer(f"$aws/things/{device}/shadow/name/device/get/accepted")
    assert answer["state"]["reported"]["a"] == {"c": 2, "e": 3}
    assert "d" not in answer["state"]["reported"]


def test_a_message_under_way_does_not_change(core: Any) -> None:
    device = core.online("north")
    core.say(device, "shadow/name/device/get", {})
    answer = core.answer(f"$aws/things/{device}/shadow/name/device/get/accepted")
    before = json.dumps(answer)
    core.report(device, "device", {"software": "9.9.9", "a": {"b": 1}})
    assert json.dumps(answer) == before


@pytest.mark.parametrize(
    ("rest", "payload"),
    [
        ("shadow/name/device/update", {}),
        ("shadow/name/device/update", {"state": None}),
        ("shadow/name/device/update", {"state": {"reported": []}}),
        ("shadow/name/other/update", {"state": {"reported": {"x": 1}}}),
        ("unknown", {}),
        ("jobs/none/update", {}),
    ],
)
def test_strange_messages_change_nothing(core: Any, rest: str, payload: Any) -> None:
    device = core.online("north")
    before = core.call("DescribeDevice", DeviceId=device)
    core.say(device, rest, payload)
    assert core.call("DescribeDevice", DeviceId=device) == before


def test_a_device_cannot_speak_for_another(core: Any) -> None:
    north, south = core.online("north"), core.online("south")
    topic = f"$aws/things/{south}/shadow/name/device/update"
    core.plane.receive(north, topic, {"state": {"reported": {"software": "6.6.6"}}})
    assert core.call("DescribeDevice", DeviceId=south)["CurrentSoftware"] == "6.2.1"


# --- listing -------------------------------------------------------------------------------


def test_listing_filters_and_sorts(core: Any) -> None:
    for name in ("b-cam", "a-cam", "c-box"):
        core.now_s += 1.0
        core.register(name)
    core.now_s += 1.0
    core.online("d-cam")

    def names(**parameters: Any) -> list[str]:
        return [entry["Name"] for entry in core.call("ListDevices", **parameters)["Devices"]]

    assert names() == ["b-cam", "a-cam", "c-box", "d-cam"]
    assert names(NameFilter="cam", SortBy="NAME") == ["a-cam", "b-cam", "d-cam"]
    assert names(SortBy="NAME", SortOrder="DESCENDING")[0] == "d-cam"
    assert names(DeviceAggregatedStatusFilter="ONLINE") == ["d-cam"]
    assert names(MaxResults=0) == names()


@pytest.mark.parametrize("token", ["nonsense", "AAAA", "%%%", "ZnJvbTp4"])
def test_a_token_that_is_not_ours_is_refused(core: Any, token: str) -> None:
    with pytest.raises(ApiError, match="NextToken"):
        core.call("ListDevices", NextToken=token)
