"""The authority of a run: one CA, EC P-256 throughout, certificates that TLS accepts.

Certificates are backdated a little, because device clocks may be behind. The subject's common
name says who a client is: a thing's name, or `claim-<device id>`.
"""

from __future__ import annotations

import ipaddress
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.cloud.service.authority import Identity
from harness.cloud.storage.files import write_private
from harness.errors import Corrupt, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

BACKDATED_S = 3600.0
YEAR_S = 365 * 86400.0
CA_VALID_S = 10 * YEAR_S
LEAF_VALID_S = 2 * YEAR_S


class X509Authority:
    """Issues real certificates. `clock` is wall time: it is what TLS compares them with.

    `on_revoked` is called when certificates were revoked: whoever holds a copy of the list must
    take it anew.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        known: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None = None,
        revoked: Path | None = None,
    ) -> None:
        """Without a `known` key and its certificate a new authority is made.

        `revoked` is where the list of revoked certificates is kept, if anywhere.
        """
        self.on_revoked: Callable[[], None] | None = None
        self._clock = clock
        self._name = _name("harness certificate authority")
        self._key = known[0] if known else ec.generate_private_key(ec.SECP256R1())
        self._certificate = known[1] if known else self._own_certificate()
        self._revoked_path = revoked
        self._revoked: dict[int, datetime] = {}  # serial number -> since when
        if revoked is not None and revoked.exists():
            listed = x509.load_pem_x509_crl(revoked.read_bytes())
            self._revoked = {one.serial_number: one.revocation_date_utc for one in listed}

    @classmethod
    def kept_in(cls, path: Path) -> X509Authority:
        """The authority of a file, made when there is none. Raises `InputError` when damaged."""
        if not path.exists():
            made = cls()
            write_private(path, (_key_pem(made._key) + made.ca_pem).encode())
        data = path.read_bytes()
        try:
            key = load_pem_private_key(data, password=None)
            certificate = x509.load_pem_x509_certificate(data)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise ValueError("its key is of another kind")
            if key.public_key() != certificate.public_key():
                raise ValueError("its key is not that of its certificate")
        except ValueError as error:
            raise InputError(
                f"{path}: this is no certificate authority: {error}",
                hint="put a copy of the file in its place, or start with an empty state directory",
            ) from None
        try:
            return cls(known=(key, certificate), revoked=path.with_name("revoked.pem"))
        except ValueError as error:
            raise InputError(
                f"{path.with_name('revoked.pem')}: not a list of revoked certificates: {error}",
                hint="remove the file: the devices whose certificates it names are deleted",
            ) from None

    def _own_certificate(self) -> x509.Certificate:
        usage = x509.BasicConstraints(ca=True, path_length=0)
        builder = self._builder(self._name, self._key.public_key(), CA_VALID_S)
        builder = builder.add_extension(usage, critical=True).add_extension(
            _key_usage(signs_certificates=True), critical=True
        )
        return builder.sign(self._key, SHA256())

    @property
    def ca_pem(self) -> str:
        return _pem(self._certificate)

    def issue_claim(self, device_id: str, valid_s: float) -> Identity:
        return self.issue_client(f"claim-{device_id}", valid_s)

    def issue_client(self, name: str, valid_s: float = LEAF_VALID_S) -> Identity:
        """A client's certificate with a key of our making; `name` is its common name."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._client(name, key.public_key(), valid_s)
        return Identity(certificate, _key_pem(key), self.ca_pem)

    def issue_server(self, host: str) -> Identity:
        """For the listeners: `host`, localhost and the loopback address."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        try:
            own: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            own = x509.DNSName(host)
        if own not in names:
            names.append(own)
        builder = self._leaf(host, key.public_key(), LEAF_VALID_S, ExtendedKeyUsageOID.SERVER_AUTH)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Identity(_pem(builder.sign(self._key, SHA256())), _key_pem(key), self.ca_pem)

    def sign(self, csr_pem: str, thing: str) -> str:
        """A client certificate for the request's key, whatever name the request asks for."""
        try:
            request = x509.load_pem_x509_csr(csr_pem.encode())
            signed = request.is_signature_valid
        except (ValueError, InvalidSignature) as error:
            raise Corrupt(
                f"certificate request: {error}", hint="send a PKCS#10 request in PEM"
            ) from None
        if not signed:
            raise Corrupt(
                "certificate request: its signature does not match its key",
                hint="sign the request with the private key it is for",
            )
        return self._client(thing, request.public_key(), LEAF_VALID_S)

    def certificate_id(self, certificate_pem: str) -> str:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
        return certificate.fingerprint(SHA256()).hex()

    def serial(self, certificate_pem: str) -> str:
        return f"{x509.load_pem_x509_certificate(certificate_pem.encode()).serial_number:x}"

    def revoke(self, serials: Iterable[str]) -> None:
        """On disk before anybody is told."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        self._revoked |= {int(serial, 16): now for serial in serials}
        if self._revoked_path is not None:
            write_private(self._revoked_path, self.revoked_pem.encode())
        if self.on_revoked is not None:
            self.on_revoked()

    @property
    def revoked_pem(self) -> str:
        """The list of revoked certificates (RFC 5280, section 5), valid like the authority."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(now - timedelta(seconds=BACKDATED_S))
            .next_update(now + timedelta(seconds=CA_VALID_S))
        )
        for serial, since in self._revoked.items():
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM).decode()

    def _client(self, name: str, key: CertificatePublicKeyTypes, valid_s: float) -> str:
        builder = self._leaf(name, key, valid_s, ExtendedKeyUsageOID.CLIENT_AUTH)
        return _pem(builder.sign(self._key, SHA256()))

    def _leaf(
        self,
        name: str,
        key: CertificatePublicKeyTypes,
        valid_s: float,
        purpose: x509.ObjectIdentifier,
    ) -> x509.CertificateBuilder:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        none = x509.BasicConstraints(ca=False, path_length=None)
        return (
            self._builder(_name(name), key, valid_s)
            .add_extension(none, critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(issuer, critical=False)
        )

    def _builder(
        self, subject: x509.Name, key: CertificatePublicKeyTypes, valid_s: float
    ) -> x509.CertificateBuilder:
        now = datetime.fromtimestamp(self._clock(), UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(seconds=BACKDATED_S))
            .not_valid_after(now + timedelta(seconds=valid_s))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
