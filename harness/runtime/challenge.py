"""How a camera's challenge is answered: Digest (RFC 7616, MD5) and Basic (RFC 7617)."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets

_FIELD = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


def read_challenge(challenges: list[str]) -> dict[str, str]:
    """The fields of the challenge to answer: Digest (MD5) before Basic; `scheme` added."""
    for challenge in sorted(challenges, key=lambda text: not text.lower().startswith("digest")):
        scheme, _, rest = challenge.partition(" ")
        fields = {name.lower(): one or two for name, one, two in _FIELD.findall(rest)}
        if scheme.lower() == "basic" or fields.get("algorithm", "MD5").upper() == "MD5":
            return {**fields, "scheme": scheme.lower()}
    return {"scheme": "none"}


def is_stale(challenge: dict[str, str]) -> bool:
    """The answer was right, and to a nonce that has expired (RFC 7616, 3.3)."""
    return challenge.get("stale", "").lower() == "true"


def authorize(
    challenge: dict[str, str], method: str, url: str, username: str, password: str, count: int
) -> str:
    """The Authorization header that answers `challenge` (RFC 7616, 3.4; RFC 7617).

    `count` rises with every request, as a nonce that is used again demands.
    """
    if challenge["scheme"] != "digest":
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        return f"Basic {token}"
    realm, nonce = challenge.get("realm", ""), challenge.get("nonce", "")
    secret = _md5(f"{username}:{realm}:{password}")
    request = _md5(f"{method}:{url}")
    fields = {"username": username, "realm": realm, "nonce": nonce, "uri": url}
    extra = ""
    if "auth" in challenge.get("qop", "").replace(" ", "").split(","):
        cnonce = secrets.token_hex(8)
        response = _md5(f"{secret}:{nonce}:{count:08x}:{cnonce}:auth:{request}")
        extra = f', qop=auth, nc={count:08x}, cnonce="{cnonce}"'
    else:
        response = _md5(f"{secret}:{nonce}:{request}")
    if "opaque" in challenge:
        fields["opaque"] = challenge["opaque"]
    quoted = ", ".join(f'{name}="{value}"' for name, value in fields.items())
    return f'Digest {quoted}, response="{response}"{extra}'


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
