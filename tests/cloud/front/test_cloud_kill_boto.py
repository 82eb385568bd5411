"""Killed between two requests of unmodified boto3, a plane that starts again goes on with both."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from harness.cloud.neighbour.process import LOG, NEEDED

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = Path(__file__).with_name("kill_server.py")
WAIT_S = 30.0
MIB = 1 << 20
UPLOAD = {"Bucket": "uploads", "Key": "big"}


class Service:
    """Planes on one state, one after the other."""

    def __init__(self, state: Path, parent: subprocess.Popen[str]) -> None:
        self._state = state
        self._parent = parent
        self.url = ""
        self.pid = 0

    def start(self) -> None:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write("start\n")
        self._parent.stdin.flush()
        assert select.select([self._parent.stdout], [], [], WAIT_S)[0], "it did not start"
        place = json.loads(self._parent.stdout.readline())
        self.pid, self.url = place["pid"], place["api_url"]

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def again(self) -> None:
        self.kill()
        self.start()

    def client(self, service: str) -> Any:
        ((key, secret),) = json.loads((self._state / "root-key.json").read_text("ascii")).values()
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"max_attempts": 0}, read_timeout=WAIT_S),
        )


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    command = [sys.executable, str(SERVER), str(tmp_path / "state")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        found = Service(tmp_path / "state", parent)
        try:
            found.start()
            yield found
        finally:
            with contextlib.suppress(ProcessLookupError):
                found.kill()
            parent.kill()


def test_an_upload_goes_on_where_it_was(service: Service, tmp_path: Path) -> None:
    parts = [random.Random(n).randbytes(size) for n, size in enumerate((5 * MIB, 5 * MIB, 100))]
    s3 = service.client("s3")
    s3.create_bucket(Bucket="uploads")
    upload = s3.create_multipart_upload(Metadata={"a": "1"}, **UPLOAD)["UploadId"]
    etags = []
    for number, data in enumerate(parts, 1):
        service.again()
        s3 = service.client("s3")
        etags.append(
            s3.upload_part(UploadId=upload, PartNumber=number, Body=data, **UPLOAD)["ETag"]
        )
    service.again()
    s3 = service.client("s3")
    listed = s3.list_parts(UploadId=upload, **UPLOAD)["Parts"]
    assert [(one["PartNumber"], one["ETag"], one["Size"]) for one in listed] == [
        (number, etag, len(data))
        for number, (etag, data) in enumerate(zip(etags, parts, strict=True), 1)
    ]
    assert [one["Key"] for one in s3.list_multipart_uploads(Bucket="uploads")["Uploads"]] == ["big"]
    wanted = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
    s3.complete_multipart_upload(UploadId=upload, MultipartUpload={"Parts": wanted}, **UPLOAD)
    service.again()
    s3 = service.client("s3")
    found = s3.get_object(**UPLOAD)
    assert found["Body"].read() == b"".join(parts)
    assert found["Metadata"] == {"a": "1"}
    (left,) = (tmp_path / "state" / "objects").iterdir()
    assert left.stat().st_size == sum(map(len, parts)), "the parts are gone"


def test_what_became_of_an_upload_is_known_too(service: Service, tmp_path: Path) -> None:
    """Given up, or gone with its bucket: neither comes back, nor do its files."""
    s3 = service.client("s3")
    for bucket in ("uploads", "others"):
        s3.create_bucket(Bucket=bucket)
        where = {"Bucket": bucket, "Key": "big"}
        upload = s3.create_multipart_upload(**where)["UploadId"]
        part = {"UploadId": upload, "PartNumber": 1, **where}
        for data in (b"first", b"second"):
            s3.upload_part(Body=data, **part)
        if bucket == "uploads":
            s3.abort_multipart_upload(UploadId=upload, **where)
    s3.delete_bucket(Bucket="others")
    service.again()
    s3 = service.client("s3")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="uploads")
    with pytest.raises(ClientError, match="NoSuchUpload"):
        s3.upload_part(Body=b"x", **part)
    assert list((tmp_path / "state" / "objects").iterdir()) == []


# --- the neighbouring services -------------------------------------------------------------

neighbours = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason="the neighbouring services are not installed: pip install '.[neighbours]'",
)
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"},
        ],
    }
)
TEMPLATE = json.dumps(
    {
        "Resources": {
            "Topic": {"Type": "AWS::SNS::Topic"},
            "Role": {
                "Type": "AWS::IAM::Role",
                "Properties": {"AssumeRolePolicyDocument": json.loads(TRUST)},
            },
        }
    }
)


def seen(service: Service) -> dict[str, Any]:
    """Everything that was made, as a client is told of it."""
    iam, secrets, logs = (service.client(name) for name in ("iam", "secretsmanager", "logs"))
    metrics, stacks = service.client("cloudwatch"), service.client("cloudformation")
    secret = secrets.get_secret_value(SecretId="door")
    answers = {
        "role": iam.get_role(RoleName="reader")["Role"],
        "roles": iam.list_roles()["Roles"],
        "keys": iam.list_access_keys(UserName="ann")["AccessKeyMetadata"],
        "policy": iam.get_policy(PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")["Policy"],
        "secret": [secret[name] for name in ("ARN", "VersionId", "SecretString", "CreatedDate")],
        "groups": logs.describe_log_groups()["logGroups"],
        "events": logs.get_log_events(logGroupName="/mine", logStreamName="s")["events"],
        "alarms": [  # their states go on with time
            {name: value for name, value in alarm.items() if not name.startswith("State")}
            for alarm in metrics.describe_alarms()["MetricAlarms"]
        ],
        "points": metrics.list_metrics(Namespace="Mine")["Metrics"],
        "stacks": stacks.describe_stacks()["Stacks"],
        "resources": stacks.list_stack_resources(StackName="one")["StackResourceSummaries"],
        "repositories": service.client("ecr").describe_repositories()["repositories"],
    }
    return {name: json.loads(json.dumps(one, default=str)) for name, one in answers.items()}


@neighbours
def test_neighbours_know_everything_again(service: Service, tmp_path: Path) -> None:
    iam = service.client("iam")
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument=TRUST)
    iam.create_user(UserName="ann")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    service.client("secretsmanager").create_secret(Name="door", SecretString="hidden")
    logs = service.client("logs")
    logs.create_log_group(logGroupName="/mine")
    service.again()  # in the middle of it
    logs = service.client("logs")
    logs.create_log_stream(logGroupName="/mine", logStreamName="s")
    event = {"timestamp": int(time.time() * 1000), "message": "a line"}
    logs.put_log_events(logGroupName="/mine", logStreamName="s", logEvents=[event])
    metrics = service.client("cloudwatch")
    metrics.put_metric_alarm(
        AlarmName="slow", Namespace="Mine", MetricName="fps", Period=60, EvaluationPeriods=1,
        Threshold=1.0, ComparisonOperator="LessThanThreshold", Statistic="Average",
    )  # fmt: skip
    metrics.put_metric_data(Namespace="Mine", MetricData=[{"MetricName": "fps", "Value": 15.0}])
    service.client("cloudformation").create_stack(StackName="one", TemplateBody=TEMPLATE)
    service.client("ecr").create_repository(repositoryName="counter")
    before = seen(service)
    service.again()
    identity = boto3.client(
        "sts",
        region_name="us-east-1",
        endpoint_url=service.url,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    assert identity.get_caller_identity()["Arn"].endswith(":user/ann"), "its key is the same too"
    assert seen(service) == before
    state = tmp_path / "state"
    assert {path.stat().st_mode & 0o077 for path in state.glob("state.db*")} == {0}
    assert b"hidden" not in (state / LOG).read_bytes()


@neighbours
def test_credentials_of_cameras_are_secrets_of_the_account(service: Service) -> None:
    """Also after the camera is gone; what users make of them is theirs."""
    jobs = []
    for name in ("door", "yard"):
        values = {"Username": "viewer", "Password": f"of {name}", "StreamUrl": "rtsp://camera/a"}
        job = service.client("panorama").create_node_from_template_job(
            TemplateType="RTSP_CAMERA_STREAM", NodeName=name, OutputPackageName=name,
            OutputPackageVersion="1.0", TemplateParameters=values,
        )  # fmt: skip
        jobs.append(job["JobId"])
        secrets = service.client("secretsmanager")
        found = secrets.get_secret_value(SecretId=f"panorama-{job['JobId']}")
        assert json.loads(found["SecretString"]) == values
    package = service.client("panorama").list_packages()["Packages"][0]["PackageId"]
    service.client("panorama").delete_package(PackageId=package, ForceDelete=True)
    secrets.put_secret_value(SecretId=f"panorama-{jobs[0]}", SecretString="rotated")
    before = [secrets.describe_secret(SecretId=f"panorama-{job}") for job in jobs]
    service.again()
    secrets = service.client("secretsmanager")
    after = [secrets.describe_secret(SecretId=f"panorama-{job}") for job in jobs]
    assert [(one["ARN"], one["VersionIdsToStages"]) for one in after] == [
        (one["ARN"], one["VersionIdsToStages"]) for one in before
    ]
    assert secrets.get_secret_value(SecretId=f"panorama-{jobs[0]}")["SecretString"] == "rotated"
    secrets.delete_secret(SecretId=f"panorama-{jobs[1]}", ForceDeleteWithoutRecovery=True)
    service.again()
    listed = service.client("secretsmanager").list_secrets()["SecretList"]
    assert [one["Name"] for one in listed] == [f"panorama-{jobs[0]}"]


@neighbours
def test_neighbours_that_end_start_with_what_they_knew(service: Service) -> None:
    iam = service.client("iam")
    made = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=TRUST)["Role"]
    (child,) = psutil.Process(service.pid).children()
    child.kill()
    child.wait(WAIT_S)
    assert iam.get_role(RoleName="reader")["Role"]["RoleId"] == made["RoleId"]


@neighbours
def test_messages_that_were_taken_do_not_come_back(service: Service) -> None:
    queues = service.client("sqs")
    url = queues.create_queue(QueueName="mine")["QueueUrl"]
    for body in ("first", "second"):
        queues.send_message(QueueUrl=url, MessageBody=body)
    (message,) = queues.receive_message(QueueUrl=url, WaitTimeSeconds=1)["Messages"]
    queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    service.again()
    queues = service.client("sqs")
    (left,) = queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert {message["Body"], left["Body"]} == {"first", "second"}
