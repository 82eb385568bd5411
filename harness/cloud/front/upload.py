"""Bodies of object uploads: aws-chunked framing, checksums, size; then a content."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol

from harness.cloud.access.refusal import Reason, Refused
from harness.cloud.service.content import BytesContent
from harness.cloud.storage.files import INLINE_BYTES_MAX
from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from harness.cloud.access.signature import ChunkSigner
    from harness.cloud.service.content import Content
    from harness.cloud.storage.files import ContentFiles

OBJECT_BYTES_MAX = 5 << 30  # S3's limit of one PUT
_LINE_BYTES_MAX = 4096
_TRAILERS_MAX = 16
_TRAILER_SIGNATURE = "x-amz-trailer-signature"


class _Source(Protocol):
    """What is read from: aiohttp's stream of a request body."""

    async def readline(self) -> bytes: ...

    async def readexactly(self, n: int) -> bytes: ...

    def iter_chunked(self, n: int) -> AsyncIterator[bytes]: ...


_CHUNK_BYTES = 1 << 16


async def plain(source: _Source) -> AsyncIterator[bytes]:
    async for chunk in source.iter_chunked(_CHUNK_BYTES):
        yield chunk


async def aws_chunked(
    source: _Source, trailers: dict[str, str], signer: ChunkSigner | None = None
) -> AsyncIterator[bytes]:
    """The data of an aws-chunked body; its trailing headers go into `trailers`, lower case.

    With a `signer` every chunk and the trailers must be signed: raises `Refused` at the first
    that is not what was signed. Raises `Corrupt` when the framing is wrong.
    """
    while True:
        size, signature = _chunk_head(await _line(source))
        left, digest = size, hashlib.sha256()
        while left > 0:
            data = await source.readexactly(min(left, _CHUNK_BYTES))
            left -= len(data)
            if signer is not None:
                digest.update(data)
            yield data
        if signer is not None:
            _compare(signer.chunk(digest.hexdigest()), signature)
        if size == 0:
            break
        if await source.readexactly(2) != b"\r\n":
            raise Corrupt("aws-chunked body: chunk without line end")
    await _trailers(source, trailers, signer)


async def _trailers(source: _Source, trailers: dict[str, str], signer: ChunkSigner | None) -> None:
    lines = b""
    for _ in range(_TRAILERS_MAX):
        line = await _line(source)
        if not line:
            break
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        if name != _TRAILER_SIGNATURE:
            lines += f"{name}:{value}\n".encode()
            trailers[name] = value
        elif signer is not None:
            _compare(signer.trailer(hashlib.sha256(lines).hexdigest()), value)
            lines = b""
    if lines and signer is not None:
        raise Refused(Reason.MISMATCH, "The trailing headers are not signed.")


def _chunk_head(line: str) -> tuple[int, str]:
    """The size and the signature (empty without one) of a chunk."""
    size, _, extension = line.partition(";")
    name, _, signature = extension.partition("=")
    try:
        return int(size, 16), signature.strip() if name.strip() == "chunk-signature" else ""
    except ValueError:
        raise Corrupt(f"aws-chunked body: {line[:40]!r} is no chunk size") from None


def _compare(expected: str, given: str) -> None:
    if not hmac.compare_digest(expected.encode(), given.encode()):
        message = "The chunk signature we calculated does not match the one you provided."
        raise Refused(Reason.MISMATCH, message)


async def _line(source: _Source) -> str:
    line = await source.readline()
    if len(line) > _LINE_BYTES_MAX:
        raise Corrupt("aws-chunked body: line too long")
    return line.strip().decode("latin-1")


class Upload:
    """Receives one object: in memory while it is small, then in a file among the contents."""

    def __init__(self, files: ContentFiles) -> None:
        self._files = files
        self._partial: Path | None = None
        self._file: BinaryIO = io.BytesIO()
        self._sha256 = hashlib.sha256()
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc32 = 0
        self._size = 0

    def write(self, data: bytes, bytes_max: int | None = None) -> None:
        """Raises `Corrupt` when the object grows beyond the limit."""
        self._size += len(data)
        limit = OBJECT_BYTES_MAX if bytes_max is None else bytes_max
        if self._size > limit:
            raise Corrupt(f"body is larger than {limit} bytes")
        if self._partial is None and self._size > INLINE_BYTES_MAX:
            self._to_file()
        for digest in (self._sha256, self._sha1, self._md5):
            digest.update(data)
        self._crc32 = zlib.crc32(data, self._crc32)
        self._file.write(data)

    def _to_file(self) -> None:
        assert isinstance(self._file, io.BytesIO)
        before = self._file.getvalue()
        self._partial = self._files.partial()
        self._file = self._partial.open("xb")
        self._file.write(before)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def etag(self) -> str:
        return self._md5.hexdigest()

    @property
    def crc32(self) -> str:
        return base64.b64encode(self._crc32.to_bytes(4, "big")).decode()

    def finish(self, declared: Mapping[str, str], *, part: bool = False) -> Content:
        """The content, if the checksums that were declared match. Raises `Corrupt`.

        A file is on disk by then, which blocks. A `part` is a file of its own, whatever its size,
        and the caller's to remove.
        `declared` are header or trailer names in lower case. CRC-32C and CRC-64/NVME, which the
        standard library lacks, are not compared.
        """
        found = {
            "x-amz-checksum-crc32": self._crc32.to_bytes(4, "big"),
            "x-amz-checksum-sha1": self._sha1.digest(),
            "x-amz-checksum-sha256": self._sha256.digest(),
            "content-md5": self._md5.digest(),
        }
        for name, digest in found.items():
            if name in declared and declared[name] != base64.b64encode(digest).decode():
                raise Corrupt(f"{name} is {declared[name]}, the content's is another")
        if part and self._partial is None:
            self._to_file()
        if isinstance(self._file, io.BytesIO):
            return BytesContent(self._file.getvalue())
        assert self._partial is not None
        self._file.close()
        if part:
            return self._files.keep_part(self._partial)
        return self._files.keep(self._partial, self._sha256.hexdigest())

    def abandon(self) -> None:
        """Leave nothing behind but what `finish` gave."""
        self._file.close()
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)
