"""Unmodified botocore 1.43.37 against the served control plane: every operation it serves."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from harness.appliance.topic import ACCEPTED, job_next, job_notify, shadow_update
from harness.cloud.access.keyring import Principal
from harness.cloud.access.policy import read_policy
from harness.cloud.service.content import BytesContent

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_provision_describe_list_delete(cloud: Any, boto: Callable[[str], Any]) -> None:
    panorama = boto("panorama")
    ethernet = {"Ethernet0": {"ConnectionType": "DHCP"}}
    made = await cloud.call(
        panorama,
        "provision_device",
        Name="north",
        Description="by the door",
        NetworkingConfiguration=ethernet,
        Tags={"site": "a"},
    )
    assert made["Status"] == "AWAITING_PROVISIONING"
    with zipfile.ZipFile(io.BytesIO(made["Certificates"])) as archive:
        assert set(archive.namelist()) == {
            "config.json", "claim.cert.pem", "claim.key.pem", "ca.pem",
        }  # fmt: skip
        config = json.loads(archive.read("config.json"))
    assert config["Endpoint"] == f"127.0.0.1:{cloud.server.mqtt_port}"
    assert config["NetworkingConfiguration"] == ethernet
    device = made["DeviceId"]
    described = await cloud.call(panorama, "describe_device", DeviceId=device)
    assert described["Name"] == "north"
    assert described["Tags"] == {"site": "a"}
    assert described["CreatedTime"].year >= 2024
    assert described["DeviceConnectionStatus"] == "AWAITING_CREDENTIALS"
    listed = await cloud.call(panorama, "list_devices", NameFilter="nor", SortBy="NAME")
    assert [entry["DeviceId"] for entry in listed["Devices"]] == [device]
    assert (await cloud.call(panorama, "delete_device", DeviceId=device))["DeviceId"] == device
    with pytest.raises(panorama.exceptions.ResourceNotFoundException) as caught:
        await cloud.call(panorama, "describe_device", DeviceId=device)
    assert caught.value.response["ResourceId"] == device
    assert caught.value.response["ResourceType"] == "DEVICE"


async def test_listing_goes_page_by_page(cloud: Any, boto: Callable[[str], Any]) -> None:
    panorama = boto("panorama")
    for index in range(5):
        cloud.server.plane.call("ProvisionDevice", {"Name": f"device-{index}"})
    names: list[str] = []
    token: dict[str, str] = {}
    for _ in range(3):
        page = await cloud.call(panorama, "list_devices", MaxResults=2, SortBy="NAME", **token)
        names += [entry["Name"] for entry in page["Devices"]]
        token = {"NextToken": page["NextToken"]} if "NextToken" in page else {}
    assert names == [f"device-{index}" for index in range(5)]
    assert token == {}


async def test_validation_names_every_field(cloud: Any, boto: Callable[[str], Any]) -> None:
    panorama = boto("panorama")
    with pytest.raises(panorama.exceptions.ValidationException) as caught:
        await cloud.call(
            panorama,
            "provision_device",
            Name="no spaces",
            Tags={"site": "x" * 257},
            Description="d" * 256,
        )
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert answer["Reason"] == "FIELD_VALIDATION_FAILED"
    assert {entry["Name"] for entry in answer["Fields"]} == {"Name", "Tags[site]", "Description"}


async def test_the_same_name_twice_is_a_conflict(cloud: Any, boto: Callable[[str], Any]) -> None:
    panorama = boto("panorama")
    first = await cloud.call(panorama, "provision_device", Name="north")
    with pytest.raises(panorama.exceptions.ConflictException) as caught:
        await cloud.call(panorama, "provision_device", Name="north")
    assert caught.value.response["ResourceId"] == first["DeviceId"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409


async def test_jobs_from_creation_to_completion(cloud: Any, boto: Callable[[str], Any]) -> None:
    panorama = boto("panorama")
    cloud.server.plane.publish_image("7.0.13", b"manifest", BytesContent(b"payload"))
    device, credentials = await cloud.register("north")
    config = {"OTAJobConfig": {"ImageVersion": "7.0.13", "AllowMajorVersionUpdate": True}}
    ota = {"DeviceIds": [device], "JobType": "OTA", "DeviceJobConfig": config}
    async with cloud.mqtt(device, credentials) as client:
        await client.subscribe([(job_notify(device), 1), (job_next(device) + ACCEPTED, 1)])
        jobs = (await cloud.call(panorama, "create_job_for_devices", **ota))["Jobs"]
        assert jobs == [{"JobId": f"{device}-0", "DeviceId": device}]
        message = await anext(aiter(client.messages))
        execution = json.loads(bytes(message.payload))["execution"]
        assert execution["jobDocument"]["imageVersion"] == "7.0.13"
        with pytest.raises(panorama.exceptions.ConflictException):
            await cloud.call(panorama, "create_job_for_devices", **ota)
        update = f"$aws/things/{device}/jobs/{device}-0/update"
        report = {"status": "IN_PROGRESS", "statusDetails": {"progress": "REBOOTING"}}
        await client.publish(update, json.dumps(report), qos=1)
        described = await cloud.call(panorama, "describe_device_job", JobId=f"{device}-0")
        assert described["Status"] == "REBOOTING"
        assert described["DeviceName"] == "north"
        shown = await cloud.call(panorama, "describe_device", DeviceId=device)
        assert shown["DeviceAggregatedStatus"] == "REBOOTING"
        await client.publish(update, json.dumps({"status": "SUCCEEDED"}), qos=1)
        software = {"state": {"reported": {"software": "7.0.13"}}}
        await client.publish(shadow_update(device, "device"), json.dumps(software), qos=1)
        shown = await cloud.call(panorama, "describe_device", DeviceId=device)
    assert shown["LatestDeviceJob"] == {
        "JobType": "OTA", "Status": "COMPLETED", "ImageVersion": "7.0.13",
    }  # fmt: skip
    assert shown["DeviceAggregatedStatus"] == "ONLINE"
    assert shown["CurrentSoftware"] == "7.0.13"
    assert shown["LatestSoftware"] == "7.0.13"


async def test_a_job_is_taken_back_by_way_of_iot(cloud: Any, boto: Callable[[str], Any]) -> None:
    panorama, iot = boto("panorama"), boto("iot")
    cloud.server.plane.publish_image("7.0.13", b"manifest", BytesContent(b"payload"))
    device, credentials = await cloud.register("north")
    config = {"OTAJobConfig": {"ImageVersion": "7.0.13"}}
    ota = {"DeviceIds": [device], "JobType": "OTA", "DeviceJobConfig": config}
    async with cloud.mqtt(device, credentials) as client:
        await client.subscribe([(job_notify(device), 1)])
        messages = aiter(client.messages)

        async def heard() -> Any:
            return json.loads(bytes((await anext(messages)).payload)).get("execution")

        first, second = f"{device}-0", f"{device}-1"
        await cloud.call(panorama, "create_job_for_devices", **ota)
        assert (await heard())["jobId"] == first
        for thing in ("another", "device-" + "x" * 26):
            with pytest.raises(iot.exceptions.ResourceNotFoundException):
                await cloud.call(iot, "cancel_job_execution", jobId=first, thingName=thing)
        await cloud.call(iot, "cancel_job_execution", jobId=first, thingName=device)
        assert await heard() is None
        await cloud.call(panorama, "create_job_for_devices", **ota)
        assert (await heard())["jobId"] == second
        update = f"$aws/things/{device}/jobs/{second}/update"
        await client.publish(update, json.dumps({"status": "IN_PROGRESS"}), qos=1)
        await cloud.call(panorama, "describe_device_job", JobId=second)
        with pytest.raises(iot.exceptions.InvalidStateTransitionException, match="IN_PROGRESS"):
            await cloud.call(iot, "cancel_job_execution", jobId=second, thingName=device)
        answer = await cloud.call(iot, "cancel_job", jobId=second, force=True)
        assert answer["jobId"] == second
        assert answer["jobArn"].endswith(f":123456789012:job/{second}")
        assert await heard() is None
    described = await cloud.call(panorama, "describe_device_job", JobId=second)
    assert described["Status"] == "FAILED"


async def test_to_take_a_job_back_needs_the_permission_for_job_and_thing(cloud: Any) -> None:
    device, _ = await cloud.register("north")
    statement = {"Effect": "Allow", "Action": "iot:Cancel*", "Resource": "arn:aws:iot:*:*:job/*"}
    arn = "arn:aws:sts::123456789012:assumed-role/operator/session"
    who = Principal("123456789012", arn, "AROA:session", (read_policy({"Statement": [statement]}),))
    key = cloud.server.keyring.add_session(who)
    iot = boto3.session.Session().client(
        "iot",
        region_name="us-east-1",
        endpoint_url=cloud.server.api_url,
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret,
        aws_session_token=key.token,
    )
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        await cloud.call(iot, "cancel_job", jobId=f"{device}-0")
    with pytest.raises(ClientError, match=f"iot:CancelJobExecution on resource: .*thing/{device}"):
        await cloud.call(iot, "cancel_job_execution", jobId=f"{device}-0", thingName=device)
    iot.close()


async def test_packages_as_the_packager_uploads_them(
    cloud: Any, boto: Callable[[str], Any], application: Any
) -> None:
    panorama, s3 = boto("panorama"), boto("s3")
    identity = await cloud.call(boto("sts"), "get_caller_identity")
    assert identity["Account"] == "123456789012"
    name = f"packageName/{application.package}"
    with pytest.raises(panorama.exceptions.ResourceNotFoundException):
        await cloud.call(panorama, "describe_package", PackageId=name)
    made = await cloud.call(panorama, "create_package", PackageName=application.package)
    location = made["StorageLocation"]
    assert location["ManifestPrefixLocation"].endswith("/manifests")
    with pytest.raises(ClientError) as missing:
        await cloud.call(s3, "head_object", Bucket=location["Bucket"], Key="none")
    assert missing.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    for key, data in application.uploads(location).items():
        where = {"Bucket": location["Bucket"], "Key": key}
        await cloud.call(s3, "put_object", Body=data, ACL="bucket-owner-full-control", **where)
        assert (await cloud.call(s3, "head_object", **where))["ContentLength"] == len(data)
        fetched = await cloud.call(s3, "get_object", **where)
        assert await asyncio.to_thread(fetched["Body"].read) == data
    version = {"PackageId": made["PackageId"], "PackageVersion": "1.0"}
    with pytest.raises(panorama.exceptions.ResourceNotFoundException):
        await cloud.call(panorama, "describe_package_version", **version)
    await cloud.call(
        panorama,
        "register_package_version",
        PatchVersion=application.patch,
        MarkLatest=True,
        **version,
    )
    described = await cloud.call(
        panorama, "describe_package_version", PackageId=name, PackageVersion="1.0"
    )
    assert described["Status"] == "REGISTER_COMPLETED"
    assert described["PatchVersion"] == application.patch
    assert described["IsLatestPatch"] is True
    package = await cloud.call(panorama, "describe_package", PackageId=name)
    assert package["StorageLocation"] == location


async def test_deploy_describe_and_remove(
    cloud: Any, boto: Callable[[str], Any], application: Any, new_camera: Callable[[str], Any]
) -> None:
    panorama, s3 = boto("panorama"), boto("s3")
    device, _ = await cloud.register("north")
    made = await cloud.call(panorama, "create_package", PackageName=application.package)
    location = made["StorageLocation"]
    for key, data in application.uploads(location).items():
        await cloud.call(s3, "put_object", Bucket=location["Bucket"], Key=key, Body=data)
    await cloud.call(
        panorama,
        "register_package_version",
        PackageId=made["PackageId"],
        PackageVersion="1.0",
        PatchVersion=application.patch,
    )
    job = await cloud.call(panorama, "create_node_from_template_job", **new_camera("door"))
    shown = await cloud.call(panorama, "describe_node_from_template_job", JobId=job["JobId"])
    assert shown["Status"] == "SUCCEEDED"
    assert shown["TemplateParameters"]["Password"] == "SAVED_AS_SECRET"
    created = await cloud.call(
        panorama, "create_application_instance", **application.request(device, "door")
    )
    instance = created["ApplicationInstanceId"]
    described = await cloud.call(
        panorama, "describe_application_instance", ApplicationInstanceId=instance
    )
    assert described["Status"] == "DEPLOYMENT_PENDING"
    assert described["DefaultRuntimeContextDeviceName"] == "north"
    listed = await cloud.call(
        panorama,
        "list_application_instances",
        DeviceId=device,
        StatusFilter="PROCESSING_DEPLOYMENT",
        MaxResults=5,
    )
    assert [entry["ApplicationInstanceId"] for entry in listed["ApplicationInstances"]] == [
        instance
    ]
    nodes = await cloud.call(
        panorama, "list_application_instance_node_instances", ApplicationInstanceId=instance
    )
    names = {node["NodeInstanceId"] for node in nodes["NodeInstances"]}
    assert names == {"code_node", "door"}
    await cloud.call(panorama, "remove_application_instance", ApplicationInstanceId=instance)
    described = await cloud.call(
        panorama, "describe_application_instance", ApplicationInstanceId=instance
    )
    assert described["Status"] == "REMOVAL_PENDING"
