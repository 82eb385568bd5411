from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.camera.wire.auth import (
    BASIC,
    DIGEST,
    DIGEST_BOTH,
    DIGEST_SHA256,
    REALM,
    Challenger,
    Credentials,
    digest,
    parameters,
)

if TYPE_CHECKING:
    from harness.camera.picture.clip import Clip
    from harness.camera.serve.server import CameraServer
    from tests.camera.conftest import Connect

URI = "rtsp://h/door"
DOOR = Credentials("admin", "s3cret:with colon")


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def answer(user: str, password: str, nonce: str, uri: str = URI, qop: str = "") -> str:
    """A client's `Authorization`, after RFC 2617, 3.2.2."""
    one, two = md5(f"{user}:{REALM}:{password}"), md5(f"DESCRIBE:{uri}")
    middle = f"{nonce}:00000001:abcd:{qop}" if qop else nonce
    extra = f', qop={qop}, nc=00000001, cnonce="abcd"' if qop else ""
    return (
        f'Digest username="{user}", realm="{REALM}", nonce="{nonce}", uri="{uri}", '
        f'response="{md5(f"{one}:{middle}:{two}")}"{extra}'
    )


@pytest.mark.parametrize("qop", ["", "auth"])
def test_the_right_digest_is_accepted(qop: str) -> None:
    given = answer("admin", "s3cret:with colon", "n1", qop=qop)
    assert DOOR.accept(given, "DESCRIBE", URI, "n1")


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Digest",
        'Digest username="admin"',
        "Basic " + base64.b64encode(b"admin:s3cret:with colon").decode(),
        answer("admin", "wrong", "n1"),
        answer("other", "s3cret:with colon", "n1"),
        answer("admin", "s3cret:with colon", "old nonce"),
        answer("admin", "s3cret:with colon", "n1", uri="rtsp://h/yard"),
    ],
)
def test_anything_else_is_not(given: str | None) -> None:
    assert not DOOR.accept(given, "DESCRIBE", URI, "n1")


def test_a_digest_is_bound_to_its_method() -> None:
    assert not DOOR.accept(answer("admin", "s3cret:with colon", "n1"), "PLAY", URI, "n1")


def test_basic() -> None:
    door = Credentials("admin", "a:b", BASIC)
    assert door.challenge("n") == f'Basic realm="{REALM}"'
    assert door.accept("Basic " + base64.b64encode(b"admin:a:b").decode(), "PLAY", URI, "n")
    assert door.accept("basic " + base64.b64encode(b"admin:a:b").decode(), "PLAY", URI, "n")
    assert not door.accept("Basic " + base64.b64encode(b"admin:a").decode(), "PLAY", URI, "n")
    assert not door.accept("Basic !!", "PLAY", URI, "n")


def test_no_user_means_anybody() -> None:
    assert Credentials("", "").accept(None, "DESCRIBE", URI, "n")


def test_parameters() -> None:
    text = 'Username="a \\"b\\"", nc=0001,qop = auth, empty=""'
    assert parameters(text) == {"username": 'a "b"', "nc": "0001", "qop": "auth", "empty": ""}


@given(st.text())
def test_any_authorization_is_refused_without_a_crash(text: str) -> None:
    assert not DOOR.accept(text, "DESCRIBE", URI, "n1")
    assert not DOOR.accept(f"Digest {text}", "DESCRIBE", URI, "n1")
    assert not Credentials("admin", "x", BASIC).accept(f"Basic {text}", "PLAY", URI, "n1")


# --- SHA-256, and nonces that expire --------------------------------------------------------------


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha_answer(nonce: str, password: str = "s3cret", method: str = "DESCRIBE") -> str:
    """A client's `Authorization`, after RFC 7616, 3.4.1, with `qop=auth`."""
    one, two = sha(f"admin:{REALM}:{password}"), sha(f"{method}:{URI}")
    response = sha(f"{one}:{nonce}:00000001:abcd:auth:{two}")
    return (
        f'Digest username="admin", realm="{REALM}", nonce="{nonce}", uri="{URI}", qop=auth, '
        f'nc=00000001, cnonce="abcd", algorithm=SHA-256, response="{response}"'
    )


