"""S3 in path style, as far as packaging needs it: PUT, GET and HEAD of objects."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from aiohttp import web

from harness.cloud.access.permission import authorize
from harness.cloud.access.policy import Query
from harness.cloud.access.query_v2 import SIGNATURE_NAMES
from harness.cloud.access.refusal import Reason, Refused
from harness.cloud.access.scope import query_values
from harness.cloud.access.signature import UNSIGNED, ChunkSigner
from harness.cloud.front.admission import split_target
from harness.cloud.front.http_object import send, split_path
from harness.cloud.front.listener import CLIENT, OPERATION
from harness.cloud.front.refusal import ObjectError, object_error, object_refusal
from harness.cloud.front.upload import Upload, aws_chunked, plain
from harness.errors import Corrupt

if TYPE_CHECKING:
    from harness.cloud.access.keyring import AccessKey
    from harness.cloud.access.scope import Claim
    from harness.cloud.front.admission import Admission
    from harness.cloud.front.planes import Planes
    from harness.cloud.service.content import Content
    from harness.cloud.storage.storage import Storage

KEY_BYTES_MAX = 1024  # S3's limit
_STREAMING = "STREAMING-"
_SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ACTIONS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject"}


class S3:
    """Objects of the account and region that a request is signed for.

    A presigned URL in Signature Version 2 names no region: it is for `region`.
    """

    def __init__(self, planes: Planes, admission: Admission, storage: Storage, region: str) -> None:
        self._planes = planes
        self._admission = admission
        self._storage = storage
        self._region = region

    async def handle(self, request: web.Request, claim: Claim | None) -> web.StreamResponse:
        """Answer a request; without a claim its URL is signed in Version 2."""
        request[OPERATION] = f"s3:{request.method}"
        try:
            return await self._carry_out(request, claim)
        except Refused as refused:
            return object_refusal(refused, request.method)
        except ObjectError as error:
            return object_error(request.method, error.status, error.code, str(error))

    async def _carry_out(self, request: web.Request, claim: Claim | None) -> web.StreamResponse:
        if claim is None:
            region, signed = self._region, UNSIGNED
            key = await self._admission.admit_v2(request)
        else:
            region, signed = claim.scope.region, payload_hash(request, claim)
            key = await self._admission.admit(request, claim, signed)
        request[CLIENT] = key.principal.arn
        path, query = split_target(request)
        bucket, name = split_path(path)
        if not name or len(name.encode()) > KEY_BYTES_MAX:
            message = "Only objects are served, with keys of at most 1024 bytes."
            raise ObjectError(501, "NotImplemented", message)
        action = _ACTIONS.get(request.method)
        if action is None or any(_steers(name) for name in query_values(query)):
            raise ObjectError(501, "NotImplemented", f"{request.method} of objects is not served.")
        authorize(key.principal, Query(action, f"arn:aws:s3:::{bucket}/{name}"))
        plane = self._planes.get(key.principal.account, region)
        if request.method == "PUT":
            content, etag = await self._receive(request, claim, key, signed)
            plane.put_object(bucket, name, content)
            await self._storage.kept()
            return web.Response(headers={"ETag": f'"{etag}"'})
        found = plane.objects.get(bucket, name)
        await self._storage.kept()
        if found is None:
            raise ObjectError(404, "NoSuchKey", "The specified key does not exist.")
        return await send(request, found)

    async def _receive(
        self, request: web.Request, claim: Claim | None, key: AccessKey, signed: str
    ) -> tuple[Content, str]:
        """The body as a file, once it is what was signed and what its checksums say."""
        declared = {name.lower(): value for name, value in request.headers.items()}
        if claim is not None and signed.startswith(_STREAMING):
            signer = ChunkSigner(key.secret, claim) if signed.startswith(_SIGNED_CHUNKS) else None
            body = aws_chunked(request.content, declared, signer)
        else:
            body = plain(request.content)
        upload = Upload(self._storage.files)
        try:
            async for data in body:
                upload.write(data)
            if _SHA256.fullmatch(signed) and upload.sha256 != signed:
                message = (
                    "The provided 'x-amz-content-sha256' header does not match what was computed."
                )
                raise Refused(Reason.WRONG_BODY, message)
            return await asyncio.to_thread(upload.finish, declared), upload.etag
        except (Corrupt, asyncio.IncompleteReadError, ValueError) as error:
            raise ObjectError(400, "BadDigest", str(error)) from None
        finally:
            upload.abandon()


def _steers(name: str) -> bool:
    """Whether a parameter asks for another operation, such as `?acl`, than the method does."""
    lower = name.lower()
    return not lower.startswith(("x-", "response-")) and name not in SIGNATURE_NAMES


def payload_hash(request: web.Request, claim: Claim) -> str:
    """What is signed in the place of the body's hash. Raises `ObjectError`."""
    given = request.headers.get("X-Amz-Content-Sha256")
    if given is not None:
        return given
    if claim.expires_s is not None:
        return UNSIGNED
    message = "Missing required header for this request: x-amz-content-sha256"
    raise ObjectError(400, "InvalidRequest", message)
