"""What devices say arrives in CloudWatch; what applications may do, their role says."""

from __future__ import annotations

import functools
import importlib.util
import io
import json
import random
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from harness.cloud.front.server import CloudServer
from harness.cloud.neighbour.process import NEEDED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

installed = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason="the neighbouring services are not installed: pip install '.[neighbours]'",
)
WAIT_S = 30.0
ROLE = "arn:aws:iam::123456789012:role/counter"


async def ask(
    cloud: Any, credentials: Any, method: str, path: str, document: Any = None
) -> tuple[int, Any]:
    """A request of a device over mutual TLS: status and JSON."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method,
            cloud.server.https_url + path,
            ssl=credentials.context(),
            data=None if document is None else io.BytesIO(json.dumps(document).encode()),
        ) as answer,
    ):
        text = await answer.text()
        return answer.status, json.loads(text) if text.startswith("{") else text


@pytest.fixture
async def deployed(cloud: Any, application: Any, new_camera: Any) -> tuple[str, Any, str]:
    """A device, its credentials, and an application with a role on it."""
    device, credentials = await cloud.register("north")
    plane = cloud.server.plane
    package = plane.call("CreatePackage", {"PackageName": application.package})
    cloud.upload(application, package["StorageLocation"])
    plane.call(
        "RegisterPackageVersion",
        {
            "PackageId": package["PackageId"],
            "PackageVersion": "1.0",
            "PatchVersion": application.patch,
            "MarkLatest": True,
        },
    )
    plane.call("CreateNodeFromTemplateJob", new_camera("door"))
    request = application.request(device, "door", RuntimeRoleArn=ROLE)
    made = plane.call("CreateApplicationInstance", request)
    return device, credentials, made["ApplicationInstanceId"]


@installed
async def test_lines_and_metrics_of_a_device_are_in_cloudwatch(
    cloud: Any, boto: Callable[..., Any], deployed: tuple[str, Any, str]
) -> None:
    device, credentials, instance = deployed
    told = {
        "sent_s": 10.0,
        "logs": [
            {"application": "", "stream": "occ_log", "lines": [[8.0, "INFO up"]]},
            {"application": instance, "stream": "code_node", "lines": [[9.0, "counting"]]},
            {"application": instance, "stream": "console_output", "lines": [[9.5, "hello"]]},
        ],
        "metrics": [
            {"name": "DeviceActive", "value": 1.0},
            {"name": "ApplicationErrors", "application": instance, "value": 1.0},
        ],
    }
    assert (await ask(cloud, credentials, "POST", "/telemetry", told))[0] == 200
    assert not cloud.server.neighbours.running, "nobody has asked yet"
    boto = functools.partial(boto, timeout_s=WAIT_S)
    logs, metrics = boto("logs"), boto("cloudwatch")
    group = f"/aws/panorama/devices/{device}"
    found = await cloud.call(logs, "describe_log_groups", logGroupNamePrefix=group)
    names = [entry["logGroupName"] for entry in found["logGroups"]]
    assert names == [group, f"{group}/applications/{instance}"]
    read = {"logGroupName": names[1], "logStreamName": "code_node"}
    (event,) = (await cloud.call(logs, "get_log_events", **read))["events"]
    assert event["message"] == "counting"
    assert abs(event["timestamp"] / 1000 - time.time()) < WAIT_S
    told["logs"] = [{"application": "", "stream": "occ_log", "lines": [[9.0, "INFO again"]]}]
    assert (await ask(cloud, credentials, "POST", "/telemetry", told))[0] == 200
    read = {"logGroupName": group, "logStreamName": "occ_log"}
    events = (await cloud.call(logs, "get_log_events", **read))["events"]
    assert [entry["message"] for entry in events] == ["INFO up", "INFO again"]
    listed = await cloud.call(metrics, "list_metrics", Namespace="PanoramaDeviceMetrics")
    assert {
        (entry["MetricName"], one["Name"], one["Value"])
        for entry in listed["Metrics"]
        for one in entry["Dimensions"]
    } == {
        ("DeviceActive", "DeviceId", device),
        ("DeviceActive", "DeviceName", "north"),
        ("ApplicationErrors", "ApplicationInstanceName", "counter-north"),
        ("ApplicationErrors", "ApplicationInstanceId", instance),
    }


@installed
async def test_what_a_device_was_thanked_for_outlasts_the_service(
    cloud: Any, boto: Callable[..., Any], tmp_path: Path
) -> None:
    """Whether anybody had asked for it or not."""

    def server() -> CloudServer:
        return CloudServer(
            state_dir=tmp_path / "again",
            draw=random.SystemRandom(),
            record=lambda *_: None,
            keys=[("123456789012", cloud.server.root_key.id, cloud.server.root_key.secret)],
        )

    told = {"sent_s": 1.0, "logs": [{"application": "", "stream": "occ_log", "lines": [[0, "up"]]}]}
    first = server()
    async with first:
        cloud.server = first
        device, credentials = await cloud.register("north")
        assert (await ask(cloud, credentials, "POST", "/telemetry", told))[0] == 200
        assert not first.neighbours.running
    for times in (1, 2):
        again = server()
        async with again:
            cloud.server = again
            logs = boto("logs", timeout_s=WAIT_S)
            where = {"logGroupName": f"/aws/panorama/devices/{device}", "logStreamName": "occ_log"}
            events = (await cloud.call(logs, "get_log_events", **where))["events"]
            assert [event["message"] for event in events] == ["up"] * times
            assert (await ask(cloud, credentials, "POST", "/telemetry", told))[0] == 200


async def test_telemetry_that_is_none_and_of_nobody(
    cloud: Any, deployed: tuple[str, Any, str]
) -> None:
    _, credentials, _ = deployed
    wrong: list[Any] = [{}, [], {"sent_s": 1.0, "metrics": [{"name": "Other"}]}]
    for document in wrong:
        status, answer = await ask(cloud, credentials, "POST", "/telemetry", document)
        assert status == 400
        assert "telemetry" in answer["message"]
    huge = {"sent_s": 1.0, "logs": "x" * (1 << 21)}
    assert (await ask(cloud, credentials, "POST", "/telemetry", huge))[0] == 413
    _, claim = cloud.claim("south")
    assert (await ask(cloud, claim, "POST", "/telemetry", {"sent_s": 1.0}))[0] == 403
    assert cloud.server.plane.telemetry.collect() == ([], [])


async def test_credentials_are_for_the_applications_of_the_device(
    cloud: Any, deployed: tuple[str, Any, str]
) -> None:
    _, credentials, instance = deployed
    status, given = await ask(cloud, credentials, "GET", f"/credentials/{instance}")
    assert status == 200
    assert (given["RoleArn"], set(given)) == (
        ROLE, {"AccessKeyId", "SecretAccessKey", "Token", "Expiration", "RoleArn"},
    )  # fmt: skip
    assert (await ask(cloud, credentials, "GET", "/credentials/none"))[0] == 404
    _, other = await cloud.register("south")
    assert (await ask(cloud, other, "GET", f"/credentials/{instance}"))[0] == 404
    assert given["SecretAccessKey"] not in str(cloud.log)
    # IAM was never asked for such a role, so it permits nothing but to ask who one is.
    sts, s3 = client(cloud, "sts", given), client(cloud, "s3", given)
    who = await cloud.call(sts, "get_caller_identity")
    assert who["Arn"] == f"arn:aws:sts::123456789012:assumed-role/counter/{instance}"
    with pytest.raises(ClientError, match="is not authorized to perform: s3:GetObject"):
        await cloud.call(s3, "get_object", Bucket="a-bucket", Key="key")


@installed
async def test_the_role_decides_and_its_trust_may_bind_the_device(
    cloud: Any, boto: Callable[..., Any], deployed: tuple[str, Any, str]
) -> None:
    device, credentials, instance = deployed
    iam = boto("iam", timeout_s=WAIT_S)

    def trust(thing: str) -> str:
        condition = {
            "StringEquals": {"aws:SourceAccount": "123456789012"},
            "ArnLike": {"aws:SourceArn": f"arn:aws:panorama:*:*:device/{thing}"},
        }
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "panorama.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": condition,
        }
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    await cloud.call(
        iam, "create_role", RoleName="counter", AssumeRolePolicyDocument=trust("device-before")
    )
    path = f"/credentials/{instance}"
    status, answer = await ask(cloud, credentials, "GET", path)
    assert status == 403
    assert f"sts:AssumeRole on resource: {ROLE}" in answer["message"]
    await cloud.call(
        iam, "update_assume_role_policy", RoleName="counter", PolicyDocument=trust(device)
    )
    status, given = await ask(cloud, credentials, "GET", path)
    assert status == 200
    metrics = client(cloud, "cloudwatch", given)
    data = {"Namespace": "AWSPanoramaApplication", "MetricData": [{"MetricName": "x", "Value": 1}]}
    with pytest.raises(ClientError, match="not authorized to perform: cloudwatch:PutMetricData"):
        await cloud.call(metrics, "put_metric_data", **data)
    allow = {"Effect": "Allow", "Action": "cloudwatch:PutMetricData", "Resource": "*"}
    await cloud.call(
        iam,
        "put_role_policy",
        RoleName="counter",
        PolicyName="metrics",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
    )
    await cloud.call(metrics, "put_metric_data", **data)


def client(cloud: Any, service: str, given: Any) -> Any:
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=cloud.server.api_url,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["Token"],
        config=Config(retries={"max_attempts": 0}),
    )
