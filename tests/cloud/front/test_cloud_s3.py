"""S3 as boto3 uses it: buckets, listings, copies, conditions, multipart, policies."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import zlib
from typing import TYPE_CHECKING, Any

import aiohttp
import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from harness.cloud.access.keyring import Principal
from harness.cloud.access.policy import read_policy
from harness.cloud.access.scope import read_claim
from harness.cloud.access.signature import ChunkSigner
from harness.cloud.front.s3.buckets import list_page
from harness.cloud.service.buckets import BUCKETS_MAX
from harness.cloud.service.content import BytesContent, JoinedContent
from harness.cloud.service.core import DEPLOYMENT_BUCKET, FIRMWARE_BUCKET

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OTHER_ACCOUNT = "210987654321"
MIB = 1 << 20


async def code(cloud: Any, client: Any, operation: str, **parameters: Any) -> str:
    """The error code that an operation is answered with."""
    with pytest.raises(ClientError) as caught:
        await cloud.call(client, operation, **parameters)
    return str(caught.value.response["Error"]["Code"])


def put(cloud: Any, key: str, data: bytes = b"content") -> None:
    cloud.server.plane.buckets.put("a-bucket", key, BytesContent(data))


# --- buckets -------------------------------------------------------------------------------


async def test_buckets_are_made_found_and_deleted(cloud: Any, boto: Callable[..., Any]) -> None:
    s3 = boto("s3", region="eu-west-1")
    where = {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
    await cloud.call(s3, "create_bucket", Bucket="logs.example", **where)
    assert await code(cloud, s3, "create_bucket", Bucket="logs.example", **where) == (
        "BucketAlreadyOwnedByYou"
    )
    listed = await cloud.call(s3, "list_buckets")
    assert [entry["Name"] for entry in listed["Buckets"]] == ["a-bucket", "bucket", "logs.example"]
    head = await cloud.call(s3, "head_bucket", Bucket="logs.example")
    assert head["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "eu-west-1"
    found = await cloud.call(s3, "get_bucket_location", Bucket="logs.example")
    assert found["LocationConstraint"] == "eu-west-1"
    found = await cloud.call(s3, "get_bucket_location", Bucket="a-bucket")
    assert found.get("LocationConstraint") is None
    await cloud.call(s3, "put_object", Bucket="logs.example", Key="k", Body=b"x")
    assert await code(cloud, s3, "delete_bucket", Bucket="logs.example") == "BucketNotEmpty"
    await cloud.call(s3, "delete_object", Bucket="logs.example", Key="k")
    await cloud.call(s3, "delete_bucket", Bucket="logs.example")
    assert await code(cloud, s3, "list_objects_v2", Bucket="logs.example") == "NoSuchBucket"
    assert await code(cloud, s3, "put_object", Bucket="logs.example", Key="k") == "NoSuchBucket"


async def test_bucket_names_are_everybodys_and_buckets_are_not(
    cloud: Any, boto: Callable[..., Any]
) -> None:
    stranger = boto("s3", OTHER_ACCOUNT)
    assert await code(cloud, stranger, "create_bucket", Bucket="a-bucket") == "BucketAlreadyExists"
    put(cloud, "key")
    for operation in ("get_object", "put_object", "delete_object"):
        assert (
            await code(cloud, stranger, operation, Bucket="a-bucket", Key="key") == "AccessDenied"
        )
    assert await code(cloud, stranger, "list_objects_v2", Bucket="a-bucket") == "AccessDenied"
    source = {"Bucket": "a-bucket", "Key": "key"}
    await cloud.call(stranger, "create_bucket", Bucket="theirs")
    assert "AccessDenied" in await code(
        cloud, stranger, "copy_object", Bucket="theirs", Key="key", CopySource=source
    )
    listed = await cloud.call(stranger, "list_buckets")
    assert [entry["Name"] for entry in listed["Buckets"]] == ["theirs"]


async def test_what_is_for_devices_is_for_devices(cloud: Any, boto: Callable[..., Any]) -> None:
    s3, bucket = boto("s3"), {"Bucket": DEPLOYMENT_BUCKET}
    cloud.server.plane.buckets.put(DEPLOYMENT_BUCKET, "key", BytesContent(b"password"))
    assert await code(cloud, s3, "get_object", **bucket, Key="key") == "AccessDenied"
    assert await code(cloud, s3, "list_objects_v2", **bucket) == "AccessDenied"
    assert await code(cloud, s3, "put_object", **bucket, Key="key") == "AccessDenied"


async def test_firmware_is_released_and_withdrawn(cloud: Any, boto: Callable[..., Any]) -> None:
    s3, bucket = boto("s3"), {"Bucket": FIRMWARE_BUCKET}
    for part in ("payload", "manifest"):
        key = f"images/7.0.13/{part}"
        await cloud.call(s3, "put_object", **bucket, Key=key, Body=part.encode())
    assert cloud.server.plane.images["7.0.13"].manifest == b"manifest"
    listed = await cloud.call(s3, "list_objects_v2", **bucket)
    assert [found["Key"] for found in listed["Contents"]] == [
        "images/7.0.13/manifest",
        "images/7.0.13/payload",
    ]
    await cloud.call(s3, "delete_object", **bucket, Key="images/7.0.13/manifest")
    assert not cloud.server.plane.images
    assert await code(cloud, s3, "delete_bucket", **bucket) == "AccessDenied"


async def test_buckets_are_bounded_and_named_well(cloud: Any, boto: Callable[..., Any]) -> None:
    s3 = boto("s3")
    assert await code(cloud, s3, "create_bucket", Bucket="Has.Capitals") == "InvalidBucketName"
    for number in range(BUCKETS_MAX - 2):
        cloud.server.plane.buckets.make(f"bucket-{number}")
    assert await code(cloud, s3, "create_bucket", Bucket="one-more") == "InvalidBucketName"


# --- objects -------------------------------------------------------------------------------


async def test_an_object_is_what_was_put(cloud: Any, boto: Callable[..., Any]) -> None:
    s3 = boto("s3")
    where = {"Bucket": "a-bucket", "Key": "some/key with + and é"}
    made = await cloud.call(
        s3,
        "put_object",
        Body=b"content",
        ContentType="text/plain",
        Metadata={"site": "north"},
        ACL="bucket-owner-full-control",
        **where,
    )
    assert made["ETag"] == f'"{hashlib.md5(b"content", usedforsecurity=False).hexdigest()}"'
    found = await cloud.call(s3, "get_object", **where)  # boto3 compares the checksum
    assert await asyncio.to_thread(found["Body"].read) == b"content"
    assert (
        found["ChecksumCRC32"]
        == base64.b64encode(zlib.crc32(b"content").to_bytes(4, "big")).decode()
    )
    for answer in (found, await cloud.call(s3, "head_object", **where)):
        assert answer["ContentType"] == "text/plain"
        assert answer["Metadata"] == {"site": "north"}
        assert answer["ETag"] == made["ETag"]
        assert answer["ContentLength"] == 7
        assert answer["LastModified"].year >= 2024
    part = await cloud.call(s3, "get_object", Range="bytes=1-3", **where)
    assert await asyncio.to_thread(part["Body"].read) == b"ont"
    assert part["ContentRange"] == "bytes 1-3/7"
    named = await cloud.call(
        s3,
        "get_object",
        ResponseContentDisposition="attachment",
        ResponseContentType="a/b",
        **where,
    )
    assert (named["ContentDisposition"], named["ContentType"]) == ("attachment", "a/b")
    await cloud.call(s3, "delete_object", **where)
    await cloud.call(s3, "delete_object", **where)
    assert await code(cloud, s3, "get_object", **where) == "NoSuchKey"
    assert await code(cloud, s3, "head_object", **where) == "404"


async def test_conditions(cloud: Any, boto: Callable[..., Any]) -> None:
    s3 = boto("s3")
    where = {"Bucket": "a-bucket", "Key": "key"}
    made = await cloud.call(s3, "put_object", Body=b"one", IfNoneMatch="*", **where)
    again = {"Body": b"two", "IfNoneMatch": "*", **where}
    assert await code(cloud, s3, "put_object", **again) == "PreconditionFailed"
    await cloud.call(s3, "get_object", IfMatch=made["ETag"], **where)
    assert await code(cloud, s3, "get_object", IfMatch='"other"', **where) == "PreconditionFailed"
    assert await code(cloud, s3, "get_object", IfNoneMatch=made["ETag"], **where) == "304"
    found = await cloud.call(s3, "head_object", **where)
    since = {"IfModifiedSince": found["LastModified"], **where}
    assert await code(cloud, s3, "head_object", **since) == "304"


async def test_copies(cloud: Any, boto: Callable[..., Any]) -> None:
    s3 = boto("s3")
    source = {"Bucket": "a-bucket", "Key": "from/ä +"}
    await cloud.call(
        s3, "put_object", Body=b"x" * 100_000, ContentType="a/b", Metadata={"a": "1"}, **source
    )
    target = {"Bucket": "bucket", "Key": "to"}
    await cloud.call(s3, "copy_object", CopySource=source, **target)
    found = await cloud.call(s3, "get_object", **target)
    assert await asyncio.to_thread(found["Body"].read) == b"x" * 100_000
    assert (found["ContentType"], found["Metadata"]) == ("a/b", {"a": "1"})
    changed = {"MetadataDirective": "REPLACE", "Metadata": {"b": "2"}, **target}
    await cloud.call(s3, "copy_object", CopySource=source, **changed)
    assert (await cloud.call(s3, "head_object", **target))["Metadata"] == {"b": "2"}
    missing = {"CopySource": {"Bucket": "a-bucket", "Key": "none"}, **target}
    assert await code(cloud, s3, "copy_object", **missing) == "NoSuchKey"


async def test_too_much_metadata(cloud: Any, boto: Callable[..., Any]) -> None:
    much = {"Metadata": {"a": "x" * 3000}, "Bucket": "a-bucket", "Key": "key"}
    assert await code(cloud, boto("s3"), "put_object", **much) == "MetadataTooLarge"


async def test_what_is_not_served_says_so(cloud: Any, boto: Callable[..., Any]) -> None:
    s3 = boto("s3")
    put(cloud, "key")
    where = {"Bucket": "a-bucket", "Key": "key"}
    assert await code(cloud, s3, "get_object_tagging", **where) == "NotImplemented"
    assert await code(cloud, s3, "get_bucket_cors", Bucket="a-bucket") == "NotImplemented"
    assert await code(cloud, s3, "put_object_acl", ACL="private", **where) == "NotImplemented"
    content = cloud.server.plane.objects.get("a-bucket", "key")
    assert content.read(0, 100) == b"content"
    long = {"Bucket": "a-bucket", "Key": "k" * 1025}
    assert await code(cloud, s3, "put_object", **long) == "KeyTooLongError"


# --- listings ------------------------------------------------------------------------------

KEYS = ["a/1", "a/2", "a/b/3", "b", "c d+é\x07", "z/9"]


@pytest.mark.parametrize("version", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize("size", [1, 2, 1000])
async def test_listings_go_page_by_page(
    cloud: Any, boto: Callable[..., Any], version: str, size: int
) -> None:
    for key in KEYS:
        put(cloud, key)
    paginator = boto("s3").get_paginator(version)

    def collect(**parameters: Any) -> tuple[list[str], list[str]]:
        keys: list[str] = []
        prefixes: list[str] = []
        config = {"PageSize": size}
        for page in paginator.paginate(Bucket="a-bucket", PaginationConfig=config, **parameters):
            keys += [entry["Key"] for entry in page.get("Contents", [])]
            prefixes += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        return keys, prefixes

    assert await asyncio.to_thread(collect) == (KEYS, [])
    assert await asyncio.to_thread(collect, Prefix="a/") == (KEYS[:3], [])
    assert await asyncio.to_thread(collect, Delimiter="/") == (KEYS[3:5], ["a/", "z/"])
    assert await asyncio.to_thread(collect, Prefix="a/", Delimiter="/") == (KEYS[:2], ["a/b/"])
    assert await asyncio.to_thread(collect, Prefix="none") == ([], [])


async def test_a_token_of_nobody(cloud: Any, boto: Callable[..., Any]) -> None:
    s3 = boto("s3")
    bad = {"Bucket": "a-bucket", "ContinuationToken": "\u00e9"}
    assert await code(cloud, s3, "list_objects_v2", **bad) == "InvalidArgument"


@given(
    keys=st.lists(st.text("ab/", min_size=1, max_size=5), unique=True, max_size=20),
    prefix=st.text("ab/", max_size=2),
    delimiter=st.sampled_from(["", "/", "b"]),
    limit=st.integers(1, 4),
)
def test_every_page_goes_on_where_the_last_one_ended(
    keys: list[str], prefix: str, delimiter: str, limit: int
) -> None:
    keys = sorted(key for key in keys if key.startswith(prefix))
    whole = list_page(keys, prefix, delimiter, "", 1000)
    found: list[str] = []
    after = ""
    for _ in range(len(keys) + 1):
        page = list_page(keys, prefix, delimiter, after, limit)
        found += sorted([*page.keys, *page.prefixes])
        after = page.last
        if not page.more:
            break
    assert found == sorted([*whole.keys, *whole.prefixes])
    rolled = {key for key in keys if any(key.startswith(one) for one in whole.prefixes)}
    assert set(whole.keys) | rolled == set(keys)


async def test_many_are_deleted_at_once(cloud: Any, boto: Callable[..., Any]) -> None:
    s3 = boto("s3")
    for key in KEYS:
        put(cloud, key)
    names = [{"Key": key} for key in KEYS[:4]]
    answer = await cloud.call(s3, "delete_objects", Bucket="a-bucket", Delete={"Objects": names})
    assert [entry["Key"] for entry in answer["Deleted"]] == KEYS[:4]
    assert cloud.server.plane.objects.keys("a-bucket", "") == KEYS[4:]


# --- multipart -----------------------------------------------------------------------------


async def test_more_than_eight_megabytes_go_up_in_parts(
    cloud: Any, boto: Callable[..., Any], tmp_path: Path
) -> None:
    """boto3's transfer manager: parallel parts up, parallel ranges down."""
    s3 = boto("s3")
    data = random.Random(1).randbytes(20 * MIB + 17)
    source, target = tmp_path / "up", tmp_path / "down"
    source.write_bytes(data)
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB)
    await asyncio.to_thread(
        s3.upload_file, str(source), "a-bucket", "big", Config=config,
        ExtraArgs={"Metadata": {"a": "1"}},
    )  # fmt: skip
    head = await cloud.call(s3, "head_object", Bucket="a-bucket", Key="big")
    assert head["ContentLength"] == len(data)
    assert head["ETag"].endswith('-3"')
    assert head["Metadata"] == {"a": "1"}
    await asyncio.to_thread(s3.download_file, "a-bucket", "big", str(target), Config=config)
    assert target.read_bytes() == data
    copy = {"Bucket": "a-bucket", "Key": "copy"}
    await asyncio.to_thread(
        s3.copy, {"Bucket": "a-bucket", "Key": "big"}, "a-bucket", "copy", Config=config
    )
    found = await cloud.call(s3, "get_object", **copy)
    assert await asyncio.to_thread(found["Body"].read) == data
    assert found["ETag"] == head["ETag"]
    files = list((cloud.directory / "state" / "objects").iterdir())
    assert [path.stat().st_size for path in files] == [len(data)]


