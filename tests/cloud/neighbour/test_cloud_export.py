"""Log groups exported to S3: names, layout, permissions."""

from __future__ import annotations

import asyncio
import functools
import gzip
import importlib.util
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from harness.cloud.neighbour.process import NEEDED

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason="the neighbouring services are not installed: pip install '.[neighbours]'",
)
WAIT_S = 30.0
GROUP = "/aws/panorama/devices/device-a"
LOGS = {"Service": "logs.us-east-1.amazonaws.com"}


def bucket_policy(*actions: tuple[str, str]) -> str:
    statements = [
        {"Effect": "Allow", "Principal": LOGS, "Action": action, "Resource": resource}
        for action, resource in actions
    ]
    return json.dumps({"Statement": statements})


async def test_a_group_is_exported_as_the_service_lays_it_out(
    cloud: Any, boto: Callable[..., Any]
) -> None:
    boto = functools.partial(boto, timeout_s=WAIT_S)
    logs, s3 = boto("logs"), boto("s3")
    began_ms = int(time.time() * 1000)
    await cloud.call(logs, "create_log_group", logGroupName=GROUP)
    for stream in ("occ_log", "a/b", "empty"):
        where = {"logGroupName": GROUP, "logStreamName": stream}
        await cloud.call(logs, "create_log_stream", **where)
        if stream != "empty":
            events = [
                {"timestamp": began_ms + n, "message": f"{stream} line {n}"} for n in range(3)
            ]
            await cloud.call(logs, "put_log_events", logEvents=events, **where)
    task = {
        "logGroupName": GROUP,
        "fromTime": began_ms,
        "to": began_ms + 2,
        "destination": "a-bucket",
        "destinationPrefix": "out",
    }

    async def refused(**changed: Any) -> str:
        with pytest.raises(ClientError) as caught:
            await cloud.call(logs, "create_export_task", **{**task, **changed})
        error = caught.value.response["Error"]
        return f"{error['Code']}: {error['Message']}"

    assert (await refused()).startswith("InvalidParameterException: GetBucketAcl call")
    acl = ("s3:GetBucketAcl", "arn:aws:s3:::a-bucket")
    await cloud.call(s3, "put_bucket_policy", Bucket="a-bucket", Policy=bucket_policy(acl))
    assert (await refused()).startswith("InvalidParameterException: PutObject call")
    allowed = bucket_policy(acl, ("s3:PutObject", "arn:aws:s3:::a-bucket/*"))
    await cloud.call(s3, "put_bucket_policy", Bucket="a-bucket", Policy=allowed)
    assert "bucket does not exist" in await refused(destination="no-such-bucket")
    assert (await refused(logGroupName="/none")).startswith("ResourceNotFoundException")
    assert "from must be before to" in await refused(to=began_ms - 1)
    made = (await cloud.call(logs, "create_export_task", **task))["taskId"]
    listed = await cloud.call(s3, "list_objects_v2", Bucket="a-bucket")
    keys = [entry["Key"] for entry in listed["Contents"]]
    exported = f"out/{made}/occ_log/000000.gz"
    assert set(keys) == {f"out/{made}/a-b/000000.gz", exported, "out/aws-logs-write-test"}
    found = await cloud.call(s3, "get_object", Bucket="a-bucket", Key=exported)
    text = gzip.decompress(await asyncio.to_thread(found["Body"].read)).decode()
    assert [line.partition(" ")[2] for line in text.splitlines()] == [
        "occ_log line 0", "occ_log line 1",
    ]  # fmt: skip
    assert text[:4] == time.strftime("%Y", time.gmtime())
    described = await cloud.call(logs, "describe_export_tasks", taskId=made)
    (entry,) = described["exportTasks"]
    assert entry["status"]["code"] == "COMPLETED"
    assert (entry["logGroupName"], entry["destinationPrefix"]) == (GROUP, "out")
    with pytest.raises(ClientError, match="already finished"):
        await cloud.call(logs, "cancel_export_task", taskId=made)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        await cloud.call(logs, "describe_export_tasks", taskId="none")
    stranger = boto("logs", "210987654321")
    assert (await cloud.call(stranger, "describe_export_tasks"))["exportTasks"] == []
