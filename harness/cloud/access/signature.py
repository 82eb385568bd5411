"""Signature Version 4 computed: the one algorithm behind signing, verifying and chunks.

Every request is verified, so this is on the hot path: HMAC and SHA-256 are the standard
library's, the keys derived from a secret are remembered. botocore's signers are the reference
that the tests compare with; they take three times as long.

Source: AWS IAM User Guide, "Create a signed AWS API request"; for chunks the Amazon S3 API
Reference, "Signature calculations: transferring a payload in multiple chunks".
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from harness.cloud.access.scope import ALGORITHM, TERMINATOR, Claim, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
_KEYS_MAX = 1024
_SAFE = "-_.~"
_UNRESERVED = re.compile(r"[\w.~-]*", re.ASCII)  # encoded it is as it was
_UNRESERVED_PATH = re.compile(r"/[\w.~/-]*", re.ASCII)


@functools.lru_cache(maxsize=_KEYS_MAX)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def request_signature(
    secret: str,
    claim: Claim,
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    payload_sha256: str,
) -> str:
    """The signature that `claim` should carry, as lower-case hex.

    `raw_path` and `raw_query` are as on the wire. A header that occurs more than once is joined
    by commas in `headers`; one that is missing counts as empty.
    """
    query = _canonical_query(raw_query) if raw_query else ""
    lines = "".join(f"{name}:{_trimmed(headers.get(name, ''))}\n" for name in claim.signed)
    path = _object_path(raw_path) if claim.scope.service == "s3" else _canonical_path(raw_path)
    names = ";".join(claim.signed)
    canonical = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload_sha256}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return _sign(secret, claim.scope, f"{ALGORITHM}\n{claim.time}\n{claim.scope.text}\n{digest}")


class ChunkSigner:
    """The signatures of a body sent in signed chunks, each continuing the one before."""

    def __init__(self, secret: str, claim: Claim) -> None:
        self._secret = secret
        self._claim = claim
        self._previous = claim.signature

    def chunk(self, sha256: str) -> str:
        """Of the next chunk, by the hash of its data; the last chunk has none."""
        return self._next("PAYLOAD", f"{EMPTY_SHA256}\n{sha256}")

    def trailer(self, sha256: str) -> str:
        """Of the trailing headers, by the hash of their lines."""
        return self._next("TRAILER", sha256)

    def _next(self, kind: str, rest: str) -> str:
        claim = self._claim
        head = f"{ALGORITHM}-{kind}\n{claim.time}\n{claim.scope.text}"
        self._previous = _sign(self._secret, claim.scope, f"{head}\n{self._previous}\n{rest}")
        return self._previous


def _sign(secret: str, scope: Scope, text: str) -> str:
    key = signing_key(secret, scope.date, scope.region, scope.service)
    return hmac.digest(key, text.encode(), "sha256").hex()


def _trimmed(value: str) -> str:
    return " ".join(value.split()) if " " in value else value.strip()


def _canonical_query(raw_query: str) -> str:
    """Every name and value encoded anew and sorted; the signature itself is left out."""
    pairs = []
    for part in raw_query.split("&"):
        name, _, value = part.partition("=")
        name = _encoded_anew(name)
        if part and name != "X-Amz-Signature":
            pairs.append((name, _encoded_anew(value)))
    pairs.sort()
    return "&".join(f"{name}={value}" for name, value in pairs)


def _encoded_anew(text: str) -> str:
    return text if _UNRESERVED.fullmatch(text) else quote(unquote(text), safe=_SAFE)


def _object_path(raw_path: str) -> str:
    """S3: the key never normalized and encoded once, which it is on the wire if that is valid."""
    if quote(raw_path, safe="%/" + _SAFE) == raw_path:
        return raw_path
    return quote(unquote(raw_path), safe="/" + _SAFE)


def _canonical_path(raw_path: str) -> str:
    """All other services: normalized, and what is encoded already encoded again."""
    if "//" in raw_path or "/." in raw_path:
        raw_path = _without_dots(raw_path)
    if _UNRESERVED_PATH.fullmatch(raw_path):
        return raw_path
    return quote(raw_path or "/", safe="/" + _SAFE)


def _without_dots(path: str) -> str:
    kept: list[str] = []
    parts = path.split("/")
    for part in parts:
        if part == "..":
            kept = kept[:-1]
        elif part not in ("", "."):
            kept.append(part)
    slash = "/" if kept and parts[-1] in ("", ".", "..") else ""
    return "/" + "/".join(kept) + slash
