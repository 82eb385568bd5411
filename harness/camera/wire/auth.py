"""Basic and Digest authentication as cameras use them (RFC 2617, RFC 7616; RTSP's method and URI).

Digest MD5 without `qop` is what every client among those measured understands, so it is the
default, and alone: a second challenge with SHA-256 beside it breaks clients, in either order.
An answer with `qop=auth` is accepted as well. MD5 is what the protocol prescribes here, not a
choice. A challenge may expire; a reader that answers an expired one rightly is told so
(`stale=true`, RFC 7616, 3.3) and need not ask its user again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BASIC = "basic"
DIGEST = "digest"
DIGEST_SHA256 = "digest-sha256"
DIGEST_BOTH = "digest-both"  # MD5 first, then SHA-256: for testing readers
SCHEMES = (BASIC, DIGEST, DIGEST_SHA256, DIGEST_BOTH)
REALM = "camera"
MD5, SHA256 = "MD5", "SHA-256"
_ALGORITHMS = {DIGEST: (MD5,), DIGEST_SHA256: (SHA256,), DIGEST_BOTH: (MD5, SHA256)}
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who may watch. An empty user name lets anybody watch."""

    username: str
    password: str
    scheme: str = DIGEST
    nonce_life_s: float = math.inf

    def challenge(self, nonce: str, *, stale: bool = False) -> str:
        """Value of the first `WWW-Authenticate`."""
        return self.challenges(nonce, stale=stale)[0]

    def challenges(self, nonce: str, *, stale: bool = False) -> tuple[str, ...]:
        """Values of `WWW-Authenticate`, one header each."""
        if self.scheme == BASIC:
            return (f'Basic realm="{REALM}"',)
        common = f'Digest realm="{REALM}", nonce="{nonce}"' + (", stale=true" if stale else "")
        return tuple(
            common if algorithm == MD5 else f'{common}, qop="auth", algorithm={algorithm}'
            for algorithm in _ALGORITHMS[self.scheme]
        )

    def accept(self, authorization: str | None, method: str, uri: str, nonce: str) -> bool:
        """Whether the `Authorization` of a request with `method` and `uri` is right."""
        if not self.username:
            return True
        kind, _, rest = (authorization or "").strip().partition(" ")
        if kind.lower() != self.scheme.partition("-")[0]:
            return False
        if self.scheme == BASIC:
            return self._accept_basic(rest)
        return self._accept_digest(parameters(rest), method, uri, nonce)

    def _accept_basic(self, token: str) -> bool:
        try:
            given = base64.b64decode(token.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, f"{self.username}:{self.password}".encode())

    def _accept_digest(self, given: dict[str, str], method: str, uri: str, nonce: str) -> bool:
        if (given.get("username"), given.get("realm"), given.get("nonce"), given.get("uri")) != (
            self.username,
            REALM,
            nonce,
            uri,
        ):
            return False
        algorithm = given.get("algorithm", MD5).upper()
        if algorithm not in _ALGORITHMS[self.scheme]:
            return False
        secret = _hash(algorithm, f"{self.username}:{REALM}:{self.password}")
        wanted = digest(secret, nonce, method, uri, given)
        return hmac.compare_digest(given.get("response", "").encode(), wanted.encode())


class Challenger:
    """The nonces of one connection: one at a time, and the one before to know what is stale."""

    __slots__ = ("_before", "_clock", "_made_s", "nonce")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before = ""
        self._made_s = clock()
        self.nonce = secrets.token_hex(16)

    def refusal(
        self, credentials: Credentials, given: str | None, method: str, uri: str
    ) -> tuple[str, ...]:
        """The challenges to answer with; none where `given` is right."""
        now_s = self._clock()
        if now_s - self._made_s > credentials.nonce_life_s:
            self._before, self.nonce, self._made_s = self.nonce, secrets.token_hex(16), now_s
        if credentials.accept(given, method, uri, self.nonce):
            return ()
        stale = bool(self._before) and credentials.accept(given, method, uri, self._before)
        return credentials.challenges(self.nonce, stale=stale)


def digest(secret: str, nonce: str, method: str, uri: str, given: dict[str, str]) -> str:
    """The response of RFC 2617, 3.2.2.1 and RFC 7616, 3.4.1.

    `secret` is the hash of user, realm and password by the algorithm that `given` names.
    """
    algorithm = given.get("algorithm", MD5).upper()
    request = _hash(algorithm, f"{method}:{uri}")
    if "qop" in given:
        count, client = given.get("nc", ""), given.get("cnonce", "")
        return _hash(algorithm, f"{secret}:{nonce}:{count}:{client}:{given['qop']}:{request}")
    return _hash(algorithm, f"{secret}:{nonce}:{request}")


def parameters(text: str) -> dict[str, str]:
    """`name="value", name=value` as a mapping; names in lower case."""
    found = _PARAMETER.finditer(text)
    return {
        match[1].lower(): match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2])
        for match in found
    }


def _hash(algorithm: str, text: str) -> str:
    if algorithm == SHA256:
        return hashlib.sha256(text.encode()).hexdigest()
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
