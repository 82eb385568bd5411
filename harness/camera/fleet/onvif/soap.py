"""SOAP 1.2 as ONVIF devices speak it: bounded parsing, faults, WS-UsernameToken. No I/O.

A request may not hold a document type, so no entity can grow; its size, depth and number of
elements are bounded.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from harness.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST_BYTES_MAX = 64 << 10
DEPTH_MAX = 32
ELEMENTS_MAX = 1000
TOKEN_AGE_S_MAX = 300.0
NONCES_MAX = 1024

ENVELOPE = "http://www.w3.org/2003/05/soap-envelope"
SECURITY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
UTILITY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
DISCOVERY = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
DEVICE = "http://www.onvif.org/ver10/device/wsdl"
MEDIA = "http://www.onvif.org/ver10/media/wsdl"
SCHEMA = "http://www.onvif.org/ver10/schema"
NETWORK = "http://www.onvif.org/ver10/network/wsdl"
ERROR = "http://www.onvif.org/ver10/error"
PREFIXES = {
    "env": ENVELOPE,
    "wsa": ADDRESSING,
    "wsd": DISCOVERY,
    "tds": DEVICE,
    "trt": MEDIA,
    "tt": SCHEMA,
    "dn": NETWORK,
    "ter": ERROR,
}


class SoapFault(PeerError):
    """What is answered instead: `code` is Sender or Receiver, `subcodes` are ONVIF's."""

    def __init__(self, reason: str, *subcodes: str, code: str = "Sender") -> None:
        super().__init__(reason, hint="SOAP 1.2, part 1, 5.4; ONVIF core specification, 5.8.2")
        self.reason = reason
        self.code = code
        self.subcodes = subcodes

    @property
    def status(self) -> int:
        """Of the HTTP response (SOAP 1.2, part 2, 7.5.2)."""
        return 400 if self.code == "Sender" else 500

    def to_xml(self) -> str:
        inner = ""
        for subcode in reversed(self.subcodes):
            inner = tag("env:Subcode", tag("env:Value", escape(subcode)) + inner)
        code = tag("env:Code", tag("env:Value", f"env:{self.code}") + inner)
        text = tag("env:Text", escape(self.reason), **{"xml:lang": "en"})
        return tag("env:Fault", code + tag("env:Reason", text))


def malformed(reason: str) -> SoapFault:
    return SoapFault(reason, "ter:WellFormed")


@dataclass(frozen=True, slots=True)
class UsernameToken:
    """WS-Security UsernameToken profile 1.0; `created` is as it came, for the digest."""

    username: str
    password: str
    digest: bool
    nonce: bytes
    created: str


@dataclass(frozen=True, slots=True)
class SoapRequest:
    """One operation. `message_id` is WS-Addressing's, empty where there is none."""

    namespace: str
    operation: str
    body: Element
    token: UsernameToken | None
    message_id: str

    def text(self, *path: str) -> str:
        """Text of the first element at `path` below the operation, by local names; or empty."""
        found: Element | None = self.body
        for name in path:
            found = None if found is None else child(found, name)
        return "" if found is None else (found.text or "").strip()


def parse(data: bytes) -> SoapRequest:
    """Raises `SoapFault` for what is no SOAP request, or beyond bounds."""
    root = _tree(data)
    if root.tag != f"{{{ENVELOPE}}}Envelope":
        raise malformed("not a SOAP 1.2 envelope")
    header, body = child(root, "Header"), child(root, "Body")
    if body is None or len(body) != 1:
        raise malformed("a SOAP body with one operation is wanted")
    namespace, _, operation = body[0].tag.removeprefix("{").rpartition("}")
    message_id = "" if header is None else _text(header, "MessageID")
    return SoapRequest(namespace, operation, body[0], _token(header), message_id)


def child(parent: Element, name: str) -> Element | None:
    """The first child with that local name, of whatever namespace."""
    return next((item for item in parent if item.tag.rpartition("}")[2] == name), None)


def tag(name: str, inside: str = "", **attributes: str) -> str:
    """An element; `inside` is XML already."""
    shown = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{shown}>{inside}</{name}>" if inside else f"<{name}{shown}/>"


def envelope(body: str, header: str = "") -> bytes:
    """A message; prefixes are those of `PREFIXES`."""
    names = {f"xmlns:{prefix}": uri for prefix, uri in PREFIXES.items()}
    inside = (tag("env:Header", header) if header else "") + tag("env:Body", body)
    text = f'<?xml version="1.0" encoding="UTF-8"?>{tag("env:Envelope", inside, **names)}'
    return text.encode()


class TokenCheck:
    """Whether a token proves a user: digest of nonce, time and password, fresh and not seen."""

    def __init__(
        self, username: str, password: str, now: Callable[[], datetime] | None = None
    ) -> None:
        self._username = username
        self._password = password
        self._now = now or (lambda: datetime.now(UTC))
        self._seen: deque[tuple[bytes, str]] = deque(maxlen=NONCES_MAX)

    def accepts(self, token: UsernameToken | None) -> bool:
        if not self._username:
            return True
        if token is None or not hmac.compare_digest(token.username.encode(), self._user):
            return False
        if not token.digest:
            return hmac.compare_digest(token.password.encode(), self._password.encode())
        return self._accepts_digest(token)

    @property
    def _user(self) -> bytes:
        return self._username.encode()

    def _accepts_digest(self, token: UsernameToken) -> bool:
        wanted = password_digest(token.nonce, token.created, self._password)
        if not hmac.compare_digest(token.password.encode(), wanted.encode()):
            return False
        try:
            created = datetime.fromisoformat(token.created.replace("Z", "+00:00"))
        except ValueError:
            return False
        created = created if created.tzinfo is not None else created.replace(tzinfo=UTC)
        if abs((self._now() - created).total_seconds()) > TOKEN_AGE_S_MAX:
            return False
        seen = (token.nonce, token.created)
        if seen in self._seen:
            return False
        self._seen.append(seen)
        return True


def password_digest(nonce: bytes, created: str, password: str) -> str:
    """Base64(SHA-1(nonce + created + password)) of the UsernameToken profile; not a choice."""
    data = nonce + created.encode() + password.encode()
    return base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def _tree(data: bytes) -> Element:
    if len(data) > REQUEST_BYTES_MAX:
        raise malformed(f"more than {REQUEST_BYTES_MAX} bytes")
    builder, depth, count = TreeBuilder(), 0, 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        if depth > DEPTH_MAX or count > ELEMENTS_MAX:
            raise malformed("too many elements, or too deep")
        builder.start(_clark(name), attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_clark(name))

    def refuse(*_: object) -> None:
        raise malformed("a document type is not allowed")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise malformed(f"not well formed: {error}") from error
    return builder.close()


def _clark(name: str) -> str:
    return f"{{{name}" if "}" in name else name


def _text(parent: Element, name: str) -> str:
    found = child(parent, name)
    return "" if found is None else (found.text or "").strip()


def _token(header: Element | None) -> UsernameToken | None:
    security = None if header is None else child(header, "Security")
    given = None if security is None else child(security, "UsernameToken")
    if given is None:
        return None
    password = child(given, "Password")
    kind = "" if password is None else password.get("Type", "")
    try:
        nonce = base64.b64decode(_text(given, "Nonce"), validate=True)
    except (binascii.Error, ValueError):
        nonce = b""
    return UsernameToken(
        username=_text(given, "Username"),
        password=_text(given, "Password"),
        digest=kind.endswith("#PasswordDigest"),
        nonce=nonce,
        created=_text(given, "Created"),
    )
