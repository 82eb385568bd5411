"""Buckets that clients make, beside those of the service itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.cloud.service.core import DEPLOYMENT_BUCKET, FIRMWARE_BUCKET, PACKAGE_BUCKET
from harness.cloud.service.state import Bucket
from harness.cloud.service.uploads import Uploads
from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from harness.cloud.service.content import Content
    from harness.cloud.service.core import Core
    from harness.cloud.service.state import ObjectInfo, UploadedPart

SERVICE_BUCKETS = frozenset({PACKAGE_BUCKET, FIRMWARE_BUCKET})
SECRET_BUCKETS = frozenset({DEPLOYMENT_BUCKET})  # camera credentials, for one device each
BUCKETS_MAX = 100
POLICY_BYTES_MAX = 20 * 1024
_NAME = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)


class Buckets:
    """The buckets of one account in one region, and what is put into them from outside."""

    def __init__(self, core: Core, listeners: Mapping[str, Callable[[str], None]]) -> None:
        """`listeners` by bucket are told the key of what was put or removed."""
        self._core = core
        self._listeners = listeners
        self.uploads = Uploads(core)

    def get(self, name: str) -> Bucket | None:
        return self._core.store.buckets.get(name)

    def __iter__(self) -> Iterator[Bucket]:
        return iter(sorted(self._core.store.buckets.values(), key=lambda bucket: bucket.name))

    def make(self, name: str) -> Bucket:
        """Raises `InputError` when the name cannot be one, or there are too many."""
        if not _NAME.fullmatch(name) or name in SERVICE_BUCKETS | SECRET_BUCKETS:
            raise InputError(
                f"bucket {name!r}: the specified bucket is not valid.",
                hint="3 to 63 lower-case letters, digits, dots and hyphens",
            )
        if len(self._core.store.buckets) >= BUCKETS_MAX:
            raise InputError(
                "You have attempted to create more buckets than allowed",
                hint=f"at most {BUCKETS_MAX} in an account and region",
            )
        bucket = self._core.store.buckets[name] = Bucket(name, self._core.clock())
        self._core.store.commit()
        return bucket

    def delete(self, name: str) -> None:
        """Uploads into it that are under way go with it; their files go at the next start."""
        for identifier, _ in self.uploads.into(name):
            self.uploads.forget(identifier)
        del self._core.store.buckets[name]
        self._core.store.commit()

    def set_policy(self, name: str, policy: str | None) -> None:
        self._core.store.buckets[name].policy = policy
        self._core.store.commit()

    def put(self, bucket: str, key: str, content: Content, info: ObjectInfo | None = None) -> None:
        self._core.objects.put(bucket, key, content, info)
        self._changed(bucket, key)

    def complete(self, identifier: str, content: Content, info: ObjectInfo) -> list[UploadedPart]:
        """An upload becomes its object, in one commit; the parts, whose files may then go."""
        upload = self.uploads.get(identifier)
        parts = self.uploads.forget(identifier)
        self.put(upload.bucket, upload.key, content, info)
        return parts

    def remove(self, bucket: str, key: str) -> None:
        self._core.objects.remove(bucket, key)
        self._changed(bucket, key)

    def _changed(self, bucket: str, key: str) -> None:
        if bucket in self._listeners:
            self._listeners[bucket](key)
        self._core.store.commit()
