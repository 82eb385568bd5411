"""Who a request is from and for: the credential scope of Signature Version 4.

Requests are routed by the service name in the scope, so that one endpoint serves them all. The
signature itself is not verified here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHM = "AWS4-HMAC-SHA256"
_CREDENTIAL = re.compile(
    r"(?P<key>[\w-]{1,128})/(?P<date>\d{8})/(?P<region>[\w-]{1,64})/(?P<service>[\w-]{1,64})"
    r"/aws4_request"
)
_ACCOUNT = re.compile(r"\d{12}")


@dataclass(frozen=True, slots=True)
class Scope:
    """An access key that is an account number names the account, as local AWS fakes do."""

    access_key: str
    date: str
    region: str
    service: str

    @property
    def account(self) -> str | None:
        return self.access_key if _ACCOUNT.fullmatch(self.access_key) else None


def read_scope(headers: Mapping[str, str], query: Mapping[str, str]) -> Scope | None:
    """From the Authorization header, or the query of a presigned URL."""
    header = headers.get("Authorization", "")
    if header.startswith(ALGORITHM):
        match = re.search(r"Credential=([^,\s]+)", header)
        credential = match[1] if match else ""
    else:
        credential = query.get("X-Amz-Credential", "")
    match = _CREDENTIAL.fullmatch(credential)
    return Scope(match["key"], match["date"], match["region"], match["service"]) if match else None


def unsigned_header(service: str, account: str, region: str) -> str:
    """An Authorization header that routes a request and claims no signature."""
    scope = f"{account}/19700101/{region}/{service}/aws4_request"
    return f"{ALGORITHM} Credential={scope}, SignedHeaders=host, Signature=unsigned"
