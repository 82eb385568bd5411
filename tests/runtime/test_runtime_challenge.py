"""Challenges and the answers to them."""

from __future__ import annotations

from harness.runtime.challenge import authorize, is_stale, read_challenge


def test_digest_is_answered_as_the_rfc_shows() -> None:
    """RFC 2617, 3.5, without qop (the form cameras use)."""
    challenge = read_challenge(
        ['Basic realm="x"', 'Digest realm="testrealm@host.com", nonce="dcd98b7102dd", opaque="5c"']
    )
    answer = authorize(challenge, "GET", "/dir/index.html", "Mufasa", "Circle Of Life", 1)
    assert answer.startswith('Digest username="Mufasa", realm="testrealm@host.com"')
    assert 'opaque="5c"' in answer
    qop = read_challenge(['Digest realm="r", nonce="n", qop="auth-int, auth"'])
    assert "qop=auth, nc=00000003, cnonce=" in authorize(qop, "PLAY", "rtsp://h/", "u", "p", 3)


def test_basic_is_answered_and_sha256_passed_over() -> None:
    challenge = read_challenge(
        ['Digest realm="r", nonce="n", algorithm=SHA-256', 'Basic realm="r"']
    )
    assert authorize(challenge, "PLAY", "rtsp://h/", "u", "p", 1) == "Basic dTpw"


def test_only_a_nonce_that_expired_is_worth_another_try() -> None:
    assert is_stale(read_challenge(['Digest realm="r", nonce="n", stale=true']))
    assert not is_stale(read_challenge(['Digest realm="r", nonce="n", stale=false']))
    assert not is_stale(read_challenge(['Basic realm="r"']))
