"""Certificates of the run's authority, as OpenSSL and strict verifiers see them."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from harness.cloud.front.x509 import BACKDATED_S, X509Authority
from harness.errors import Corrupt

if TYPE_CHECKING:
    from pathlib import Path


def request(name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    return made.public_bytes(Encoding.PEM).decode()


@pytest.fixture
def authority() -> X509Authority:
    return X509Authority()


def test_a_signed_request_gets_the_things_name(authority: X509Authority) -> None:
    pem = authority.sign(request("whatever the device says"), "device-1")
    certificate = x509.load_pem_x509_certificate(pem.encode())
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "device-1"
    assert (
        authority.certificate_id(pem) == hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    )


def test_a_strict_verifier_accepts_the_server(authority: X509Authority) -> None:
    root = x509.load_pem_x509_certificate(authority.ca_pem.encode())
    server = authority.issue_server("127.0.0.1")
    leaf = x509.load_pem_x509_certificate(server.certificate_pem.encode())
    verifier = PolicyBuilder().store(Store([root]))
    chain = verifier.build_server_verifier(x509.DNSName("localhost")).verify(leaf, [])
    assert len(chain) == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.1.2.3", "cloud.example"])
def test_the_server_is_named_after_its_host(authority: X509Authority, host: str) -> None:
    pem = authority.issue_server(host).certificate_pem
    certificate = x509.load_pem_x509_certificate(pem.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    texts = {str(name.value) for name in names}
    assert {"localhost", "127.0.0.1", host} == texts


def test_a_claim_is_short_lived_and_backdated() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    claim = X509Authority(now.timestamp).issue_claim("device-1", 300.0)
    certificate = x509.load_pem_x509_certificate(claim.certificate_pem.encode())
    assert (certificate.not_valid_after_utc - now).total_seconds() == 300.0
    assert (now - certificate.not_valid_before_utc).total_seconds() == BACKDATED_S
    assert "PRIVATE KEY" not in repr(claim)


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_a_bad_request_is_corrupt(authority: X509Authority, text: str) -> None:
    with pytest.raises(Corrupt):
        authority.sign(text, "device-1")


def test_a_request_that_was_tampered_with_is_corrupt(authority: X509Authority) -> None:
    der = bytearray(ssl.PEM_cert_to_DER_cert(_as_certificate(request("device-1"))))
    der[-1] ^= 1
    pem = ssl.DER_cert_to_PEM_cert(bytes(der)).replace("CERTIFICATE", "CERTIFICATE REQUEST")
    with pytest.raises(Corrupt):
        authority.sign(pem, "device-1")


def _as_certificate(pem: str) -> str:
    return pem.replace("CERTIFICATE REQUEST", "CERTIFICATE")


def test_the_servers_key_is_not_readable_by_others(cloud: object, tmp_path: Path) -> None:
    key = tmp_path / "state" / "tls" / "server.key.pem"
    assert key.stat().st_mode & 0o077 == 0
