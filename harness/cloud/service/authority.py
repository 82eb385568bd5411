"""Who signs certificates. The symbolic one costs nothing and is what virtual time uses."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its private key, and the authority that vouches for the peer."""

    certificate_pem: str
    private_key_pem: str = field(repr=False)
    ca_pem: str


class Authority(Protocol):
    """Issues claim credentials, signs device requests, names certificates."""

    def issue_claim(self, device_id: str, valid_s: float) -> Identity:
        """Temporary credentials with the common name `claim-<device_id>`."""
        ...

    def sign(self, csr_pem: str, thing: str) -> str:
        """A certificate with the common name `thing`. Raises `Corrupt` for a bad request."""
        ...

    def certificate_id(self, certificate_pem: str) -> str:
        """The certificate's name: SHA-256 of its DER form in hex, as AWS IoT does."""
        ...

    def serial(self, certificate_pem: str) -> str:
        """What the certificate is revoked by."""
        ...

    def revoke(self, serials: Iterable[str]) -> None:
        """Certificates with these serial numbers are not accepted any more, by anybody."""
        ...


class SymbolicAuthority:
    """Certificates as plain strings: deterministic, and of no use to TLS."""

    def __init__(self) -> None:
        self._serial = 0
        self.revoked: set[str] = set()

    def issue_claim(self, device_id: str, valid_s: float) -> Identity:
        name = f"claim-{device_id}"
        certificate = self._certificate(name, f"{valid_s:g} s")
        return Identity(certificate, f"symbolic key of {name}", "symbolic authority")

    def sign(self, csr_pem: str, thing: str) -> str:
        return self._certificate(thing, csr_pem)

    def certificate_id(self, certificate_pem: str) -> str:
        return hashlib.sha256(certificate_pem.encode()).hexdigest()

    def serial(self, certificate_pem: str) -> str:
        return certificate_pem.split()[2]

    def revoke(self, serials: Iterable[str]) -> None:
        self.revoked.update(serials)

    def _certificate(self, name: str, request: str) -> str:
        self._serial += 1
        return f"symbolic certificate {self._serial} of {name} for {request}"
