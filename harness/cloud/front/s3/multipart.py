"""Multipart uploads: parts as files of their own until they become one object.

An upload and its parts are kept in the state, so it may go on after a restart. The file of a part
is removed only when that it is not needed any more is on disk.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aiohttp import web

from harness.cloud.front import upload as body
from harness.cloud.front.http_object import RangeInvalid, byte_range
from harness.cloud.front.refusal import ObjectError
from harness.cloud.front.s3 import document
from harness.cloud.front.s3.call import Received
from harness.cloud.front.s3.objects import copy_source, described, stored
from harness.cloud.service.content import FileContent, JoinedContent, chunks
from harness.cloud.service.state import UploadedPart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from xml.etree import ElementTree as ET

    from harness.cloud.front.planes import Planes
    from harness.cloud.front.s3.call import Call
    from harness.cloud.service.content import Content
    from harness.cloud.service.plane import ControlPlane
    from harness.cloud.service.state import ObjectInfo
    from harness.cloud.service.uploads import Uploads

UPLOADS_MAX = 1000
PARTS_MAX = 10_000
PART_BYTES_MIN = 5 << 20  # of every part but the last


@dataclass(frozen=True, slots=True)
class Pending:
    """An upload under way, and the plane whose bucket it goes into."""

    id: str
    plane: ControlPlane
    info: ObjectInfo

    @property
    def uploads(self) -> Uploads:
        return self.plane.buckets.uploads


class Multipart:
    """All uploads under way on this endpoint."""

    def __init__(self, planes: Planes) -> None:
        self._planes = planes

    async def create(self, call: Call) -> web.StreamResponse:
        call.allow("s3:PutObject", name=call.name)
        plane = call.plane()
        if sum(len(one.buckets.uploads) for one in self._planes) >= UPLOADS_MAX:
            message = f"More than {UPLOADS_MAX} multipart uploads are under way."
            raise ObjectError(503, "SlowDown", message)
        info = described(call, "", plane.clock_s, "")
        identifier = plane.buckets.uploads.begin(call.bucket, call.name, info)
        values = {"Bucket": call.bucket, "Key": call.name, "UploadId": identifier}
        return document.answer("InitiateMultipartUploadResult", values)

    async def upload_part(self, call: Call) -> web.StreamResponse:
        call.allow("s3:PutObject", name=call.name)
        upload, number = self._get(call), _number(call.query.get("partNumber", ""))
        if "x-amz-copy-source" in call.request.headers:
            return await self._copy_part(call, upload, number)
        received = await call.receive(part=True)
        await _keep(call, upload, number, received)
        return web.Response(
            headers={"ETag": f'"{received.etag}"', "x-amz-checksum-crc32": received.crc32}
        )

    async def complete(self, call: Call) -> web.StreamResponse:
        """The parts that the request lists, in order, become the object."""
        call.allow("s3:PutObject", name=call.name)
        upload = self._get(call)
        root = document.read(await call.document())
        files = call.storage.files
        parts = _listed(upload.uploads.parts(upload.id), root)
        joined = JoinedContent(tuple(files.find(part.file, part.size_bytes) for part in parts))
        content = await asyncio.to_thread(files.add, joined)
        if upload.id not in upload.uploads:
            raise _no_upload()  # completed or aborted meanwhile
        digests = b"".join(bytes.fromhex(part.etag) for part in parts)
        etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
        info = replace(upload.info, etag=etag, modified_s=upload.plane.clock_s)
        await _remove(call, upload.plane.buckets.complete(upload.id, content, info))
        values = {"Location": f"/{call.bucket}/{call.name}", "Bucket": call.bucket}
        values |= {"Key": call.name, "ETag": f'"{etag}"'}
        return document.answer("CompleteMultipartUploadResult", values)

    async def abort(self, call: Call) -> web.StreamResponse:
        call.allow("s3:AbortMultipartUpload", name=call.name)
        upload = self._get(call)
        await _remove(call, upload.uploads.abort(upload.id))
        return web.Response(status=204)

    async def list_parts(self, call: Call) -> web.StreamResponse:
        call.allow("s3:ListMultipartUploadParts", name=call.name)
        upload = self._get(call)
        parts = [
            {
                "PartNumber": number,
                "ETag": f'"{part.etag}"',
                "Size": part.size_bytes,
                "LastModified": document.iso(part.modified_s),
            }
            for number, part in upload.uploads.parts(upload.id).items()
        ]
        values = {"Bucket": call.bucket, "Key": call.name, "UploadId": call.query["uploadId"]}
        return document.answer("ListPartsResult", {**values, "IsTruncated": "false", "Part": parts})

    async def list_uploads(self, call: Call) -> web.StreamResponse:
        call.allow("s3:ListBucketMultipartUploads")
        uploads = [
            {
                "Key": upload.key,
                "UploadId": identifier,
                "Initiated": document.iso(upload.info.modified_s),
            }
            for identifier, upload in call.plane().buckets.uploads.into(call.bucket)
        ]
        values = {"Bucket": call.bucket, "IsTruncated": "false", "Upload": uploads}
        return document.answer("ListMultipartUploadsResult", values)

    async def _copy_part(self, call: Call, upload: Pending, number: int) -> web.StreamResponse:
        content, _ = stored(call, *copy_source(call))
        window = _copy_range(call.request.headers.get("x-amz-copy-source-range"), content)
        part = await asyncio.to_thread(_copied, call, content, *window)
        await _keep(call, upload, number, part)
        values = {"ETag": f'"{part.etag}"', "LastModified": document.iso(call.plane().clock_s)}
        return document.answer("CopyPartResult", values)

    def _get(self, call: Call) -> Pending:
        """Raises `ObjectError`: who may not know of an upload is told that there is none."""
        identifier, account = call.query["uploadId"], call.key.principal.account
        for plane in self._planes:
            if plane.account == account and identifier in plane.buckets.uploads:
                found = plane.buckets.uploads.get(identifier)
                if (found.bucket, found.key) == (call.bucket, call.name):
                    return Pending(identifier, plane, found.info)
        raise _no_upload()


async def _keep(call: Call, upload: Pending, number: int, received: Received) -> None:
    """A part that is sent again takes the place of the one before."""
    content = received.content
    assert isinstance(content, FileContent)
    now_s = upload.plane.clock_s
    part = UploadedPart(content.path.name, content.size_bytes, received.etag, now_s)
    if upload.id not in upload.uploads:
        await _remove(call, [part])  # completed or aborted meanwhile
        raise _no_upload()
    before = upload.uploads.put_part(upload.id, number, part)
    if before is not None:
        await _remove(call, [before])


async def _remove(call: Call, parts: Sequence[UploadedPart]) -> None:
    await call.storage.kept()
    for part in parts:
        call.storage.files.find(part.file, part.size_bytes).path.unlink(missing_ok=True)


def _listed(uploaded: Mapping[int, UploadedPart], root: ET.Element) -> list[UploadedPart]:
    """The parts that make up the object, which must be in order and as uploaded."""
    wanted = [
        (_number(part.findtext("PartNumber") or ""), (part.findtext("ETag") or "").strip('"'))
        for part in root.iterfind("Part")
    ]
    if not wanted:
        raise ObjectError(400, "MalformedXML", "An upload is completed with at least one part.")
    numbers = [number for number, _ in wanted]
    if numbers != sorted(set(numbers)):
        message = "The list of parts was not in ascending order."
        raise ObjectError(400, "InvalidPartOrder", message)
    parts = [uploaded.get(number) for number in numbers]
    found = [
        part
        for part, (_, etag) in zip(parts, wanted, strict=True)
        if part is not None and part.etag == etag
    ]
    if len(found) != len(wanted):
        message = "One or more of the specified parts could not be found."
        raise ObjectError(400, "InvalidPart", message)
    if any(part.size_bytes < PART_BYTES_MIN for part in found[:-1]):
        message = "Your proposed upload is smaller than the minimum allowed size"
        raise ObjectError(400, "EntityTooSmall", message)
    return found


def _copied(call: Call, content: Content, start: int, end: int) -> Received:
    """A range of an object as a part."""
    part = body.Upload(call.storage.files)
    try:
        for chunk in chunks(content, start, end):
            part.write(chunk)
        return Received(part.finish({}, part=True), part.etag, part.crc32)
    finally:
        part.abandon()


def _copy_range(header: str | None, content: Content) -> tuple[int, int]:
    try:
        return byte_range(header, content.size_bytes) or (0, content.size_bytes)
    except RangeInvalid:
        message = "The requested range is not satisfiable"
        raise ObjectError(416, "InvalidRange", message) from None


def _number(text: str) -> int:
    if text.isdigit() and len(text) < 6 and 1 <= int(text) <= PARTS_MAX:
        return int(text)
    message = f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive"
    raise ObjectError(400, "InvalidArgument", message)


def _no_upload() -> ObjectError:
    return ObjectError(404, "NoSuchUpload", "The specified upload does not exist.")
