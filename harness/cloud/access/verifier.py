"""Decides whether a request is signed by who it says, lately, untouched, and for the first time.

The order of the questions is AWS's: is there a signature, is the key known, is the time right,
does the signature match, is the session still valid. Time is the wall clock's, as the clients'.

AWS itself lets a copy of a request in again for some minutes. Here a header-signed request that
changes something is carried out once: a copy of it, byte for byte, is refused. What an SDK sends
again, or sends twice in one second, carries another invocation id or attempt number; botocore
does not sign those two headers, so whoever copies a request and changes them passes, as with
AWS. Presigned URLs are made to be used by who holds them, as often as they like within their
life, and reads change nothing: both may repeat.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING

from harness.cloud.access.refusal import Reason, Refused
from harness.cloud.access.signature import request_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.cloud.access.keyring import AccessKey
    from harness.cloud.access.scope import Claim

SKEW_MAX_S = 900.0
REMEMBERED_MAX = 200_000  # requests of one generation; beyond it memory is shorter than the skew
_ATTEMPT = ("amz-sdk-invocation-id", "amz-sdk-request")
_BODY_HASH = "x-amz-content-sha256"  # is in what is signed anyway
_FORMAT = "%Y%m%dT%H%M%SZ"
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. "
    "Consult the service documentation for details."
)


class Verifier:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen = _Seen()

    def verify(
        self,
        key: AccessKey | None,
        claim: Claim,
        method: str,
        raw_path: str,
        raw_query: str,
        headers: Mapping[str, str],
        payload_sha256: str,
    ) -> AccessKey:
        """The key of a request that may pass. Raises `Refused`."""
        if key is None:
            message = "The security token included in the request is invalid."
            raise Refused(Reason.UNKNOWN_KEY, message)
        now_s = self._clock()
        self._check_time(claim, now_s)
        _check_signed(claim, headers)
        expected = request_signature(
            key.secret, claim, method, raw_path, raw_query, headers, payload_sha256
        )
        if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
            raise Refused(Reason.MISMATCH, MISMATCH)
        _check_session(key, claim, now_s)
        return key

    def once(self, claim: Claim, headers: Mapping[str, str]) -> None:
        """Admit a request that changes something, once. Raises `Refused`."""
        if claim.expires_s is not None:
            return
        parts = (claim.signature, *(headers.get(name, "") for name in _ATTEMPT))
        if self._seen.again("\0".join(parts), self._clock()):
            message = "A request with this signature was carried out before: sign each one anew."
            raise Refused(Reason.REPLAYED, message)

    def _check_time(self, claim: Claim, now_s: float) -> None:
        if claim.time[:8] != claim.scope.date:
            message = (
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
                f"from HTTP: '{claim.scope.date}' != '{claim.time[:8]}', from '{claim.time}'."
            )
            raise Refused(Reason.MISMATCH, message)
        signed_s = claim.time_s
        if signed_s > now_s + SKEW_MAX_S:
            message = (
                f"Signature not yet current: {claim.time} is still later than "
                f"{_text(now_s + SKEW_MAX_S)} ({_text(now_s)} + 15 min.)"
            )
            raise Refused(Reason.SKEWED, message)
        if claim.expires_s is not None:
            if now_s > signed_s + claim.expires_s:
                raise Refused(Reason.EXPIRED_URL, "Request has expired")
        elif signed_s < now_s - SKEW_MAX_S:
            message = (
                f"Signature expired: {claim.time} is now earlier than "
                f"{_text(now_s - SKEW_MAX_S)} ({_text(now_s)} - 15 min.)"
            )
            raise Refused(Reason.SKEWED, message)


def _check_signed(claim: Claim, headers: Mapping[str, str]) -> None:
    """What steers a request must be signed: else it could be changed, or added, on the way."""
    for name in headers:
        lower = name.lower()
        if lower.startswith("x-amz-") and lower not in claim.signed and lower != _BODY_HASH:
            message = f"There were headers present in the request which were not signed: {lower}"
            raise Refused(Reason.MISMATCH, message)


def _check_session(key: AccessKey, claim: Claim, now_s: float) -> None:
    if (claim.token or None) != key.token:
        raise Refused(Reason.BAD_TOKEN, "The security token included in the request is invalid.")
    if key.expires_s is not None and now_s >= key.expires_s:
        raise Refused(Reason.EXPIRED_TOKEN, "The security token included in the request is expired")


def _text(time_s: float) -> str:
    return time.strftime(_FORMAT, time.gmtime(time_s))


class _Seen:
    """Requests of the last twice `SKEW_MAX_S`, in two generations that take turns."""

    def __init__(self) -> None:
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        self._turn_s = 0.0

    def again(self, request: str, now_s: float) -> bool:
        if now_s - self._turn_s > 2 * SKEW_MAX_S or len(self._young) >= REMEMBERED_MAX:
            self._old, self._young, self._turn_s = self._young, set(), now_s
        mark = hashlib.blake2b(request.encode(), digest_size=16).digest()
        if mark in self._young or mark in self._old:
            return True
        self._young.add(mark)
        return False
