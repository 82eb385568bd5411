"""Which requests to the neighbouring services are kept, and in which form."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.cloud.neighbour.protocol import ACCOUNT_HEADER

if TYPE_CHECKING:
    from harness.cloud.storage.requests import ChangingRequest

# By signing name: what adds data, or takes it away, and changes nothing else.
DATA = frozenset(
    {
        ("logs", "PutLogEvents"),
        ("monitoring", "PutMetricData"),
        ("sns", "Publish"),
        ("sns", "PublishBatch"),
        ("events", "PutEvents"),
        *(
            ("sqs", action + many)
            for action in ("SendMessage", "DeleteMessage", "ChangeMessageVisibility")
            for many in ("", "Batch")
        ),
        ("sqs", "ReceiveMessage"),
    }
)
_HEADERS = frozenset(
    {
        "accept", "authorization", "content-encoding", "content-type", "host", "smithy-protocol",
        "x-amz-target", ACCOUNT_HEADER.lower(),
    }
)  # fmt: skip
_SIGNATURE = re.compile(r"Signature=[0-9a-f]+")
_RECEIVES = re.compile(r"\bReceiveMessage\b")
_WAIT = re.compile(rb'(WaitTimeSeconds"?\s*[:=]\s*)(\d{1,9})')


def kept_form(request: ChangingRequest, answer: bytes) -> ChangingRequest | None:
    """The request with what it takes to be understood again; None when it need not be.

    The signature, which has been checked, is left out. That messages are received is kept only
    when there were some.
    """
    headers = {
        name: _SIGNATURE.sub("Signature=0", value)
        for name, value in request.headers.items()
        if name.lower() in _HEADERS
    }
    if request.data and _receives(request) and not has_messages(answer):
        return None
    return replace(request, headers=headers)


def without_waiting(body: bytes) -> tuple[bytes, float]:
    """A request for messages that takes those there are; how long it wanted to wait for some."""
    found = _WAIT.search(body)
    return _WAIT.sub(rb"\g<1>0", body), float(found[2]) if found else 0.0


def has_messages(answer: bytes) -> bool:
    return b"ReceiptHandle" in answer


def _receives(request: ChangingRequest) -> bool:
    named = {name.lower(): value for name, value in request.headers.items()}
    target = named.get("x-amz-target", "")
    return bool(_RECEIVES.search(target)) or b"Action=ReceiveMessage" in request.body
