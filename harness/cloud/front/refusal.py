"""How each protocol says that a request is not admitted: codes, statuses and bodies.

Clients tell the reason by the code, and every family of services has codes of its own. Sources:
"Common error types" in the API references of AWS Panorama, IAM, CloudWatch Logs; "Error
responses" in that of Amazon S3.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, TypeAlias
from xml.sax.saxutils import escape

from aiohttp import web

from harness.cloud.access.refusal import Reason
from harness.cloud.api.wire import CONTENT_TYPE, ERROR_HEADER
from harness.errors import PeerRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cloud.access.refusal import Refused

_Codes: TypeAlias = "Mapping[Reason, tuple[int, str]]"

_JSON: _Codes = {
    Reason.MISSING: (403, "MissingAuthenticationTokenException"),
    Reason.INCOMPLETE: (403, "IncompleteSignatureException"),
    Reason.MALFORMED: (403, "InvalidSignatureException"),
    Reason.UNKNOWN_KEY: (403, "UnrecognizedClientException"),
    Reason.MISMATCH: (403, "InvalidSignatureException"),
    Reason.SKEWED: (403, "InvalidSignatureException"),
    Reason.EXPIRED_URL: (403, "InvalidSignatureException"),
    Reason.EXPIRED_TOKEN: (403, "ExpiredTokenException"),
    Reason.BAD_TOKEN: (403, "UnrecognizedClientException"),
    Reason.REPLAYED: (403, "InvalidSignatureException"),
    Reason.WRONG_BODY: (403, "InvalidSignatureException"),
    Reason.DENIED: (403, "AccessDeniedException"),
}
_QUERY: _Codes = {
    Reason.MISSING: (403, "MissingAuthenticationToken"),
    Reason.INCOMPLETE: (403, "IncompleteSignature"),
    Reason.MALFORMED: (403, "SignatureDoesNotMatch"),
    Reason.UNKNOWN_KEY: (403, "InvalidClientTokenId"),
    Reason.MISMATCH: (403, "SignatureDoesNotMatch"),
    Reason.SKEWED: (403, "SignatureDoesNotMatch"),
    Reason.EXPIRED_URL: (403, "SignatureDoesNotMatch"),
    Reason.EXPIRED_TOKEN: (403, "ExpiredToken"),
    Reason.BAD_TOKEN: (403, "InvalidClientTokenId"),
    Reason.REPLAYED: (403, "SignatureDoesNotMatch"),
    Reason.WRONG_BODY: (403, "SignatureDoesNotMatch"),
    Reason.DENIED: (403, "AccessDenied"),
}
_OBJECT: _Codes = {
    Reason.MISSING: (403, "AccessDenied"),
    Reason.INCOMPLETE: (400, "AuthorizationHeaderMalformed"),
    Reason.MALFORMED: (400, "AuthorizationHeaderMalformed"),
    Reason.UNKNOWN_KEY: (403, "InvalidAccessKeyId"),
    Reason.MISMATCH: (403, "SignatureDoesNotMatch"),
    Reason.SKEWED: (403, "RequestTimeTooSkewed"),
    Reason.EXPIRED_URL: (403, "AccessDenied"),
    Reason.EXPIRED_TOKEN: (400, "ExpiredToken"),
    Reason.BAD_TOKEN: (400, "InvalidToken"),
    Reason.REPLAYED: (403, "SignatureDoesNotMatch"),
    Reason.WRONG_BODY: (400, "XAmzContentSHA256Mismatch"),
    Reason.DENIED: (403, "AccessDenied"),
}


class ObjectError(PeerRefused):
    """An answer of S3 that says no; the message is for the client."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def rest_refusal(refused: Refused) -> web.Response:
    """As REST-JSON services answer: the code in a header, the message in the body."""
    status, code = _JSON[refused.reason]
    body = json.dumps({"Message": refused.message}).encode()
    headers = {ERROR_HEADER: code, "Content-Type": CONTENT_TYPE}
    return web.Response(status=status, headers=headers, body=body)


def object_refusal(refused: Refused, method: str) -> web.Response:
    """As S3 answers."""
    return object_error(method, *_OBJECT[refused.reason], refused.message)


def neighbour_refusal(refused: Refused, request: web.Request) -> web.Response:
    """As the neighbouring services answer: JSON to those who name a target, else XML."""
    if "X-Amz-Target" in request.headers:
        return json_error(*_JSON[refused.reason], refused.message)
    return query_error(*_QUERY[refused.reason], refused.message)


def json_error(status: int, code: str, message: str) -> web.Response:
    """Of the AWS JSON 1.0 and 1.1 protocols."""
    document = {"__type": code, "message": message, "Message": message}
    headers = {ERROR_HEADER: code, "Content-Type": "application/x-amz-json-1.1"}
    return web.Response(status=status, headers=headers, body=json.dumps(document).encode())


def query_error(status: int, code: str, message: str) -> web.Response:
    """Of the AWS query protocol."""
    kind = "Sender" if status < 500 else "Receiver"
    text = (
        f"<ErrorResponse><Error><Type>{kind}</Type><Code>{code}</Code>"
        f"<Message>{escape(message)}</Message></Error><RequestId>{uuid.uuid4()}</RequestId>"
        "</ErrorResponse>"
    )
    return web.Response(status=status, text=text, content_type="text/xml")


def object_error(method: str, status: int, code: str, message: str) -> web.Response:
    """Of S3: XML, and to HEAD the status alone."""
    if method == "HEAD":
        return web.Response(status=status)
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    )
    return web.Response(status=status, text=text, content_type="application/xml")
