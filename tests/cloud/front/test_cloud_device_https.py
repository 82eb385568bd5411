"""Objects for devices: HTTPS with an active client certificate, ranges, one's own documents."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cloud.front.http_object import RangeInvalid, byte_range
from harness.cloud.front.x509 import X509Authority
from harness.cloud.service.content import CHUNK_BYTES, BytesContent
from harness.cloud.service.core import DEPLOYMENT_BUCKET, FIRMWARE_BUCKET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAYLOAD = bytes(range(256)) * (CHUNK_BYTES // 128) + b"end"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=5.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield session


def image_url(cloud: Any) -> str:
    cloud.server.plane.publish_image("7.0.13", b"signed manifest", BytesContent(PAYLOAD))
    return f"{cloud.server.https_url}/{FIRMWARE_BUCKET}/images/7.0.13/payload"


async def test_a_device_fetches_manifest_and_image(
    cloud: Any, session: aiohttp.ClientSession
) -> None:
    _, credentials = await cloud.register("north")
    url, tls = image_url(cloud), credentials.context()
    async with session.get(url, ssl=tls) as answer:
        assert answer.status == 200
        assert await answer.read() == PAYLOAD
    async with session.get(url.replace("payload", "manifest"), ssl=tls) as answer:
        assert await answer.read() == b"signed manifest"
    async with session.head(url, ssl=tls) as answer:
        assert answer.headers["Content-Length"] == str(len(PAYLOAD))
        assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=100-", 100, len(PAYLOAD)),
        ("bytes=-3", len(PAYLOAD) - 3, len(PAYLOAD)),
        (f"bytes={len(PAYLOAD) - 2}-{len(PAYLOAD) + 50}", len(PAYLOAD) - 2, len(PAYLOAD)),
    ],
)
async def test_an_interrupted_download_goes_on(
    cloud: Any, session: aiohttp.ClientSession, asked: str, start: int, end: int
) -> None:
    _, credentials = await cloud.register("north")
    headers = {"Range": asked}
    async with session.get(image_url(cloud), ssl=credentials.context(), headers=headers) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(PAYLOAD)}"
        assert await answer.read() == PAYLOAD[start:end]


async def test_a_range_beyond_the_end_is_416(cloud: Any, session: aiohttp.ClientSession) -> None:
    _, credentials = await cloud.register("north")
    headers = {"Range": f"bytes={len(PAYLOAD)}-"}
    async with session.get(image_url(cloud), ssl=credentials.context(), headers=headers) as answer:
        assert answer.status == 416
        assert answer.headers["Content-Range"] == f"bytes */{len(PAYLOAD)}"


async def test_without_a_certificate_there_is_no_connection(
    cloud: Any, session: aiohttp.ClientSession
) -> None:
    tls = ssl.create_default_context(cadata=cloud.server.ca_pem)
    with pytest.raises(aiohttp.ClientError):
        async with session.get(image_url(cloud), ssl=tls):
            pass


async def test_a_foreign_certificate_makes_no_connection(
    cloud: Any, session: aiohttp.ClientSession
) -> None:
    device, _ = await cloud.register("north")
    foreign = X509Authority()
    pem = foreign.issue_claim(device, 300.0)
    tls = cloud.write("foreign", pem.certificate_pem, pem.private_key_pem).context()
    with pytest.raises(aiohttp.ClientError):
        async with session.get(image_url(cloud), ssl=tls):
            pass


async def test_a_deleted_device_is_refused(cloud: Any, session: aiohttp.ClientSession) -> None:
    device, credentials = await cloud.register("north")
    url = image_url(cloud)
    cloud.server.plane.call("DeleteDevice", {"DeviceId": device})
    async with session.get(url, ssl=credentials.context()) as answer:
        assert answer.status == 403


async def test_a_claim_fetches_nothing(cloud: Any, session: aiohttp.ClientSession) -> None:
    _, claim = cloud.claim("north")
    async with session.get(image_url(cloud), ssl=claim.context()) as answer:
        assert answer.status == 403


async def test_a_deployment_document_is_for_its_device_only(
    cloud: Any, session: aiohttp.ClientSession
) -> None:
    north, own = await cloud.register("north")
    _, other = await cloud.register("south")
    document = BytesContent(json.dumps({"password": "x"}).encode())
    cloud.server.plane.objects.put(DEPLOYMENT_BUCKET, f"{north}/a.json", document)
    url = f"{cloud.server.https_url}/{DEPLOYMENT_BUCKET}/{north}/a.json"
    async with session.get(url, ssl=own.context()) as answer:
        assert await answer.json(content_type=None) == {"password": "x"}
    async with session.get(url, ssl=other.context()) as answer:
        assert answer.status == 403


async def test_devices_cannot_write(cloud: Any, session: aiohttp.ClientSession) -> None:
    _, credentials = await cloud.register("north")
    async with session.put(image_url(cloud), data=b"x", ssl=credentials.context()) as answer:
        assert answer.status == 405


async def test_what_is_not_there_is_404(cloud: Any, session: aiohttp.ClientSession) -> None:
    _, credentials = await cloud.register("north")
    url = f"{cloud.server.https_url}/{FIRMWARE_BUCKET}/images/9/payload"
    async with session.get(url, ssl=credentials.context()) as answer:
        assert answer.status == 404


@given(
    header=st.from_regex(r"bytes=\d{0,4}-\d{0,4}", fullmatch=True) | st.text(max_size=20),
    size=st.integers(0, 2000),
)
def test_a_range_is_always_within_the_object(header: str, size: int) -> None:
    try:
        window = byte_range(header, size)
    except RangeInvalid:
        return
    if window is not None:
        assert 0 <= window[0] < window[1] <= size


def test_ranges_that_mean_the_whole_object() -> None:
    ignored: list[str | None] = [None, "", "bytes=-", "items=0-1", "bytes=0-1,5-6", "bytes=5-2"]
    for header in ignored:
        assert byte_range(header, 10) is None
