"""Objects by bucket and key: what packages, firmware images and deployment documents are kept as.

A store needs only `size_bytes` and ranged reads of a content, so that an image of gigabytes can
come from a file or be generated, and is never held in memory whole.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from harness.cloud.service.state import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES = 1 << 18


class Content(Protocol):
    """Something that can be read in ranges, any number of times."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class BytesContent:
    data: bytes = field(repr=False)

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file that does not change while it is kept."""

    path: Path
    size_bytes: int

    def read(self, offset: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length)


@dataclass(frozen=True, slots=True)
class JoinedContent:
    """Contents one after the other."""

    parts: tuple[Content, ...]

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    def read(self, offset: int, length: int) -> bytes:
        data = bytearray()
        for part in self.parts:
            if offset < part.size_bytes:
                data += part.read(offset, length - len(data))
                offset = 0
            else:
                offset -= part.size_bytes
            if len(data) >= length:
                break
        return bytes(data)


def chunks(content: Content, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The bytes from `start` to before `end`, a chunk at a time."""
    stop = content.size_bytes if end is None else end
    while start < stop:
        data = content.read(start, min(CHUNK_BYTES, stop - start))
        if not data:
            return
        start += len(data)
        yield data


def sha256(content: Content) -> str:
    digest = hashlib.sha256()
    for chunk in chunks(content):
        digest.update(chunk)
    return digest.hexdigest()


class ObjectStore(Protocol):
    """Buckets of objects."""

    def put(
        self, bucket: str, key: str, content: Content, info: ObjectInfo | None = None
    ) -> None: ...

    def get(self, bucket: str, key: str) -> Content | None: ...

    def info(self, bucket: str, key: str) -> ObjectInfo | None: ...

    def remove(self, bucket: str, key: str) -> None:
        """An object that is not there is no error, as in S3."""
        ...

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """Keys in the bucket that begin with `prefix`, sorted."""
        ...


class MemoryObjects:
    """Objects in a dictionary; contents may still be files or generated."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], tuple[Content, ObjectInfo]] = {}

    def put(self, bucket: str, key: str, content: Content, info: ObjectInfo | None = None) -> None:
        self._objects[bucket, key] = (content, info or ObjectInfo())

    def get(self, bucket: str, key: str) -> Content | None:
        found = self._objects.get((bucket, key))
        return found[0] if found is not None else None

    def info(self, bucket: str, key: str) -> ObjectInfo | None:
        found = self._objects.get((bucket, key))
        return found[1] if found is not None else None

    def remove(self, bucket: str, key: str) -> None:
        self._objects.pop((bucket, key), None)

    def keys(self, bucket: str, prefix: str) -> list[str]:
        return sorted(
            key for found, key in self._objects if found == bucket and key.startswith(prefix)
        )
