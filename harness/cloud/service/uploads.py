"""Multipart uploads under way in the buckets of one account and region: records of their parts.

The contents of parts are files, which whoever serves uploads writes and removes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cloud.service.state import MultipartUpload

if TYPE_CHECKING:
    from harness.cloud.service.core import Core
    from harness.cloud.service.state import ObjectInfo, UploadedPart


class Uploads:
    """Uploads by id. What is changed is committed unless it says otherwise."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __len__(self) -> int:
        return len(self._core.store.uploads)

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._core.store.uploads

    def begin(self, bucket: str, key: str, info: ObjectInfo) -> str:
        identifier = self._core.new_id("upload")
        self._core.store.uploads[identifier] = MultipartUpload(bucket, key, info)
        self._core.store.commit()
        return identifier

    def get(self, identifier: str) -> MultipartUpload:
        """Raises `KeyError`."""
        return self._core.store.uploads[identifier]

    def into(self, bucket: str) -> list[tuple[str, MultipartUpload]]:
        """Uploads into a bucket, in the order in which they began."""
        uploads = self._core.store.uploads
        return [(name, found) for name, found in uploads.items() if found.bucket == bucket]

    def parts(self, identifier: str) -> dict[int, UploadedPart]:
        """By number, ascending."""
        parts = self._core.store.upload_parts
        names = [name for name in parts if name.startswith(f"{identifier}/")]
        return {int(name.rpartition("/")[2]): parts[name] for name in sorted(names)}

    def put_part(self, identifier: str, number: int, part: UploadedPart) -> UploadedPart | None:
        """Keep a part; the one whose place it takes."""
        name = part_id(identifier, number)
        before = self._core.store.upload_parts.get(name)
        self._core.store.upload_parts[name] = part
        self._core.store.commit()
        return before

    def abort(self, identifier: str) -> list[UploadedPart]:
        """The parts, whose files may go once this is on disk."""
        parts = self.forget(identifier)
        self._core.store.commit()
        return parts

    def forget(self, identifier: str) -> list[UploadedPart]:
        """As `abort`, for the caller to commit."""
        parts = self.parts(identifier)
        for number in parts:
            del self._core.store.upload_parts[part_id(identifier, number)]
        del self._core.store.uploads[identifier]
        return list(parts.values())


def part_id(identifier: str, number: int) -> str:
    return f"{identifier}/{number:05}"
