"""What a request says of its signature: the header form and the presigned form, read strictly."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

from harness.cloud.access.refusal import Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
PRESIGNED_S = 900  # when a presigned URL does not say how long it is good for
PRESIGNED_MAX_S = 7 * 86400
_TIME = "%Y%m%dT%H%M%SZ"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^,\s]*)\s*,\s*SignedHeaders=([^,\s]*)\s*,\s*Signature=([^,\s]*)"
)
_NAMES = ("Credential", "SignedHeaders", "Signature")
_PART = re.compile(r"[\w.-]{1,128}", re.ASCII)
_SIGNED_MAX = 100


@dataclass(frozen=True, slots=True)
class Scope:
    """A credential scope: it routes a request to a service, a region and an account's key."""

    access_key: str
    date: str
    region: str
    service: str

    @property
    def text(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{TERMINATOR}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A signature as a request presents it, not yet believed.

    `time` is the ISO 8601 basic form that was signed. `expires_s` is the life of a presigned
    URL, None for the header form. `signed` are the names of the signed headers, lower case.
    """

    scope: Scope
    signed: tuple[str, ...]
    signature: str
    time: str
    token: str | None
    expires_s: int | None = None

    @property
    def time_s(self) -> float:
        return parse_time(self.time)


@functools.lru_cache(maxsize=256)
def parse_time(text: str) -> float:
    """Seconds since the epoch. Raises `ValueError`."""
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp()


def read_claim(headers: Mapping[str, str], raw_query: str) -> Claim:
    """The claim of a request. Raises `Refused` when there is none, or half of one."""
    header = headers.get("Authorization")
    if header is not None:
        return _from_header(header, headers)
    if "X-Amz-" in raw_query:
        return _from_query(query_values(raw_query))
    raise Refused(Reason.MISSING, "Missing Authentication Token")


def query_values(raw_query: str) -> dict[str, str]:
    """Parameters by name, decoded as a signer means them: `+` is a plus."""
    pairs = (part.partition("=") for part in raw_query.split("&") if part)
    return {unquote(name): unquote(value) for name, _, value in pairs}


def _from_header(header: str, headers: Mapping[str, str]) -> Claim:
    match = _AUTHORIZATION.fullmatch(header.strip())
    if match is None:
        raise Refused(Reason.INCOMPLETE, _why_not(header))
    credential, signed, signature = match.groups()
    return Claim(
        _scope(credential), _signed(signed), signature, _header_time(headers),
        headers.get("X-Amz-Security-Token"),
    )  # fmt: skip


def _why_not(header: str) -> str:
    """What an Authorization header lacks. Its values are left out: they may be secrets."""
    algorithm, _, rest = header.partition(" ")
    if algorithm != ALGORITHM:
        return f"Unsupported AWS 'algorithm': '{algorithm[:64]}'."
    missing = [name for name in _NAMES if f"{name}=" not in rest]
    if not missing:
        return "Authorization header is not of the form Credential=, SignedHeaders=, Signature=."
    return " ".join(f"Authorization header requires '{name}' parameter." for name in missing)


def _header_time(headers: Mapping[str, str]) -> str:
    given = headers.get("X-Amz-Date")
    if given is not None:
        return _valid_time(given, "X-Amz-Date")
    date = headers.get("Date")
    if date is None:
        message = (
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        )
        raise Refused(Reason.INCOMPLETE, message)
    try:
        return parsedate_to_datetime(date).astimezone(UTC).strftime(_TIME)
    except (ValueError, OverflowError):
        return _valid_time(date, "Date")


def _from_query(query: Mapping[str, str]) -> Claim:
    names = ("Algorithm", "Credential", "Date", "SignedHeaders", "Signature")
    missing = [f"'X-Amz-{name}'" for name in names if not query.get(f"X-Amz-{name}")]
    if missing:
        message = f"AWS query-string parameters must include {', '.join(missing)}."
        raise Refused(Reason.INCOMPLETE, message)
    if query["X-Amz-Algorithm"] != ALGORITHM:
        raise Refused(Reason.INCOMPLETE, "Unsupported AWS 'algorithm'.")
    expires = query.get("X-Amz-Expires", str(PRESIGNED_S))
    if not re.fullmatch(r"\d{1,6}", expires, re.ASCII) or int(expires) > PRESIGNED_MAX_S:
        message = f"X-Amz-Expires must be a number of seconds of at most {PRESIGNED_MAX_S}."
        raise Refused(Reason.INCOMPLETE, message)
    return Claim(
        _scope(query["X-Amz-Credential"]),
        _signed(query["X-Amz-SignedHeaders"]),
        query["X-Amz-Signature"],
        _valid_time(query["X-Amz-Date"], "X-Amz-Date"),
        query.get("X-Amz-Security-Token"),
        int(expires),
    )


def _scope(credential: str) -> Scope:
    parts = credential.split("/")
    if len(parts) != 5 or not all(map(_PART.fullmatch, parts)):
        form = "KEY/DATE/REGION/SERVICE/aws4_request"
        message = f"Credential must have exactly 5 slash-delimited elements: {form}."
        raise Refused(Reason.INCOMPLETE, message)
    if parts[4] != TERMINATOR:
        message = f"Credential should be scoped with a valid terminator: '{TERMINATOR}'."
        raise Refused(Reason.MALFORMED, message)
    return Scope(*parts[:4])


def _signed(text: str) -> tuple[str, ...]:
    names = tuple(text.split(";"))
    if len(names) > _SIGNED_MAX or "host" not in names:
        raise Refused(
            Reason.INCOMPLETE, "'Host' must be a 'SignedHeader' in the AWS Authorization."
        )
    return names


def _valid_time(text: str, name: str) -> str:
    try:
        parse_time(text)
    except ValueError:
        message = f"Date must be in ISO-8601 'basic format'. Got '{text[:32]}' in '{name}'."
        raise Refused(Reason.INCOMPLETE, message) from None
    return text
