"""Why a request is not admitted, apart from how each protocol says so (`front.refusal`)."""

from __future__ import annotations

import enum

from harness.errors import PeerRefused


class Reason(enum.Enum):
    """What was wrong with the signature, the key or the permission of a request."""

    MISSING = "missing"  # not signed at all
    INCOMPLETE = "incomplete"  # the signature's parameters are not all there, or not readable
    MALFORMED = "malformed"  # they are there and contradict themselves or the endpoint
    UNKNOWN_KEY = "unknown-key"
    MISMATCH = "mismatch"  # the signature is another: wrong secret, or tampered with
    SKEWED = "skewed"  # signed too long ago, or in the future
    EXPIRED_URL = "expired-url"
    EXPIRED_TOKEN = "expired-token"
    BAD_TOKEN = "bad-token"
    REPLAYED = "replayed"
    WRONG_BODY = "wrong-body"  # another body than the one that was signed
    DENIED = "denied"  # who it is is known; it may not


class Refused(PeerRefused):
    """A request is not admitted. The message is for the client and holds no secret."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