async def test_an_upload_that_is_given_up_leaves_nothing(
    cloud: Any, boto: Callable[..., Any]
) -> None:
    s3 = boto("s3")
    where = {"Bucket": "a-bucket", "Key": "key"}
    upload = (await cloud.call(s3, "create_multipart_upload", **where))["UploadId"]
    part = {"UploadId": upload, "PartNumber": 1, **where}
    first = await cloud.call(s3, "upload_part", Body=b"x" * 100_000, **part)
    second = await cloud.call(s3, "upload_part", Body=b"y" * 100_000, **part)
    listed = await cloud.call(s3, "list_parts", UploadId=upload, **where)
    assert [(one["PartNumber"], one["ETag"]) for one in listed["Parts"]] == [(1, second["ETag"])]
    listed = await cloud.call(s3, "list_multipart_uploads", Bucket="a-bucket")
    assert [one["UploadId"] for one in listed["Uploads"]] == [upload]
    finish = {"UploadId": upload, **where}

    def parts(*etags: str) -> dict[str, Any]:
        listed = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]
        return {"MultipartUpload": {"Parts": listed}, **finish}

    complete = "complete_multipart_upload"
    assert await code(cloud, s3, complete, **parts(first["ETag"])) == "InvalidPart"
    await cloud.call(s3, "upload_part", Body=b"z", **{**part, "PartNumber": 2})
    small = parts(second["ETag"], hashlib.md5(b"z", usedforsecurity=False).hexdigest())
    assert await code(cloud, s3, complete, **small) == "EntityTooSmall"
    disorder = parts(second["ETag"], second["ETag"])
    disorder["MultipartUpload"]["Parts"][1]["PartNumber"] = 1
    assert await code(cloud, s3, complete, **disorder) == "InvalidPartOrder"
    assert (
        await code(cloud, s3, complete, MultipartUpload={"Parts": []}, **finish) == "MalformedXML"
    )
    stranger = boto("s3", OTHER_ACCOUNT)
    assert await code(cloud, stranger, "abort_multipart_upload", **finish) == "NoSuchUpload"
    await cloud.call(s3, "abort_multipart_upload", **finish)
    assert await code(cloud, s3, "upload_part", Body=b"x", **part) == "NoSuchUpload"
    assert list((cloud.directory / "state" / "objects").iterdir()) == []


