"""Which operation of S3 a request is, by method, target and sub-resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from harness.cloud.access.query_v2 import SIGNATURE_NAMES
from harness.cloud.access.refusal import Refused
from harness.cloud.access.scope import query_values
from harness.cloud.access.signature import UNSIGNED
from harness.cloud.front.admission import split_target
from harness.cloud.front.http_object import split_path
from harness.cloud.front.listener import CLIENT, OPERATION
from harness.cloud.front.refusal import ObjectError, object_error, object_refusal
from harness.cloud.front.s3 import buckets, objects
from harness.cloud.front.s3.call import Call, payload_hash
from harness.cloud.front.s3.multipart import Multipart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import web

    from harness.cloud.access.scope import Claim
    from harness.cloud.front.admission import Admission
    from harness.cloud.front.planes import Planes
    from harness.cloud.storage.storage import Storage

KEY_BYTES_MAX = 1024  # S3's limit
Operation: TypeAlias = "Callable[[Call], Awaitable[web.StreamResponse]]"
_PLAIN = frozenset(  # parameters that change how an operation answers, not which it is
    (
        "prefix", "delimiter", "marker", "max-keys", "encoding-type", "continuation-token",
        "start-after", "fetch-owner", "key-marker", "upload-id-marker", "max-uploads",
        "part-number-marker", "max-parts", "partNumber", "uploadId", "max-buckets",
        "bucket-region", *SIGNATURE_NAMES,
    )
)  # fmt: skip


class S3:
    """Buckets and objects of the account that a request is signed for.

    A presigned URL in Signature Version 2 names no region: it is for `region`.
    """

    def __init__(self, planes: Planes, admission: Admission, storage: Storage, region: str) -> None:
        self._planes = planes
        self._admission = admission
        self._storage = storage
        self._region = region
        self.multipart = Multipart(planes)
        self._operations = self._table()

    def _table(self) -> Mapping[tuple[str, str, str], tuple[str, Operation]]:
        """What it is about, method and sub-resource -> name and operation."""
        parts = self.multipart
        return {
            ("service", "GET", ""): ("ListBuckets", buckets.list_buckets),
            ("bucket", "PUT", ""): ("CreateBucket", buckets.create_bucket),
            ("bucket", "HEAD", ""): ("HeadBucket", buckets.head_bucket),
            ("bucket", "DELETE", ""): ("DeleteBucket", buckets.delete_bucket),
            ("bucket", "GET", ""): ("ListObjects", buckets.list_objects),
            ("bucket", "GET", "list-type"): ("ListObjectsV2", buckets.list_objects_v2),
            ("bucket", "GET", "location"): ("GetBucketLocation", buckets.location),
            ("bucket", "GET", "versioning"): ("GetBucketVersioning", buckets.versioning),
            ("bucket", "GET", "policy"): ("GetBucketPolicy", buckets.get_policy),
            ("bucket", "PUT", "policy"): ("PutBucketPolicy", buckets.put_policy),
            ("bucket", "DELETE", "policy"): ("DeleteBucketPolicy", buckets.delete_policy),
            ("bucket", "POST", "delete"): ("DeleteObjects", buckets.delete_objects),
            ("bucket", "GET", "uploads"): ("ListMultipartUploads", parts.list_uploads),
            ("object", "PUT", ""): ("PutObject", objects.put_object),
            ("object", "PUT", "copy"): ("CopyObject", objects.copy_object),
            ("object", "GET", ""): ("GetObject", objects.get_object),
            ("object", "HEAD", ""): ("HeadObject", objects.get_object),
            ("object", "DELETE", ""): ("DeleteObject", objects.delete_object),
            ("object", "POST", "uploads"): ("CreateMultipartUpload", parts.create),
            ("object", "PUT", "uploadId"): ("UploadPart", parts.upload_part),
            ("object", "POST", "uploadId"): ("CompleteMultipartUpload", parts.complete),
            ("object", "DELETE", "uploadId"): ("AbortMultipartUpload", parts.abort),
            ("object", "GET", "uploadId"): ("ListParts", parts.list_parts),
        }

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
        call = await self._call(request, claim)
        target = "object" if call.name else "bucket" if call.bucket else "service"
        found = self._operations.get((target, request.method, _subresource(call)))
        if found is None:
            message = f"{request.method} of a {target} with {dict(call.query)} is not served."
            raise ObjectError(501, "NotImplemented", message)
        name, operation = found
        request[OPERATION] = f"s3:{name}"
        try:
            return await operation(call)
        finally:  # whatever the answer says is on disk before it leaves
            await self._storage.kept()

    async def _call(self, request: web.Request, claim: Claim | None) -> Call:
        if claim is None:
            region, signed = self._region, UNSIGNED
            key = await self._admission.admit_v2(request)
        else:
            region, signed = claim.scope.region, payload_hash(request, claim)
            key = await self._admission.admit(request, claim, signed)
        request[CLIENT] = key.principal.arn
        path, query = split_target(request)
        bucket, name = split_path(path)
        if len(name.encode()) > KEY_BYTES_MAX:
            raise ObjectError(400, "KeyTooLongError", "Your key is too long")
        values = query_values(query)
        return Call(
            request, key, claim, region, signed, bucket, name, values, self._planes, self._storage
        )


def _subresource(call: Call) -> str:
    """What the parameters ask for beside the object or bucket itself."""
    if "uploadId" in call.query:
        return "uploadId"
    if call.name and call.request.method == "PUT" and "x-amz-copy-source" in call.request.headers:
        return "copy"
    named = [name for name in call.query if name not in _PLAIN]
    return next((name for name in named if not name.lower().startswith(("x-", "response-"))), "")
