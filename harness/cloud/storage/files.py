"""Contents of objects as files named by their SHA-256; small ones go into the database."""

from __future__ import annotations

import hashlib
import itertools
import os
import uuid
from typing import TYPE_CHECKING

from harness.cloud.service.content import BytesContent, FileContent, chunks
from harness.cloud.service.state import ObjectInfo, StoredObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Set
    from pathlib import Path

    from harness.cloud.service.content import Content
    from harness.cloud.service.state import Records

INLINE_BYTES_MAX = 1 << 14  # up to here a row costs less than a file, its name and their syncs
_ETAG_LENGTH = 32  # where no upload gave one
_PARTIAL = ".partial"
_PART = "part-"


class ContentFiles:
    """A directory in which a name, once there, stands for the whole content on disk."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._numbers: Iterator[int] = itertools.count()

    def partial(self) -> Path:
        """Where to write a content that is still to become one."""
        return self._directory / f"{next(self._numbers)}{_PARTIAL}"

    def keep(self, partial: Path, name: str) -> FileContent:
        """Put a file that was written to a `partial` path on disk under its name. Blocks.

        The name of a whole content is its SHA-256.
        """
        with partial.open("rb") as file:
            os.fsync(file.fileno())
            size_bytes = os.fstat(file.fileno()).st_size
        path = self._directory / name
        partial.replace(path)
        sync_directory(self._directory)
        return FileContent(path, size_bytes)

    def add(self, content: Content) -> FileContent:
        """Any content as a file. Blocks for as long as it takes to write it."""
        if isinstance(content, FileContent) and content.path.parent == self._directory:
            return content
        digest, partial = hashlib.sha256(), self.partial()
        with partial.open("xb") as file:
            for chunk in chunks(content):
                digest.update(chunk)
                file.write(chunk)
        return self.keep(partial, digest.hexdigest())

    def keep_part(self, partial: Path) -> FileContent:
        """As `keep`, under a name that no other file has or had. Blocks."""
        return self.keep(partial, f"{_PART}{uuid.uuid4().hex}")

    def find(self, name: str, size_bytes: int) -> FileContent:
        return FileContent(self._directory / name, size_bytes)

    def sweep(self, used: Set[str]) -> None:
        """Remove what nothing refers to: replaced contents, and uploads that a crash cut off."""
        for path in self._directory.iterdir():
            if path.name not in used:
                path.unlink()


class FileObjects:
    """The objects of a plane: records in its store, contents in files unless they are small."""

    def __init__(self, records: Records[StoredObject], files: ContentFiles) -> None:
        self._records = records
        self._files = files

    def put(self, bucket: str, key: str, content: Content, info: ObjectInfo | None = None) -> None:
        """The content is on disk when this returns, the record when the store is."""
        if content.size_bytes <= INLINE_BYTES_MAX:
            data: bytes | None = content.read(0, content.size_bytes)
            assert data is not None
            sha256 = hashlib.sha256(data).hexdigest()
        else:
            sha256, data = self._files.add(content).path.name, None
        info = info or ObjectInfo(etag=sha256[:_ETAG_LENGTH])
        self._records[f"{bucket}/{key}"] = StoredObject(sha256, content.size_bytes, data, info)

    def get(self, bucket: str, key: str) -> Content | None:
        record = self._records.get(f"{bucket}/{key}")
        if record is None:
            return None
        if record.inline is not None:
            return BytesContent(record.inline)
        return self._files.find(record.sha256, record.size_bytes)

    def info(self, bucket: str, key: str) -> ObjectInfo | None:
        record = self._records.get(f"{bucket}/{key}")
        return record.info if record is not None else None

    def remove(self, bucket: str, key: str) -> None:
        """Its file, which others may share, goes at the next start."""
        self._records.pop(f"{bucket}/{key}", None)

    def keys(self, bucket: str, prefix: str) -> list[str]:
        whole = f"{bucket}/{prefix}"
        return sorted(
            name.removeprefix(f"{bucket}/") for name in self._records if name.startswith(whole)
        )


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read; after a crash it is there whole or not at all."""
    partial = path.with_name(path.name + _PARTIAL)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Put names that were added to a directory on disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
