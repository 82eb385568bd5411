"""Presigned URLs of S3 in Signature Version 2: what boto3 makes unless told otherwise.

Only URLs are taken in this form. Source: Amazon S3 Developer Guide, "Signing and authenticating
REST requests", section "Query string request authentication alternative".
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING

from harness.cloud.access.refusal import Reason, Refused
from harness.cloud.access.scope import query_values
from harness.cloud.access.verifier import MISMATCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cloud.access.keyring import AccessKey

SIGNATURE_NAMES = ("AWSAccessKeyId", "Expires", "Signature")
_RESOURCE = frozenset(
    (
        "acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber",
        "policy", "requestPayment", "restore", "tagging", "torrent", "uploadId", "uploads",
        "versionId", "versioning", "versions", "website", "response-cache-control",
        "response-content-disposition", "response-content-encoding", "response-content-language",
        "response-content-type", "response-expires",
    )
)  # fmt: skip
_EXPIRES_LENGTH_MAX = 12


def is_presigned_v2(raw_query: str) -> bool:
    return all(f"{name}=" in raw_query for name in SIGNATURE_NAMES)


def key_id(raw_query: str) -> str:
    return query_values(raw_query)["AWSAccessKeyId"]


def verify(
    key: AccessKey | None,
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    now_s: float,
) -> AccessKey:
    """The key of a URL that may be used now. Raises `Refused`."""
    if key is None:
        raise Refused(Reason.UNKNOWN_KEY, "The access key you provided does not exist.")
    query = query_values(raw_query)
    expires = query["Expires"]
    if not expires.isdigit() or len(expires) > _EXPIRES_LENGTH_MAX or now_s > int(expires):
        raise Refused(Reason.EXPIRED_URL, "Request has expired")
    text = _string_to_sign(method, raw_path, query, headers)
    expected = base64.b64encode(hmac.digest(key.secret.encode(), text.encode(), "sha1"))
    if not hmac.compare_digest(expected, query["Signature"].encode()):
        raise Refused(Reason.MISMATCH, MISMATCH)
    if (query.get("x-amz-security-token") or None) != key.token:
        raise Refused(Reason.BAD_TOKEN, "The provided token is malformed or otherwise invalid.")
    if key.expires_s is not None and now_s >= key.expires_s:
        raise Refused(Reason.EXPIRED_TOKEN, "The provided token has expired.")
    return key


def _string_to_sign(
    method: str, raw_path: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> str:
    """The headers that steer may stand in the query instead, as botocore puts them."""
    given = {name.lower(): value for name, value in (*query.items(), *headers.items())}
    plain = [given.get(name, "") for name in ("content-md5", "content-type")]
    amazon = [f"{name}:{given[name].strip()}" for name in sorted(given) if name[:6] == "x-amz-"]
    steering = sorted(name for name in query if name in _RESOURCE)
    resource = "&".join(name + (f"={query[name]}" if query[name] else "") for name in steering)
    path = f"{raw_path}?{resource}" if resource else raw_path
    return "\n".join((method, *plain, query["Expires"], *amazon, path))