# --- bodies --------------------------------------------------------------------------------


def signed_chunks(cloud: Any, data: bytes, trailer: str = "") -> tuple[dict[str, str], bytes]:
    """A body in chunks that are signed one after the other, as SDKs stream over plain HTTP."""
    mode = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
    headers = cloud.sign("PUT", "/bucket/key", b"", "s3", payload=mode)
    signer = ChunkSigner(cloud.server.root_key.secret, read_claim(headers, ""))
    half = len(data) // 2
    body = b""
    for part in (data[:half], data[half:], b""):
        signature = signer.chunk(hashlib.sha256(part).hexdigest())
        body += b"%x;chunk-signature=%b\r\n" % (len(part), signature.encode()) + part
        body += b"\r\n" if part else b""
    if trailer:
        signature = signer.trailer(hashlib.sha256(f"{trailer}\n".encode()).hexdigest())
        body += f"{trailer}\r\nx-amz-trailer-signature:{signature}\r\n".encode()
    return headers, body + b"\r\n"


async def send_chunks(cloud: Any, headers: dict[str, str], body: bytes) -> tuple[int, str]:
    url = URL(f"{cloud.server.api_url}/bucket/key", encoded=True)
    async with (
        aiohttp.ClientSession() as session,
        session.put(url, headers=headers, data=body) as answer,
    ):
        return answer.status, await answer.text()


