"""Killed between two requests of unmodified boto3, a plane that starts again goes on with both."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

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
        self._url = ""
        self.pid = 0

    def start(self) -> None:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write("start\n")
        self._parent.stdin.flush()
        place = json.loads(self._parent.stdout.readline())
        self.pid, self._url = place["pid"], place["api_url"]

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
            endpoint_url=self._url,
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
