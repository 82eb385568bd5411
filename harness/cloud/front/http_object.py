"""Objects over HTTP: ranges, HEAD and uploads, as S3 in path style and as devices fetch them."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote
from xml.sax.saxutils import escape

from aiohttp import web

from harness.cloud.front.upload import Upload, aws_chunked, plain
from harness.cloud.service.content import CHUNK_BYTES
from harness.errors import Corrupt

if TYPE_CHECKING:
    from harness.cloud.service.content import Content
    from harness.cloud.service.plane import ControlPlane
    from harness.cloud.storage.storage import Storage

KEY_BYTES_MAX = 1024  # S3's limit
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class RangeInvalid(Exception):
    """Nothing of the object lies in the range that was asked for."""


def split_path(raw_path: str) -> tuple[str, str]:
    """Bucket and key of a path in path style, decoded."""
    bucket, _, key = raw_path.lstrip("/").partition("/")
    return unquote(bucket), unquote(key)


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """(start, end) of a single range (RFC 9110, section 14.2), None for the whole object.

    Several ranges and other units are ignored, as the RFC allows. Raises `RangeInvalid`.
    """
    match = _RANGE.fullmatch(header) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start = int(first)
        end = min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        raise RangeInvalid
    return start, end


async def send(request: web.Request, content: Content) -> web.StreamResponse:
    """Answer GET or HEAD with the object or the range of it, streamed."""
    size = content.size_bytes
    headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    try:
        window = byte_range(request.headers.get("Range"), size)
    except RangeInvalid:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
    start, end = window or (0, size)
    if window is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    response = web.StreamResponse(status=206 if window else 200, headers=headers)
    response.content_length = end - start
    await response.prepare(request)
    if request.method != "HEAD":
        with suppress(ConnectionResetError):  # the client left: it may come back for the rest
            await _stream(response, content, start, end)
    return response


async def _stream(response: web.StreamResponse, content: Content, start: int, end: int) -> None:
    while start < end:
        data = await asyncio.to_thread(content.read, start, min(CHUNK_BYTES, end - start))
        if not data:
            break
        start += len(data)
        await response.write(data)
    await response.write_eof()


class S3:
    """The part of S3 that packaging tools use: PUT, GET and HEAD of objects."""

    def __init__(self, plane: ControlPlane, storage: Storage) -> None:
        self._plane = plane
        self._storage = storage

    async def handle(self, request: web.Request) -> web.StreamResponse:
        bucket, key = split_path(request.rel_url.raw_path)
        if not key or len(key.encode()) > KEY_BYTES_MAX:
            message = "Only objects are served, with keys of at most 1024 bytes."
            return s3_error(request, 501, "NotImplemented", message)
        if request.method == "PUT" and not request.query_string.replace("x-id=PutObject", ""):
            return await self._put(request, bucket, key)
        if request.method not in ("GET", "HEAD"):
            message = f"{request.method} of objects is not served."
            return s3_error(request, 501, "NotImplemented", message)
        content = self._plane.objects.get(bucket, key)
        await self._storage.kept()
        if content is None:
            return s3_error(request, 404, "NoSuchKey", "The specified key does not exist.")
        return await send(request, content)

    async def _put(self, request: web.Request, bucket: str, key: str) -> web.StreamResponse:
        declared = {name.lower(): value for name, value in request.headers.items()}
        chunked = "aws-chunked" in declared.get("content-encoding", "")
        body = aws_chunked(request.content, declared) if chunked else plain(request.content)
        upload = Upload(self._storage.files)
        try:
            async for data in body:
                upload.write(data)
            content = await asyncio.to_thread(upload.finish, declared)
        except (Corrupt, asyncio.IncompleteReadError, ValueError) as error:
            return s3_error(request, 400, "BadDigest", str(error))
        finally:
            upload.abandon()
        self._plane.put_object(bucket, key, content)
        await self._storage.kept()
        return web.Response(headers={"ETag": f'"{upload.etag}"'})


def s3_error(request: web.Request, status: int, code: str, message: str) -> web.Response:
    """S3's errors are XML; HEAD has none."""
    if request.method == "HEAD":
        return web.Response(status=status)
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    )
    return web.Response(status=status, text=text, content_type="application/xml")
