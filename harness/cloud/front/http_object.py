"""Objects over HTTP: whole or in ranges, as S3 in path style and as devices fetch them."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiohttp import web

from harness.cloud.service.content import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cloud.service.content import Content

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


async def send(
    request: web.Request, content: Content, described: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Answer GET or HEAD with the object or the range of it, streamed."""
    size = content.size_bytes
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        **(described or {}),
    }
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