@pytest.mark.parametrize("trailing", [False, True])
async def test_bodies_in_signed_chunks(cloud: Any, trailing: bool) -> None:
    data = random.Random(1).randbytes(100_001)
    checksum = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    trailer = f"x-amz-checksum-crc32:{checksum}" if trailing else ""
    headers, body = signed_chunks(cloud, data, trailer)
    assert await send_chunks(cloud, headers, body) == (200, "")
    content = cloud.server.plane.objects.get("bucket", "key")
    assert content.read(0, len(data)) == data


@pytest.mark.parametrize(
    ("old", "new", "trailer"),
    [
        (b"some", b"SOME", ""),
        (b"chunk-signature=", b"chunk-signature=0", ""),
        (b";chunk-signature=", b";", ""),
        (b"x-amz-trailer-signature:", b"x-amz-trailer-signature:0", "x-amz-meta:1"),
        (b"x-amz-trailer-signature:", b"x-other:", "x-amz-meta:1"),
        (b"x-amz-meta:1", b"x-amz-meta:2", "x-amz-meta:1"),
    ],
)
async def test_a_chunk_that_was_changed_is_refused(
    cloud: Any, old: bytes, new: bytes, trailer: str
) -> None:
    headers, body = signed_chunks(cloud, b"some content in chunks", trailer)
    assert old in body
    status, text = await send_chunks(cloud, headers, body.replace(old, new, 1))
    assert status == 403
    assert "<Code>SignatureDoesNotMatch</Code>" in text
    assert cloud.server.plane.objects.get("bucket", "key") is None


