"""Operations on objects: put, get, head, copy, delete."""

from __future__ import annotations

import email.utils
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiohttp import web

from harness.cloud.front.http_object import send
from harness.cloud.front.refusal import ObjectError
from harness.cloud.front.s3 import document
from harness.cloud.service.state import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cloud.front.s3.call import Call
    from harness.cloud.service.content import Content

METADATA_BYTES_MAX = 2048
_META = "x-amz-meta-"
_OVERRIDES = {  # query parameters of GET that set a header of the answer
    "response-content-type": "Content-Type",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
    "response-content-language": "Content-Language",
    "response-cache-control": "Cache-Control",
    "response-expires": "Expires",
}


async def put_object(call: Call) -> web.StreamResponse:
    call.allow("s3:PutObject", name=call.name)
    plane = call.plane()
    new = call.request.headers.get("If-None-Match") == "*"
    if new and plane.objects.info(call.bucket, call.name) is not None:
        raise _precondition("If-None-Match")
    received = await call.receive()
    info = described(call, received.etag, plane.clock_s, received.crc32)
    plane.buckets.put(call.bucket, call.name, received.content, info)
    return web.Response(headers={"ETag": f'"{info.etag}"', "x-amz-checksum-crc32": received.crc32})


async def get_object(call: Call) -> web.StreamResponse:
    """GET and HEAD, whole or a range."""
    call.allow("s3:GetObject", name=call.name)
    content, info = stored(call, call.bucket, call.name)
    headers = {
        "ETag": f'"{info.etag}"',
        "Last-Modified": email.utils.formatdate(info.modified_s, usegmt=True),
        "Content-Type": info.content_type,
        **{_META + name: value for name, value in info.metadata.items()},
    }
    whole = "Range" not in call.request.headers
    if whole and info.crc32 and call.request.headers.get("x-amz-checksum-mode") == "ENABLED":
        headers["x-amz-checksum-crc32"] = info.crc32
    for name, header in _OVERRIDES.items():
        if name in call.query and "\n" not in call.query[name] and "\r" not in call.query[name]:
            headers[header] = call.query[name]
    if _unchanged(call.request.headers, info):
        return web.Response(status=304, headers={"ETag": headers["ETag"]})
    await call.storage.kept()  # it may tell of what another client is still waiting for
    return await send(call.request, content, headers)


async def delete_object(call: Call) -> web.StreamResponse:
    """204, whether there was one or not."""
    call.allow("s3:DeleteObject", name=call.name)
    call.plane().buckets.remove(call.bucket, call.name)
    return web.Response(status=204)


async def copy_object(call: Call) -> web.StreamResponse:
    call.allow("s3:PutObject", name=call.name)
    bucket, key = copy_source(call)
    content, found = stored(call, bucket, key)
    plane = call.plane()
    if call.request.headers.get("x-amz-metadata-directive") == "REPLACE":
        info = described(call, found.etag, plane.clock_s, found.crc32)
    else:
        info = ObjectInfo(
            found.etag, plane.clock_s, found.content_type, found.metadata, found.crc32
        )
    plane.buckets.put(call.bucket, call.name, content, info)
    values = {"ETag": f'"{info.etag}"', "LastModified": document.iso(info.modified_s)}
    return document.answer("CopyObjectResult", values)


def copy_source(call: Call) -> tuple[str, str]:
    """Bucket and key to copy from, which the caller may read. Raises `ObjectError`, `Refused`."""
    source = unquote(call.request.headers["x-amz-copy-source"].partition("?")[0])
    bucket, _, key = source.lstrip("/").partition("/")
    if not bucket or not key:
        raise ObjectError(400, "InvalidArgument", "Copy Source must mention bucket and key.")
    call.allow("s3:GetObject", bucket, key)
    return bucket, key


def stored(call: Call, bucket: str, key: str) -> tuple[Content, ObjectInfo]:
    """Raises `ObjectError`."""
    objects = call.plane(bucket).objects
    content, info = objects.get(bucket, key), objects.info(bucket, key)
    if content is None or info is None:
        raise ObjectError(404, "NoSuchKey", "The specified key does not exist.")
    return content, info


def described(call: Call, etag: str, now_s: float, crc32: str) -> ObjectInfo:
    """What the request says of the object. Raises `ObjectError`."""
    headers = call.request.headers
    metadata = {
        name[len(_META) :].lower(): value
        for name, value in headers.items()
        if name.lower().startswith(_META)
    }
    if sum(len(name) + len(value) for name, value in metadata.items()) > METADATA_BYTES_MAX:
        message = "Your metadata headers exceed the maximum allowed metadata size"
        raise ObjectError(400, "MetadataTooLarge", message)
    kind = headers.get("Content-Type") or "binary/octet-stream"
    return ObjectInfo(etag, now_s, kind, metadata, crc32)


def _unchanged(headers: Mapping[str, str], info: ObjectInfo) -> bool:
    """Whether what the client has is current (RFC 9110, section 13). Raises `ObjectError`."""
    wanted = headers.get("If-Match")
    if wanted is not None and not _names(wanted, info.etag):
        raise _precondition("If-Match")
    unwanted = headers.get("If-None-Match")
    if unwanted is not None:
        return _names(unwanted, info.etag)
    since = _date(headers.get("If-Modified-Since"))
    return since is not None and int(info.modified_s) <= since


def _names(header: str, etag: str) -> bool:
    return header == "*" or etag in {one.strip().strip('"') for one in header.split(",")}


def _date(header: str | None) -> float | None:
    parsed = email.utils.parsedate(header) if header else None
    try:
        return time.mktime(parsed) - time.timezone if parsed else None
    except (OverflowError, ValueError):
        return None


def _precondition(condition: str) -> ObjectError:
    message = "At least one of the pre-conditions you specified did not hold"
    return ObjectError(412, "PreconditionFailed", f"{message}: {condition}")