def test_the_digest_of_rfc_7616() -> None:
    """The example of RFC 7616, 3.9.1."""
    given = {
        "algorithm": "SHA-256",
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    }
    nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
    secret = sha("Mufasa:http-auth@example.org:Circle of Life")
    assert (
        digest(secret, nonce, "GET", "/dir/index.html", given)
        == "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
    )


def test_sha_256() -> None:
    door = Credentials("admin", "s3cret", DIGEST_SHA256)
    (challenge,) = door.challenges("n1")
    assert parameters(challenge.partition(" ")[2]) == {
        "realm": REALM,
        "nonce": "n1",
        "qop": "auth",
        "algorithm": "SHA-256",
    }
    assert door.accept(sha_answer("n1"), "DESCRIBE", URI, "n1")
    assert not door.accept(sha_answer("n1", "guess"), "DESCRIBE", URI, "n1")
    assert not door.accept(sha_answer("n1"), "PLAY", URI, "n1")
    assert not door.accept(answer("admin", "s3cret", "n1"), "DESCRIBE", URI, "n1")  # MD5


def test_md5_alone_is_the_default() -> None:
    door = Credentials("admin", "s3cret")
    assert door.challenges("n1") == (f'Digest realm="{REALM}", nonce="n1"',)
    assert not door.accept(sha_answer("n1"), "DESCRIBE", URI, "n1")


def test_both() -> None:
    door = Credentials("admin", "s3cret", DIGEST_BOTH)
    assert ["algorithm" in challenge for challenge in door.challenges("n1")] == [False, True]
    assert door.accept(sha_answer("n1"), "DESCRIBE", URI, "n1")
    assert door.accept(answer("admin", "s3cret", "n1"), "DESCRIBE", URI, "n1")


def test_a_nonce_expires_and_the_reader_is_told() -> None:
    now_s = [100.0]
    challenger = Challenger(lambda: now_s[0])
    door = Credentials("admin", "s3cret", nonce_life_s=30.0)
    old = challenger.nonce
    (challenge,) = challenger.refusal(door, None, "DESCRIBE", URI)
    assert "stale" not in challenge
    right = answer("admin", "s3cret", old)
    assert challenger.refusal(door, right, "DESCRIBE", URI) == ()
    now_s[0] += 31
    (challenge,) = challenger.refusal(door, right, "DESCRIBE", URI)
    assert challenger.nonce != old
    assert parameters(challenge.partition(" ")[2])["stale"] == "true"
    (again,) = challenger.refusal(door, answer("admin", "guess", old), "DESCRIBE", URI)
    assert "stale" not in again
    fresh = answer("admin", "s3cret", challenger.nonce)
    assert challenger.refusal(door, fresh, "DESCRIBE", URI) == ()


@pytest.mark.parametrize("scheme", [DIGEST, DIGEST_SHA256])
async def test_over_the_wire(
    server: CameraServer, clip: Clip, connect: Connect, scheme: str
) -> None:
    camera = server.add("door", clip, "/door", "admin", "s3cret", scheme=scheme, nonce_life_s=0.0)
    client = await connect(camera.url)
    first = await client.ask("DESCRIBE", URI)
    assert first.status == 401
    nonce = parameters(first.header("WWW-Authenticate") or "")["nonce"]
    right = sha_answer(nonce) if scheme == DIGEST_SHA256 else answer("admin", "s3cret", nonce)
    second = await client.ask("DESCRIBE", URI, ("Authorization", right))
    assert second.status == 401  # it lived for no time at all
    assert "stale=true" in (second.header("WWW-Authenticate") or "")
    camera.credentials = Credentials("admin", "s3cret", scheme)
    nonce = parameters(second.header("WWW-Authenticate") or "")["nonce"]
    right = sha_answer(nonce) if scheme == DIGEST_SHA256 else answer("admin", "s3cret", nonce)
    assert (await client.ask("DESCRIBE", URI, ("Authorization", right))).status == 200