@pytest.mark.parametrize(
    "body", [b"<Delete>", b"<!DOCTYPE x [<!ENTITY a 'b'>]><Delete/>", b"<Delete/>", b"\xff"]
)
async def test_xml_that_is_none(cloud: Any, body: bytes) -> None:
    headers = cloud.sign("POST", "/bucket?delete", body, "s3")
    url = URL(f"{cloud.server.api_url}/bucket?delete", encoded=True)
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, headers=headers, data=body) as answer,
    ):
        assert answer.status == 400
        assert "<Code>MalformedXML</Code>" in await answer.text()


@given(
    sizes=st.lists(st.integers(0, 6), max_size=6),
    offset=st.integers(0, 40),
    length=st.integers(0, 40),
)
def test_joined_contents_read_as_one(sizes: list[int], offset: int, length: int) -> None:
    parts = [bytes(range(10 * number, 10 * number + size)) for number, size in enumerate(sizes)]
    joined = JoinedContent(tuple(map(BytesContent, parts)))
    whole = b"".join(parts)
    assert joined.size_bytes == len(whole)
    assert joined.read(offset, length) == whole[offset : offset + length]


# --- permissions ---------------------------------------------------------------------------


def session_client(cloud: Any, *statements: dict[str, Any]) -> Any:
    arn = "arn:aws:sts::123456789012:assumed-role/reader/session"
    policies = (read_policy({"Statement": list(statements)}),)
    key = cloud.server.keyring.add_session(Principal("123456789012", arn, "AROA:x", policies))
    return boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=cloud.server.api_url,
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret,
        aws_session_token=key.token,
    )


