"""One request to S3: who asks for what, what it may, and how its body is received."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.cloud.access.permission import authorize
from harness.cloud.access.policy import Query, read_policy
from harness.cloud.access.refusal import Reason, Refused
from harness.cloud.access.signature import UNSIGNED, ChunkSigner
from harness.cloud.front.refusal import ObjectError
from harness.cloud.front.upload import Upload, aws_chunked, plain
from harness.cloud.service.buckets import SECRET_BUCKETS, SERVICE_BUCKETS
from harness.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiohttp import web

    from harness.cloud.access.keyring import AccessKey
    from harness.cloud.access.scope import Claim
    from harness.cloud.front.planes import Planes
    from harness.cloud.service.content import Content
    from harness.cloud.service.plane import ControlPlane
    from harness.cloud.storage.storage import Storage

DOCUMENT_BYTES_MAX = 1 << 20
_STREAMING = "STREAMING-"
_SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Received:
    """A body that was what it was said to be."""

    content: Content
    etag: str
    crc32: str


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose signer is known. `signed` stands for the body in the signature."""

    request: web.Request
    key: AccessKey
    claim: Claim | None
    region: str
    signed: str
    bucket: str
    name: str
    query: Mapping[str, str]
    planes: Planes
    storage: Storage

    # --- which bucket -------------------------------------------------------------------

    @property
    def home(self) -> ControlPlane:
        """The plane of the account and region that the request is signed for."""
        return self.planes.get(self.key.principal.account, self.region)

    def plane(self, bucket: str = "") -> ControlPlane:
        """Where a bucket is, this request's or another. Raises `ObjectError`.

        Names of buckets are the same everywhere, so one region finds those of another; the
        service's own buckets are every plane's.
        """
        name = bucket or self.bucket
        if name in SERVICE_BUCKETS:
            return self.home
        if name in SECRET_BUCKETS:
            raise ObjectError(403, "AccessDenied", "Access Denied")
        plane = self.planes.of_bucket(name)
        if plane is None:
            raise ObjectError(404, "NoSuchBucket", "The specified bucket does not exist")
        if plane.account != self.key.principal.account:
            raise ObjectError(403, "AccessDenied", "Access Denied")
        return plane

    # --- permission ---------------------------------------------------------------------

    def allow(self, action: str, bucket: str = "", name: str = "") -> None:
        """Raises `Refused`. The bucket's policy counts together with the caller's own."""
        principal = self.key.principal
        if principal.policies is None:
            return
        bucket = bucket or self.bucket
        resource = f"arn:aws:s3:::{bucket}/{name}" if name else f"arn:aws:s3:::{bucket or '*'}"
        plane = self.planes.of_bucket(bucket)
        found = plane.buckets.get(bucket) if plane is not None else None
        attached = (read_policy(found.policy),) if found is not None and found.policy else ()
        authorize(principal, Query(action, resource), attached)

    # --- body ---------------------------------------------------------------------------

    async def document(self) -> bytes:
        """A small body. Raises `ObjectError` or `Refused`."""
        received = await self.receive(DOCUMENT_BYTES_MAX)
        return received.content.read(0, received.content.size_bytes)

    async def receive(self, bytes_max: int | None = None, *, part: bool = False) -> Received:
        """The body, once it is what was signed and what its checksums say.

        A `part` is a file of its own, which is the caller's to remove. Raises `ObjectError` or
        `Refused`, and leaves nothing behind then.
        """
        declared = {name.lower(): value for name, value in self.request.headers.items()}
        upload = Upload(self.storage.files)
        try:
            async for data in self._body(declared):
                upload.write(data, bytes_max)
            if _SHA256.fullmatch(self.signed) and upload.sha256 != self.signed:
                message = "The provided 'x-amz-content-sha256' header does not match the body."
                raise Refused(Reason.WRONG_BODY, message)
            content = await asyncio.to_thread(upload.finish, declared, part=part)
            return Received(content, upload.etag, upload.crc32)
        except (Corrupt, asyncio.IncompleteReadError, ValueError) as error:
            raise ObjectError(400, "BadDigest", str(error)) from None
        finally:
            upload.abandon()

    def _body(self, declared: dict[str, str]) -> AsyncIterator[bytes]:
        source: Any = self.request.content
        if self.claim is None or not self.signed.startswith(_STREAMING):
            return plain(source)
        signed = self.signed.startswith(_SIGNED_CHUNKS)
        signer = ChunkSigner(self.key.secret, self.claim) if signed else None
        return aws_chunked(source, declared, signer)


def payload_hash(request: web.Request, claim: Claim) -> str:
    """What is signed in the place of the body's hash. Raises `ObjectError`."""
    given = request.headers.get("X-Amz-Content-Sha256")
    if given is not None:
        return given
    if claim.expires_s is not None:
        return UNSIGNED
    message = "Missing required header for this request: x-amz-content-sha256"
    raise ObjectError(400, "InvalidRequest", message)
