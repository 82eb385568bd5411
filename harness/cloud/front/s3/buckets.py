"""Operations on buckets, and listings of what is in them."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web

from harness.cloud.access.policy import read_policy
from harness.cloud.front.refusal import ObjectError
from harness.cloud.front.s3 import document
from harness.cloud.service.buckets import POLICY_BYTES_MAX, SERVICE_BUCKETS
from harness.errors import Corrupt, InputError

if TYPE_CHECKING:
    from harness.cloud.front.s3.call import Call
    from harness.cloud.service.content import ObjectStore

PAGE_MAX = 1000
DELETE_MAX = 1000


async def list_buckets(call: Call) -> web.Response:
    """Those of the account, in all its regions."""
    call.allow("s3:ListAllMyBuckets")
    account = call.key.principal.account
    found = [
        {"Name": bucket.name, "CreationDate": document.iso(bucket.created_s)}
        for plane in call.planes
        if plane.account == account
        for bucket in plane.buckets
    ]
    found.sort(key=lambda entry: entry["Name"])
    owner = {"ID": account, "DisplayName": account}
    values = {"Owner": owner, "Buckets": {"Bucket": found}}
    return document.answer("ListAllMyBucketsResult", values)


async def create_bucket(call: Call) -> web.Response:
    """In the region that the request is signed for."""
    call.allow("s3:CreateBucket")
    await call.document()  # its LocationConstraint is the endpoint's region, which is signed
    plane = call.planes.of_bucket(call.bucket)
    if plane is not None:
        if plane.account != call.key.principal.account:
            message = "The requested bucket name is not available."
            raise ObjectError(409, "BucketAlreadyExists", message)
        if plane.region != "us-east-1":
            message = "Your previous request to create the named bucket succeeded and you own it."
            raise ObjectError(409, "BucketAlreadyOwnedByYou", message)
    else:
        try:
            call.home.buckets.make(call.bucket)
        except InputError as error:
            raise ObjectError(400, "InvalidBucketName", f"{error} ({error.hint})") from None
    return web.Response(headers={"Location": f"/{call.bucket}"})


async def head_bucket(call: Call) -> web.Response:
    call.allow("s3:ListBucket")
    return web.Response(headers={"x-amz-bucket-region": call.plane().region})


async def delete_bucket(call: Call) -> web.Response:
    call.allow("s3:DeleteBucket")
    plane = _owned(call)
    if plane.objects.keys(call.bucket, ""):
        message = "The bucket you tried to delete is not empty"
        raise ObjectError(409, "BucketNotEmpty", message)
    plane.buckets.delete(call.bucket)
    return web.Response(status=204)


async def location(call: Call) -> web.Response:
    """As S3, which knows us-east-1 as no constraint at all."""
    call.allow("s3:GetBucketLocation")
    region = call.plane().region
    response = document.answer("LocationConstraint", {})
    if region != "us-east-1":
        text = f'<LocationConstraint xmlns="{document.NAMESPACE}">{region}</LocationConstraint>'
        response.text = text
    return response


async def versioning(call: Call) -> web.Response:
    """Never switched on: objects have no versions here."""
    call.allow("s3:GetBucketVersioning")
    call.plane()
    return document.answer("VersioningConfiguration", {})


async def get_policy(call: Call) -> web.Response:
    call.allow("s3:GetBucketPolicy")
    bucket = call.plane().buckets.get(call.bucket)
    if bucket is None or bucket.policy is None:
        raise ObjectError(404, "NoSuchBucketPolicy", "The bucket policy does not exist")
    return web.Response(text=bucket.policy, content_type="application/json")


async def put_policy(call: Call) -> web.Response:
    call.allow("s3:PutBucketPolicy")
    plane = _owned(call)
    text = (await call.document()).decode("utf-8", errors="replace")
    try:
        read_policy(text)
    except Corrupt as error:
        raise ObjectError(400, "MalformedPolicy", str(error)) from None
    if len(text) > POLICY_BYTES_MAX:
        message = f"A policy has at most {POLICY_BYTES_MAX} bytes."
        raise ObjectError(400, "PolicyTooLarge", message)
    plane.buckets.set_policy(call.bucket, text)
    return web.Response(status=204)


async def delete_policy(call: Call) -> web.Response:
    call.allow("s3:DeleteBucketPolicy")
    _owned(call).buckets.set_policy(call.bucket, None)
    return web.Response(status=204)


async def delete_objects(call: Call) -> web.Response:
    """DeleteObjects: each key by itself, those that are denied named in the answer."""
    root = document.read(await call.document())
    keys = [element.text or "" for element in root.iterfind("Object/Key")]
    if not keys or len(keys) > DELETE_MAX:
        raise ObjectError(400, "MalformedXML", f"Give 1 to {DELETE_MAX} keys.")
    plane = _owned(call, service=True)
    for key in keys:
        call.allow("s3:DeleteObject", name=key)
    for key in keys:
        plane.buckets.remove(call.bucket, key)
    quiet = (root.findtext("Quiet") or "").lower() == "true"
    deleted = [] if quiet else [{"Key": key} for key in keys]
    return document.answer("DeleteResult", {"Deleted": deleted})


def _owned(call: Call, *, service: bool = False) -> Any:
    """The plane of a bucket that may be changed. Raises `ObjectError`."""
    plane = call.plane()
    if call.bucket in SERVICE_BUCKETS and not service:
        raise ObjectError(403, "AccessDenied", "The bucket is the service's.")
    return plane


# --- listings ------------------------------------------------------------------------------


@dataclass(slots=True)
class Page:
    """One page of a listing: keys, and common prefixes where a delimiter rolls keys up."""

    keys: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    last: str = ""  # the key or prefix to go on after
    more: bool = False


def list_page(keys: list[str], prefix: str, delimiter: str, after: str, limit: int) -> Page:
    """At most `limit` entries that come `after` a key or common prefix.

    `keys` are sorted, and all begin with `prefix`.
    """
    page = Page()
    for key in keys:
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        entry = key if cut < 0 else key[: cut + len(delimiter)]
        if entry <= after or (page.prefixes and entry == page.prefixes[-1]):
            continue
        if len(page.keys) + len(page.prefixes) >= limit:
            page.more = True
            break
        (page.keys if cut < 0 else page.prefixes).append(entry)
        page.last = entry
    return page


async def list_objects(call: Call) -> web.Response:
    """Version 1: pages go on after a marker, which is a key."""
    marker = call.query.get("marker", "")
    page, values = _page(call, marker)
    values["Marker"] = _shown(call, marker)
    if page.more and call.query.get("delimiter"):
        values["NextMarker"] = _shown(call, page.last)
    return document.answer("ListBucketResult", values)


async def list_objects_v2(call: Call) -> web.Response:
    """Version 2: pages go on with a token."""
    token = call.query.get("continuation-token")
    after = call.query.get("start-after", "") if token is None else _from_token(token)
    page, values = _page(call, after)
    values["KeyCount"] = len(page.keys) + len(page.prefixes)
    values["ContinuationToken"] = token
    values["StartAfter"] = call.query.get("start-after")
    if page.more:
        text = base64.urlsafe_b64encode(page.last.encode()).decode()
        values["NextContinuationToken"] = text
    return document.answer("ListBucketResult", values)


def _from_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        message = "The continuation token provided is incorrect"
        raise ObjectError(400, "InvalidArgument", message) from None


def _page(call: Call, after: str) -> tuple[Page, dict[str, Any]]:
    call.allow("s3:ListBucket")
    objects = call.plane().objects
    query = call.query
    limit = _limit(query.get("max-keys", str(PAGE_MAX)))
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    page = list_page(objects.keys(call.bucket, prefix), prefix, delimiter, after, limit)
    values = {
        "Name": call.bucket,
        "Prefix": _shown(call, prefix),
        "Delimiter": _shown(call, delimiter) if delimiter else None,
        "MaxKeys": limit,
        "EncodingType": query.get("encoding-type"),
        "IsTruncated": "true" if page.more else "false",
        "Contents": [_entry(call, objects, key) for key in page.keys],
        "CommonPrefixes": [{"Prefix": _shown(call, one)} for one in page.prefixes],
    }
    return page, values


def _limit(text: str) -> int:
    if not text.isdigit() or len(text) > 9:
        raise ObjectError(400, "InvalidArgument", "max-keys must be a number")
    return min(int(text), PAGE_MAX)


def _entry(call: Call, objects: ObjectStore, key: str) -> dict[str, Any]:
    info, content = objects.info(call.bucket, key), objects.get(call.bucket, key)
    assert info is not None
    assert content is not None
    return {
        "Key": _shown(call, key),
        "LastModified": document.iso(info.modified_s),
        "ETag": f'"{info.etag}"',
        "Size": content.size_bytes,
        "StorageClass": "STANDARD",
    }


def _shown(call: Call, text: str) -> str:
    return quote(text, safe="/") if call.query.get("encoding-type") == "url" else text
