"""Log groups exported to S3, as CloudWatch Logs lays them out.

    <prefix>/aws-logs-write-test
    <prefix>/<task id>/<stream, slashes as hyphens>/000000.gz

Each line is the event's time and its text. A task is done when CreateExportTask is answered.
Source: Amazon CloudWatch Logs User Guide,
"Exporting log data to Amazon S3".
"""

from __future__ import annotations

import asyncio
import gzip
import time
import uuid
from typing import TYPE_CHECKING, Any, TypeAlias

from harness.cloud.access.policy import Query, permits, read_policy
from harness.cloud.api import ApiError
from harness.cloud.service.content import BytesContent
from harness.cloud.service.state import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.cloud.neighbour.process import Neighbours
    from harness.cloud.service.plane import ControlPlane
    from harness.cloud.storage.files import ContentFiles

PREFIX = "exportedlogs"
TEST_OBJECT = "aws-logs-write-test"
OPERATIONS = frozenset({"CreateExportTask", "DescribeExportTasks", "CancelExportTask"})
FindBucket: TypeAlias = "Callable[[str], ControlPlane | None]"


class LogExport:
    """The export tasks of all accounts and regions."""

    def __init__(
        self,
        neighbours: Neighbours,
        find_bucket: FindBucket,
        find: Callable[[str, str], ControlPlane | None],
        files: ContentFiles,
    ) -> None:
        """`find` gives the plane of an account and region."""
        self._neighbours = neighbours
        self._find_bucket = find_bucket
        self._find = find
        self._files = files

    async def call(
        self, operation: str, given: Mapping[str, Any], account: str, region: str
    ) -> dict[str, Any]:
        """One of `OPERATIONS`. Raises `ApiError`."""
        if operation == "CreateExportTask":
            return await self._create(given, account, region)
        if operation == "DescribeExportTasks":
            return self._describe(given, account, region)
        message = "The specified export task has already finished"
        raise _refused("InvalidOperationException", message)

    async def _create(self, given: Mapping[str, Any], account: str, region: str) -> dict[str, Any]:
        began_ms = int(time.time() * 1000)
        group, bucket = str(given.get("logGroupName")), str(given.get("destination"))
        start, end = given.get("from"), given.get("to")
        if not isinstance(start, int) or not isinstance(end, int) or start > end:
            raise _refused("InvalidParameterException", "from must be before to, in milliseconds")
        prefix = str(given.get("destinationPrefix") or PREFIX).strip("/")
        plane = self._destination(bucket, prefix, account, region)
        events = await self._neighbours.ask(
            "events", account=account, region=region, group=group,
            prefix=str(given.get("logStreamNamePrefix") or ""), start_ms=start, end_ms=end,
        )  # fmt: skip
        if events is None:
            raise _refused("ResourceNotFoundException", "The specified log group does not exist.")
        task = str(uuid.uuid4())
        await self._write(plane, bucket, prefix, task, events)
        described = {
            "taskId": task,
            "taskName": given.get("taskName"),
            "logGroupName": group,
            "from": start,
            "to": end,
            "destination": bucket,
            "destinationPrefix": prefix,
            "status": {"code": "COMPLETED", "message": "Completed successfully"},
            "executionInfo": {
                "creationTime": began_ms,
                "completionTime": int(time.time() * 1000),
            },
        }
        kept = {name: value for name, value in described.items() if value is not None}
        plane.exports.add(kept)
        return {"taskId": task}

    def _describe(self, given: Mapping[str, Any], account: str, region: str) -> dict[str, Any]:
        identifier, code = given.get("taskId"), given.get("statusCode")
        plane = self._find(account, region)
        found = [
            task
            for task in (plane.exports.described() if plane is not None else ())
            if identifier in (None, task["taskId"]) and code in (None, task["status"]["code"])
        ]
        if identifier is not None and not found:
            raise _refused("ResourceNotFoundException", "The specified export task does not exist.")
        return {"exportTasks": found}

    def _destination(self, bucket: str, prefix: str, account: str, region: str) -> ControlPlane:
        """Where the bucket is, if its policy lets the logs service in as the guide wants it."""
        plane = self._find_bucket(bucket)
        if plane is None or (plane.account, plane.region) != (account, region):
            message = "The given bucket does not exist. Please make sure the bucket is valid."
            raise _refused("InvalidParameterException", message)
        found = plane.buckets.get(bucket)
        policy = read_policy(found.policy) if found is not None and found.policy else None
        context = {"aws:sourceaccount": account, "s3:x-amz-acl": "bucket-owner-full-control"}
        for action, resource in (
            ("s3:GetBucketAcl", f"arn:aws:s3:::{bucket}"),
            ("s3:PutObject", f"arn:aws:s3:::{bucket}/{prefix}/{TEST_OBJECT}"),
        ):
            asked = Query(action, resource, context, f"logs.{region}.amazonaws.com")
            everywhere = Query(action, resource, context, "logs.amazonaws.com")
            if policy is None or not any(permits((policy,), one) for one in (asked, everywhere)):
                call = action.removeprefix("s3:")
                message = (
                    f"{call} call on the given bucket failed. Please check if CloudWatch Logs has "
                    "been granted permission to perform this operation."
                )
                raise _refused("InvalidParameterException", message)
        return plane

    async def _write(
        self,
        plane: ControlPlane,
        bucket: str,
        prefix: str,
        task: str,
        events: Mapping[str, list[tuple[int, str]]],
    ) -> None:
        test = BytesContent(b"Permission Check Successful")
        plane.buckets.put(bucket, f"{prefix}/{TEST_OBJECT}", test)
        for stream, lines in events.items():
            if not lines:
                continue
            packed = BytesContent(await asyncio.to_thread(_packed, lines))
            content = await asyncio.to_thread(self._files.add, packed)
            key = f"{prefix}/{task}/{stream.replace('/', '-')}/000000.gz"
            info = ObjectInfo(content.path.name[:32], plane.clock_s, "application/x-gzip")
            plane.buckets.put(bucket, key, content, info)


def _packed(lines: list[tuple[int, str]]) -> bytes:
    text = "".join(f"{_iso(when)} {message}\n" for when, message in lines)
    return gzip.compress(text.encode(errors="replace"), mtime=0)


def _iso(time_ms: int) -> str:
    seconds, rest = divmod(time_ms, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03}Z"


def _refused(code: str, message: str) -> ApiError:
    return ApiError(code, 400, {"Message": message})
