"""Multipart uploads: parts as files of their own until they become one object.

What is under way is kept in memory: after a restart an upload has to begin anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from aiohttp import web

from harness.cloud.front import upload as body
from harness.cloud.front.http_object import RangeInvalid, byte_range
from harness.cloud.front.refusal import ObjectError
from harness.cloud.front.s3 import document
from harness.cloud.front.s3.call import Received
from harness.cloud.front.s3.objects import copy_source, described, stored
from harness.cloud.service.content import FileContent, JoinedContent, chunks

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

    from harness.cloud.front.s3.call import Call
    from harness.cloud.service.content import Content
    from harness.cloud.service.state import ObjectInfo

UPLOADS_MAX = 1000
PARTS_MAX = 10_000
PART_BYTES_MIN = 5 << 20  # of every part but the last


@dataclass(eq=False)
class Pending:
    """An upload under way; `parts` by number."""

    bucket: str
    key: str
    account: str
    info: ObjectInfo
    parts: dict[int, Received] = field(default_factory=dict)

    def discard(self) -> None:
        for part in self.parts.values():
            _remove(part.content)
        self.parts.clear()


class Multipart:
    """All uploads under way on this endpoint."""

    def __init__(self) -> None:
        self._uploads: dict[str, Pending] = {}

    def close(self) -> None:
        for upload in self._uploads.values():
            upload.discard()
        self._uploads.clear()

    async def create(self, call: Call) -> web.StreamResponse:
        call.allow("s3:PutObject", name=call.name)
        plane = call.plane()
        if len(self._uploads) >= UPLOADS_MAX:
            message = f"More than {UPLOADS_MAX} multipart uploads are under way."
            raise ObjectError(503, "SlowDown", message)
        identifier = uuid.uuid4().hex
        info = described(call, "", plane.clock_s, "")
        self._uploads[identifier] = Pending(call.bucket, call.name, plane.account, info)
        values = {"Bucket": call.bucket, "Key": call.name, "UploadId": identifier}
        return document.answer("InitiateMultipartUploadResult", values)

    async def upload_part(self, call: Call) -> web.StreamResponse:
        call.allow("s3:PutObject", name=call.name)
        upload, number = self._get(call), _number(call.query.get("partNumber", ""))
        if "x-amz-copy-source" in call.request.headers:
            return await self._copy_part(call, upload, number)
        received = await call.receive(part=True)
        self._keep(call, upload, number, received)
        return web.Response(
            headers={"ETag": f'"{received.etag}"', "x-amz-checksum-crc32": received.crc32}
        )

    async def complete(self, call: Call) -> web.StreamResponse:
        """The parts that the request lists, in order, become the object."""
        call.allow("s3:PutObject", name=call.name)
        upload, plane = self._get(call), call.plane()
        root = document.read(await call.document())
        parts = _listed(upload, root)
        joined = JoinedContent(tuple(part.content for part in parts))
        content = await asyncio.to_thread(call.storage.files.add, joined)
        if self._uploads.pop(call.query["uploadId"], None) is None:
            raise _no_upload()  # completed or aborted meanwhile
        digests = b"".join(bytes.fromhex(part.etag) for part in parts)
        etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
        info = replace(upload.info, etag=etag, modified_s=plane.clock_s)
        plane.buckets.put(call.bucket, call.name, content, info)
        upload.discard()
        values = {"Location": f"/{call.bucket}/{call.name}", "Bucket": call.bucket}
        values |= {"Key": call.name, "ETag": f'"{etag}"'}
        return document.answer("CompleteMultipartUploadResult", values)

    async def abort(self, call: Call) -> web.StreamResponse:
        call.allow("s3:AbortMultipartUpload", name=call.name)
        self._get(call).discard()
        del self._uploads[call.query["uploadId"]]
        return web.Response(status=204)

    async def list_parts(self, call: Call) -> web.StreamResponse:
        call.allow("s3:ListMultipartUploadParts", name=call.name)
        upload = self._get(call)
        parts = [
            {
                "PartNumber": number,
                "ETag": f'"{part.etag}"',
                "Size": part.content.size_bytes,
                "LastModified": document.iso(upload.info.modified_s),
            }
            for number, part in sorted(upload.parts.items())
        ]
        values = {"Bucket": call.bucket, "Key": call.name, "UploadId": call.query["uploadId"]}
        return document.answer("ListPartsResult", {**values, "IsTruncated": "false", "Part": parts})

    async def list_uploads(self, call: Call) -> web.StreamResponse:
        call.allow("s3:ListBucketMultipartUploads")
        call.plane()
        uploads = [
            {
                "Key": upload.key,
                "UploadId": identifier,
                "Initiated": document.iso(upload.info.modified_s),
            }
            for identifier, upload in self._uploads.items()
            if upload.bucket == call.bucket
        ]
        values = {"Bucket": call.bucket, "IsTruncated": "false", "Upload": uploads}
        return document.answer("ListMultipartUploadsResult", values)

    async def _copy_part(self, call: Call, upload: Pending, number: int) -> web.StreamResponse:
        content, _ = stored(call, *copy_source(call))
        window = _copy_range(call.request.headers.get("x-amz-copy-source-range"), content)
        part = await asyncio.to_thread(_copied, call, content, *window)
        self._keep(call, upload, number, part)
        values = {"ETag": f'"{part.etag}"', "LastModified": document.iso(call.plane().clock_s)}
        return document.answer("CopyPartResult", values)

    def _get(self, call: Call) -> Pending:
        upload = self._uploads.get(call.query["uploadId"])
        if upload is None or (upload.bucket, upload.key) != (call.bucket, call.name):
            raise _no_upload()
        if upload.account != call.key.principal.account:
            raise _no_upload()
        return upload

    def _keep(self, call: Call, upload: Pending, number: int, part: Received) -> None:
        """A part that is sent again takes the place of the one before."""
        if self._uploads.get(call.query["uploadId"]) is not upload:
            _remove(part.content)  # completed or aborted meanwhile
            raise _no_upload()
        before = upload.parts.pop(number, None)
        if before is not None:
            _remove(before.content)
        upload.parts[number] = part


def _listed(upload: Pending, root: ET.Element) -> list[Received]:
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
    parts = [upload.parts.get(number) for number in numbers]
    found = [
        part
        for part, (_, etag) in zip(parts, wanted, strict=True)
        if part is not None and part.etag == etag
    ]
    if len(found) != len(wanted):
        message = "One or more of the specified parts could not be found."
        raise ObjectError(400, "InvalidPart", message)
    if any(part.content.size_bytes < PART_BYTES_MIN for part in found[:-1]):
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


def _remove(content: Content) -> None:
    if isinstance(content, FileContent):
        content.path.unlink(missing_ok=True)
