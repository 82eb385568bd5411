"""Bodies of object uploads: aws-chunked framing, checksums, size; then a file by its hash."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import TYPE_CHECKING, Protocol

from harness.cloud.service.content import FileContent
from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

OBJECT_BYTES_MAX = 5 << 30  # S3's limit of one PUT
_LINE_BYTES_MAX = 4096
_TRAILERS_MAX = 16


class _Source(Protocol):
    """What is read from: aiohttp's stream of a request body."""

    async def readline(self) -> bytes: ...

    async def readexactly(self, n: int) -> bytes: ...

    def iter_chunked(self, n: int) -> AsyncIterator[bytes]: ...


_CHUNK_BYTES = 1 << 16


async def plain(source: _Source) -> AsyncIterator[bytes]:
    async for chunk in source.iter_chunked(_CHUNK_BYTES):
        yield chunk


async def aws_chunked(source: _Source, trailers: dict[str, str]) -> AsyncIterator[bytes]:
    """The data of an aws-chunked body; its trailing headers go into `trailers`, lower case.

    Chunk signatures are skipped. Raises `Corrupt` when the framing is wrong.
    """
    while True:
        line = await _line(source)
        try:
            size = int(line.partition(";")[0], 16)
        except ValueError:
            raise Corrupt(f"aws-chunked body: {line[:40]!r} is no chunk size") from None
        if size == 0:
            break
        while size > 0:
            data = await source.readexactly(min(size, _CHUNK_BYTES))
            size -= len(data)
            yield data
        if await source.readexactly(2) != b"\r\n":
            raise Corrupt("aws-chunked body: chunk without line end")
    for _ in range(_TRAILERS_MAX):
        line = await _line(source)
        if not line:
            return
        name, _, value = line.partition(":")
        trailers[name.strip().lower()] = value.strip()


async def _line(source: _Source) -> str:
    line = await source.readline()
    if len(line) > _LINE_BYTES_MAX:
        raise Corrupt("aws-chunked body: line too long")
    return line.strip().decode("latin-1")


class Upload:
    """Receives one object into a directory, where it is kept under its SHA-256."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._partial = directory / f"{name}.partial"
        self._file = self._partial.open("wb")
        self._sha256 = hashlib.sha256()
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc32 = 0
        self._size = 0

    def write(self, data: bytes) -> None:
        """Raises `Corrupt` when the object grows beyond the limit."""
        self._size += len(data)
        if self._size > OBJECT_BYTES_MAX:
            raise Corrupt(f"object is larger than {OBJECT_BYTES_MAX} bytes")
        for digest in (self._sha256, self._sha1, self._md5):
            digest.update(data)
        self._crc32 = zlib.crc32(data, self._crc32)
        self._file.write(data)

    @property
    def etag(self) -> str:
        return self._md5.hexdigest()

    def finish(self, declared: Mapping[str, str]) -> FileContent:
        """Keep the object if the checksums that were declared match. Raises `Corrupt`.

        `declared` are header or trailer names in lower case. CRC-32C and CRC-64/NVME, which the
        standard library lacks, are not compared.
        """
        self._file.close()
        found = {
            "x-amz-checksum-crc32": self._crc32.to_bytes(4, "big"),
            "x-amz-checksum-sha1": self._sha1.digest(),
            "x-amz-checksum-sha256": self._sha256.digest(),
            "content-md5": self._md5.digest(),
        }
        for name, digest in found.items():
            if name in declared and declared[name] != base64.b64encode(digest).decode():
                raise Corrupt(f"{name} is {declared[name]}, the content's is another")
        path = self._directory / self._sha256.hexdigest()
        self._partial.replace(path)
        return FileContent(path, self._size)

    def abandon(self) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)
