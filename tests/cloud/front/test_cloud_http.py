"""The endpoint for administrators: routing, framing, errors in the right shape, bounds."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import io
import json
import random
import socket
import time
import zlib
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from harness.cloud.access.keyring import Keyring
from harness.cloud.api import ApiError
from harness.cloud.front.client import ApiClient
from harness.cloud.front.listener import BODY_BYTES_MAX
from harness.cloud.front.server import CloudServer
from harness.errors import InputError, LinkDown, PeerRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SIGNED = "panorama"  # the service that a test request is signed for


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=5.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield session


@pytest.fixture
async def api(cloud: Any) -> AsyncIterator[ApiClient]:
    async with ApiClient(cloud.server.api_url, key=cloud.server.root_key) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "signed", "body", "status", "code", "reason"),
    [
        ("GET", "/nothing", SIGNED, b"", 400, "ValidationException", "UNKNOWN_OPERATION"),
        ("PATCH", "/devices", SIGNED, b"", 400, "ValidationException", "UNKNOWN_OPERATION"),
        ("POST", "/devices", SIGNED, b"{", 400, "ValidationException", "CANNOT_PARSE"),
        ("POST", "/devices", SIGNED, b"[1]", 400, "ValidationException", "CANNOT_PARSE"),
        ("POST", "/devices", SIGNED, b"\xff", 400, "ValidationException", "CANNOT_PARSE"),
        (
            "POST", "/devices", SIGNED, b'{"Name": 5}', 400,
            "ValidationException", "FIELD_VALIDATION_FAILED",
        ),
        (
            "GET", "/devices?MaxResults=many", SIGNED, b"", 400,
            "ValidationException", "FIELD_VALIDATION_FAILED",
        ),
        (
            "GET", "/tags/arn%0Awith%0D%0Aline%E2%80%A8breaks", SIGNED, b"", 400,
            "ValidationException", "FIELD_VALIDATION_FAILED",
        ),
        (
            "GET", f"/devices?NextToken={'%F0%9F%98%80' * 4096}", SIGNED, b"", 400,
            "ValidationException", "FIELD_VALIDATION_FAILED",
        ),
        ("GET", "/devices", "", b"", 403, "MissingAuthenticationTokenException", None),
        (
            "POST", "/devices", SIGNED, b" " * (BODY_BYTES_MAX + 1), 413,
            "RequestEntityTooLargeException", None,
        ),
    ],
)  # fmt: skip
async def test_bad_requests_are_answered_in_the_services_shape(
    cloud: Any,
    session: aiohttp.ClientSession,
    method: str,
    path: str,
    signed: str,
    body: bytes,
    status: int,
    code: str,
    reason: str | None,
) -> None:
    url = URL(cloud.server.api_url + path, encoded=True)
    headers = cloud.sign(method, path, body, signed) if signed else {}
    async with session.request(method, url, headers=headers, data=io.BytesIO(body)) as answer:
        assert answer.status == status
        assert answer.headers["x-amzn-ErrorType"] == code
        document = await answer.json()
    assert document["Message"]
    assert document.get("Reason") == reason


async def test_a_defect_of_ours_is_an_internal_error_without_details(
    cloud: Any, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(cloud.server.plane, "call", fail)
    headers = cloud.sign("GET", "/devices")
    async with session.get(f"{cloud.server.api_url}/devices", headers=headers) as answer:
        assert answer.status == 500
        assert answer.headers["x-amzn-ErrorType"] == "InternalServerException"
        assert "hunter2" not in await answer.text()


async def test_the_log_says_what_was_done_and_no_secret(
    cloud: Any, api: ApiClient, new_camera: Any
) -> None:
    await api.call("CreateNodeFromTemplateJob", new_camera("door"))
    await api.call("ListDevices", {"NameFilter": "private"})
    operations = [entry["operation"] for entry in cloud.log]
    assert operations == ["CreateNodeFromTemplateJob", "ListDevices"]
    text = json.dumps(cloud.log)
    assert "secret of door" not in text
    assert "private" not in text
    assert all(entry["status"] == 200 and entry["duration_ms"] >= 0 for entry in cloud.log)


async def test_the_client_speaks_every_part_of_a_request(cloud: Any, api: ApiClient) -> None:
    made = await api.call("ProvisionDevice", {"Name": "north", "Description": None})
    assert made["Certificates"].startswith(b"PK")
    package = await api.call("CreatePackage", {"PackageName": "counter"})
    by_name = await api.call("DescribePackage", {"PackageId": "packageName/counter"})
    assert by_name["PackageId"] == package["PackageId"]
    listed = await api.call("ListDevices", {"MaxResults": 1})
    assert [entry["Name"] for entry in listed["Devices"]] == ["north"]
    with pytest.raises(ApiError) as caught:
        await api.call("DescribeDevice", {"DeviceId": "none"})
    assert caught.value.code == "ResourceNotFoundException"
    assert caught.value.status == 404
    assert caught.value.members["ResourceId"] == "none"


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [("Reboot", {}), ("DescribeDevice", {"DeviceID": "x"})],
)
async def test_the_client_refuses_what_is_not_declared(
    api: ApiClient, operation: str, parameters: dict[str, str]
) -> None:
    with pytest.raises(ApiError, match="ValidationException"):
        await api.call(operation, parameters)


async def test_the_client_uploads_objects(cloud: Any, api: ApiClient) -> None:
    await api.put_object("a-bucket", "some/key with space", b"content")
    content = cloud.server.plane.objects.get("a-bucket", "some/key with space")
    assert content.read(0, 100) == b"content"
    with pytest.raises(PeerRefused, match="404"):
        await api.put_object("no-such-bucket", "key", b"content")


async def test_a_server_that_is_gone_is_a_link_that_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    key = Keyring(time.time).add_root("123456789012")
    async with ApiClient(f"http://127.0.0.1:{port}", key=key) as client:
        with pytest.raises(LinkDown, match="GET /devices"):
            await client.call("ListDevices")


async def test_a_port_in_use_is_named(cloud: Any, tmp_path: Path) -> None:
    server = CloudServer(
        state_dir=tmp_path / "other",
        draw=random.Random(1),
        record=lambda *_: None,
        mqtt_port=cloud.server.mqtt_port,
    )
    with pytest.raises(InputError, match=rf"127\.0\.0\.1:{cloud.server.mqtt_port} \(mqtt\)"):
        async with server:
            pass


# --- uploads -------------------------------------------------------------------------------


def chunked(data: bytes, trailer: str) -> bytes:
    half = len(data) // 2
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (data[:half], data[half:]))
    return body + b"0\r\n" + trailer.encode() + b"\r\n\r\n"


async def put(
    session: aiohttp.ClientSession, cloud: Any, headers: dict[str, str], body: bytes
) -> tuple[int, str]:
    url = f"{cloud.server.api_url}/bucket/key"
    chunked = "aws-chunked" in headers.values()
    payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER" if chunked else "UNSIGNED-PAYLOAD"
    signed = cloud.sign("PUT", "/bucket/key", b"", "s3", headers, payload=payload)
    async with session.put(url, headers=signed, data=body) as answer:
        return answer.status, await answer.text()


async def test_chunked_uploads_with_a_trailing_checksum(
    cloud: Any, session: aiohttp.ClientSession
) -> None:
    data = random.Random(1).randbytes(200_000)
    checksum = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    headers = {"Content-Encoding": "aws-chunked", "x-amz-trailer": "x-amz-checksum-crc32"}
    body = chunked(data, f"x-amz-checksum-crc32:{checksum}")
    assert (await put(session, cloud, headers, body))[0] == 200
    content = cloud.server.plane.objects.get("bucket", "key")
    assert content.read(0, content.size_bytes) == data
    assert content.path.name == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Encoding": "aws-chunked"}, b"zz\r\nabc\r\n0\r\n\r\n"),
        ({"Content-Encoding": "aws-chunked"}, b"ff\r\nshort"),
        ({"Content-Encoding": "aws-chunked"}, b"3\r\nabcdef\r\n0\r\n\r\n"),
        ({"Content-Encoding": "aws-chunked"}, b"1" * 5000),
        (
            {"Content-Encoding": "aws-chunked"},
            chunked(b"abcdef", "x-amz-checksum-crc32:AAAAAA=="),
        ),
        ({"x-amz-checksum-crc32": "AAAAAA=="}, b"abc"),
        ({"x-amz-checksum-sha256": "AAAA"}, b"abc"),
        ({"Content-MD5": "AAAA"}, b"abc"),
    ],
)
async def test_damaged_uploads_are_refused_and_leave_nothing(
    cloud: Any, session: aiohttp.ClientSession, headers: dict[str, str], body: bytes
) -> None:
    status, text = await put(session, cloud, headers, body)
    assert status == 400
    assert "<Code>BadDigest</Code>" in text
    assert cloud.server.plane.objects.get("bucket", "key") is None
    assert list((cloud.directory / "state" / "objects").iterdir()) == []


async def test_the_upload_waits_for_100_continue(cloud: Any) -> None:
    def exchange() -> tuple[bytes, int]:
        port = cloud.server.api_port
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as raw:
            signed = cloud.sign("PUT", "/bucket/key", b"abc", "s3")
            head = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
            head += "Content-Length: 3\r\nExpect: 100-continue\r\n"
            raw.sendall(f"PUT /bucket/key HTTP/1.1\r\n{head}\r\n".encode())
            interim = raw.recv(100)
            raw.sendall(b"abc")
            response = http.client.HTTPResponse(raw)
            response.begin()
            return interim, response.status

    interim, status = await asyncio.to_thread(exchange)
    assert interim.startswith(b"HTTP/1.1 100 Continue")
    assert status == 200


# --- time ----------------------------------------------------------------------------------


async def test_time_passes_in_a_served_plane(tmp_path: Path) -> None:
    """What is due by the plane's clock happens although nobody calls."""
    now_s = [1_700_000_000.0]
    failed = asyncio.Event()

    def record(_: str, values: Any) -> None:
        if values["status"] == "FAILED":
            failed.set()

    server = CloudServer(
        state_dir=tmp_path / "state",
        draw=random.Random(1),
        record=record,
        clock=lambda: now_s[0],
    )
    async with server:
        server.plane.call("ProvisionDevice", {"Name": "north"})
        assert not failed.is_set()
        now_s[0] += 301.0
        async with asyncio.timeout(5.0):
            await failed.wait()
