"""Log images that only the vendor's support can read: what the effect `Seal` does on every rung.

Hybrid encryption in the manner of RFC 9180: an ephemeral X25519 key, HKDF-SHA256 over the shared
secret, AES-256-GCM over the text. The image: magic, ephemeral public key, text with its tag. Each
image has a key of its own, so the nonce is fixed.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from harness.errors import Corrupt

MAGIC = b"PDLv1\0"
KEY_BYTES = 32
_NONCE = bytes(12)


def seal(data: bytes, recipient: bytes, entropy: bytes) -> bytes:
    """`data` for the holder of the private half of `recipient`; `entropy`: 32 fresh bytes."""
    ephemeral = X25519PrivateKey.from_private_bytes(entropy)
    public = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    cipher = AESGCM(_derive(shared, public + recipient))
    return MAGIC + public + cipher.encrypt(_NONCE, data, MAGIC + public)


def unseal(image: bytes, key: X25519PrivateKey) -> bytes:
    """What was sealed. Raises `Corrupt` when it was not for `key`, or has been changed."""
    head = len(MAGIC) + KEY_BYTES
    public, text = image[len(MAGIC) : head], image[head:]
    if not image.startswith(MAGIC) or len(text) < 16:
        raise Corrupt("log image: not one")
    try:
        shared = key.exchange(X25519PublicKey.from_public_bytes(public))
        recipient = key.public_key().public_bytes_raw()
        return AESGCM(_derive(shared, public + recipient)).decrypt(_NONCE, text, image[:head])
    except (InvalidTag, ValueError):
        raise Corrupt("log image: damaged, or sealed for another key") from None


def _derive(shared: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), length=KEY_BYTES, salt=None, info=MAGIC + info).derive(shared)
