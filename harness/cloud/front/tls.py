"""TLS 1.2 or newer with forward secrecy; towards devices with client certificates always."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from harness.cloud.service.authority import Identity

HANDSHAKE_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of 1.3 all have forward secrecy


@dataclass(frozen=True, slots=True)
class Peer:
    """Who a verified client certificate names; its id is the SHA-256 of its DER form."""

    name: str
    certificate_id: str


def server_context(identity: Identity, directory: Path) -> ssl.SSLContext:
    """For devices: requires client certificates of the authority in `identity`."""
    context = api_context(identity, directory)
    context.load_verify_locations(cadata=identity.ca_pem)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def api_context(identity: Identity, directory: Path) -> ssl.SSLContext:
    """For administrators, who sign their requests instead of showing a certificate."""
    certificate, key = write_identity(identity, directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.load_cert_chain(certificate, key)
    return context


def write_identity(identity: Identity, directory: Path, name: str = "server") -> tuple[Path, Path]:
    """Files of a certificate and its key, as TLS libraries want them; nobody else may read them."""
    certificate, key = directory / f"{name}.cert.pem", directory / f"{name}.key.pem"
    key.touch(mode=0o600)
    certificate.write_text(identity.certificate_pem, encoding="ascii")
    key.write_text(identity.private_key_pem, encoding="ascii")
    return certificate, key


def peer_of(connection: ssl.SSLObject | None) -> Peer | None:
    """The client at the other end; None without a certificate or a common name."""
    der = connection.getpeercert(binary_form=True) if connection is not None else None
    if connection is None or der is None:
        return None
    certificate = connection.getpeercert() or {}
    for group in certificate.get("subject", ()):
        for pair in group:
            if isinstance(pair, tuple) and pair[0] == "commonName":
                return Peer(str(pair[1]), hashlib.sha256(der).hexdigest())
    return None
