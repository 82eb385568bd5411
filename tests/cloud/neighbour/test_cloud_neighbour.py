"""The neighbouring services by way of the endpoint, as unmodified boto3 uses them."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from harness.cloud.neighbour.process import LOG, NEEDED, Neighbours
from harness.cloud.neighbour.secrets import CameraSecrets
from harness.cloud.storage.requests import RequestLog
from harness.errors import CapabilityMissing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason="the neighbouring services are not installed: pip install '.[neighbours]'",
)

OTHER_ACCOUNT = "210987654321"
WAIT_S = 30.0  # a cold start on a busy machine


def client(cloud: Any, service: str, credentials: dict[str, Any]) -> Any:
    """Of a user or a session, as IAM or STS gave out its credentials."""
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=cloud.server.api_url,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials.get("SessionToken"),
        config=Config(retries={"max_attempts": 0}),
    )


async def code(cloud: Any, client: Any, operation: str, **parameters: Any) -> tuple[str, str]:
    """The error code and message that an operation is answered with."""
    with pytest.raises(ClientError) as caught:
        await cloud.call(client, operation, **parameters)
    error = caught.value.response["Error"]
    return str(error["Code"]), str(error["Message"])


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


async def test_every_neighbour_answers(cloud: Any, boto: Callable[..., Any]) -> None:
    assert not cloud.server.neighbours.running
    boto = functools.partial(boto, timeout_s=WAIT_S)  # each is imported at its first request
    secrets = boto("secretsmanager")
    made = await cloud.call(secrets, "create_secret", Name="camera", SecretString="s")
    assert cloud.server.neighbours.running
    found = await cloud.call(secrets, "get_secret_value", SecretId=made["ARN"])
    assert found["SecretString"] == "s"
    logs = boto("logs")
    await cloud.call(logs, "create_log_group", logGroupName="/mine")
    await cloud.call(logs, "create_log_stream", logGroupName="/mine", logStreamName="s")
    event = {"timestamp": int(time.time() * 1000), "message": "a line"}
    where = {"logGroupName": "/mine", "logStreamName": "s"}
    await cloud.call(logs, "put_log_events", logEvents=[event], **where)
    events = (await cloud.call(logs, "get_log_events", **where))["events"]
    assert [entry["message"] for entry in events] == ["a line"]
    metrics = boto("cloudwatch")
    datum = {"MetricName": "fps", "Value": 15.0}
    await cloud.call(metrics, "put_metric_data", Namespace="Mine", MetricData=[datum])
    listed = await cloud.call(metrics, "list_metrics", Namespace="Mine")
    assert [entry["MetricName"] for entry in listed["Metrics"]] == ["fps"]
    made = await cloud.call(boto("ecr"), "create_repository", repositoryName="counter")
    assert made["repository"]["repositoryArn"].endswith(":123456789012:repository/counter")
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
    stacks = boto("cloudformation")
    await cloud.call(stacks, "create_stack", StackName="one", TemplateBody=json.dumps(template))
    (stack,) = (await cloud.call(stacks, "describe_stacks", StackName="one"))["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    topics = (await cloud.call(boto("sns"), "list_topics"))["Topics"]
    assert len(topics) == 1
    assert topics[0]["TopicArn"].startswith("arn:aws:sns:us-east-1:123456789012:")
    assert "not a secret" not in (cloud.directory / "state" / LOG).read_text()


async def test_neighbours_of_accounts_and_regions_are_apart(
    cloud: Any, boto: Callable[..., Any]
) -> None:
    places = [
        ("123456789012", "us-east-1"), ("123456789012", "eu-west-1"), (OTHER_ACCOUNT, "us-east-1"),
    ]  # fmt: skip
    for account, region in places:
        secrets = boto("secretsmanager", account, region, timeout_s=WAIT_S)
        assert (await cloud.call(secrets, "list_secrets"))["SecretList"] == []
        made = await cloud.call(secrets, "create_secret", Name="same", SecretString=region)
        assert f":{region}:{account}:" in made["ARN"]


async def test_users_and_their_policies(cloud: Any, boto: Callable[..., Any]) -> None:
    iam = boto("iam", timeout_s=WAIT_S)
    await cloud.call(iam, "create_user", UserName="ann")
    made = (await cloud.call(iam, "create_access_key", UserName="ann"))["AccessKey"]
    panorama, sts = client(cloud, "panorama", made), client(cloud, "sts", made)
    identity = await cloud.call(sts, "get_caller_identity")
    assert identity["Arn"] == "arn:aws:iam::123456789012:user/ann"
    denied, message = await code(cloud, panorama, "list_devices")
    assert (denied, message) == (
        "AccessDeniedException",
        "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: "
        "panorama:ListDevices on resource: *",
    )
    reads = policy(allow(["panorama:List*", "panorama:Describe*"]))
    inline = {"UserName": "ann", "PolicyName": "reads", "PolicyDocument": reads}
    await cloud.call(iam, "put_user_policy", **inline)
    assert (await cloud.call(panorama, "list_devices"))["Devices"] == []
    assert (await code(cloud, panorama, "provision_device", Name="a"))[0] == "AccessDeniedException"
    full = {"UserName": "ann", "PolicyArn": "arn:aws:iam::aws:policy/AWSPanoramaFullAccess"}
    await cloud.call(iam, "attach_user_policy", **full)
    assert (await cloud.call(panorama, "provision_device", Name="north"))["DeviceId"]
    assert (
        "iam:CreateUser"
        in (await code(cloud, client(cloud, "iam", made), "create_user", UserName="eve"))[1]
    )
    key = {"UserName": "ann", "AccessKeyId": made["AccessKeyId"]}
    await cloud.call(iam, "update_access_key", Status="Inactive", **key)
    assert (await code(cloud, panorama, "list_devices"))[0] == "UnrecognizedClientException"


async def test_roles_are_taken_on_and_lost(cloud: Any, boto: Callable[..., Any]) -> None:
    iam, sts = boto("iam", timeout_s=WAIT_S), boto("sts")
    role = {"RoleArn": "arn:aws:iam::123456789012:role/reader", "RoleSessionName": "session"}
    assert (await code(cloud, sts, "assume_role", **role))[0] == "AccessDenied"
    trusted = {"AWS": "arn:aws:iam::123456789012:root"}
    trust = {"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole"}
    document = policy({**trust, "Condition": {"StringEquals": {"sts:ExternalId": "42"}}})
    await cloud.call(iam, "create_role", RoleName="reader", AssumeRolePolicyDocument=document)
    assert (
        "not authorized to perform: sts:AssumeRole"
        in (await code(cloud, sts, "assume_role", **role))[1]
    )
    role["ExternalId"] = "42"
    taken = await cloud.call(sts, "assume_role", DurationSeconds=900, **role)
    arn = "arn:aws:sts::123456789012:assumed-role/reader/session"
    assert taken["AssumedRoleUser"]["Arn"] == arn
    assert taken["Credentials"]["Expiration"].timestamp() < time.time() + 901.0
    session = client(cloud, "panorama", taken["Credentials"])
    assert arn in (await code(cloud, session, "list_devices"))[1]
    inline = {"RoleName": "reader", "PolicyName": "reads"}
    everything = policy(allow("*"))
    await cloud.call(iam, "put_role_policy", PolicyDocument=everything, **inline)
    assert (await cloud.call(session, "list_devices"))["Devices"] == []
    limited = await cloud.call(sts, "assume_role", Policy=policy(allow("panorama:List*")), **role)
    less = client(cloud, "panorama", limited["Credentials"])
    await cloud.call(less, "list_devices")
    assert (await code(cloud, less, "provision_device", Name="a"))[0] == "AccessDeniedException"
    await cloud.call(iam, "delete_role_policy", **inline)
    await cloud.call(iam, "delete_role", RoleName="reader")
    assert (await code(cloud, session, "list_devices"))[0] == "AccessDeniedException"


async def test_a_role_is_passed_at_deployment_by_who_may(
    cloud: Any, boto: Callable[..., Any]
) -> None:
    iam = boto("iam", timeout_s=WAIT_S)
    await cloud.call(iam, "create_user", UserName="ann")
    made = (await cloud.call(iam, "create_access_key", UserName="ann"))["AccessKey"]
    inline = {"UserName": "ann", "PolicyName": "own"}
    await cloud.call(iam, "put_user_policy", PolicyDocument=policy(allow("panorama:*")), **inline)
    role = "arn:aws:iam::123456789012:role/counter"
    deploy = {
        "DefaultRuntimeContextDevice": "device-none",
        "ManifestPayload": {"PayloadData": "{}"},
        "RuntimeRoleArn": role,
    }
    panorama = client(cloud, "panorama", made)
    message = (await code(cloud, panorama, "create_application_instance", **deploy))[1]
    assert message.endswith(f"is not authorized to perform: iam:PassRole on resource: {role}")
    both = policy(allow("panorama:*"), allow("iam:PassRole", "arn:aws:iam::*:role/counter"))
    await cloud.call(iam, "put_user_policy", PolicyDocument=both, **inline)
    denied, _ = await code(cloud, panorama, "create_application_instance", **deploy)
    assert denied == "ValidationException"


async def test_permissions_name_groups_and_secrets(cloud: Any, boto: Callable[..., Any]) -> None:
    iam, logs = boto("iam", timeout_s=WAIT_S), boto("logs")
    await cloud.call(iam, "create_user", UserName="ann")
    made = (await cloud.call(iam, "create_access_key", UserName="ann"))["AccessKey"]
    own = "arn:aws:logs:us-east-1:123456789012:log-group:/own"
    document = policy(
        allow("logs:*", [own, f"{own}:*"]),
        allow("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:*:secret:own-??????"),
        allow(
            "cloudwatch:PutMetricData", Condition={"StringEquals": {"cloudwatch:namespace": "Own"}}
        ),
    )
    await cloud.call(
        iam, "put_user_policy", UserName="ann", PolicyName="own", PolicyDocument=document
    )
    for group in ("/own", "/other"):
        await cloud.call(logs, "create_log_group", logGroupName=group)
    for name in ("own", "other"):
        await cloud.call(boto("secretsmanager"), "create_secret", Name=name, SecretString=name)
    mine = client(cloud, "logs", made)
    await cloud.call(mine, "create_log_stream", logGroupName="/own", logStreamName="s")
    other = {"logGroupName": "/other", "logStreamName": "s"}
    assert (await code(cloud, mine, "create_log_stream", **other))[0] == "AccessDeniedException"
    mine = client(cloud, "secretsmanager", made)
    assert (await cloud.call(mine, "get_secret_value", SecretId="own"))["SecretString"] == "own"
    assert (await code(cloud, mine, "get_secret_value", SecretId="other"))[0] == (
        "AccessDeniedException"
    )
    mine = client(cloud, "cloudwatch", made)
    datum = [{"MetricName": "fps", "Value": 1.0}]
    await cloud.call(mine, "put_metric_data", Namespace="Own", MetricData=datum)
    denied = await code(cloud, mine, "put_metric_data", Namespace="Other", MetricData=datum)
    assert denied[0] == "AccessDeniedException"


async def test_session_tokens_without_iam(cloud: Any, boto: Callable[..., Any]) -> None:
    sts = boto("sts")
    credentials = (await cloud.call(sts, "get_session_token", DurationSeconds=900))["Credentials"]
    session = client(cloud, "panorama", credentials)
    assert (await cloud.call(session, "list_devices"))["Devices"] == []
    again = client(cloud, "sts", credentials)
    assert (await code(cloud, again, "get_session_token"))[0] == "AccessDenied"
    assert (await code(cloud, sts, "get_session_token", DurationSeconds=90_000))[0] == (
        "ValidationError"
    )
    assert (await code(cloud, sts, "get_federation_token", Name="eve"))[0] == "InvalidAction"
    bad = {"RoleArn": "arn:aws:iam::123456789012:role/reader", "RoleSessionName": "no spaces"}
    assert (await code(cloud, sts, "assume_role", **bad))[0] == "ValidationError"
    assert not cloud.server.neighbours.running


async def test_what_is_not_installed_says_so(
    cloud: Any, boto: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "moto" else find(name)
    )
    for service, operation in (("logs", "describe_log_groups"), ("iam", "list_users")):
        said, message = await code(cloud, boto(service), operation)
        assert said.startswith("NotImplemented")
        assert "need moto" in message
        assert "edge-hil-harness[neighbours]" in message
    assert (await cloud.call(boto("sts"), "get_caller_identity"))["Account"] == "123456789012"


# --- the process ---------------------------------------------------------------------------


def unkept(directory: Path) -> Neighbours:
    """With nothing kept from before, nor for later."""

    async def kept() -> None:
        pass

    log = RequestLog((), lambda changes: None, lambda: ())
    return Neighbours(directory, time.time, log, kept, CameraSecrets(()))


async def test_the_process_is_closed_to_others_and_comes_back(tmp_path: Path) -> None:
    neighbours = unkept(tmp_path)
    try:
        assert await neighbours.ask("role", arn="arn:aws:iam::123456789012:role/none") is None
        pid = neighbours.pid
        assert pid is not None
        listening = psutil.Process(pid).net_connections()
        (port,) = {one.laddr.port for one in listening if one.status == psutil.CONN_LISTEN}
        async with aiohttp.ClientSession() as stranger:
            for path in ("/", "/.harness/key", "/moto-api/data.json"):
                async with stranger.get(f"http://127.0.0.1:{port}{path}") as answer:
                    assert answer.status == 403
        assert "AWS_ACCESS_KEY_ID" not in psutil.Process(pid).environ()
        os.kill(pid, signal.SIGKILL)
        while neighbours.running:  # noqa: ASYNC110 - bounded by the test's time
            await asyncio.sleep(0.01)
        assert await neighbours.ask("key", key="AKIDUNKNOWN00000") is None
        assert neighbours.pid != pid
        pid = neighbours.pid
    finally:
        await neighbours.close()
    assert pid is not None
    assert not psutil.pid_exists(pid)


def test_the_process_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib, time\n"
        "from harness.cloud.neighbour.process import Neighbours\n"
        "from harness.cloud.neighbour.secrets import CameraSecrets\n"
        "from harness.cloud.storage.storage import Storage\n"
        "async def main():\n"
        f"    path = pathlib.Path({str(tmp_path)!r})\n"
        "    async with Storage(path) as storage:\n"
        "        log = storage.requests()\n"
        "        secrets = CameraSecrets(())\n"
        "        neighbours = Neighbours(path, time.time, log, storage.kept, secrets)\n"
        "        await neighbours.ask('role', arn='')\n"
        "        print(neighbours.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(WAIT_S)
    assert not child.is_running()


async def test_without_its_packages_it_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    neighbours = unkept(tmp_path)
    with pytest.raises(CapabilityMissing, match="need moto, flask"):
        await neighbours.ask("role", arn="")
    await neighbours.close()
