"""Signs requests, as a client does."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from harness.cloud.access.scope import ALGORITHM, Claim, Scope
from harness.cloud.access.signature import request_signature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cloud.access.keyring import AccessKey


def signed_headers(
    key: AccessKey,
    region: str,
    service: str,
    method: str,
    target: str,
    headers: Mapping[str, str],
    payload_sha256: str,
    now_s: float,
) -> dict[str, str]:
    """The headers to send: those given (`Host` among them, all signed) and the signature.

    `target` is path and query as on the wire. An invocation id tells two equal requests of the
    same second apart, as SDKs do.
    """
    text = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    sent = {
        **headers,
        "X-Amz-Date": text,
        "X-Amz-Content-Sha256": payload_sha256,
        "amz-sdk-invocation-id": str(uuid.uuid4()),
    }
    if key.token is not None:
        sent["X-Amz-Security-Token"] = key.token
    lowered = {name.lower(): value for name, value in sent.items()}
    names = tuple(sorted(lowered))
    claim = Claim(Scope(key.id, text[:8], region, service), names, "", text, key.token)
    path, _, query = target.partition("?")
    signature = request_signature(key.secret, claim, method, path, query, lowered, payload_sha256)
    sent["Authorization"] = (
        f"{ALGORITHM} Credential={key.id}/{claim.scope.text}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return sent