async def test_policies_of_callers_and_of_buckets(cloud: Any, boto: Callable[..., Any]) -> None:
    for key in ("open/a", "secret/a"):
        put(cloud, key)
    bucket, inside = "arn:aws:s3:::a-bucket", "arn:aws:s3:::a-bucket/open/*"
    client = session_client(
        cloud,
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket},
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:DeleteObject"], "Resource": inside},
    )
    await cloud.call(client, "list_objects_v2", Bucket="a-bucket")
    await cloud.call(client, "get_object", Bucket="a-bucket", Key="open/a")
    assert await code(cloud, client, "get_object", Bucket="a-bucket", Key="secret/a") == (
        "AccessDenied"
    )
    both = {"Objects": [{"Key": "open/a"}, {"Key": "secret/a"}]}
    assert await code(cloud, client, "delete_objects", Bucket="a-bucket", Delete=both) == (
        "AccessDenied"
    )
    assert cloud.server.plane.objects.keys("a-bucket", "") == ["open/a", "secret/a"]
    s3 = boto("s3")
    assert await code(cloud, s3, "get_bucket_policy", Bucket="a-bucket") == "NoSuchBucketPolicy"
    policy = {
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": "123456789012"},
                "Action": "s3:GetObject",
                "Resource": f"{bucket}/*",
            },
            {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": inside},
        ]
    }
    await cloud.call(s3, "put_bucket_policy", Bucket="a-bucket", Policy=json.dumps(policy))
    found = await cloud.call(s3, "get_bucket_policy", Bucket="a-bucket")
    assert json.loads(found["Policy"]) == policy
    await cloud.call(client, "get_object", Bucket="a-bucket", Key="secret/a")
    assert (
        await code(cloud, client, "get_object", Bucket="a-bucket", Key="open/a") == "AccessDenied"
    )
    await cloud.call(s3, "delete_bucket_policy", Bucket="a-bucket")
    await cloud.call(client, "get_object", Bucket="a-bucket", Key="open/a")
    bad = {"Bucket": "a-bucket", "Policy": "{}"}
    assert await code(cloud, s3, "put_bucket_policy", **bad) == "MalformedPolicy"
    client.close()
